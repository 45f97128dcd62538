"""What GRPO would have been told of recorded rollouts under other settings; vectorised over groups.

Groups are gathered in blocks by their number of correct rollouts, so a block's lengths are a matrix, one row a group.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lapo_verl.method import (
    LengthStats,
    adherence_reward,
    band_reward,
    discovery_budget,
    has_signal,
    in_band,
    update_budget,
)
from lapo_verl.replay.recorded import Visits
from lapo_verl.replay.settings import ReplaySetting
from lapo_verl.store.records import STAGES

BUDGET_PERCENTILES = (10, 50, 90)
ADVANTAGE_EPSILON = 1e-6  # verl's compute_grpo_outcome_advantage
NO_VISIT, AS_SHOWN = -1, -2


@dataclass(frozen=True)
class _Block:
    """Visits of one stage that have one number of correct rollouts, k; M of them.

    Attributes:
        stage: position in STAGES.
        visits: shape (M,), their numbers.
        n: shape (M,), number of rollouts.
        lengths: shape (M, k), tokens of the correct rollouts.
        ranks: shape (M, k), ranks of ``lengths`` in their rows.
    """

    stage: int
    visits: NDArray[np.int64]
    n: NDArray[np.int64]
    lengths: NDArray[np.float64]
    ranks: NDArray[np.float64]


class Replay:
    """Recorded visits, made ready for any number of settings.

    Args:
        visits: all that there are, for budgets follow from the whole history.
        measured: shape (V,) bool, the visits whose rewards are wanted.
        run: the settings that the visits were made with.
        rounding: prompts showed budgets as multiples of this many tokens; None where they showed them unrounded.
    """

    def __init__(
        self, visits: Visits, measured: NDArray[np.bool_], run: ReplaySetting, rounding: int | None = None
    ) -> None:
        self.visits = visits
        self.measured = measured
        self.run = run
        self.rounding = rounding
        blocks = _blocks(visits)
        # {statistic: shape (V,), tokens; NaN where no rollout is correct}
        self._values = _statistics(blocks, len(visits.n))
        self._stats = _length_stats(visits, self._values)
        self._read_at = _read_at(visits, rounding)
        self._blocks = [_choose(block, measured) for block in blocks if measured[block.visits].any()]
        self._budgets: dict[tuple[str, str, str], NDArray[np.float64]] = {}

    def budgets(self, setting: ReplaySetting) -> NDArray[np.float64]:
        """M(q) after each visit (Eq. 3, Eq. 8), shape (V,), in tokens; NaN where the problem is unsolved then."""
        discovery, statistic = setting.discovery, setting.internalization.statistic
        key = (discovery.statistic, discovery.on_unsolved, statistic)
        if key not in self._budgets:
            after: list[float | None] = []
            columns = zip(self.visits.stage.tolist(), self.visits.before_step.tolist(), self._stats, strict=True)
            for stage, before_step, stats in columns:
                before = after[before_step] if before_step >= 0 else None
                if STAGES[stage] == "discovery":
                    after.append(discovery_budget(before, stats, discovery.statistic, discovery.on_unsolved))
                else:
                    after.append(update_budget(before, stats, statistic))
            self._budgets[key] = np.array(after, dtype=np.float64)
        return self._budgets[key]

    def rewards(self, setting: ReplaySetting) -> list[tuple[NDArray[np.int64], NDArray[np.float64]]]:
        """The rewards (Eq. 4, Eq. 6) of the measured visits that have correct rollouts; a wrong rollout's is 0.

        Returns:
            Pairs of visits, shape (M,), and their correct rollouts' rewards, shape (M, k).
        """
        return [
            (block.visits, 1.0 + _weight(block, setting) * self._length_reward(block, setting, *_band(block, setting)))
            for block in self._blocks
        ]

    def metrics(self, setting: ReplaySetting, stage: str) -> dict[str, float | None]:
        """What GRPO would be told about the measured visits of ``stage``; None where there is nothing to average.

        Returns:
            reward: mean over rollouts.
            reward_spread: standard deviation of the rewards inside a group (n - 1), mean over groups.
            no_signal_share: share of the groups with one reward throughout.
            rank_correlation: Spearman's, of reward and length among a group's correct rollouts; mean over the groups
                that have one.
            length_reward: R1 or R2, mean over correct rollouts.
            in_band_share: share of the correct rollouts inside the band of Eq. 2.
            length_push: GRPO's advantage times the rollout's distance from the mean length of the group's correct
                ones, mean over correct rollouts, in tokens: below 0 shortens.
            budget_mean, budget_p10, budget_p50, budget_p90: M(q) of the solved problems after the last measured
                visit, in tokens.
            budget_solved_share: share of the problems that have one.
            budget_changed_share: share of the problems whose M(q) is another than with the run's settings.
        """
        position = STAGES.index(stage)
        here = self.measured & (self.visits.stage == position)
        groups, rollouts, correct = (
            int(here.sum()),
            int(self.visits.n[here].sum()),
            int(self.visits.correct[here].sum()),
        )
        # Groups without a correct rollout have the reward 0 throughout.
        reward = spread = length_reward = band = push = 0.0
        signals = 0
        correlations: list[NDArray[np.float64]] = []
        for block in self._blocks:
            if block.stage != position:
                continue
            low, high = _band(block, setting)
            length_rewards = self._length_reward(block, setting, low, high)
            rewards = 1.0 + _weight(block, setting) * length_rewards
            deviations, advantages = _advantages(rewards, block.n)
            reward += float(rewards.sum())
            spread += float(deviations.sum())
            signals += int((has_signal(rewards) | (block.n > rewards.shape[1])).sum())
            correlations.append(_correlations(_ranks(rewards), block.ranks))
            length_reward += float(length_rewards.sum())
            band += float(in_band(block.lengths, low, high).sum())
            push += float((advantages * (block.lengths - block.lengths.mean(axis=1, keepdims=True))).sum())
        correlation = np.concatenate(correlations) if correlations else np.empty(0)
        correlation = correlation[~np.isnan(correlation)]
        return {
            "reward": _ratio(reward, rollouts),
            "reward_spread": _ratio(spread, groups),
            "no_signal_share": _ratio(groups - signals, groups),
            "rank_correlation": _ratio(float(correlation.sum()), correlation.size),
            "length_reward": _ratio(length_reward, correct),
            "in_band_share": _ratio(band, correct),
            "length_push": _ratio(push, correct),
            **self._budget_metrics(setting, here),
        }

    def _length_reward(
        self, block: _Block, setting: ReplaySetting, low: NDArray[np.float64], high: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """R1 or R2 of a block's rollouts, shape (M, k)."""
        if STAGES[block.stage] == "internalization":
            return adherence_reward(block.lengths, self._targets(block, setting), setting.internalization.sigma)
        rewards = band_reward(block.lengths, low, high, setting.discovery.decay)
        return np.where(low == high, 0.0, rewards) if setting.discovery.degenerate_band == "zero" else rewards

    def _targets(self, block: _Block, setting: ReplaySetting) -> NDArray[np.float64]:
        """The n of Eq. 7, shape (M, 1), in tokens: M(q) of when the row was read, as the prompt showed it."""
        read_at, shown = self._read_at[block.visits], self.visits.shown[block.visits]
        budgets = self.budgets(setting)[np.maximum(read_at, 0)]
        target = np.where(np.isnan(shown), budgets, _as_shown(budgets, self.rounding))
        target = np.where(read_at == NO_VISIT, np.nan, target)
        target = np.where(read_at == AS_SHOWN, shown, target)
        own = self._values[setting.internalization.statistic][block.visits]
        return np.where(np.isnan(target), own, target)[:, None]

    def _budget_metrics(self, setting: ReplaySetting, here: NDArray[np.bool_]) -> dict[str, float | None]:
        end = int(np.flatnonzero(here)[-1]) + 1
        # The last visit of each problem: numpy's unique gives the first one, so from the end.
        _, back = np.unique(self.visits.problem[:end][::-1], return_index=True)
        last = end - 1 - back
        budgets, of_the_run = self.budgets(setting)[last], self.budgets(self.run)[last]
        solved = budgets[~np.isnan(budgets)]
        percentiles = np.percentile(solved, BUDGET_PERCENTILES).tolist() if solved.size else [None] * 3
        changed = ~((budgets == of_the_run) | (np.isnan(budgets) & np.isnan(of_the_run)))
        return {
            "budget_mean": float(solved.mean()) if solved.size else None,
            **{f"budget_p{name}": value for name, value in zip(BUDGET_PERCENTILES, percentiles, strict=True)},
            "budget_solved_share": _ratio(solved.size, last.size),
            "budget_changed_share": _ratio(int(changed.sum()), last.size),
        }


