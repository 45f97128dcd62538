"""ACOER: a bonus for short correct answers, whose weight grows while accuracy holds and shrinks when it falls.

    reward   r_i = 1 + alpha_t * ln(1 + 5 * (1 - min(L_i / B_t, 1))) / ln 6 if correct, else 0
    memory   moving averages (decay 2/51) of accuracy and of the mean correct length. After `warmup` steps, and once
             there are `window` averages, each step ends with: alpha_t *= 0.95 where accuracy is more than 0.02 below
             the first of the last `window`, else 1.02, within [0.01, 0.5]; B_t = max(lowest_budget, ratio * length)

Source: arXiv 2606.22716; code js-lee-AI/ACOER d13bb6b: the defaults. Departs: lengths are tokens of the response
(there: of the think block, as characters / 4); a step without a correct rollout leaves the average length as it is
(there it counts as 0); no format reward. The prompt names no budget. Degenerate cases: none correct: all are 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from lapo_verl.objectives.base import Floats, Groups, Memory, Objective
from lapo_verl.objectives.fields import Range

DECAY, SCALE, LOWEST, HIGHEST, UP, DOWN, FALL = 2 / 51, 5.0, 0.01, 0.5, 1.02, 0.95, 0.02


@dataclass(frozen=True)
class Acoer(Objective):
    """Correct, and below a budget that follows the lengths.

    Attributes:
        alpha, budget: alpha_t and B_t of the first steps; a budget is in tokens.
        ratio, lowest_budget: B_t as a share of the average correct length, and its least.
        warmup, window: in steps.

    >>> groups = Groups.of(correct=[[True, True, False]], lengths=[[0, 5000, 100]])
    >>> Acoer().rewards(groups).tolist()
    [[1.02, 1.0, 0.0]]
    """

    alpha: Annotated[float, Range(at_least=LOWEST, at_most=HIGHEST)] = 0.02
    budget: Annotated[float, Range(above=0)] = 4096
    ratio: Annotated[float, Range(above=0)] = 0.85
    lowest_budget: Annotated[float, Range(above=0)] = 512
    warmup: Annotated[int, Range(at_least=0)] = 200
    window: Annotated[int, Range(at_least=2)] = 100

    def rewards(self, groups: Groups, memory: Memory | None = None) -> Floats:
        """1 and the bonus, or 0."""
        state = self._state(memory)
        saved = 1.0 - np.minimum(groups.lengths / state["budget"], 1.0)
        return groups.masked(np.where(groups.correct, 1.0 + state["alpha"] * np.log1p(SCALE * saved) / np.log(6), 0.0))

    def adapt(self, memory: Memory | None, groups: Groups) -> Memory:
        """``alpha``, ``budget``, ``steps`` so far; averages: ``length``, ``accuracy``, the last ``accuracies``."""
        state, right = self._state(memory), groups.lengths[groups.correct]
        if right.size:
            state["length"] = _average(state["length"], float(right.mean()))
        if len(groups):
            state["accuracy"] = _average(state["accuracy"], float(groups.correct[groups.valid].mean()))
            state["accuracies"] = [*state["accuracies"], state["accuracy"]][-self.window :]
        state["steps"] += 1
        if state["steps"] >= self.warmup and len(state["accuracies"]) == self.window:
            fell = state["accuracies"][0] - state["accuracy"] > FALL
            state["alpha"] = max(LOWEST, state["alpha"] * DOWN) if fell else min(HIGHEST, state["alpha"] * UP)
            if state["length"] is not None:
                state["budget"] = max(self.lowest_budget, self.ratio * state["length"])
        return state

    def _state(self, memory: Memory | None) -> Memory:
        averages: Memory = {"length": None, "accuracy": None, "accuracies": []}
        return dict(memory or {"alpha": self.alpha, "budget": self.budget, "steps": 0, **averages})

    def metrics(self, groups: Groups, rewards: Floats, memory: Memory | None = None) -> dict[str, float]:
        """What the bonus adds to a correct rollout; alpha_t, and B_t in tokens."""
        state = self._state(memory)
        return super().metrics(groups, rewards, memory) | {k: float(state[k]) for k in ("alpha", "budget")}


def _average(before: float | None, value: float) -> float:
    return value if before is None else DECAY * value + (1 - DECAY) * before
