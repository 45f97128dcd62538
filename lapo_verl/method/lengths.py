"""What is known of a problem's length: statistics over its correct rollouts (Eq. 1-3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Statistic = Literal["median", "mean", "minimum"]
STATISTICS: tuple[Statistic, ...] = ("median", "mean", "minimum")


@dataclass(frozen=True)
class LengthStats:
    """Statistics of the correct rollouts of one problem in one step; all but ``n`` in tokens.

    Attributes:
        n: number of correct rollouts, at least 1.
        low, high: ends of the band of Eq. 2, numpy's linear percentiles.
        median, mean, minimum, maximum: of the same lengths.

    >>> LengthStats.of([100, 200, 300, 400]).median
    250.0
    """

    n: float
    low: float
    high: float
    median: float
    mean: float
    minimum: float
    maximum: float

    @classmethod
    def of(cls, lengths: ArrayLike, low: float = 30, high: float = 70) -> LengthStats | None:
        """Statistics of ``lengths`` (tokens, shape (n,)); None where there are none.

        Args:
            lengths: lengths of the correct rollouts, whole numbers of tokens.
            low, high: percentiles of the band, 0 <= low <= high <= 100.

        Raises:
            ValueError: a length is negative or not finite, or the percentiles are out of range.
        """
        check_percentiles(low, high)
        values = as_lengths(lengths)
        if values.size == 0:
            return None
        # One call: numpy's percentile costs more than all the rest. Its 50th is the median, exactly, for whole numbers.
        band_low, median, band_high = np.percentile(values, [low, 50, high])
        return cls(
            n=float(values.size),
            low=float(band_low),
            high=float(band_high),
            median=float(median),
            mean=float(np.mean(values)),
            minimum=float(values.min()),
            maximum=float(values.max()),
        )

    def value(self, statistic: str) -> float:
        """The statistic that the mapping M(q) is built on (Table 3), in tokens."""
        check_choice("statistic", statistic, STATISTICS)
        return float(getattr(self, statistic))


def as_lengths(lengths: ArrayLike) -> NDArray[np.float64]:
    """``lengths`` as a float array of shape (n,); ValueError where it cannot be token counts."""
    values = np.asarray(lengths, dtype=np.float64)
    if values.ndim != 1:
        raise ValueError(f"lengths must have shape (n,), got {values.shape}")
    bad = ~np.isfinite(values) | (values < 0)
    if bad.any():
        raise ValueError(f"lengths must be finite and >= 0 tokens, got {values[bad][0]}")
    return values


def check_percentiles(low: float, high: float) -> None:
    """ValueError unless 0 <= low <= high <= 100."""
    if not 0 <= low <= 100:
        raise ValueError(f"low must be a percentile in [0, 100], got {low}")
    if not 0 <= high <= 100:
        raise ValueError(f"high must be a percentile in [0, 100], got {high}")
    if low > high:
        raise ValueError(f"low must not be above high, got low={low}, high={high}")


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    """ValueError naming the field unless ``value`` is one of ``choices``."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")
