"""The vectorised replay against the method's own functions, scipy and the training's metrics; and what must hold."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lapo_verl.hooks.groups import Rollout, score_groups, step_metrics
from numpy.typing import NDArray
from scipy.stats import spearmanr

from lapo_verl.config import LapoConfig
from lapo_verl.method import (
    DiscoveryConfig,
    InternalizationConfig,
    LengthStats,
    discovery_budget,
    discovery_rewards,
    internalization_rewards,
    update_budget,
)
from lapo_verl.replay.command import check_budgets, read_source, run_replay
from lapo_verl.replay.measure import Replay, _advantages, _correlations, _ranks
from lapo_verl.replay.recorded import visits_of
from lapo_verl.replay.settings import ReplaySetting
from lapo_verl.store import GroupRecord, LengthStore, Record, note_rounding, note_settings

STATISTICS = ("median", "mean", "minimum")
group = st.tuples(st.sampled_from("abc"), st.integers(0, 3), st.lists(st.integers(0, 3000), max_size=9))
discovery_configs = st.builds(
    lambda alpha, band, decay, statistic, on_unsolved, degenerate_band: DiscoveryConfig(
        alpha, min(band), max(band), decay, statistic, on_unsolved, degenerate_band
    ),
    st.floats(0, 3),
    st.tuples(st.floats(0, 100), st.floats(0, 100)),
    st.floats(0.5, 1000),
    st.sampled_from(STATISTICS),
    st.sampled_from(("reset", "keep")),
    st.sampled_from(("in_range", "zero")),
)
internalization_configs = st.builds(
    InternalizationConfig, st.floats(0, 3), st.floats(0.5, 1000), st.sampled_from(STATISTICS)
)
configs = st.builds(lambda d, i: ReplaySetting("x", d, i), discovery_configs, internalization_configs)


@st.composite
def histories(draw: st.DrawFn, setting: ReplaySetting | None = None, min_size: int = 1) -> list[Record]:
    """What a store would have recorded: visits of both stages, budgets made and shown under ``setting``."""
    used = draw(configs) if setting is None else setting
    records: list[Record] = []
    budgets: dict[str, float | None] = {}
    first = draw(st.lists(group, min_size=min_size, max_size=8))
    second = draw(st.lists(group, max_size=8))
    for stage, visits in (("discovery", first), ("internalization", second)):
        for step, (problem, wrong, lengths) in enumerate(visits, start=1):
            n = max(1, len(lengths) + wrong)
            stats = LengthStats.of(lengths, used.discovery.low, used.discovery.high)
            before = budgets.get(problem)
            if stage == "discovery":
                after = discovery_budget(before, stats, used.discovery.statistic, used.discovery.on_unsolved)
            else:
                after = update_budget(before, stats, used.internalization.statistic)
            shown = before if stage == "internalization" and draw(st.booleans()) else None
            noted = (None,) * 5 if stats is None else (stats.low, stats.high, stats.median, stats.mean, stats.minimum)
            records.append(Record(problem, stage, step, n, tuple(lengths), *noted, shown, after))
            budgets[problem] = after
    return records


def replay_of(records: list[Record], run: ReplaySetting) -> Replay:
    return Replay(visits_of(records), np.ones(len(records), dtype=bool), run)


def rewards_by_visit(replay: Replay, setting: ReplaySetting) -> list[list[float]]:
    """Of each visit's correct rollouts."""
    rewards: list[list[float]] = [[] for _ in replay.visits.n]
    for visits, rows in replay.rewards(setting):
        for visit, row in zip(visits.tolist(), rows.tolist(), strict=True):
            rewards[visit] = row
    return rewards