def _blocks(visits: Visits) -> list[_Block]:
    starts = np.cumsum(visits.correct) - visits.correct
    blocks = []
    for stage in np.unique(visits.stage).tolist():
        of_stage = visits.stage == stage
        for k in np.unique(visits.correct[of_stage & (visits.correct > 0)]).tolist():
            chosen = np.flatnonzero(of_stage & (visits.correct == k))
            lengths = visits.lengths[starts[chosen][:, None] + np.arange(k)]
            blocks.append(_Block(stage, chosen, visits.n[chosen], lengths, _ranks(lengths)))
    return blocks


def _choose(block: _Block, measured: NDArray[np.bool_]) -> _Block:
    rows = measured[block.visits]
    return _Block(block.stage, block.visits[rows], block.n[rows], block.lengths[rows], block.ranks[rows])


def _statistics(blocks: Sequence[_Block], count: int) -> dict[str, NDArray[np.float64]]:
    """As ``LengthStats.of`` computes them, for all visits at once."""
    values = {name: np.full(count, np.nan) for name in ("median", "mean", "minimum", "maximum")}
    for block in blocks:
        values["median"][block.visits] = np.percentile(block.lengths, 50, axis=1)
        values["mean"][block.visits] = block.lengths.mean(axis=1)
        values["minimum"][block.visits] = block.lengths.min(axis=1)
        values["maximum"][block.visits] = block.lengths.max(axis=1)
    return values


