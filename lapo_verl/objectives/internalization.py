"""LAPO's stage 2, Internalization: keep to the length that the problem was found to need.

    reward   r_i = c_i + beta * R2_i                                                                (Eq. 6)
             R2_i = exp(-(L_i - n)^2 / (2 sigma^2)); 0 if wrong                                     (Eq. 7)
    target   M(q) = min(M(q), median(L_q)); median(L_q) where q was unsolved                        (Eq. 8)

L_q are the lengths of the group's correct rollouts; n is the number that the prompt named, else the target M(q).
Source: arXiv 2507.15758 v2; code ZJU-REAL/LAPO bd59dfd, which has beta 0.8 and the sigma that the paper does not give.
The prompt names M(q). None correct: every reward is 0, the target stays. Unsolved before (no target): n is the group's
own statistic, whatever the prompt named: the response limit would reward filling the context.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from lapo_verl.objectives.base import Floats, Groups, Memory, Objective, means
from lapo_verl.objectives.discovery import band
from lapo_verl.objectives.fields import Range
from lapo_verl.objectives.lengths import Statistic


@dataclass(frozen=True)
class Internalization(Objective):
    """Correct, and as long as the prompt said.

    Attributes:
        beta, sigma: weight of the adherence reward R2, and the width of its Gaussian in tokens.
        statistic: what the target is made of (Table 3).

    >>> groups = Groups.of(correct=[[True, True, False]], lengths=[[500, 620, 500]], target=[500])
    >>> Internalization().rewards(groups).round(3).tolist(), Internalization().update(groups).tolist()
    ([[1.7, 1.425, 0.0]], [500.0])
    """

    starts_from_targets: ClassVar[bool] = True

    beta: Annotated[float, Range(at_least=0)] = 0.7
    sigma: Annotated[float, Range(above=0)] = 120
    statistic: Statistic = "median"

    def rewards(self, groups: Groups, memory: Memory | None = None) -> Floats:
        """R_I (Eq. 6)."""
        return groups.masked(np.where(groups.correct, 1.0 + self.beta * self.length_reward(groups), 0.0))

    def length_reward(self, groups: Groups) -> Floats:
        """R2 (Eq. 7) of the correct rollouts, shape (M, N); the values of wrong ones mean nothing."""
        budget = _budget(groups)
        n = np.where(np.isnan(budget), groups.correct_lengths.statistic(self.statistic), budget)[:, None]
        return np.asarray(np.exp(-((groups.lengths - n) ** 2) / (2.0 * self.sigma**2)))

    def update(self, groups: Groups) -> Floats:
        """M(q) (Eq. 8)."""
        return np.fmin(groups.target, groups.correct_lengths.statistic(self.statistic))

    def prompt_budget(self, target: float | None, response_limit: int, draw: float) -> float | None:
        """M(q)."""
        return target

    def metrics(self, groups: Groups, rewards: Floats, memory: Memory | None = None) -> dict[str, float]:
        """Guided visits; of correct rollouts R2, inside Discovery's band, distance from the budget (guided or not)."""
        right, inside = groups.correct, band(groups)[0]
        metrics = means(
            guided_share=groups.guided, length_reward=self.length_reward(groups)[right], in_band_share=inside[right]
        )
        budget = np.broadcast_to(_budget(groups)[:, None], right.shape)
        for prefix, chosen in (("", groups.guided), ("unguided_", ~groups.guided)):
            known = right & chosen[:, None] & (budget > 0)
            off, tokens = np.abs(groups.lengths - budget)[known], budget[known]
            metrics |= means(**{f"{prefix}adherence_tokens": off, f"{prefix}adherence_relative": off / tokens})
        return metrics


def _budget(groups: Groups) -> Floats:
    """The n of Eq. 7, shape (M,), in tokens; NaN where the problem was unsolved."""
    budget = np.where(np.isnan(groups.prompt_budget), groups.target, groups.prompt_budget)
    return np.where(np.isnan(groups.target), np.nan, budget)
