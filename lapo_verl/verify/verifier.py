"""Is the answer right? Extraction, the cheap comparison, and math-verify in the server for what is left."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from lapo_verl.verify.compare import (
    algebra_questions,
    settle_bodies,
    variables_differ_in_case,
    without_left_sides,
    without_units,
)
from lapo_verl.verify.extract import MAX_ANSWER_CHARS, Form, final_answer
from lapo_verl.verify.normalize import balanced, has_control_characters, normalize
from lapo_verl.verify.truth import is_missing, unboxed

DEFAULT_TIMEOUT_S: Final = 3.0
# Raise it whenever a verdict changes: verdicts that were kept under another one are judged again.
REVISION: Final = 2
# What is sent to the server: longer or deeper texts are no answers, and parsing them would only burn the time limit.
_MAX_ALGEBRA_CHARS: Final = 1_000
_MAX_ALGEBRA_DEPTH: Final = 40
# Code, definitions, and dots, which math-verify drops: 3.14\ldots is not 3.14.
_DOTS: Final = ("\\ldots", "\\dots", "\\cdots", "...")
_NO_ALGEBRA: Final = ("`", '"', "#", "@", "__", "??", "//", "\\angle", "\\triangle", "\\def", "\\newcommand", *_DOTS)
# Inequalities, sets, matrices and calculus; all else that can be read is settled by its values (``algebra``).
_FOR_THE_SERVER: Final = re.compile(
    r"[<>]|\\(?:le|ge|ne|cup|cap|setminus|sum|prod|int|lim|begin)(?![A-Za-z])|\\frac\{d"
)
# math-verify reads "1 2" as 1 + 2, though the base of a logarithm, \log_2 8, is no number of its own; and it drops
# what hangs on a number, 42_x and 42'.
_MISREAD: Final = re.compile(r"(?<![_0-9.])[0-9][0-9.]* [0-9]|[0-9][_']")


@dataclass(frozen=True)
class Verdict:
    """What became of one response."""

    correct: bool
    answer: str | None  # the final answer as it was written, None where there is none
    timed_out: bool = False  # a worker was killed or died over it; the answer counts as wrong


def is_correct(
    response: str, ground_truth: str, timeout_s: float = DEFAULT_TIMEOUT_S, *, forms: Sequence[Form] = ("boxed",)
) -> bool:
    """Whether the final answer of a model's whole response is the ground truth.

    Never raises on what a model wrote, and takes no longer than ``timeout_s`` of a worker's time. What comes on top:
    the start of a worker where none is idle (``pool``), and the tenth of a second in which a late one is noticed.

    >>> is_correct(r"Half of it, so $\\boxed{\\frac{1}{2}}$.", "0.5")
    True
    """
    return verify(response, ground_truth, timeout_s, forms=forms).correct


def verify(
    response: str, ground_truth: str, timeout_s: float = DEFAULT_TIMEOUT_S, *, forms: Sequence[Form] = ("boxed",)
) -> Verdict:
    """``is_correct`` with what was found: the answer, and whether a worker ran out of time over it."""
    answer = final_answer(response, forms)
    if answer is None:
        return Verdict(False, None)
    correct, timed_out = _same(answer, ground_truth, timeout_s)
    return Verdict(correct, answer, timed_out)


def _same(answer: str, ground_truth: str, timeout_s: float) -> tuple[bool, bool]:
    """(same, timed out)"""
    if len(answer) > MAX_ANSWER_CHARS or has_control_characters(answer):
        return bool(ground_truth) and answer == ground_truth, False
    ours, truth = normalize(answer), normalize(unboxed(ground_truth))
    if not ours or not truth:
        return False, False
    if is_missing(truth):
        return False, False
    if ours == truth:
        return True, False
    truth = truth.removeprefix("\\approx").strip()  # what is given as rounded is compared as it is given
    pair = without_left_sides(ours, truth)
    if isinstance(pair, bool):
        return pair, False
    verdict = settle_bodies(*pair)
    if verdict is not None:
        return verdict, False
    questions: list[tuple[str, str]] = []
    for pair_of_parts in algebra_questions(*pair):
        question = without_units(*pair_of_parts)
        if isinstance(question, bool):
            return False, False
        if not all(map(_is_algebra, question)) or variables_differ_in_case(*question):
            return False, False
        if not any(map(_FOR_THE_SERVER.search, question)):
            return False, False
        questions.append(question)
    if not questions:
        return False, False

    from lapo_verl.verify.client import AnswerTimeout

    try:
        return _equal_in_server(tuple(questions), timeout_s), False
    except AnswerTimeout:
        return False, True


@lru_cache(maxsize=4096)
def _equal_in_server(pairs: tuple[tuple[str, str], ...], timeout_s: float) -> bool:
    """Remembered, because the rollouts of a group give the same answers; a timeout raises and is not remembered."""
    from lapo_verl.verify import client

    return client.ask(pairs, timeout_s)


def _is_algebra(text: str) -> bool:
    """Whether it makes sense to have the text parsed as LaTeX: no code, no prose, no endless nesting."""
    if len(text) > _MAX_ALGEBRA_CHARS or not balanced(text) or "\\boxed" in text or "\\fbox" in text:
        return False
    if any(mark in text for mark in _NO_ALGEBRA):
        return False
    if _MISREAD.search(text):
        return False
    depth = deepest = 0
    for character in text:
        depth += (character in "({[") - (character in ")}]")
        deepest = max(deepest, depth)
    return deepest <= _MAX_ALGEBRA_DEPTH
