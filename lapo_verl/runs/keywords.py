"""Keyword groups: how often a response shows which behaviour (Fig. 4).

The paper names the four behaviours and not the words; these lists are this project's. A word counts where it is
alone ("check" also in "double-check"), a phrase wherever it occurs ("other way" also in "another way"); upper and lower
case are the same.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

GROUPS: Mapping[str, tuple[str, ...]] = {
    "self-correction and verification": (
        "wait",
        "hmm",
        "actually",
        "oops",
        "check",
        "checking",
        "recheck",
        "verify",
        "verifying",
        "verification",
        "mistake",
        "hold on",
        "make sure",
        "go back",
        "that's not right",
    ),
    "exploration and alternatives": (
        "alternatively",
        "alternative",
        "perhaps",
        "maybe",
        "instead",
        "suppose",
        "other way",
        "other approach",
        "different way",
        "different approach",
        "what if",
        "let me try",
    ),
    "context setting": (
        "given",
        "recall",
        "first",
        "the problem",
        "the question",
        "we know that",
        "we need to",
        "i need to",
        "we are asked",
        "let me understand",
        "let's denote",
    ),
    "conclusion drawing": (
        "therefore",
        "thus",
        "hence",
        "consequently",
        "finally",
        "conclude",
        "in conclusion",
        "final answer",
        "the answer is",
        "to sum up",
    ),
}

_WORDS = [[term for term in terms if " " not in term] for terms in GROUPS.values()]
_PHRASES = [[term for term in terms if " " in term] for terms in GROUPS.values()]
_WORD = re.compile("[a-z]+")


def count_keywords(response: str) -> tuple[int, ...]:
    """How often each of ``GROUPS`` shows in a response, in their order.

    >>> count_keywords("Wait, let me double-check. Therefore the answer is 4.")
    (2, 0, 0, 2)
    """
    text = response.lower()
    words = Counter(_WORD.findall(text))
    return tuple(
        sum(words[word] for word in single) + sum(text.count(phrase) for phrase in several)
        for single, several in zip(_WORDS, _PHRASES, strict=True)
    )
