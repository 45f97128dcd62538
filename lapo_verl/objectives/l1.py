"""L1 (LCPO): be as long as the prompt asks, or at most as long.

    budget   n, drawn anew at every visit, uniform over low..high
    reward   exact      r_i = c_i - alpha * |L_i - n|                           (paper and code; no lower end)
             max        r_i = c_i * clip(alpha * (n - L_i) + 0.5, 0, 1)         (paper)
             max_code   r_i = c_i + (clip(alpha * (n - L_i), -1, 1) + 1) / 2    (code: half the slope; wrong ones too)

Source: arXiv 2503.04697; code cmu-l3/l1 93dd330: exact, alpha 0.0003, low 100, high 4000. L1-Max goes on from the model
of L1-Exact. The user's turn names n, in the paper's words: "Think for n tokens.", with `guidance=l1_max` "Think for
maximum n tokens.". n follows from problem and step alone, so a resumed run repeats it; it is never above the response
limit. Departs: no sigmoid variants, no draws on a logarithmic scale. A length is the whole response's, as in the code.
Degenerate cases: the prompt named no number: c_i.
`max` never reads wrong rollouts' lengths, but an objective says once for all its modes whether it needs them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np

from lapo_verl.objectives.base import Floats, Groups, Memory, Objective, means
from lapo_verl.objectives.fields import Range


@dataclass(frozen=True)
class L1(Objective):
    """Correct, and as long as the prompt said.

    Attributes:
        mode: which reward.
        alpha: reward per token off the budget.
        low, high: range of the budgets, in tokens.

    >>> groups = Groups.of(correct=[[True, True, False]], lengths=[[1000, 1500, 1500]], prompt_budget=[1000])
    >>> L1().rewards(groups).round(3).tolist(), L1(mode="max").rewards(groups).round(3).tolist()
    ([[1.0, 0.85, -0.15]], [[0.5, 0.35, 0.0]])
    """

    needs_wrong_lengths: ClassVar[bool] = True
    mode: Literal["exact", "max", "max_code"] = "exact"
    alpha: Annotated[float, Range(at_least=0)] = 0.0003
    low: Annotated[int, Range(above=0)] = 100
    high: Annotated[int, Range(above=0)] = 4000

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.low > self.high:
            raise ValueError(f"low must not be above high, got low={self.low}, high={self.high}")

    def rewards(self, groups: Groups, memory: Memory | None = None) -> Floats:
        """The reward of the mode; c where the prompt named no number."""
        gain = self.alpha * (groups.prompt_budget[:, None] - groups.lengths)
        if self.mode == "exact":
            rewards = groups.correct - np.abs(gain)
        elif self.mode == "max":
            rewards = groups.correct * np.clip(gain + 0.5, 0.0, 1.0)
        else:
            rewards = groups.correct + (np.clip(gain, -1.0, 1.0) + 1.0) / 2.0
        return groups.masked(np.where(np.isnan(gain), groups.correct, rewards))

    def prompt_budget(self, target: float | None, response_limit: int, draw: float) -> float | None:
        """n."""
        low, high = min(self.low, response_limit), min(self.high, response_limit)
        return float(low + int(draw * (high - low + 1)))

    def metrics(self, groups: Groups, rewards: Floats, memory: Memory | None = None) -> dict[str, float]:
        """What length adds to a correct rollout; of those with a budget, distance from it and share above it."""
        over = (groups.lengths - groups.prompt_budget[:, None])[groups.correct]
        over = over[~np.isnan(over)]
        found = means(adherence_tokens=np.abs(over), over_budget_share=over > 0)
        return super().metrics(groups, rewards, memory) | found
