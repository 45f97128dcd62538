"""Penalty in proportion to the pass rate, as prime-rl and NeMo-RL have it: ALP's idea on a relative length.

    reward   linear   r_i = c_i - weight * p * L_i / max L, the longest of all rollouts                    (prime-rl)
             nemo     r_i = c_i * max(0, 1 - weight * p * L_i / max L), the longest of the correct ones    (NeMo-RL)
             p = share of the group's rollouts that are correct

Source: code PrimeIntellect-ai/prime-rl 559b447 `orchestrator/algo/grpo.py`, weight 0.25, and NVIDIA-NeMo/RL
`utils/length_penalty.py` (its guide names MAI-Thinking-1), off by default there. Departs: prime-rl's terms for prompt
tokens (0.1) and turns (0.1) are left out. Its advantage is reward minus mean: algorithm.norm_adv_by_std_in_grpo=false.
Wrong rollouts pay under `linear` where others are correct: a shorter wrong one earns more. The prompt names no budget.
Degenerate cases: none correct: every reward is 0; all lengths 0: nothing is taken off.
`nemo` never reads wrong rollouts' lengths, but an objective says once for all its modes whether it needs them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np

from lapo_verl.objectives.base import Floats, Groups, Memory, Objective
from lapo_verl.objectives.fields import Range


@dataclass(frozen=True)
class PassRate(Objective):
    """Correct, and short for its group where the problem is easy.

    Attributes:
        mode: which reward.
        weight: what the longest rollout loses in a group that is all correct.

    >>> groups = Groups.of(correct=[[True, True, False, False]], lengths=[[500, 1000, 500, 2000]])
    >>> PassRate().rewards(groups).tolist(), PassRate(mode="nemo").rewards(groups).tolist()
    ([[0.96875, 0.9375, -0.03125, -0.125]], [[0.9375, 0.875, 0.0, 0.0]])
    """

    needs_wrong_lengths: ClassVar[bool] = True

    mode: Literal["linear", "nemo"] = "linear"
    weight: Annotated[float, Range(at_least=0)] = 0.25

    def rewards(self, groups: Groups, memory: Memory | None = None) -> Floats:
        """c, less the penalty."""
        lengths = groups.all_lengths if self.mode == "linear" else groups.correct_lengths
        longest = np.fmax(lengths.maximum(), 1.0)[:, None]
        penalty = self.weight * groups.accuracy[:, None] * groups.lengths / longest
        if self.mode == "linear":
            return groups.masked(groups.correct - penalty)
        return groups.masked(np.where(groups.correct, np.maximum(0.0, 1.0 - penalty), 0.0))
