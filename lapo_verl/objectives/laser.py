"""LASER: a bonus for a correct answer below a fixed length.

    reward   r_i = 1 + bonus_i if correct, else `wrong`
             bonus     bonus_i = weight where L_i <= target_length, else 0
             penalty   bonus_i = 0 where L_i <= target_length, else -weight
             hybrid    bonus_i = weight where L_i <= target_length, else -weight

Source: arXiv 2505.15612; code hkust-nlp/Laser c9e7c4e: bonus, weight 0.5, wrong -0.5, target_length 2048, 4096 or 8192
with responses of up to 16,384 tokens. A missing answer, -1 there, is a wrong one here. The prompt names no budget.
Degenerate cases: none; each rollout counts for itself. `laser_d` has targets that follow accuracy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np

from lapo_verl.objectives.base import Floats, Groups, Memory, Objective, means
from lapo_verl.objectives.fields import Range


@dataclass(frozen=True)
class Laser(Objective):
    """Correct, and below the target length.

    Attributes:
        kind: what length changes.
        target_length: in tokens.
        weight, wrong: the bonus, and the reward of a wrong rollout.

    >>> groups = Groups.of(correct=[[True, True, False]], lengths=[[4096, 5000, 100]])
    >>> [Laser(kind=kind).rewards(groups).tolist() for kind in ("bonus", "penalty", "hybrid")]
    [[[1.5, 1.0, -0.5]], [[1.0, 0.5, -0.5]], [[1.5, 0.5, -0.5]]]
    """

    kind: Literal["bonus", "penalty", "hybrid"] = "bonus"
    target_length: Annotated[int, Range(above=0)] = 4096
    weight: Annotated[float, Range(at_least=0)] = 0.5
    wrong: Annotated[float, Range(at_most=0)] = -0.5

    def rewards(self, groups: Groups, memory: Memory | None = None) -> Floats:
        """1 and the bonus, or ``wrong``."""
        short = 1.0 if self.kind == "penalty" else 1.0 + self.weight
        long = 1.0 if self.kind == "bonus" else 1.0 - self.weight
        right = np.where(groups.lengths <= self.target_length, short, long)
        return groups.masked(np.where(groups.correct, right, self.wrong))

    def metrics(self, groups: Groups, rewards: Floats, memory: Memory | None = None) -> dict[str, float]:
        """What the bonus adds to a correct rollout, and the share of them that is above the target length."""
        over = (groups.lengths > self.target_length)[groups.correct]
        return super().metrics(groups, rewards, memory) | means(over_limit_share=over)
