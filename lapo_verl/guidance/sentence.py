"""Which sentence a visit is shown, and how much of the prompt it takes. Knows neither verl nor torch."""

from __future__ import annotations

import hashlib
from typing import Any

from lapo_verl.config import GuidanceSettings
from lapo_verl.guidance.think import THINK
from lapo_verl.method import guidance_text, shown_names, shown_tokens


def guidance_sentence(
    guidance: GuidanceSettings, budget: float | None, band: tuple[float, float] | None, response_limit: int
) -> str:
    """The sentence of one visit; of an unsolved problem, one with the response limit, or none.

    Args:
        budget: M(q) in tokens, None where unsolved.
        band: of the visit that set M(q), (low, high) in tokens; only for a sentence that ``shows_band``.
        response_limit: in tokens.
    """
    if budget is None:
        if guidance.unsolved == "silent":
            return ""
        budget = float(response_limit)
        band = (budget, budget)
    low, high = band or (None, None)
    return guidance_text(guidance.form, budget, low, high, guidance.text, guidance.rounding)


def shows_band(guidance: GuidanceSettings) -> bool:
    """Whether the sentence has the band in it."""
    return not shown_names(guidance.form, guidance.text).isdisjoint(("low", "high"))


def prompt_budget(guidance: GuidanceSettings, budget: float | None) -> float | None:
    """The budget as a guided prompt shows it, in tokens: what its rollouts are rewarded around.

    Of a band it is the number between the two that are shown. None where the sentence shows no number, and of an
    unsolved problem: the response limit that it may be shown is no budget.
    """
    if budget is None or not shown_names(guidance.form, guidance.text):
        return None
    return float(shown_tokens(budget, guidance.rounding))


def visit_is_guided(problem_id: str, step: int, share: float) -> bool:
    """Whether the visit of a problem after ``step`` is one of the ``share`` that are shown the sentence.

    By a hash, so that a resumed training shows what the one that died would have shown.
    """
    digest = hashlib.sha256(f"{step}\0{problem_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64


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


def longest_guidance(guidance: GuidanceSettings, response_limit: int, tokenizer: Any) -> int:
    """Tokens that the longest sentence takes, with the opening of the think block, over all budgets there can be."""
    budgets = range(guidance.rounding, response_limit + guidance.rounding, guidance.rounding)
    sentences = {guidance_text(guidance.form, n, n, n, guidance.text, guidance.rounding) for n in budgets}
    texts = [f"{THINK}\n{sentence.lstrip()}" for sentence in sentences if sentence]
    if not texts:
        return 0
    return max(len(ids) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"])
