"""LAPO's stage 1, Discovery: how long are the correct answers to this problem?

    band     [L_min, L_max] = [P30(L_q), P70(L_q)], L_q = lengths of the group's correct rollouts   (Eq. 2)
    reward   r_i = c_i + alpha * R1_i                                                               (Eq. 4)
             R1_i = 1 inside the band, else max(0, 1 - d_i / decay); 0 if wrong                     (Eq. 5)
             d_i = min(|L_i - L_min|, |L_i - L_max|)
    target   M(q) = median(L_q), written anew at every visit                                        (Eq. 3)

Source: arXiv 2507.15758 v2; code ZJU-REAL/LAPO bd59dfd. The prompt names no budget. Degenerate cases: none correct:
every reward is 0 and the problem is unsolved (no target), see ``on_unsolved``; L_min = L_max: see ``degenerate_band``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np

from lapo_verl.objectives.base import Flags, Floats, Groups, Memory, Objective, means
from lapo_verl.objectives.fields import Range
from lapo_verl.objectives.lengths import Statistic


@dataclass(frozen=True)
class Discovery(Objective):
    """Correct, and inside the band of the correct ones.

    Attributes:
        alpha: weight of the length reward R1.
        low, high: percentiles of the band.
        decay: tokens outside the band at which R1 reaches 0.
        statistic: what the target is made of (Table 3).
        on_unsolved: the target after a visit without a correct rollout: ``reset`` to none (paper) or ``keep``.
        degenerate_band: R1 where L_min = L_max: ``in_range``, as Eq. 5 says (paper); ``zero`` for all (reference code).

    >>> groups = Groups.of(correct=[[True, True, True, False]], lengths=[[100, 200, 300, 50]])
    >>> Discovery().rewards(groups).round(3).tolist(), Discovery().update(groups).tolist()
    ([[1.28, 1.7, 1.28, 0.0]], [200.0])
    """

    alpha: Annotated[float, Range(at_least=0)] = 0.7
    low: Annotated[float, Range(at_least=0, at_most=100)] = 30
    high: Annotated[float, Range(at_least=0, at_most=100)] = 70
    decay: Annotated[float, Range(above=0)] = 100
    statistic: Statistic = "median"
    on_unsolved: Literal["reset", "keep"] = "reset"
    degenerate_band: Literal["in_range", "zero"] = "in_range"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.low > self.high:
            raise ValueError(f"low must not be above high, got low={self.low}, high={self.high}")

    def rewards(self, groups: Groups, memory: Memory | None = None) -> Floats:
        """R_D (Eq. 4)."""
        return groups.masked(np.where(groups.correct, 1.0 + self.alpha * self.length_reward(groups), 0.0))

    def length_reward(self, groups: Groups) -> Floats:
        """R1 (Eq. 5) of the correct rollouts, shape (M, N); the values of wrong ones mean nothing."""
        inside, low, high = band(groups, self.low, self.high)
        distance = np.minimum(np.abs(groups.lengths - low), np.abs(groups.lengths - high))
        reward = np.where(inside, 1.0, np.maximum(0.0, 1.0 - distance / self.decay))
        return np.where(low < high, reward, 0.0) if self.degenerate_band == "zero" else reward

    def update(self, groups: Groups) -> Floats:
        """M(q) (Eq. 3)."""
        visit = groups.correct_lengths.statistic(self.statistic)
        return np.where(np.isnan(visit), groups.target, visit) if self.on_unsolved == "keep" else visit

    def metrics(self, groups: Groups, rewards: Floats, memory: Memory | None = None) -> dict[str, float]:
        """Means over correct rollouts: R1, and the share that is inside the band."""
        inside, right = band(groups, self.low, self.high)[0], groups.correct
        return means(length_reward=self.length_reward(groups)[right], in_band_share=inside[right])


def band(groups: Groups, low: float = 30, high: float = 70) -> tuple[Flags, Floats, Floats]:
    """Which rollouts, shape (M, N), are inside the band (Eq. 2), ends included; its ends, shape (M, 1), in tokens."""
    shortest, longest = (groups.correct_lengths.percentile(q)[:, None] for q in (low, high))
    return (groups.lengths >= shortest) & (groups.lengths <= longest), shortest, longest
