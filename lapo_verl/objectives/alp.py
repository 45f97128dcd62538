"""ALP: every token costs, and costs more where the problem is solved more often.

    reward   r_i = c_i - beta * L_i * max(p, 1/K);  p = share of the group's K rollouts that are correct

Source: arXiv 2506.05256; no official code was found. The paper writes beta * N * max(p, 1/K) * (L_i / N); the N cancels
here, so beta is the price of a token. Its 1e-7 is the default, with K 16 to 32. Wrong rollouts pay too. Such a price is
invisible in a mixed group (0.001 at 10,000 tokens), but where all are correct GRPO divides it by the standard deviation
and has advantages of about 1: keep algorithm.norm_adv_by_std_in_grpo=true, or raise beta a lot.
The prompt names no budget. Degenerate cases: none correct: p is taken as 1/K, and the shorter wrong one earns more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from lapo_verl.objectives.base import Floats, Groups, Memory, Objective
from lapo_verl.objectives.fields import Range


@dataclass(frozen=True)
class Alp(Objective):
    """Correct, and short where the problem is easy.

    Attributes:
        beta: price of a token in a group that is all correct.

    >>> groups = Groups.of(correct=[[True, True], [True, False]], lengths=[[1000, 2000], [1000, 2000]])
    >>> Alp(beta=1e-4).rewards(groups).round(3).tolist()
    [[0.9, 0.8], [0.95, -0.1]]
    """

    needs_wrong_lengths: ClassVar[bool] = True

    beta: Annotated[float, Range(at_least=0)] = 1e-7

    def rewards(self, groups: Groups, memory: Memory | None = None) -> Floats:
        """c minus the price of the length."""
        rate = np.maximum(groups.accuracy, 1.0 / groups.all_lengths.count)[:, None]
        return groups.masked(groups.correct - self.beta * rate * groups.lengths)
