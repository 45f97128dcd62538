"""What GRPO would have been told of recorded rollouts under other objectives, by the objectives' own methods.

A group's rewards depend on its group, the fields and the memory alone, so the visits of many steps are rewarded at
once: all that do not wait for one another's targets, or step by step where the objective has a memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from lapo_verl.objectives import (
    Groups,
    Memory,
    Objective,
    checked_memory,
    checked_rewards,
    checked_targets,
    has_signal,
)
from lapo_verl.objectives.lengths import Flags, Floats, MaskedLengths
from lapo_verl.replay.recorded import Visits

BUDGET_PERCENTILES = (10, 50, 90)
ADVANTAGE_EPSILON = 1e-6  # verl's compute_grpo_outcome_advantage
AS_NAMED = -1
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class RecordedRun:
    """One run of the source.

    Attributes:
        name: of the run.
        objective: what it was made with.
        response_limit: in tokens; None where it is not known.
        rounding: prompts named budgets as multiples of this many tokens; None where they named them unrounded.
    """

    name: str
    objective: Objective
    response_limit: int | None = None
    rounding: int | None = None


@dataclass(frozen=True, eq=False)
class Outcome:
    """What an objective makes of the M visits of a run.

    Attributes:
        objective: which one.
        rewards: shape (M, N), NaN where there is no rollout.
        target, prompt_budget: shape (M,), in tokens, as ``Groups`` has them.
        after: shape (M,), the problem's target after the visit.
        memory: after the run's last step.
    """

    objective: Objective
    rewards: Floats
    target: Floats
    prompt_budget: Floats
    after: Floats
    memory: Memory | None


class _Part:
    """Visits that are rewarded at once; their last ``Groups`` are kept, for most settings change no target."""

    def __init__(self, visits: Indices) -> None:
        self.visits = visits
        self.groups: Groups | None = None


class _Shown(_Part):
    """The measured visits of a run.

    Attributes:
        ranks: shape (M, N), of the lengths among a group's correct rollouts, see ``_ranks``.
        distances: of all correct rollouts from the mean length of their group's, in tokens.
    """

    def __init__(self, visits: Visits, measured: Indices) -> None:
        super().__init__(measured)
        correct = MaskedLengths(visits.lengths[measured], visits.correct[measured])
        self.ranks = _ranks(np.where(correct.mask, correct.values, np.nan))
        self.distances = (correct.values - correct.mean()[:, None])[correct.mask]


class Replay:
    """Recorded visits, made ready for any number of settings.

    Args:
        visits: all of them, since targets follow from the whole history.
        measured: shape (V,) bool, the visits that ``metrics`` is about.
        runs: in the order of training, with the objectives that the visits were made with.

    Attributes:
        own: the runs' own outcomes, one a run.
    """

    def __init__(self, visits: Visits, measured: Flags, runs: Sequence[RecordedRun]) -> None:
        self.visits = visits
        self.measured = measured
        self.runs = runs
        ends = np.searchsorted(visits.run, np.arange(len(runs) + 1)).tolist()
        self.spans = [slice(start, end) for start, end in pairwise(ends)]
        self._read_at = _read_at(visits, runs)
        self._parts: dict[tuple[int, str], list[_Part]] = {}
        self._shown = [_Shown(visits, np.flatnonzero(measured[span]) + span.start) for span in self.spans]
        self.own: list[Outcome] = []
        self.own = self.under({})

    def under(self, objectives: Mapping[str, Objective]) -> list[Outcome]:
        """The outcome of each run under other objectives, {run: objective}; a run that nothing changes keeps its own.

        Targets go on from run to run. A prompt that named the target of an earlier visit is taken to name what that
        target is now; any other keeps its number.

        Raises:
            ValueError: an objective returns what it must not, or needs what was not recorded; see ``checked_rewards``.
        """
        targets = np.full(len(self.visits.run), np.nan)
        outcomes: list[Outcome] = []
        unchanged = bool(self.own)
        for number, (run, span) in enumerate(zip(self.runs, self.spans, strict=True)):
            objective = objectives.get(run.name, run.objective)
            if unchanged and objective == run.objective:
                outcomes.append(self.own[number])
                targets[span] = self.own[number].after
            else:
                outcomes.append(self._outcome(number, objective, targets))
                unchanged = unchanged and np.array_equal(targets[span], self.own[number].after, equal_nan=True)
        return outcomes

    def _outcome(self, number: int, objective: Objective, targets: Floats) -> Outcome:
        """The outcome of a run; writes its targets into ``targets``, shape (V,)."""
        span, memory = self.spans[number], None
        rewards = np.full(self.visits.lengths[span].shape, np.nan)
        target, prompt_budget = np.full((2, len(rewards)), np.nan)
        for part in self._parts_of(number, objective):
            here, rows = part.visits, part.visits - span.start
            target[rows] = _at(self.visits.before_step[here], targets)
            named, read_at = self.visits.prompt_budget[here], self._read_at[here]
            follows = objective.keeps_targets & (read_at >= 0)
            shown = _as_shown(_at(read_at, targets), self.runs[number].rounding)
            prompt_budget[rows] = np.where(follows, shown, named)
            groups = self._groups(number, part, target[rows], prompt_budget[rows])
            rewards[rows] = checked_rewards(objective, groups, memory)
            if objective.keeps_targets:
                targets[here] = checked_targets(objective, groups)
                self._join_visits(number, objective, here, targets)
            memory = checked_memory(objective, memory, groups)
        return Outcome(objective, rewards, target, prompt_budget, targets[span].copy(), memory)

    def metrics(self, number: int, outcomes: Sequence[Outcome]) -> dict[str, float | None]:
        """What GRPO would be told about the measured visits of a run; None where there is nothing to average.

        Args:
            number: which run; it has a measured visit.
            outcomes: of all runs, from ``under``.

        Returns:
            reward: mean over rollouts.
            reward_spread: standard deviation of the rewards inside a group (n - 1), mean over groups.
            no_signal_share: share of the groups with one reward throughout.
            rank_correlation: Spearman's, of reward and length among a group's correct rollouts; mean over the groups
                that have one.
            length_share: share of the rewards' variation inside groups (sum of squares) that is among rollouts of the
                same correctness: what GRPO is told that correctness does not tell. None where no reward varies.
            length_push: GRPO's advantage times the rollout's distance from the mean length of the group's correct
                ones, mean over correct rollouts, in tokens: below 0 shortens.
            budget_mean, budget_p10, budget_p50, budget_p90: the problems' targets after the last measured visit, in
                tokens.
            budget_solved_share: share of the problems that have one.
            budget_changed_share: share of the problems whose target is another than with the run's objective.
            And the objective's own (``Objective.metrics``).
        """
        outcome, shown = outcomes[number], self._shown[number]
        here = shown.visits - self.spans[number].start
        rewards = outcome.rewards[here]
        groups = self._groups(number, shown, outcome.target[here], outcome.prompt_budget[here])
        correct = groups.correct
        deviations, advantages = _advantages(rewards)
        correlations = _correlations(_ranks(np.where(correct, rewards, np.nan)), shown.ranks)
        correlations = correlations[~np.isnan(correlations)]
        by_length = _variation(rewards, correct) + _variation(rewards, groups.valid & ~correct)
        count = int(correct.sum())
        return {
            **outcome.objective.metrics(groups, rewards, outcome.memory),
            "reward": float(rewards[groups.valid].mean()),
            "reward_spread": float(deviations.mean()),
            "no_signal_share": float((~has_signal(rewards)).mean()),
            "rank_correlation": _ratio(float(correlations.sum()), correlations.size),
            "length_share": _ratio(by_length, _variation(rewards, groups.valid)),
            "length_push": _ratio(float((advantages[correct] * shown.distances).sum()), count),
            **self._budget_metrics(number, outcomes, int(shown.visits[-1]) + 1),
        }

    def _budget_metrics(self, number: int, outcomes: Sequence[Outcome], end: int) -> dict[str, float | None]:
        """Of the targets after the first ``end`` visits."""
        # The last visit of each problem: numpy's unique gives the first one, so from the end.
        _, back = np.unique(self.visits.problem[:end][::-1], return_index=True)
        last = end - 1 - back
        budgets, of_the_run = (
            np.concatenate([outcome.after for outcome in each[: number + 1]])[last] for each in (outcomes, self.own)
        )
        solved = budgets[~np.isnan(budgets)]
        percentiles = np.percentile(solved, BUDGET_PERCENTILES).tolist() if solved.size else [None] * 3
        changed = ~((budgets == of_the_run) | (np.isnan(budgets) & np.isnan(of_the_run)))
        return {
            "budget_mean": float(solved.mean()) if solved.size else None,
            **{f"budget_p{name}": value for name, value in zip(BUDGET_PERCENTILES, percentiles, strict=True)},
            "budget_solved_share": _ratio(solved.size, last.size),
            "budget_changed_share": _ratio(int(changed.sum()), last.size),
        }

    def _parts_of(self, number: int, objective: Objective) -> list[_Part]:
        """The visits of a run in the order in which they have to be replayed."""
        kind = "step" if objective.keeps_memory else "wave" if objective.keeps_targets else "run"
        if (number, kind) not in self._parts:
            span = self.spans[number]
            column = {"step": self.visits.step, "wave": self.visits.wave, "run": self.visits.run}[kind][span]
            order = np.argsort(column, kind="stable")
            edges = np.flatnonzero(np.diff(column[order])) + 1
            self._parts[number, kind] = [_Part(visits + span.start) for visits in np.split(order, edges) if len(visits)]
        return self._parts[number, kind]

    def _join_visits(self, number: int, objective: Objective, here: Indices, targets: Floats) -> None:
        """Of a problem's visits in one step, the later ones make their target from the rollouts of all so far."""
        again = here[self.visits.previous[here] != self.visits.before_step[here]]
        if not again.size:
            return
        joined = []
        for visit in again.tolist():
            visits = [visit]
            while (earlier := int(self.visits.previous[visits[0]])) != self.visits.before_step[visit]:
                visits.insert(0, earlier)
            joined.append((visits, self.visits.valid[visits]))
        groups = Groups.of(
            correct=[self.visits.correct[visits][valid].tolist() for visits, valid in joined],
            lengths=[self.visits.lengths[visits][valid].tolist() for visits, valid in joined],
            target=_at(self.visits.before_step[again], targets).tolist(),
            response_limit=self.runs[number].response_limit,
        )
        targets[again] = checked_targets(objective, groups)

    def _groups(self, number: int, part: _Part, target: Floats, prompt_budget: Floats) -> Groups:
        known = part.groups
        if known is None or not all(
            np.array_equal(one, other, equal_nan=True)
            for one, other in ((known.target, target), (known.prompt_budget, prompt_budget))
        ):
            lengths, limit = self.visits.lengths[part.visits], self.runs[number].response_limit
            part.groups = known = Groups(
                self.visits.correct[part.visits],
                lengths,
                valid=self.visits.valid[part.visits],
                truncated=None if limit is None else lengths >= limit,
                target=target,
                prompt_budget=prompt_budget,
                guided=~np.isnan(self.visits.prompt_budget[part.visits]),
                response_limit=limit,
            )
        return known