def one_by_one(records: list[Record], setting: ReplaySetting) -> tuple[list[list[float]], list[float | None]]:
    """Rewards and budgets by the method's functions, visit after visit."""
    budgets: dict[str, float | None] = {}
    rewards, after = [], []
    for record in records:
        lengths, before = record.correct_lengths, budgets.get(record.problem_id)
        correct, stats = [True] * len(lengths), LengthStats.of(lengths)
        if record.stage == "discovery":
            rewards.append(discovery_rewards(correct, lengths, setting.discovery).tolist())
            discovery = setting.discovery
            budgets[record.problem_id] = discovery_budget(before, stats, discovery.statistic, discovery.on_unsolved)
        else:
            rewards.append(internalization_rewards(correct, lengths, before, setting.internalization).tolist())
            budgets[record.problem_id] = update_budget(before, stats, setting.internalization.statistic)
        after.append(budgets[record.problem_id])
    return rewards, after


def same(budgets: NDArray[np.float64], expected: list[float | None]) -> bool:
    return [None if np.isnan(budget) else budget for budget in budgets.tolist()] == expected


@settings(max_examples=150, deadline=None)
@given(st.data(), configs, configs)
def test_the_replay_is_the_method_bit_for_bit(data: st.DataObject, run: ReplaySetting, other: ReplaySetting) -> None:
    records = data.draw(histories(run))
    # Without a second visit that shows an old budget there is one reading of a history.
    replay = replay_of([replace(record, budget_shown=None) for record in records], run)
    for setting in (run, other):
        rewards, budgets = one_by_one(records, setting)
        assert rewards_by_visit(replay, setting) == rewards
        assert same(replay.budgets(setting), budgets)


@settings(max_examples=100, deadline=None)
@given(st.data(), configs)
def test_the_runs_settings_give_back_what_was_recorded(data: st.DataObject, run: ReplaySetting) -> None:
    """Also where some visits were guided and others not."""
    records = data.draw(histories(run))
    replay = replay_of(records, run)
    assert same(replay.budgets(run), [record.budget_after for record in records])
    assert rewards_by_visit(replay, run) == one_by_one(records, run)[0]


@settings(max_examples=100, deadline=None)
@given(histories(), configs)
def test_no_weight_is_no_length_signal(records: list[Record], run: ReplaySetting) -> None:
    silent = run.changed("silent", {"alpha": 0, "beta": 0})
    replay = replay_of(records, run)
    for stage in {record.stage for record in records}:
        here = [record for record in records if record.stage == stage]
        metrics = replay.metrics(silent, stage)
        assert metrics["reward"] == sum(len(r.correct_lengths) for r in here) / sum(r.n for r in here)
        assert metrics["rank_correlation"] is None
        assert metrics["length_push"] == pytest.approx(0, abs=1e-5) or metrics["length_push"] is None
        all_or_none = [len(r.correct_lengths) in (0, r.n) for r in here]
        assert metrics["no_signal_share"] == np.mean(all_or_none)


@settings(max_examples=100, deadline=None)
@given(st.data(), configs, st.integers(1, 5000))
def test_discovery_knows_no_absolute_length(data: st.DataObject, run: ReplaySetting, shift: int) -> None:
    records = [record for record in data.draw(histories(run)) if record.stage == "discovery"]
    moved = [
        replace(record, correct_lengths=tuple(length + shift for length in record.correct_lengths))
        for record in records
    ]
    before, after = replay_of(records, run), replay_of(moved, run)
    for one, two in zip(rewards_by_visit(before, run), rewards_by_visit(after, run), strict=True):
        assert one == pytest.approx(two, abs=1e-9)
    assert after.budgets(run) == pytest.approx(before.budgets(run) + shift, nan_ok=True)


