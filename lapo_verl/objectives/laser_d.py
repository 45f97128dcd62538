"""LASER-D: a bonus for a correct answer below a length that depends on how well such problems are solved by now.

    reward   r_i = 1 + weight * [L_i <= T(level)] if correct, else `wrong`
    level    of the group's accuracy p: high where p >= 2/3, medium where p >= 1/3, else low
    memory   T(level), made anew every `interval` steps: the least t of lower_bound, lower_bound + spacing, ... with
             cover(t) * m >= 1, else no limit; cover(t) = share of the responses of the level's groups with L <= t;
             m = floor(2n/3) for high, floor(n/3) for medium, 1 for low; n = rollouts of a group

Source: arXiv 2505.15612; code hkust-nlp/Laser c9e7c4e. That makes T from 500 monitor problems, this from the step's own
groups; like there, p = 1/3 counts as low then and p = 2/3 as medium. A missing answer, -1 there, is a wrong one here.
The prompt names no budget. Degenerate cases: no group of a level, or m = 0: no limit; none correct: all are `wrong`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from lapo_verl.objectives.base import Floats, Groups, Memory, Objective
from lapo_verl.objectives.fields import Range

LEVELS, EDGES = ("low", "medium", "high"), (1 / 3, 2 / 3)


@dataclass(frozen=True)
class LaserD(Objective):
    """Correct, and below the length that its level of accuracy needs.

    Attributes:
        weight, wrong: the bonus, and the reward of a wrong rollout.
        target_length: T in the first step, in tokens.
        lower_bound, spacing: the grid of T, in tokens.
        interval: steps between two makings of T; the first follows the first step.

    >>> groups = Groups.of(correct=[[True, True, False]], lengths=[[300, 9000, 400]])
    >>> LaserD().rewards(groups).tolist(), LaserD().adapt(None, groups)
    ([[1.5, 1.0, -0.5]], {'steps': 1, 'targets': {'low': None, 'medium': 9216, 'high': None}})
    """

    needs_wrong_lengths: ClassVar[bool] = True
    weight: Annotated[float, Range(at_least=0)] = 0.5
    wrong: Annotated[float, Range(at_most=0)] = -0.5
    target_length: Annotated[int, Range(above=0)] = 8192
    lower_bound: Annotated[int, Range(above=0)] = 4096
    spacing: Annotated[int, Range(above=0)] = 1024
    interval: Annotated[int, Range(above=0)] = 20

    def rewards(self, groups: Groups, memory: Memory | None = None) -> Floats:
        """1, with or without the bonus, or ``wrong``."""
        short = groups.lengths <= self.limits(groups, memory)
        return groups.masked(np.where(groups.correct, 1.0 + self.weight * short, self.wrong))

    def limits(self, groups: Groups, memory: Memory | None) -> Floats:
        """T of each group's level, shape (M, 1), in tokens; infinite where there is no limit."""
        targets = dict.fromkeys(LEVELS, self.target_length) if memory is None else memory["targets"]
        limits = np.array([np.inf if targets[level] is None else targets[level] for level in LEVELS])
        return np.asarray(limits[np.searchsorted(EDGES, groups.accuracy, side="right")][:, None])

    def adapt(self, memory: Memory | None, groups: Groups) -> Memory:
        """``steps`` so far and ``targets``, {level: T in tokens or None}."""
        steps = 1 if memory is None else memory["steps"] + 1
        if memory is not None and steps % self.interval:
            return {**memory, "steps": steps}
        n, level = int(groups.all_lengths.count.max(initial=0)), np.searchsorted(EDGES, groups.accuracy, side="left")
        lengths = [groups.lengths[(level == number)[:, None] & groups.valid] for number in range(len(LEVELS))]
        targets = map(self._target, lengths, (1, n // 3, 2 * n // 3))
        return {"steps": steps, "targets": dict(zip(LEVELS, targets, strict=True))}

    def _target(self, lengths: Floats, m: int) -> int | None:
        grid = np.arange(self.lower_bound, self.lower_bound + lengths.max(initial=0) + self.spacing, self.spacing)
        enough = np.searchsorted(np.sort(lengths), grid, side="right") * m >= max(lengths.size, 1)
        return int(grid[enough.argmax()]) if enough.any() else None

    def metrics(self, groups: Groups, rewards: Floats, memory: Memory | None = None) -> dict[str, float]:
        """What the bonus adds to a correct rollout, and T of each level that has one."""
        targets = {} if memory is None else memory["targets"]
        found = {f"target_{level}": float(target) for level, target in targets.items() if target is not None}
        return super().metrics(groups, rewards, memory) | found
