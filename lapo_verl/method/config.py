"""Settings of the two stages: the paper's values as defaults, checked when they are made."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from lapo_verl.method.lengths import STATISTICS, Statistic, check_choice, check_percentiles

PRESETS = ("paper", "reference")


@dataclass(frozen=True)
class DiscoveryConfig:
    """Stage 1 (Eq. 2-5).

    Attributes:
        alpha: weight of the length reward R1, >= 0.
        low, high: percentiles of the band.
        decay: distance from the band, in tokens, at which R1 reaches 0; > 0.
        statistic: what M(q) is made of (Eq. 3; Table 3).
        on_unsolved: M(q) where no rollout of the visit is correct: ``reset`` to unsolved (the paper) or ``keep``.
        degenerate_band: R1 in a group whose band is one length, P30 = P70, as that of a lone correct rollout:
            ``in_range`` as Eq. 5 says, so 1 at that length; ``zero`` = 0 for all, as the reference code does.
    """

    alpha: float = 0.7
    low: float = 30
    high: float = 70
    decay: float = 100
    statistic: Statistic = "median"
    on_unsolved: Literal["reset", "keep"] = "reset"
    degenerate_band: Literal["in_range", "zero"] = "in_range"

    def __post_init__(self) -> None:
        _check_number("alpha", self.alpha, minimum=0)
        check_percentiles(self.low, self.high)
        _check_number("decay", self.decay, minimum=0, open_end=True)
        check_choice("statistic", self.statistic, STATISTICS)
        check_choice("on_unsolved", self.on_unsolved, ("reset", "keep"))
        check_choice("degenerate_band", self.degenerate_band, ("in_range", "zero"))

    @classmethod
    def preset(cls, name: str) -> DiscoveryConfig:
        """``paper``, or ``reference`` for what the reference code does."""
        check_choice("preset", name, PRESETS)
        return cls() if name == "paper" else cls(degenerate_band="zero")


@dataclass(frozen=True)
class InternalizationConfig:
    """Stage 2 (Eq. 6-8).

    Attributes:
        beta: weight of the adherence reward R2, >= 0.
        sigma: width of the Gaussian around the budget, in tokens; > 0.
        statistic: what M(q) is made of (Eq. 8; Table 3).
    """

    beta: float = 0.7
    sigma: float = 120
    statistic: Statistic = "median"

    def __post_init__(self) -> None:
        _check_number("beta", self.beta, minimum=0)
        _check_number("sigma", self.sigma, minimum=0, open_end=True)
        check_choice("statistic", self.statistic, STATISTICS)

    @classmethod
    def preset(cls, name: str) -> InternalizationConfig:
        """``paper``, or ``reference`` for what the reference code does."""
        check_choice("preset", name, PRESETS)
        return cls() if name == "paper" else cls(beta=0.8)


def _check_number(name: str, value: Any, minimum: float, open_end: bool = False) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{name} must be a finite number, got {value!r}")
    if value < minimum or (open_end and value == minimum):
        raise ValueError(f"{name} must be {'>' if open_end else '>='} {minimum}, got {value}")
