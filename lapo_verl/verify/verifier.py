"""Is the answer right? Extraction, the comparison in this process, and math-verify in the server for what is left."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from lapo_verl.verify.compare import (
    settle_bodies,
    without_left_sides,
    without_units,
)
from lapo_verl.verify.extract import MAX_ANSWER_CHARS, Form, final_answer
from lapo_verl.verify.normalize import balanced, has_control_characters, normalize
from lapo_verl.verify.truth import is_missing, unboxed

DEFAULT_TIMEOUT_S: Final = 3.0
# Raise it whenever a verdict changes: verdicts that were kept under another one are judged again.
REVISION: Final = 2
# A longer text is no answer, and parsing it would only burn the time limit.
_MAX_CHARS: Final = 300
# Inequalities, sets, matrices and calculus; all else that can be read is settled by its values (``algebra``).
_ALGEBRA: Final = re.compile(r"[<>]|\\(?:le|ge|ne|cup|cap|setminus|sum|prod|int|lim|begin)(?![A-Za-z])|\\frac\{d")
# What math-verify reads as something else: 1 2 as a product, 42_x and 42' as 42, a text with dots as one without;
# and what it does not know: cases, sets by a description, code.
_MISREAD: Final = re.compile(
    r"(?<![_0-9.])[0-9][0-9.]* [0-9]|[0-9][_']|dots|\.\.|\\begin\{(?:d?cases|array)|\\mid(?![A-Za-z])|[:`\"#@?]|//"
)


@dataclass(frozen=True)
class Verdict:
    """What became of one response.

    Attributes:
        correct: whether the answer is the ground truth.
        answer: the final answer as it was written; None where there is none.
        timed_out: no verdict in time; the answer counts as wrong.

    >>> verify(r"So it is $\\boxed{0.5}$.", "1/2")
    Verdict(correct=True, answer='0.5', timed_out=False)
    """

    correct: bool
    answer: str | None
    timed_out: bool = False


def is_correct(
    response: str, ground_truth: str, timeout_s: float = DEFAULT_TIMEOUT_S, *, forms: Sequence[Form] = ("boxed",)
) -> bool:
    """Whether the final answer of a model's whole response is the ground truth.

    Never raises on what a model wrote.

    Args:
        response: all that the model wrote.
        ground_truth: the answer, as ``check_ground_truth`` accepts it.
        timeout_s: seconds that the server may take, where it is asked; after that the answer counts as wrong. The
            server's start, some seconds once in a process, comes on top.
        forms: where the final answer is looked for, in this order: ``boxed``, ``hash``, ``sentence``.

    >>> is_correct(r"Half of it, so $\\boxed{\\frac{1}{2}}$.", "0.5")
    True
    """
    return verify(response, ground_truth, timeout_s, forms=forms).correct


def verify(
    response: str, ground_truth: str, timeout_s: float = DEFAULT_TIMEOUT_S, *, forms: Sequence[Form] = ("boxed",)
) -> Verdict:
    """As ``is_correct``, with the same arguments; the verdict also has the answer, and whether the server timed out.

    >>> verify("It is 7. The answer is 7.", "7", forms=("boxed", "sentence"))
    Verdict(correct=True, answer='7', timed_out=False)
    """
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
    if truth.startswith("\\approx"):  # what is given as rounded is compared as it is given
        ours, truth = (text.removeprefix("\\approx").strip() for text in (ours, truth))
    pair = without_left_sides(ours, truth)
    if isinstance(pair, bool):
        return pair, False
    verdict = settle_bodies(*pair)
    if verdict is not None:
        return verdict, False
    question = without_units(*pair)
    if isinstance(question, bool) or not _is_for_the_server(*question):
        return False, False

    from lapo_verl.verify.client import AnswerTimeout

    try:
        return _equal_in_server(*question, timeout_s), False
    except AnswerTimeout:
        return False, True


@lru_cache(maxsize=4096)
def _equal_in_server(answer: str, truth: str, timeout_s: float) -> bool:
    """Remembered, because the rollouts of a group give the same answers; a timeout raises and is not remembered."""
    from lapo_verl.verify import client

    return client.ask(answer, truth, timeout_s)


def _is_for_the_server(answer: str, truth: str) -> bool:
    """Whether the pair is of a kind that only computer algebra settles, and nothing that it would misread."""
    pair = (answer, truth)
    if not any(map(_ALGEBRA.search, pair)) or any(map(_MISREAD.search, pair)) or not all(map(balanced, pair)):
        return False
    # R and r are two variables, and math-verify takes them for one.
    ours, theirs = ({*re.sub(r"\\[A-Za-z]+", "", text)} for text in pair)
    twins = any(letter.isalpha() and letter.swapcase() in theirs - ours for letter in ours - theirs)
    return not twins and max(map(len, pair)) <= _MAX_CHARS
