"""ShorterBetter: as long as the shortest correct answer of the group.

    reward   r_i = alpha * c_i - beta * |L_i - SOL|
             SOL = shortest correct length of the group; where none is correct, the mean length of all rollouts

Source: arXiv 2504.21370; code JingyangYi/ShorterBetter 6399366: alpha 2, beta 0.001. The reward has no lower end, and
wrong rollouts pay too: at the defaults a correct one of SOL + 2,000 tokens earns as little as a wrong one of SOL.
The prompt names no budget. Degenerate cases: one rollout, or all of one length: alpha * c_i.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from lapo_verl.objectives.base import Floats, Groups, Memory, Objective, means
from lapo_verl.objectives.fields import Range


@dataclass(frozen=True)
class Shorterbetter(Objective):
    """Correct, and as short as the shortest correct one.

    Attributes:
        alpha: reward of a correct answer.
        beta: reward per token away from SOL.

    >>> groups = Groups.of(correct=[[True, True, False]], lengths=[[800, 1000, 500]])
    >>> Shorterbetter().rewards(groups).round(3).tolist()
    [[2.0, 1.8, -0.3]]
    """

    needs_wrong_lengths: ClassVar[bool] = True

    alpha: Annotated[float, Range(at_least=0)] = 2.0
    beta: Annotated[float, Range(at_least=0)] = 0.001

    def rewards(self, groups: Groups, memory: Memory | None = None) -> Floats:
        """alpha * c, less the distance from SOL."""
        return groups.masked(self.alpha * groups.correct + self.length_reward(groups))

    def length_reward(self, groups: Groups) -> Floats:
        """-beta * |L - SOL|, shape (M, N)."""
        shortest = groups.correct_lengths.minimum()
        sol = np.where(np.isnan(shortest), groups.all_lengths.mean(), shortest)
        return np.asarray(-self.beta * np.abs(groups.lengths - sol[:, None]))

    def metrics(self, groups: Groups, rewards: Floats, memory: Memory | None = None) -> dict[str, float]:
        """The length's part of a correct rollout's reward, and SOL of the groups with a correct one, in tokens."""
        shortest = groups.correct_lengths.minimum()
        solved = shortest[~np.isnan(shortest)]
        return means(length_reward=self.length_reward(groups)[groups.correct], optimal_length=solved)
