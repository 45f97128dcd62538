"""DAPO's soft overlong punishment: the last tokens before the limit cost more and more.

    reward   r_i = c_i + weight * term_i
             term_i = -clip((L_i - (limit - buffer)) / buffer, 0, 1)

Source: arXiv 2503.14476; code verl 0.9.1 `reward_loop/reward_manager/dapo.py` and TRL `get_soft_overlong_punishment`.
The paper has limit 20,480 and buffer 4,096; the defaults here are for responses of up to 4,096 tokens: set `limit` to
your data.max_response_length. Beyond `limit` the term stays at -1, as in TRL. The prompt names no budget. Degenerate
cases: none; each rollout counts for itself, wrong ones too. No response above limit - buffer: the term is 0 for all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from lapo_verl.objectives.base import Floats, Groups, Memory, Objective, means
from lapo_verl.objectives.fields import Range


@dataclass(frozen=True)
class Overlong(Objective):
    """Correct, and not close to the limit.

    Attributes:
        limit: tokens from which on the whole ``weight`` is taken off.
        buffer: over how many tokens below ``limit`` the punishment grows.
        weight: of the punishment.

    >>> groups = Groups.of(correct=[[True, True, False]], lengths=[[3072, 3584, 4096]])
    >>> Overlong().rewards(groups).tolist()
    [[1.0, 0.5, -1.0]]
    """

    needs_wrong_lengths: ClassVar[bool] = True

    limit: Annotated[int, Range(above=0)] = 4096
    buffer: Annotated[int, Range(above=0)] = 1024
    weight: Annotated[float, Range(at_least=0)] = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.buffer > self.limit:
            raise ValueError(f"buffer must not be above limit, got buffer={self.buffer}, limit={self.limit}")

    def rewards(self, groups: Groups, memory: Memory | None = None) -> Floats:
        """c + weight * term."""
        return groups.masked(groups.correct + self.weight * self.length_reward(groups))

    def length_reward(self, groups: Groups) -> Floats:
        """The term, shape (M, N), in [-1, 0]."""
        return np.clip((self.limit - self.buffer - groups.lengths) / self.buffer, -1.0, 0.0)

    def metrics(self, groups: Groups, rewards: Floats, memory: Memory | None = None) -> dict[str, float]:
        """The term, mean over correct rollouts, and the share of all rollouts that it punishes."""
        term = self.length_reward(groups)
        return means(length_reward=term[groups.correct], overlong_share=(term < 0)[groups.valid])
