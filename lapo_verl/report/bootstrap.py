"""Percentile bootstrap over problems: how far a mean might be off because these problems were asked and not others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
RESAMPLES = 10_000
_NUMBERS_AT_ONCE = 2_000_000


@dataclass(frozen=True)
class Estimate:
    """A value and the ends of its 95 % interval; the ends are None where one problem alone gives no interval."""

    value: float
    low: float | None
    high: float | None


def resampled_means(
    values: NDArray[np.float64], resamples: int = RESAMPLES, seed: int | Sequence[int] = 0
) -> NDArray[np.float64]:
    """Means over problems that are drawn with replacement, as many as there are.

    The values of a row are drawn together, so that differences of columns are paired.

    Args:
        values: shape (problems, columns).
        seed: of the draws; different benchmarks need different ones, or their draws would not be independent.

    Returns:
        Shape (resamples, columns).
    """
    problems, columns = values.shape
    draw = np.random.default_rng(seed)
    means = np.empty((resamples, columns))
    step = max(1, _NUMBERS_AT_ONCE // problems)
    for start in range(0, resamples, step):
        drawn = draw.integers(problems, size=(min(step, resamples - start), problems))
        for column in range(columns):
            means[start : start + step, column] = values[drawn, column].mean(axis=1)
    return means


def estimate(value: float, resampled: NDArray[np.float64], problems: int) -> Estimate:
    """``value`` with the interval that holds the middle 95 % of its resampled values, shape (resamples,)."""
    if problems < 2:
        return Estimate(value, None, None)
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(resampled, [tail, 100 - tail])
    return Estimate(value, float(low), float(high))
