"""One step's rollouts by group: as arrays for the objective, as records for the store, and as metrics for the log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lapo_verl.objectives import Groups, Memory, Objective, has_signal, means
from lapo_verl.objectives.lengths import Floats
from lapo_verl.store import GroupRecord

BUDGET_PERCENTILES = (10, 50, 90)


@dataclass(frozen=True)
class Rollout:
    """One rollout as it comes out of the queue.

    Attributes:
        group: verl's uid of the visit, common to the rollouts of one prompt.
        problem_id: which problem was visited.
        target: what the store knew of the problem when the row was read, in tokens; None where nothing.
        correct: c_i.
        tokens: |r_i|, response tokens as lapo.length.scope counts them.
        truncated: cut off at the response limit.
        timed_out: the verifier gave up, which counts as wrong.
        guided: whether the prompt had a guidance sentence.
        prompt_budget: the budget as the prompt showed it, in tokens; None where it showed none.
        budget_age: how many steps before the row was read the target got its value; None where there was no budget.
    """

    group: str
    problem_id: str
    target: float | None
    correct: bool
    tokens: int
    truncated: bool = False
    timed_out: bool = False
    guided: bool = False
    prompt_budget: float | None = None
    budget_age: int | None = None


class Step:
    """The rollouts of one step, M groups of up to N.

    Attributes:
        rollouts: R of them, in the order of the queue.
        groups: shape (M, N), for the objective.
        first: the first rollout of each group, M of them; it says what the group's prompt was.
    """

    def __init__(self, rollouts: Sequence[Rollout], response_limit: int) -> None:
        self.rollouts = rollouts
        members: dict[str, list[int]] = {}
        for position, rollout in enumerate(rollouts):
            members.setdefault(rollout.group, []).append(position)
        self._members = list(members.values())
        self.first = [rollouts[positions[0]] for positions in self._members]
        rows = [[rollouts[position] for position in positions] for positions in self._members]
        self.groups = Groups.of(
            correct=[[rollout.correct for rollout in row] for row in rows],
            lengths=[[rollout.tokens for rollout in row] for row in rows],
            truncated=[[rollout.truncated for rollout in row] for row in rows],
            target=[rollout.target for rollout in self.first],
            prompt_budget=[rollout.prompt_budget for rollout in self.first],
            guided=[rollout.guided for rollout in self.first],
            response_limit=response_limit,
        )

    def by_rollout(self, values: NDArray[np.generic]) -> list[float]:
        """Values of shape (M, N), in the order of ``rollouts``."""
        ordered = [0.0] * len(self.rollouts)
        for positions, row in zip(self._members, values.tolist(), strict=True):
            for position, value in zip(positions, row, strict=False):
                ordered[position] = value
        return ordered

    def records(self, filtered: bool = False) -> list[GroupRecord]:
        """What the store keeps of each group; ``filtered`` where verl dropped them before the training."""
        return [
            GroupRecord(
                problem_id=first.problem_id,
                lengths=tuple(self.rollouts[position].tokens for position in positions),
                correct=tuple(self.rollouts[position].correct for position in positions),
                prompt_budget=first.prompt_budget,
                filtered=filtered,
            )
            for first, positions in zip(self.first, self._members, strict=True)
        ]


def step_metrics(
    step: Step,
    objective: Objective,
    rewards: Floats,
    memory: Memory | None,
    before: Mapping[str, float | None],
    after: Mapping[str, float | None],
) -> dict[str, float]:
    """The ``lapo/`` metrics of one step, or of one part of it; a mean over nothing is left out.

    verl's aggregator averages the parts of a step, and adds up a metric with "total" in its name: so counts have it.

    Args:
        rewards: shape (M, N), what the objective gave.
        memory: what the objective gave them with.
        before, after: the targets of the step's problems in tokens, None where there is none.
    """
    groups = step.groups
    solved = groups.correct.any(axis=1)
    targets = np.array([target for target in after.values() if target is not None])
    ages = [first.budget_age for first in step.first if first.budget_age is not None]
    changes = [
        target - earlier for q, target in after.items() if target is not None and (earlier := before.get(q)) is not None
    ]
    metrics = {
        "accuracy": float(groups.correct[groups.valid].mean()),
        "solved_share": float(solved.mean()),
        "unsolved_groups_total": float((~solved).sum()),
        "truncated_share": float(groups.truncated[groups.valid].mean()),
        "verify_timeouts_total": float(sum(rollout.timed_out for rollout in step.rollouts)),
        "no_signal_share": float((~has_signal(rewards)).mean()),
        **means(
            tokens_correct=groups.lengths[groups.correct],
            tokens_wrong=groups.lengths[groups.valid & ~groups.correct],
            budget_change=np.array(changes),
            budget_mean=targets,
            budget_age=np.array(ages),
        ),
        **objective.metrics(groups, rewards, memory),
    }
    if objective.keeps_targets:
        newly = sum(before.get(q) is None for q, target in after.items() if target is not None)
        metrics["newly_solved_total"] = float(newly)
    if targets.size:
        percentiles = np.percentile(targets, BUDGET_PERCENTILES).tolist()
        metrics |= {f"budget_p{name}": value for name, value in zip(BUDGET_PERCENTILES, percentiles, strict=True)}
    return {f"lapo/{name}": value for name, value in metrics.items()}
