"""Find the final answer in a model's whole response.

Exactly one value is ever judged: the last one. Where the response holds ``</think>``, only what follows the last of
them is read. The forms, in the order in which the caller gives them:

- ``boxed``: the last ``\\boxed{...}`` or ``\\fbox{...}``, braces matched. A last box that is not closed is no answer,
  and no earlier box and no other form replaces it.
- ``hash``: what follows the last ``####`` on its line, as in GSM8K.
- ``sentence``: what follows the last "the answer is" up to the end of the sentence.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, Literal, get_args

Form = Literal["boxed", "hash", "sentence"]

# The sizes that bound the work: an answer longer than this is judged by text alone, a form is looked for in the tail.
MAX_ANSWER_CHARS: Final = 2_000
MAX_TAIL_CHARS: Final = 20_000

_THINK_END: Final = "</think>"
_BOX: Final = re.compile(r"\\(?:boxed|fbox)\s*\{")
_BRACE: Final = re.compile(r"\\.|[{}]", re.DOTALL)
_SENTENCE: Final = re.compile(r"\banswer\s*(?:is|:)\s*:?\s*", re.IGNORECASE)
_SENTENCE_END: Final = re.compile(r"[.!?](?=\s|$|\*)|\n")


def final_answer(response: str, forms: Sequence[Form] = ("boxed",)) -> str | None:
    """The text of the response's final answer, or None where it has none.

    >>> final_answer(r"<think>\\boxed{1}</think> So it is $\\boxed{\\frac{1}{2}}$.")
    '\\\\frac{1}{2}'
    """
    text = response[response.rfind(_THINK_END) + len(_THINK_END) :] if _THINK_END in response else response
    for form in forms:
        if form == "boxed":
            if (start := _last_box(text)) is not None:
                return _closed(text, start)
        elif form == "hash":
            if (mark := text.rfind("####")) >= 0:
                return _clean(text[mark:].lstrip("#").lstrip(" \t").split("\n", 1)[0])
        elif form == "sentence":
            tail = text[-MAX_TAIL_CHARS:]
            begins = [match.end() for match in _SENTENCE.finditer(tail)]
            if begins:
                return _clean(_SENTENCE_END.split(tail[begins[-1] :], maxsplit=1)[0])
        else:
            raise ValueError(f"unknown form of an answer {form!r}; one of {', '.join(get_args(Form))}")
    return None


def _clean(text: str) -> str | None:
    return text.strip().strip("*").strip() or None


def _last_box(text: str) -> int | None:
    """Where the content of the last box begins. A ``\\boxed`` with no brace after it is a mention, not a box."""
    boxed, fbox = text.rfind("\\boxed"), text.rfind("\\fbox")
    while boxed >= 0 or fbox >= 0:
        box = _BOX.match(text, max(boxed, fbox))
        if box:
            return box.end()
        # Only the one that was looked at moves on: a million mentions are still one pass over the text.
        if boxed > fbox:
            boxed = text.rfind("\\boxed", 0, boxed)
        else:
            fbox = text.rfind("\\fbox", 0, fbox)
    return None


def _closed(text: str, start: int) -> str | None:
    """The text from ``start`` up to the brace that closes the box, or None where nothing closes it."""
    depth = 1
    for token in _BRACE.finditer(text, start, start + MAX_TAIL_CHARS):
        if token.group() == "{":
            depth += 1
        elif token.group() == "}":
            depth -= 1
            if depth == 0:
                return text[start : token.start()].strip() or None
    return None
