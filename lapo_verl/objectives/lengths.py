"""Statistics over the lengths of some of each group's rollouts, for all groups of a step at once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

Flags = NDArray[np.bool_]
Floats = NDArray[np.float64]
Statistic = Literal["median", "mean", "minimum"]
STATISTICS: tuple[Statistic, ...] = get_args(Statistic)


@dataclass(frozen=True, eq=False)
class MaskedLengths:
    """The lengths that count, for instance those of the correct rollouts.

    A statistic has the shape (M,) and is in tokens. It is NaN where no rollout of the group counts, and where the
    length of one that counts is unknown (NaN).

    Attributes:
        values: shape (M, N) float64, tokens.
        mask: shape (M, N) bool, the rollouts that count.

    >>> correct = MaskedLengths(np.array([[100.0, 250.0, 200.0]]), np.array([[True, False, True]]))
    >>> correct.median().tolist(), correct.percentile(30).tolist(), correct.count.tolist()
    ([150.0], [130.0], [2])
    """

    values: Floats
    mask: Flags

    @cached_property
    def count(self) -> NDArray[np.int64]:
        """How many rollouts of each group count, shape (M,)."""
        return np.asarray(self.mask.sum(axis=1))

    @cached_property
    def _ordered(self) -> Floats:
        # Sorted once, whatever number of statistics is asked for. Sorting puts NaN last.
        return np.sort(np.where(self.mask, self.values, np.nan), axis=1)

    def percentile(self, q: float) -> Floats:
        """numpy's linear percentile ``q``, in [0, 100], to the bit; read-only."""
        # Rewards, targets and metrics ask for the same ones.
        if q not in self._percentiles:
            self._percentiles[q] = self._percentile(q)
            self._percentiles[q].flags.writeable = False
        return self._percentiles[q]

    @cached_property
    def _percentiles(self) -> dict[float, Floats]:
        return {}

    def _percentile(self, q: float) -> Floats:
        last = np.maximum(self.count - 1, 0)
        place = last * (q / 100)
        below = np.floor(place).astype(np.intp)
        share = place - below
        low, high = self._at(below), self._at(np.minimum(below + 1, last))
        step = high - low
        # Like numpy, from the nearer of the two: this decides the last bit.
        return np.where(share >= 0.5, high - step * (1 - share), low + step * share)

    def median(self) -> Floats:
        """The 50th percentile."""
        return self.percentile(50)

    def minimum(self) -> Floats:
        """The shortest."""
        return self._at(np.zeros(len(self.mask), dtype=np.intp))

    def maximum(self) -> Floats:
        """The longest."""
        return self._at(np.maximum(self.count - 1, 0))

    def mean(self) -> Floats:
        """The mean."""
        mean = np.full(len(self.mask), np.nan)
        np.divide(np.where(self.mask, self.values, 0.0).sum(axis=1), self.count, out=mean, where=self.count > 0)
        return mean

    def std(self, ddof: int = 0) -> Floats:
        """The standard deviation: divided by the count minus ``ddof``; NaN where that is not above 0.

        All sums are exact for whole numbers of tokens, so no order and no padding of the rollouts changes a bit.
        """
        above = np.where(self.mask, self.values - self.minimum()[:, None], 0.0)
        squares = self.count * (above**2).sum(axis=1) - above.sum(axis=1) ** 2
        divisor = self.count * (self.count - ddof)
        variance = np.full(len(squares), np.nan)
        np.divide(np.maximum(squares, 0.0), divisor, out=variance, where=divisor > 0)
        return np.asarray(np.sqrt(variance))

    def statistic(self, name: Statistic) -> Floats:
        """``median``, ``mean`` or ``minimum``."""
        return {"median": self.median, "mean": self.mean, "minimum": self.minimum}[name]()

    def _at(self, places: NDArray[np.intp]) -> Floats:
        """The values at ``places`` of the sorted rows, shape (M,)."""
        if not self._ordered.size:
            return np.full(len(places), np.nan)
        return np.take_along_axis(self._ordered, places[:, None], axis=1)[:, 0]
