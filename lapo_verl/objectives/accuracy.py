"""Acc-Only, the baseline of LAPO's Table 1: r_i = c_i. Length plays no part.

Source: arXiv 2507.15758, Table 1. No fields. The prompt names no budget. Degenerate cases: none; a group that is all
correct or all wrong gives GRPO no signal.
"""

from __future__ import annotations

from dataclasses import dataclass

from lapo_verl.objectives.base import Floats, Groups, Memory, Objective


@dataclass(frozen=True)
class Accuracy(Objective):
    """Correctness alone.

    >>> Accuracy().rewards(Groups.of(correct=[[True, False]], lengths=[[100, 90]])).tolist()
    [[1.0, 0.0]]
    """

    def rewards(self, groups: Groups, memory: Memory | None = None) -> Floats:
        """r = c."""
        return groups.masked(groups.correct)
