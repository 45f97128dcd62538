"""Truncation: an answer that comes after the limit does not count (ThinkPrune, the reward of DLER).

    reward   r_i = c_i * [L_i <= limit]

Source: ThinkPrune, arXiv 2504.01296, code UCSB-NLP-Chang/ThinkPrune 0f7449b; DLER, arXiv 2510.15110, code NVlabs/DLER
ea7d4f7, whose limit of 4,000 is the default. The prompt names the limit, as in ThinkPrune (there in the system prompt,
here at the end of the user's turn); DLER's names none: `lapo.guidance.form=implicit`.
ThinkPrune trains in stages of about 180 steps each: limit 4,000, then 3,000, then 2,000, each from the model before.
Departs: both cut the rollout at the limit and judge what is there; here it runs on to data.max_response_length, and the
whole response counts. Set that to the limit as well and the two are the same, at less cost. DLER's other parts are
settings of verl: clip-higher, dynamic sampling, an advantage that is normalised over the batch.
Degenerate cases: no correct answer within the limit: every reward is 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from lapo_verl.objectives.base import Floats, Groups, Memory, Objective, means
from lapo_verl.objectives.fields import Range


@dataclass(frozen=True)
class Truncation(Objective):
    """Correct, and within the limit.

    Attributes:
        limit: in tokens.

    >>> groups = Groups.of(correct=[[True, True, False]], lengths=[[4000, 4001, 100]])
    >>> Truncation().rewards(groups).tolist(), Truncation().prompt_budget(None, response_limit=8192, draw=0.5)
    ([[1.0, 0.0, 0.0]], 4000)
    """

    limit: Annotated[int, Range(above=0)] = 4000

    def rewards(self, groups: Groups, memory: Memory | None = None) -> Floats:
        """1 within the limit, else 0."""
        return groups.masked(groups.correct & (groups.lengths <= self.limit))

    def prompt_budget(self, target: float | None, response_limit: int, draw: float) -> float | None:
        """``limit``, at most the response limit."""
        return min(self.limit, response_limit)

    def metrics(self, groups: Groups, rewards: Floats, memory: Memory | None = None) -> dict[str, float]:
        """Share of the correct rollouts that are longer than the limit."""
        return means(over_limit_share=(groups.lengths > self.limit)[groups.correct])
