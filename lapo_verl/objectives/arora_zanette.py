"""Arora & Zanette (TLMRE): correct answers lose more, the longer they are for their group.

    reward   r_i = c_i * (1 - alpha * sigmoid((L_i - m) / (s + 1e-7)))
             m, s = mean and standard deviation (divided by n) of the lengths of the group's correct rollouts

Source: arXiv 2502.04463; code Zanette-Labs/efficient-reasoning e3611e4, whose script has alpha 0.1; the paper has 0.05
to 0.4. As there, a rollout that was cut off counts as wrong (`check_eos`). Departs: a length is the rollout's, not that
of its text tokenised anew. The paper's advantage is RLOO: algorithm.adv_estimator=rloo. The prompt names no budget.
Degenerate cases: one correct, or all correct ones of one length: 1 - alpha / 2 each; none correct: every reward is 0.
Laser's port gives a lone correct rollout the whole penalty instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from lapo_verl.objectives.base import Floats, Groups, Memory, Objective
from lapo_verl.objectives.fields import Range
from lapo_verl.objectives.lengths import MaskedLengths


@dataclass(frozen=True)
class AroraZanette(Objective):
    """Correct, and short for a correct one of its group.

    Attributes:
        alpha: the most that length can take off.

    >>> groups = Groups.of(correct=[[True, True, False]], lengths=[[100, 300, 50]])
    >>> AroraZanette().rewards(groups).round(3).tolist()
    [[0.973, 0.927, 0.0]]
    """

    alpha: Annotated[float, Range(at_least=0, at_most=1)] = 0.1

    def rewards(self, groups: Groups, memory: Memory | None = None) -> Floats:
        """1 - alpha * sigmoid(z), or 0."""
        right = groups.correct & ~groups.truncated
        lengths = MaskedLengths(groups.lengths, right)
        z = (groups.lengths - lengths.mean()[:, None]) / (lengths.std()[:, None] + 1e-7)
        # A wrong rollout may be so far off that exp overflows.
        sigmoid = 1.0 / (1.0 + np.exp(-np.where(right, z, 0.0)))
        return groups.masked(np.where(right, 1.0 - self.alpha * sigmoid, 0.0))
