"""How the budget reaches the prompt: the node ``lapo.guidance``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from lapo_verl.guidance.text import check_text


@dataclass(frozen=True)
class GuidanceConfig:
    """How the budget reaches the prompt (Table 2).

    Attributes:
        form: ``exact`` names the budget, ``range`` the band, ``implicit`` says nothing.
        place: ``inside`` the think block, or ``outside``: at the end of the user's turn.
        text: a template with {budget}, {low}, {high}; None for the form's own sentence.
        low, high: the band that a sentence names: percentiles of the correct rollouts' lengths.
        rounding: budgets are shown as multiples of this many tokens.
        unsolved: sentence of an unsolved problem: ``limit`` names the response limit (the paper), ``silent`` none.
        share: share of the visits that are shown the sentence, in (0, 1]; the others are rewarded all the same.
        validation: whether validation prompts are guided as well; the paper's are not.
    """

    form: Literal["exact", "range", "implicit"] = "exact"
    place: Literal["inside", "outside"] = "inside"
    text: str | None = None
    low: float = 30
    high: float = 70
    rounding: int = 1
    unsolved: Literal["limit", "silent"] = "limit"
    share: float = 1.0
    validation: bool = False

    def __post_init__(self) -> None:
        check_text(self.form, self.text, self.rounding)
        check_choice("place", self.place, ("inside", "outside"))
        check_choice("unsolved", self.unsolved, ("limit", "silent"))
        if not (is_number(self.low) and is_number(self.high) and 0 <= self.low <= self.high <= 100):
            raise ValueError(f"low and high must be percentiles, 0 <= low <= high <= 100, got {self.low}, {self.high}")
        if not is_number(self.share) or not 0 < self.share <= 1:
            raise ValueError(f"share must be in (0, 1], got {self.share!r}")
        if not isinstance(self.validation, bool):
            raise ValueError(f"validation must be true or false, got {self.validation!r}")


def is_number(value: Any) -> bool:
    """Whether a value of a config is a number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    """ValueError naming the field unless ``value`` is one of ``choices``."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")
