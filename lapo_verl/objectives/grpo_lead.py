"""GRPO-LEAD's reward: correct answers decay with their length, where a problem's answers are long at all.

    reward   r_i = exp(-alpha * (L_i - m) / (s + 1e-6)) if correct, else -1
             m, s = mean and standard deviation (divided by n - 1) of the lengths of the group's correct rollouts
             r_i = 1 if correct where the three shortest rollouts of the group have a mean length <= gate

Source: arXiv 2504.09696; code aeroplanepaper/GRPO-LEAD 9344bef `main_ppo.py`: alpha 0.05, gate 4000. Departs: the
method also weights advantages by difficulty; that is not a reward and is left out here. The prompt names no budget.
Degenerate cases: one correct, or all correct ones of one length: 1; none correct: every reward is -1; fewer than three
rollouts: the gate takes the mean of those. ACOER reports that training with it collapses in the long run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from lapo_verl.objectives.base import Flags, Floats, Groups, Memory, Objective, means
from lapo_verl.objectives.fields import Range


@dataclass(frozen=True)
class GrpoLead(Objective):
    """Correct, and short for a correct one of its group.

    Attributes:
        alpha: how fast the reward decays, per standard deviation.
        gate: up to which length, in tokens, a group's answers are short enough; 0: no group's are.

    >>> groups = Groups.of(correct=[[True, True, False]], lengths=[[5000, 7000, 6000]])
    >>> GrpoLead().rewards(groups).round(3).tolist()
    [[1.036, 0.965, -1.0]]
    """

    needs_wrong_lengths: ClassVar[bool] = True

    alpha: Annotated[float, Range(at_least=0)] = 0.05
    gate: Annotated[float, Range(at_least=0)] = 4000

    def rewards(self, groups: Groups, memory: Memory | None = None) -> Floats:
        """The decayed 1, or -1."""
        lengths = groups.correct_lengths
        decays = self._long(groups) & (lengths.count > 1)
        z = (groups.lengths - lengths.mean()[:, None]) / (lengths.std(ddof=1)[:, None] + 1e-6)
        # A wrong rollout may be so far off that exp overflows.
        right = np.exp(-self.alpha * np.where(groups.correct & decays[:, None], z, 0.0))
        return groups.masked(np.where(groups.correct, right, -1.0))

    def _long(self, groups: Groups) -> Flags:
        """Which groups, shape (M,), are above the gate."""
        shortest = np.sort(groups.lengths, axis=1)[:, :3]
        mean = np.where(np.isnan(shortest), 0.0, shortest).sum(axis=1) / np.minimum(groups.all_lengths.count, 3)
        return np.asarray(mean > self.gate)

    def metrics(self, groups: Groups, rewards: Floats, memory: Memory | None = None) -> dict[str, float]:
        """What length adds to a correct rollout, and the share of the groups that are above the gate."""
        return super().metrics(groups, rewards, memory) | means(above_gate_share=self._long(groups))
