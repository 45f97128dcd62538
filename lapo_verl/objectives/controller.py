"""A price of length that a controller sets: it follows accuracy (A-DLP) or length (Leash).

    reward   accuracy   r_i = c_i - lambda * L_i
             length     r_i = clip(c_i - lambda * max(0, L_i / target_length - 1), 0, 1)
    memory   lambda += rate * gap after every step, within [0, highest]
             accuracy   gap = accuracy of the step - target_accuracy
             length     gap = mean of L_i / target_length - 1 over all rollouts of the step

Source: A-DLP, arXiv 2505.18298, code JinyanSu1/A-DLP afbc411: start 0.001, rate 0.001, target_accuracy = accuracy of
the base model on the training set (0.62 for DeepScaleR-1.5B); Leash, arXiv 2512.21540: start 0.2, rate 0.05,
target_length 4096. The defaults are A-DLP's: for `length` set start and rate too. Departs: A-DLP's lambda has no upper
end; a public implementation of Leash has no negative gap, so its lambda only rises, the paper's falls as well. Wrong
rollouts pay under `accuracy`, without a lower end; under `length` they earn 0. The prompt names no budget.
Degenerate cases: lambda 0: r_i = c_i.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np

from lapo_verl.objectives.base import Floats, Groups, Memory, Objective
from lapo_verl.objectives.fields import Range


@dataclass(frozen=True)
class Controller(Objective):
    """Correct, less a price of length that the controller sets.

    Attributes:
        follow: what the controller holds at its target.
        start, rate, highest: the first lambda, how fast it moves, and its upper end.
        target_accuracy, target_length: what is held; the length in tokens.

    >>> groups = Groups.of(correct=[[True, True, True, False]], lengths=[[100, 400, 900, 100]])
    >>> Controller().rewards(groups).round(3).tolist(), round(Controller().adapt(None, groups)["lambda"], 6)
    ([[0.9, 0.6, 0.1, -0.1]], 0.00113)
    """

    needs_wrong_lengths: ClassVar[bool] = True

    follow: Literal["accuracy", "length"] = "accuracy"
    start: Annotated[float, Range(at_least=0)] = 0.001
    rate: Annotated[float, Range(above=0)] = 0.001
    highest: Annotated[float, Range(above=0)] = 1.0
    target_accuracy: Annotated[float, Range(at_least=0, at_most=1)] = 0.62
    target_length: Annotated[int, Range(above=0)] = 4096

    def rewards(self, groups: Groups, memory: Memory | None = None) -> Floats:
        """c, less the price."""
        price = self._lambda(memory)
        if self.follow == "accuracy":
            return groups.masked(groups.correct - price * groups.lengths)
        over = np.maximum(0.0, groups.lengths / self.target_length - 1.0)
        return groups.masked(np.clip(groups.correct - price * over, 0.0, 1.0))

    def adapt(self, memory: Memory | None, groups: Groups) -> Memory:
        """``lambda``."""
        gap = 0.0
        if len(groups) and self.follow == "accuracy":
            gap = float(groups.correct[groups.valid].mean()) - self.target_accuracy
        elif len(groups):
            gap = float(groups.lengths[groups.valid].mean()) / self.target_length - 1.0
        return {"lambda": min(max(self._lambda(memory) + self.rate * gap, 0.0), self.highest)}

    def _lambda(self, memory: Memory | None) -> float:
        return float(self.start if memory is None else memory["lambda"])

    def metrics(self, groups: Groups, rewards: Floats, memory: Memory | None = None) -> dict[str, float]:
        """What length adds to a correct rollout, and lambda."""
        return super().metrics(groups, rewards, memory) | {"lambda": self._lambda(memory)}