def _at(visits: Indices, targets: Floats) -> Floats:
    """The targets after ``visits``; NaN where there is no visit."""
    return np.where(visits < 0, np.nan, targets[visits])


def _as_shown(budgets: Floats, rounding: int | None) -> Floats:
    """Budgets as prompts show them (``guidance.text.shown_tokens``), in tokens."""
    return budgets if rounding is None else np.maximum(1, np.floor(budgets / rounding + 0.5)) * rounding


def _read_at(visits: Visits, runs: Sequence[RecordedRun]) -> Indices:
    """After which visit of its problem a visit's prompt budget was its target, shape (V,); AS_NAMED where none fits.

    As a rule after the last one before its step; a trainer that reads ahead names an older target.
    """
    read_at = np.full(len(visits.run), AS_NAMED)
    if visits.target is None:
        return read_at
    named = np.flatnonzero(~np.isnan(visits.prompt_budget))
    shown = {run.rounding: _as_shown(visits.target, run.rounding).tolist() for run in runs}
    for visit in named.tolist():
        recorded, budget = shown[runs[visits.run[visit]].rounding], visits.prompt_budget[visit]
        earlier = int(visits.before_step[visit])
        while earlier >= 0 and recorded[earlier] != budget:
            earlier = int(visits.previous[earlier])
        read_at[visit] = earlier if earlier >= 0 else AS_NAMED
    return read_at


