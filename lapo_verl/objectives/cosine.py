"""Cosine length reward: correct answers earn less the longer they are, wrong ones more.

    reward   r_i = long + (short - long) / 2 * (1 + cos(pi * min(L_i / limit, 1)))
             correct: from correct_short at 0 tokens to correct_long at the limit; wrong: wrong_short to wrong_long
             r_i = exceeded where L_i >= limit, if it is given

Source: arXiv 2502.03373; code TRL `get_cosine_scaled_reward`: correct 1 to 0.5, wrong -1 to -0.5, the defaults. The
paper has correct 2 to 1, wrong -10 to 0, exceeded -10. Departs: beyond the limit the cosine would rise again, here the
reward stays; TRL's default limit is 1,000 tokens: set `limit` to your data.max_response_length. open-r1 and ms-swift
count characters. The prompt names no budget. Degenerate cases: none; each rollout counts for itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from lapo_verl.objectives.base import Floats, Groups, Memory, Objective, means
from lapo_verl.objectives.fields import Range


@dataclass(frozen=True)
class Cosine(Objective):
    """Correct and short, or wrong and long.

    Attributes:
        limit: tokens at which the reward stops to change.
        correct_short, correct_long: reward of a correct answer of 0 tokens, and of the limit.
        wrong_short, wrong_long: the same of a wrong one.
        exceeded: reward of every rollout that reaches the limit; None: it earns what the cosine says.

    >>> groups = Groups.of(correct=[[True, True, False, False]], lengths=[[0, 2048, 2048, 4096]])
    >>> Cosine().rewards(groups).tolist(), Cosine(exceeded=-10).rewards(groups).tolist()
    ([[1.0, 0.75, -0.75, -0.5]], [[1.0, 0.75, -0.75, -10.0]])
    """

    needs_wrong_lengths: ClassVar[bool] = True

    limit: Annotated[int, Range(above=0)] = 4096
    correct_short: float = 1.0
    correct_long: float = 0.5
    wrong_short: float = -1.0
    wrong_long: float = -0.5
    exceeded: float | None = None

    def rewards(self, groups: Groups, memory: Memory | None = None) -> Floats:
        """Between the two ends."""
        short = np.where(groups.correct, self.correct_short, self.wrong_short)
        long = np.where(groups.correct, self.correct_long, self.wrong_long)
        share = (1.0 + np.cos(np.pi * np.minimum(groups.lengths / self.limit, 1.0))) / 2.0
        rewards = long + (short - long) * share
        if self.exceeded is not None:
            rewards = np.where(groups.lengths >= self.limit, self.exceeded, rewards)
        return groups.masked(rewards)

    def metrics(self, groups: Groups, rewards: Floats, memory: Memory | None = None) -> dict[str, float]:
        """Mean reward of the correct and of the wrong rollouts."""
        return means(correct_reward=rewards[groups.correct], wrong_reward=rewards[groups.valid & ~groups.correct])
