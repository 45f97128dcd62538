"""Kimi k1.5's length reward: between the shortest and the longest of the group, shorter is better.

    reward   r_i = c_i + weight * term_i
             lam_i = 0.5 - (L_i - min L) / (max L - min L), over all rollouts of the group
             term_i = lam_i if correct, min(0, lam_i) if wrong

Source: arXiv 2501.12599; code huggingface/open-r1 `len_reward` and hkust-nlp/Laser c9e7c4e, whose weight of 0.4 is the
default, as the paper names none. The paper starts it after a phase of training without it: train `accuracy` first.
The prompt names no budget, nothing is kept. Degenerate cases: all of one length, or one rollout: the term is 0 (Laser's
code gives a lone rollout about minus its length); none correct: the wrong ones are still told apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from lapo_verl.objectives.base import Floats, Groups, Memory, Objective, means
from lapo_verl.objectives.fields import Range


@dataclass(frozen=True)
class Kimi(Objective):
    """Correct, and short for its group.

    Attributes:
        weight: of the length term, which is in [-0.5, 0.5].

    >>> groups = Groups.of(correct=[[True, True, False, False]], lengths=[[100, 200, 100, 200]])
    >>> Kimi().rewards(groups).tolist()
    [[1.2, 0.8, 0.0, -0.2]]
    """

    needs_wrong_lengths: ClassVar[bool] = True

    weight: Annotated[float, Range(at_least=0)] = 0.4

    def rewards(self, groups: Groups, memory: Memory | None = None) -> Floats:
        """c + weight * term."""
        return groups.masked(groups.correct + self.weight * self.length_reward(groups))

    def length_reward(self, groups: Groups) -> Floats:
        """The length term, shape (M, N)."""
        shortest, longest = groups.all_lengths.minimum()[:, None], groups.all_lengths.maximum()[:, None]
        span = longest - shortest
        lam = np.where(span > 0, 0.5 - (groups.lengths - shortest) / np.where(span > 0, span, 1.0), 0.0)
        return np.where(groups.correct, lam, np.minimum(0.0, lam))

    def metrics(self, groups: Groups, rewards: Floats, memory: Memory | None = None) -> dict[str, float]:
        """The length term, mean over correct rollouts."""
        return means(length_reward=self.length_reward(groups)[groups.correct])
