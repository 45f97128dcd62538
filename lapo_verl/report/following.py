"""How well a model follows the budgets that it is asked for, with the numbers of its table and picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from lapo_verl.runs.dumps import Sample
from lapo_verl.runs.summary import level_order, right_and_wrong, summarize

# Within this share of the budget a response has kept to it.
NEAR = 0.1


@dataclass(frozen=True)
class Followed:
    """Responses of one model to one benchmark under one budget, or under none.

    Attributes:
        asked: tokens that the prompts asked for; None where the model planned by itself.
        tokens, pass_at_1: means over problems, the latter in percent.
        tokens_right, tokens_wrong: means over right and over wrong samples; None where there are none.
        error, relative_error: mean over the samples of |tokens - asked|, and of its share of ``asked``; None without
            a budget.
        near: percent of the samples within ``NEAR`` of the budget; None without one.
        by_level: {level: the same of its problems}; empty in a level's own.
    """

    asked: float | None
    tokens: float
    pass_at_1: float
    tokens_right: float | None
    tokens_wrong: float | None
    error: float | None
    relative_error: float | None
    near: float | None
    by_level: Mapping[str, Followed]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def cells(self) -> list[str]:
        """The cells of its row in a table."""
        lengths = right_and_wrong({"tokens_right": self.tokens_right, "tokens_wrong": self.tokens_wrong})
        asked = "self" if self.asked is None else f"{self.asked:.0f}"
        relative = "-" if self.relative_error is None else f"{100 * self.relative_error:.1f}"
        rest = ["-" if value is None else f"{value:.1f}" for value in (self.error, self.near)]
        return [asked, f"{self.tokens:.1f}", lengths, f"{self.pass_at_1:.1f}", rest[0], relative, rest[1]]


CELLS = ("asked for", "tokens", "right / wrong", "Pass@1, %", "error, tokens", "error, %", "within 10 %, %")


def followed(samples: Sequence[Sample], asked: float | None) -> Followed:
    """What became of one budget, overall and by difficulty level."""
    levels = sorted({sample.level for sample in samples if sample.level is not None}, key=level_order)
    return _followed(
        samples, asked, {level: _followed([s for s in samples if s.level == level], asked, {}) for level in levels}
    )


def _followed(samples: Sequence[Sample], asked: float | None, by_level: Mapping[str, Followed]) -> Followed:
    summary = summarize(samples)
    off = None if asked is None else np.abs(np.array([sample.tokens for sample in samples]) - asked)
    return Followed(
        asked=asked,
        tokens=summary["tokens"],
        pass_at_1=summary["pass@1"],
        tokens_right=summary["tokens_right"],
        tokens_wrong=summary["tokens_wrong"],
        error=None if off is None else float(off.mean()),
        relative_error=None if off is None or asked is None else float(off.mean() / asked),
        near=None if off is None or asked is None else 100 * float(np.mean(off <= NEAR * asked)),
        by_level=by_level,
    )
