"""GR3: the reward is divided by a factor that grows with the length, relative to the group.

    reward   r_i = c_i / (1 + alpha * L_i / mean L), the mean over all rollouts of the group

Source: arXiv 2603.10535; code PrimeIntellect-ai/prime-rl c1bbbf923, alpha 0.33. prime-rl asked for difficulty filtering
with it: a group that is all correct teaches length and nothing else. The prompt names no budget.
Degenerate cases: all of one length: 1 / (1 + alpha) each; all lengths 0: r_i = c_i; none correct: every reward is 0.
A wrong rollout earns 0, whatever its length, but its length is part of the mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from lapo_verl.objectives.base import Floats, Groups, Memory, Objective
from lapo_verl.objectives.fields import Range


@dataclass(frozen=True)
class Gr3(Objective):
    """Correct, divided by the relative length.

    Attributes:
        alpha: weight of the relative length.

    >>> groups = Groups.of(correct=[[True, True, False]], lengths=[[100, 200, 300]])
    >>> Gr3(alpha=1).rewards(groups).round(3).tolist()
    [[0.667, 0.5, 0.0]]
    """

    needs_wrong_lengths: ClassVar[bool] = True

    alpha: Annotated[float, Range(at_least=0)] = 0.33

    def rewards(self, groups: Groups, memory: Memory | None = None) -> Floats:
        """c over the factor."""
        mean = groups.all_lengths.mean()[:, None]
        return groups.masked(groups.correct / (1.0 + self.alpha * groups.lengths / np.where(mean > 0, mean, 1.0)))