@settings(max_examples=100, deadline=None)
@given(st.data(), configs)
def test_lengths_in_another_unit_have_the_same_rewards(data: st.DataObject, run: ReplaySetting) -> None:
    """Twice the lengths with twice the decay and sigma."""
    records = data.draw(histories(run))
    doubled = [
        replace(
            record,
            correct_lengths=tuple(2 * length for length in record.correct_lengths),
            budget_shown=None if record.budget_shown is None else 2 * record.budget_shown,
            budget_after=None if record.budget_after is None else 2 * record.budget_after,
        )
        for record in records
    ]
    wider = run.changed("wider", {"decay": 2 * run.discovery.decay, "sigma": 2 * run.internalization.sigma})
    one, two = rewards_by_visit(replay_of(records, run), run), rewards_by_visit(replay_of(doubled, wider), wider)
    for row, other in zip(one, two, strict=True):
        assert row == pytest.approx(other, abs=1e-9)


@settings(max_examples=100, deadline=None)
@given(st.data(), configs)
def test_budgets_of_stage_two_only_fall_and_the_minimum_is_the_lowest(data: st.DataObject, run: ReplaySetting) -> None:
    records = data.draw(histories(run))
    replay = replay_of(records, run)
    by_statistic = {name: replay.budgets(run.changed(name, {"statistic": name})) for name in STATISTICS}
    for budgets in by_statistic.values():
        before: dict[str, float] = {}
        for record, budget in zip(records, budgets.tolist(), strict=True):
            if record.stage == "internalization" and record.problem_id in before:
                assert budget <= before[record.problem_id]
            before.pop(record.problem_id, None)
            if not np.isnan(budget):
                before[record.problem_id] = budget
    solved = ~np.isnan(by_statistic["minimum"])
    for name in ("median", "mean"):
        assert (solved == ~np.isnan(by_statistic[name])).all()
        assert (by_statistic["minimum"][solved] <= by_statistic[name][solved]).all()


@settings(max_examples=100, deadline=None)
@given(st.data(), configs, st.sampled_from(("discovery", "internalization")))
def test_metrics_are_those_of_the_training_log(data: st.DataObject, run: ReplaySetting, stage: str) -> None:
    """As ``lapo/...`` reports them for one step of the same rollouts."""
    visits = data.draw(st.lists(st.tuples(st.integers(0, 3), st.lists(st.integers(0, 3000), max_size=9)), min_size=1))
    lapo = LapoConfig(stage=stage, discovery=run.discovery, internalization=run.internalization)  # type: ignore[arg-type]
    rollouts, records = [], []
    for number, (wrong, lengths) in enumerate(visits):
        flags = [True] * len(lengths) + [False] * max(wrong, 1)
        tokens = [*lengths, *([50] * max(wrong, 1))]
        name = f"p{number}"
        rollouts += [Rollout(name, name, None, flag, length) for flag, length in zip(flags, tokens, strict=True)]
        noted = (None,) * 5
        records.append(Record(name, stage, 1, len(flags), tuple(lengths), *noted, None, None))
    groups = score_groups(rollouts, lapo)
    logged = step_metrics(groups, rollouts, {}, {}, lapo)
    metrics = replay_of(records, run).metrics(run, stage)
    assert metrics["no_signal_share"] == pytest.approx(logged["lapo/no_signal_share"])
    assert metrics["reward"] == pytest.approx(np.concatenate([group.rewards for group in groups]).mean())
    weight = run.discovery.alpha if stage == "discovery" else run.internalization.beta
    for ours, theirs in (("length_reward", "lapo/length_reward"), ("in_band_share", "lapo/in_band_share")):
        if ours != "length_reward" or weight > 1e-3:  # the log takes R1 back out of the reward, which divides by it
            assert metrics[ours] == pytest.approx(logged.get(theirs), abs=1e-9)


rows = st.integers(1, 8).flatmap(
    lambda k: st.lists(st.lists(st.integers(0, 5), min_size=k, max_size=k), min_size=1, max_size=6)
)


@settings(deadline=None)
@given(st.data(), rows)
def test_rank_correlation_is_scipys(data: st.DataObject, values: list[list[int]]) -> None:
    others = [data.draw(st.permutations(row)) for row in values]
    found = _correlations(_ranks(np.array(values, dtype=float)), _ranks(np.array(others, dtype=float)))
    for ours, one, two in zip(found.tolist(), values, others, strict=True):
        if len(set(one)) == 1:
            assert np.isnan(ours)
        else:
            assert ours == pytest.approx(spearmanr(one, two).statistic, abs=1e-12)


