"""One step's groups: from rollouts to rewards, store records and metrics. Knows neither verl nor torch.

The replay buffer reads the rollouts of a step, hands them here, and writes back what comes out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lapo_verl.config import LapoSettings
from lapo_verl.method import (
    LengthStats,
    discovery_rewards,
    float32_scores,
    has_signal,
    in_band,
    internalization_rewards,
)
from lapo_verl.store import GroupRecord


@dataclass(frozen=True)
class Rollout:
    """One rollout as it comes out of the queue.

    Attributes:
        group: verl's uid of the visit, common to the rollouts of one prompt.
        problem_id: which problem was visited.
        budget: M(q) in tokens when the row was read; None where the problem was unsolved.
        correct: c_i.
        tokens: |r_i|, response tokens as lapo.length.scope counts them.
        truncated: cut off at the response limit.
        timed_out: the verifier gave up, which counts as wrong.
        guided: whether the prompt had a guidance sentence.
        prompt_budget: the budget as the prompt showed it, in tokens; None where it showed none.
    """

    group: str
    problem_id: str
    budget: float | None
    correct: bool
    tokens: int
    truncated: bool = False
    timed_out: bool = False
    guided: bool = False
    prompt_budget: float | None = None


@dataclass(frozen=True)
class Group:
    """The rollouts of one problem's visit, with what the method makes of them.

    Attributes:
        record: for the store.
        target: what stage 2 rewards around, in tokens: the budget as the prompt showed it, else M(q); None where the
            problem was unsolved.
        guided: whether the prompt had a guidance sentence.
        stats: of the correct rollouts; None where there are none.
        correct, tokens: shape (N,).
        rewards: shape (N,), Eq. 4 or Eq. 6.
        positions: shape (N,), where the rollouts stand in the step.
    """

    record: GroupRecord
    target: float | None
    guided: bool
    stats: LengthStats | None
    correct: NDArray[np.bool_]
    tokens: NDArray[np.int64]
    rewards: NDArray[np.float64]
    positions: list[int]

    @property
    def scores(self) -> NDArray[np.float32]:
        """The rewards as verl is given them, shape (N,)."""
        return float32_scores(self.rewards)


def score_groups(rollouts: Sequence[Rollout], settings: LapoSettings) -> list[Group]:
    """Group a step's rollouts by visit and compute their rewards (Eq. 4 or Eq. 6)."""
    members: dict[str, list[int]] = {}
    for position, rollout in enumerate(rollouts):
        members.setdefault(rollout.group, []).append(position)
    return [_score_group(rollouts, positions, settings) for positions in members.values()]


def _score_group(rollouts: Sequence[Rollout], positions: list[int], settings: LapoSettings) -> Group:
    first = rollouts[positions[0]]
    correct = np.array([rollouts[i].correct for i in positions], dtype=bool)
    tokens = np.array([rollouts[i].tokens for i in positions], dtype=np.int64)
    target = first.budget if first.prompt_budget is None else first.prompt_budget
    if settings.stage == "discovery":
        rewards = discovery_rewards(correct, tokens, settings.discovery)
    else:
        rewards = internalization_rewards(correct, tokens, target, settings.internalization)
    right = tokens[correct]
    return Group(
        record=GroupRecord(
            problem_id=first.problem_id,
            n=len(positions),
            correct_lengths=tuple(int(length) for length in right),
            budget_shown=first.prompt_budget,
        ),
        target=target,
        guided=first.guided,
        stats=LengthStats.of(right, settings.discovery.low, settings.discovery.high),
        correct=correct,
        tokens=tokens,
        rewards=rewards,
        positions=positions,
    )


def step_metrics(
    groups: Sequence[Group],
    rollouts: Sequence[Rollout],
    budgets_before: Mapping[str, float | None],
    budgets_after: Mapping[str, float | None],
    settings: LapoSettings,
) -> dict[str, float]:
    """The ``lapo/`` metrics of one step, or of one part of it; a mean over nothing is left out.

    verl's aggregator averages the parts of a step, and adds up a metric with "total" in its name: so counts have it.

    Args:
        budgets_before, budgets_after: M(q) of the step's problems in tokens, None where unsolved.
    """
    correct = np.concatenate([group.correct for group in groups])
    tokens = np.concatenate([group.tokens for group in groups])
    length_rewards = np.concatenate([_length_rewards(group, settings) for group in groups])
    solved = [group for group in groups if group.stats is not None]
    metrics: dict[str, float] = {
        "lapo/accuracy": float(correct.mean()),
        "lapo/solved_share": len(solved) / len(groups),
        "lapo/newly_solved_total": float(
            sum(budgets_before.get(q) is None for q, b in budgets_after.items() if b is not None)
        ),
        "lapo/unsolved_groups_total": float(len(groups) - len(solved)),
        "lapo/truncated_share": float(np.mean([rollout.truncated for rollout in rollouts])),
        "lapo/verify_timeouts_total": float(sum(rollout.timed_out for rollout in rollouts)),
        "lapo/no_signal_share": float(np.mean([not has_signal(group.rewards) for group in groups])),
    }
    _put_mean(metrics, "lapo/tokens_correct", tokens[correct])
    _put_mean(metrics, "lapo/tokens_wrong", tokens[~correct])
    _put_mean(metrics, "lapo/length_reward", length_rewards[correct])
    _put_mean(
        metrics,
        "lapo/in_band_share",
        [
            flag
            for g in solved
            if g.stats
            for flag in in_band(g.tokens[g.correct].astype(np.float64), g.stats.low, g.stats.high)
        ],
    )
    after = np.array([budget for budget in budgets_after.values() if budget is not None])
    if after.size:
        metrics["lapo/budget_mean"] = float(after.mean())
        for percentile in (10, 50, 90):
            metrics[f"lapo/budget_p{percentile}"] = float(np.percentile(after, percentile))
    changes = [
        after_value - before_value
        for q, after_value in budgets_after.items()
        if after_value is not None and (before_value := budgets_before.get(q)) is not None
    ]
    _put_mean(metrics, "lapo/budget_change", changes)
    if settings.stage == "internalization":
        guided = [group for group in groups if group.guided]
        metrics["lapo/guided_share"] = len(guided) / len(groups)
        _put_adherence(metrics, "lapo/adherence", guided)
        _put_adherence(metrics, "lapo/unguided_adherence", [group for group in groups if not group.guided])
    return metrics


def _length_rewards(group: Group, settings: LapoSettings) -> NDArray[np.float64]:
    """R1 or R2 of each rollout, taken back out of the whole reward."""
    discovery = settings.stage == "discovery"
    weight = settings.discovery.alpha if discovery else settings.internalization.beta
    return (group.rewards - group.correct) / weight if weight else np.zeros(len(group.rewards))


def _put_adherence(metrics: dict[str, float], name: str, groups: Iterable[Group]) -> None:
    """How far correct rollouts are from their target: in tokens, and relative to it."""
    distances: list[float] = []
    relative: list[float] = []
    for group in groups:
        if group.target:
            away = np.abs(group.tokens[group.correct] - group.target)
            distances += away.tolist()
            relative += (away / group.target).tolist()
    _put_mean(metrics, f"{name}_tokens", distances)
    _put_mean(metrics, f"{name}_relative", relative)


def _put_mean(metrics: dict[str, float], name: str, values: Sequence[float] | NDArray[np.generic]) -> None:
    if len(values):
        metrics[name] = float(np.mean(np.asarray(values, dtype=np.float64)))
