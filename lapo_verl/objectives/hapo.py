"""HAPO: beat the shortest correct answer to this problem so far.

    reward   r_i = c_i + weight * term_i
             f_i = cos(pi/2 * L_i / h) where L_i < 2h, else -1; h = the problem's target
             term_i = max(-0.7, f_i) if correct, min(0, f_i) if wrong; 0 where there is no h yet
    target   h = the shortest correct length of all visits so far, this one included, for the next one

Source: arXiv 2505.11225; code HCY123902/HAPO, 2025-07-16 (its cosine variant, weight 1, without the repetition term).
The prompt names no budget. Degenerate cases: none correct: the target stays; no target, or one of 0 tokens: no history,
as in the code. At weight 1 every correct rollout (>= 0.3) stays above every wrong one (<= 0).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from lapo_verl.objectives.base import Floats, Groups, Memory, Objective, means
from lapo_verl.objectives.fields import Range

LOWEST_CORRECT = -0.7


@dataclass(frozen=True)
class Hapo(Objective):
    """Correct, and shorter than ever before.

    Attributes:
        weight: of the length term, which is in [-1, 1].

    >>> groups = Groups.of(correct=[[True, True, False]], lengths=[[300, 100, 400]], target=[200])
    >>> Hapo().rewards(groups).round(3).tolist(), Hapo().update(groups).tolist()
    ([[0.3, 1.707, -1.0]], [100.0])
    """

    needs_wrong_lengths: ClassVar[bool] = True

    weight: Annotated[float, Range(at_least=0)] = 1.0

    def rewards(self, groups: Groups, memory: Memory | None = None) -> Floats:
        """c + weight * term."""
        return groups.masked(groups.correct + self.weight * self.length_reward(groups))

    def length_reward(self, groups: Groups) -> Floats:
        """The length term, shape (M, N)."""
        known = (groups.target > 0)[:, None]
        best = np.where(known, groups.target[:, None], 1.0)
        f = np.where(groups.lengths < 2 * best, np.cos(np.pi / 2 * groups.lengths / best), -1.0)
        term = np.where(groups.correct, np.maximum(LOWEST_CORRECT, f), np.minimum(0.0, f))
        return np.where(known, term, 0.0)

    def update(self, groups: Groups) -> Floats:
        """h."""
        return np.fmin(groups.target, groups.correct_lengths.minimum())

    def metrics(self, groups: Groups, rewards: Floats, memory: Memory | None = None) -> dict[str, float]:
        """The length term, mean over correct rollouts."""
        return means(length_reward=self.length_reward(groups)[groups.correct])