def _advantages(rewards: Floats) -> tuple[Floats, Floats]:
    """The groups' standard deviations, shape (M,), and GRPO's advantages, shape (M, N), 0 where ``rewards`` is NaN.

    As verl's ``compute_grpo_outcome_advantage``: a lone rollout's advantage is its reward.
    """
    there = ~np.isnan(rewards)
    n = there.sum(axis=1)
    means = np.where(there, rewards, 0.0).sum(axis=1) / n
    above = np.where(there, rewards - means[:, None], 0.0)
    deviations = np.sqrt(np.einsum("ij,ij->i", above, above) / np.maximum(n - 1, 1))
    advantages = above / (deviations[:, None] + ADVANTAGE_EPSILON)
    alone = n == 1
    advantages[alone] = np.where(there, rewards, 0.0)[alone] / (1 + ADVANTAGE_EPSILON)
    return deviations, advantages


def _variation(rewards: Floats, mask: Flags) -> float:
    """Sum of squares around each group's mean, over the rollouts of ``mask``; shapes (M, N)."""
    chosen = MaskedLengths(rewards, mask)
    return float(np.square((rewards - chosen.mean()[:, None])[mask]).sum())


def _ranks(values: Floats) -> Floats:
    """Ranks inside each row, minus their mean; equal values share one. 0 where ``values``, shape (M, N), is NaN."""
    below, alike = np.zeros((2, *values.shape), dtype=np.int16)
    for column in values.T:
        below += column[:, None] < values
        alike += column[:, None] == values
    count = (alike > 0).sum(axis=1, keepdims=True)
    return np.where(alike > 0, below + (alike - count) / 2, 0.0)


def _correlations(ranks: Floats, others: Floats) -> Floats:
    """Spearman's correlation of each row, shape (M,), from ``_ranks``; NaN where one is the same throughout."""
    products, squares, other_squares = (
        np.einsum("ij,ij->i", one, other) for one, other in ((ranks, others), (ranks, ranks), (others, others))
    )
    norms = np.sqrt(squares * other_squares)
    correlations = np.full(len(ranks), np.nan)
    np.divide(products, norms, out=correlations, where=norms > 0)
    return correlations


def _ratio(part: float, whole: float) -> float | None:
    return float(part / whole) if whole else None