@settings(deadline=None)
@given(st.lists(st.floats(1, 2), min_size=1, max_size=6), st.integers(0, 4))
def test_advantages_are_grpos(rewards: list[float], wrong: int) -> None:
    """verl's compute_grpo_outcome_advantage: mean and unbiased deviation of the group, 0 and 1 of a lone rollout."""
    group = np.array(rewards + [0.0] * wrong)
    mean, deviation = (group.mean(), group.std(ddof=1)) if len(group) > 1 else (0.0, 1.0)
    _, advantages = _advantages(np.array([rewards]), np.array([len(group)]))
    expected: Any = (group - mean) / (deviation + 1e-6)
    assert advantages[0].tolist() == pytest.approx(expected[: len(rewards)].tolist(), abs=1e-6)


def test_two_visits_in_a_step_are_rewarded_as_two(tmp_path: Path) -> None:
    """As training rewarded them; their budget comes from both."""
    path = tmp_path / "twice.sqlite"
    discovery, internalization = DiscoveryConfig(), InternalizationConfig(sigma=50)
    with LengthStore.open(path) as store:
        note_settings(store, discovery)
        note_settings(store, internalization)
        twice = [GroupRecord("a", 2, (100, 100)), GroupRecord("b", 2, (7,)), GroupRecord("a", 3, (400, 500))]
        store.record_step("discovery", 1, twice)
        # Neither of the second step's visits saw what the other made of the budget, guided or not.
        twice = [GroupRecord("a", 2, (90, 110), 250.0), GroupRecord("a", 2, (60, 120), None)]
        store.record_step("internalization", 1, twice)
    source = read_source(path, None, None, None)
    replay = Replay(source.visits, source.measured, source.run, source.rounding)
    assert check_budgets(replay) == {"visits": 5, "equal": 5}
    rewards = rewards_by_visit(replay, source.run)
    for visit, lengths in ((0, (100, 100)), (2, (400, 500))):
        assert rewards[visit] == discovery_rewards([True] * 2, lengths, discovery).tolist()
    for visit, lengths in ((3, (90, 110)), (4, (60, 120))):
        assert rewards[visit] == internalization_rewards([True] * 2, lengths, 250.0, internalization).tolist()
    # Written under another statistic, the visits stay two.
    run_replay(path, {"statistic": "mean"}, write=tmp_path / "mean.sqlite")
    assert read_source(tmp_path / "mean.sqlite", None, None, None).visits.n.tolist() == [2, 2, 3, 2, 2]


def test_a_replay_rewards_around_the_number_that_was_shown(tmp_path: Path) -> None:
    path, config = tmp_path / "rounded.sqlite", InternalizationConfig(sigma=50)
    with LengthStore.open(path) as store:
        note_settings(store, DiscoveryConfig())
        note_settings(store, config)
        note_rounding(store, 100)
        lengths = (100, 120, 350)
        store.record_step("discovery", 1, [GroupRecord("a", 3, lengths), GroupRecord("b", 3, lengths)])
        store.record_step("internalization", 1, [GroupRecord("a", 2, (110,), 100.0), GroupRecord("b", 2, (110,))])
    source = read_source(path, None, None, None)
    replay = Replay(source.visits, source.measured, source.run, source.rounding)

    def around(target: float) -> list[float]:
        return internalization_rewards([True], [110], target, config).tolist()

    # One visit was guided, the other was not.
    assert rewards_by_visit(replay, source.run)[2:] == [around(100.0), around(120.0)]
    # Of the mean, 190, the prompt would have shown 200.
    mean = source.run.changed("mean", {"statistic": "mean"})
    assert rewards_by_visit(replay, mean)[2:] == [around(200.0), around(190.0)]