def _length_stats(visits: Visits, values: Mapping[str, NDArray[np.float64]]) -> list[LengthStats | None]:
    """What budgets are made of, without a band: of the problem's correct rollouts in the step, up to each visit."""
    columns = (values[name].tolist() for name in ("median", "mean", "minimum", "maximum"))
    stats = [
        LengthStats(float(n), median, median, median, mean, minimum, maximum) if n else None
        for n, median, mean, minimum, maximum in zip(visits.correct.tolist(), *columns, strict=True)
    ]
    ends = np.cumsum(visits.correct)
    for visit in np.flatnonzero(visits.previous != visits.before_step).tolist():
        of_step = [visit]
        while visits.previous[of_step[-1]] != visits.before_step[visit]:
            of_step.append(int(visits.previous[of_step[-1]]))
        stats[visit] = LengthStats.of(
            np.concatenate([visits.lengths[ends[v] - visits.correct[v] : ends[v]] for v in reversed(of_step)])
        )
    return stats


def _as_shown(budgets: NDArray[np.float64], rounding: int | None) -> NDArray[np.float64]:
    """Budgets as prompts show them (``method.shown_tokens``), shape (V,), in tokens."""
    return budgets if rounding is None else np.maximum(1, np.floor(budgets / rounding + 0.5)) * rounding


def _read_at(visits: Visits, rounding: int | None) -> NDArray[np.int64]:
    """After which visit of its problem a visit's budget was read, shape (V,); NO_VISIT, or AS_SHOWN where none fits.

    As a rule after the last one before its step. A trainer that reads ahead shows an older budget; a visit without
    guidance shows none, and is taken to have been read after the last one before its step.
    """
    read_at: NDArray[np.int64] = visits.before_step.copy()
    if visits.recorded is None:
        return read_at
    shown, previous = visits.shown.tolist(), visits.previous.tolist()
    recorded = _as_shown(visits.recorded, rounding).tolist()
    for visit in np.flatnonzero(~np.isnan(visits.shown)).tolist():
        earlier = int(visits.before_step[visit])
        while earlier != NO_VISIT and recorded[earlier] != shown[visit]:
            earlier = previous[earlier]
        read_at[visit] = AS_SHOWN if earlier == NO_VISIT else earlier
    return read_at


def _band(block: _Block, setting: ReplaySetting) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Ends of the band of Eq. 2, each of shape (M, 1), in tokens."""
    low, high = np.percentile(block.lengths, [setting.discovery.low, setting.discovery.high], axis=1)
    return low[:, None], high[:, None]


def _weight(block: _Block, setting: ReplaySetting) -> float:
    return setting.discovery.alpha if STAGES[block.stage] == "discovery" else setting.internalization.beta


def _advantages(rewards: NDArray[np.float64], n: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The groups' standard deviations, shape (M,), and GRPO's advantages of their correct rollouts, shape (M, k).

    As verl's ``compute_grpo_outcome_advantage``: a lone rollout's advantage is its reward.
    """
    wrong = n - rewards.shape[1]
    means = rewards.sum(axis=1) / n
    squares = ((rewards - means[:, None]) ** 2).sum(axis=1) + wrong * means**2
    deviations = np.sqrt(squares / np.maximum(n - 1, 1))
    alone = n == 1
    means, scales = np.where(alone, 0.0, means), np.where(alone, 1.0, deviations)
    return deviations, (rewards - means[:, None]) / (scales[:, None] + ADVANTAGE_EPSILON)


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks inside each row, from 0; equal values have the mean of theirs. Shape as ``values``, (M, k)."""
    order = np.argsort(values, axis=1, kind="stable")
    ordered = np.take_along_axis(values, order, axis=1)
    places = np.broadcast_to(np.arange(values.shape[1]), values.shape)
    differs = ordered[:, 1:] != ordered[:, :-1]
    edge = np.ones((len(values), 1), dtype=bool)
    first = np.maximum.accumulate(np.where(np.hstack([edge, differs]), places, 0), axis=1)
    last_places = np.where(np.hstack([differs, edge]), places, values.shape[1])
    last = np.minimum.accumulate(last_places[:, ::-1], axis=1)[:, ::-1]
    ranks = np.empty(values.shape)
    np.put_along_axis(ranks, order, (first + last) / 2, axis=1)
    return ranks


def _correlations(ranks: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Spearman's correlation of each row, shape (M,); NaN where one of the two is the same throughout."""
    middle = (ranks.shape[1] - 1) / 2
    ranks, others = ranks - middle, others - middle
    norms = np.sqrt((ranks**2).sum(axis=1) * (others**2).sum(axis=1))
    products = (ranks * others).sum(axis=1)
    correlations: NDArray[np.float64] = np.full(len(ranks), np.nan)
    np.divide(products, norms, out=correlations, where=norms > 0)
    return correlations


def _ratio(part: float, whole: int) -> float | None:
    return float(part / whole) if whole else None
