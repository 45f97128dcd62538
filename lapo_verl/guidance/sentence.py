"""Which sentence a visit is shown, and how much of the prompt it takes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from lapo_verl.guidance.config import GuidanceConfig
from lapo_verl.guidance.text import guidance_text, shown_names, shown_tokens
from lapo_verl.guidance.think import THINK


def guidance_sentence(
    guidance: GuidanceConfig, budget: float | None, band: tuple[float, float] | None, response_limit: int
) -> str:
    """The sentence of one visit; of an unsolved problem, one with the response limit, or none.

    Args:
        budget: that the objective gives the visit, in tokens; None where it gives none: the problem is unsolved.
        band: of the visit that the budget is of, (low, high) in tokens; only for a sentence that ``shows_band``.
        response_limit: in tokens.
    """
    if budget is None:
        if guidance.unsolved == "silent":
            return ""
        budget = float(response_limit)
        band = (budget, budget)
    low, high = band or (None, None)
    return guidance_text(guidance.form, budget, low, high, guidance.text, guidance.rounding)


def requested_sentence(guidance: GuidanceConfig, tokens: int) -> str:
    """The sentence of a caller's own budget, in whole tokens; a sentence with a band names the one number twice."""
    budget = float(tokens)
    return guidance_sentence(guidance, budget, (budget, budget), tokens)


def shows_band(guidance: GuidanceConfig) -> bool:
    """Whether the sentence has the band in it."""
    return not shown_names(guidance.form, guidance.text).isdisjoint(("low", "high"))


def shown_budget(guidance: GuidanceConfig, budget: float | None) -> float | None:
    """The budget as a guided prompt shows it, in tokens: what its rollouts are rewarded around.

    Of a band it is the number between the two that are shown. None where the sentence shows no number, and of an
    unsolved problem: the response limit that it may be shown is no budget.
    """
    if budget is None or not shown_names(guidance.form, guidance.text):
        return None
    return float(shown_tokens(budget, guidance.rounding))


def band_of(lengths: Sequence[int], low: float, high: float) -> tuple[float, float]:
    """The percentiles ``low`` and ``high`` of the lengths of a visit's correct rollouts (Eq. 2), in tokens."""
    shortest, longest = np.percentile(lengths, [low, high]).tolist()
    return shortest, longest


def visit_is_guided(problem_id: str, step: int, share: float) -> bool:
    """Whether the visit of a problem after ``step`` is one of the ``share`` that are shown the sentence."""
    return _hash(f"{step}\0{problem_id}") < share * 2**64


def visit_draw(problem_id: str, step: int) -> float:
    """A number in [0, 1) for an objective that draws the visit's budget."""
    return (_hash(f"budget\0{step}\0{problem_id}") >> 11) / 2**53


def _hash(text: str) -> int:
    """64 bits, so that a resumed training shows what the one that died would have shown."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def with_sentence(messages: list[dict[str, Any]], sentence: str) -> list[dict[str, Any]]:
    """The messages with the sentence at the end of the last user turn (Table 2, outside).

    Raises:
        ValueError: no user turn, or one that is not text.
    """
    turns = [index for index, message in enumerate(messages) if message["role"] == "user"]
    if not turns or not isinstance(messages[turns[-1]]["content"], str):
        raise ValueError("lapo.guidance.place=outside needs a prompt with a user turn of text")
    said = dict(messages[turns[-1]])
    said["content"] += sentence
    return [*messages[: turns[-1]], said, *messages[turns[-1] + 1 :]]


def longest_guidance(guidance: GuidanceConfig, response_limit: int, tokenizer: Any) -> int:
    """Tokens that the longest sentence takes, with the opening of the think block, over all budgets there can be."""
    budgets = range(guidance.rounding, response_limit + guidance.rounding, guidance.rounding)
    sentences = {guidance_text(guidance.form, n, n, n, guidance.text, guidance.rounding) for n in budgets}
    texts = [f"{THINK}\n{sentence.lstrip()}" for sentence in sentences if sentence]
    if not texts:
        return 0
    return max(len(ids) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"])
