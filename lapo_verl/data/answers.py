"""The final answer in a cell that may hold a whole solution, and whether LAPO's verifier can do more than spell it."""

from __future__ import annotations

import re
from typing import Final

from lapo_verl.data.problems import UnusableRow
from lapo_verl.verify.extract import final_answer
from lapo_verl.verify.normalize import normalize
from lapo_verl.verify.number import Number
from lapo_verl.verify.parse import Words, read
from lapo_verl.verify.truth import unboxed

_MARKS: Final = (("boxed", ("\\boxed", "\\fbox"), "a box"), ("hash", ("####",), "####"))
_NO_PROSE: Final = re.compile(r"\\text ?\{[^{}]*\}|\\(?:begin|end)\{[^{}]*\}|\\[A-Za-z]+")
_WORD: Final = re.compile(r"[A-Za-z]{2,}")
_SENTENCE_WORD: Final = re.compile(r"[A-Za-z]?[a-z]{3,}|[Oo]ne|[Tt]wo|[Ss]ix|[Tt]en")
_MATHS: Final = frozenset(
    (
        *("sin", "cos", "tan", "cot", "sec", "csc", "arcsin", "arccos", "arctan", "sinh", "cosh", "tanh"),
        *("log", "ln", "lg", "exp", "sqrt", "pi", "mod", "gcd", "lcm", "max", "min", "inf", "infinity"),
        *("and", "or", "if"),
    )
)
_SHORT_ANSWERS: Final = frozenset(("yes", "no", "true", "false", "even", "odd", "none"))


def answer_in(text: str) -> tuple[str, bool]:
    """The answer that a text gives, and whether a box marks it: the last box, what follows the last ``####`` or the
    last "the answer is", else the whole text. Of a text with a think block only what follows the block is read.

    Raises:
        UnusableRow: the text has a box or ``####`` and no answer in it.

    >>> answer_in("2 + 2 is 4, so the answer is 4.")
    ('4', False)
    """
    text = text.rpartition("</think>")[2].strip()
    for form, marks, name in _MARKS:
        if any(mark in text for mark in marks):
            answer = final_answer(text, (form,))  # type: ignore[arg-type]
            if answer is None:
                raise UnusableRow(f"the answer has {name} that is empty or not closed", text[-60:])
            return answer, form == "boxed"
    return final_answer(text, ("sentence",)) or text, False


def is_prose(answer: str) -> bool:
    r"""Whether an answer is words, which are only ever compared letter by letter. ``\text{...}``, units, names of
    functions and short answers such as "yes" are none.

    >>> [is_prose(answer) for answer in ("it depends on x", "Paris", "12 apples", r"\text{Tuesday}", "x = 3 or x = 4")]
    [True, True, False, False, False]
    """
    text = normalize(unboxed(answer))
    reading = read(text)
    if isinstance(reading, Number):
        return False
    words = [word for word in _WORD.findall(_NO_PROSE.sub(" ", text)) if word.casefold() not in _MATHS]
    if all(word.casefold() in _SHORT_ANSWERS for word in words):
        return False
    return isinstance(reading, Words) or any(_SENTENCE_WORD.fullmatch(word) for word in words)
