"""The vectorised replay against one group after the other, scipy and the training's metrics; and what must hold."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import spearmanr

from lapo_verl.hooks.step import Rollout, Step, step_metrics
from lapo_verl.objectives import objective
from lapo_verl.objectives.discovery import Discovery
from lapo_verl.objectives.internalization import Internalization
from lapo_verl.replay.command import check_budgets, read_source, run_replay
from lapo_verl.replay.measure import RecordedRun, Replay, _advantages, _correlations, _ranks
from lapo_verl.replay.recorded import visits_of
from lapo_verl.replay.settings import Setting
from lapo_verl.store import GroupRecord, LengthStore, Record

RUNS = ("discovery", "internalization")
STATISTICS = ("median", "mean", "minimum")
WRONG_TOKENS = 50
group = st.tuples(st.sampled_from("abc"), st.integers(0, 3), st.lists(st.integers(0, 3000), max_size=9))
discovery_objectives = st.builds(
    lambda alpha, band, decay, statistic, on_unsolved, degenerate_band: Discovery(
        alpha, min(band), max(band), decay, statistic, on_unsolved, degenerate_band
    ),
    st.floats(0, 3),
    # Percentiles that a length does not swallow: with 1e-100, the band of 0 and 1 tokens is a point after a shift.
    st.tuples(st.integers(0, 1000), st.integers(0, 1000)).map(lambda band: (band[0] / 10, band[1] / 10)),
    st.floats(0.5, 1000),
    st.sampled_from(STATISTICS),
    st.sampled_from(("reset", "keep")),
    st.sampled_from(("in_range", "zero")),
)
internalization_objectives = st.builds(
    Internalization, st.floats(0, 3), st.floats(0.5, 1000), st.sampled_from(STATISTICS)
)
configs = st.builds(
    lambda d, i: Setting("x", {"discovery": d, "internalization": i}), discovery_objectives, internalization_objectives
)


def plain_statistic(lengths: tuple[int, ...], name: str) -> float:
    return float({"median": np.median, "mean": np.mean, "minimum": np.min}[name](lengths))


def plain_target(setting: Setting, run: str, before: float | None, lengths: tuple[int, ...]) -> float | None:
    """Eq. 3 and Eq. 8 for one visit."""
    config = setting.objectives[run].config()
    value = plain_statistic(lengths, config["statistic"]) if lengths else None
    if run == "discovery":
        return before if value is None and config["on_unsolved"] == "keep" else value
    return min((number for number in (before, value) if number is not None), default=None)


def plain_rewards(setting: Setting, run: str, target: float | None, lengths: tuple[int, ...]) -> list[float]:
    """Eq. 4 and Eq. 6 for the correct rollouts of one visit."""
    if not lengths:
        return []
    config, tokens = setting.objectives[run].config(), np.array(lengths, dtype=np.float64)
    if run == "internalization":
        n = plain_statistic(lengths, config["statistic"]) if target is None else target
        rewards: NDArray[np.float64] = 1.0 + config["beta"] * np.exp(-((tokens - n) ** 2) / (2 * config["sigma"] ** 2))
        return rewards.tolist()
    low, high = np.percentile(tokens, [config["low"], config["high"]])
    if low == high and config["degenerate_band"] == "zero":
        return [1.0] * len(lengths)
    distances = np.minimum(np.abs(tokens - low), np.abs(tokens - high))
    inside = (tokens >= low) & (tokens <= high)
    rewards = 1.0 + config["alpha"] * np.where(inside, 1.0, np.maximum(0.0, 1.0 - distances / config["decay"]))
    return rewards.tolist()


@st.composite
def histories(draw: st.DrawFn, setting: Setting | None = None, min_size: int = 1) -> list[Record]:
    """What a store would have recorded: visits of both runs, targets made and named under ``setting``."""
    used = draw(configs) if setting is None else setting
    records: list[Record] = []
    targets: dict[str, float | None] = {}
    first = draw(st.lists(group, min_size=min_size, max_size=8))
    second = draw(st.lists(group, max_size=8))
    for run, visits in zip(RUNS, (first, second), strict=True):
        for step, (problem, wrong, lengths) in enumerate(visits, start=1):
            before = targets.get(problem)
            targets[problem] = plain_target(used, run, before, tuple(lengths))
            named = before if run == "internalization" and draw(st.booleans()) else None
            rollouts = rollouts_of(lengths, max(wrong, not lengths))
            records.append(Record(problem, run, step, *rollouts, named, targets[problem]))
    return records


def rollouts_of(correct: list[int], wrong: int) -> tuple[tuple[int, ...], tuple[bool, ...]]:
    return (*correct, *[WRONG_TOKENS] * wrong), (*[True] * len(correct), *[False] * wrong)


def replay_of(records: list[Record], run: Setting) -> Replay:
    runs = [RecordedRun(name, run.objectives[name]) for name in RUNS]
    return Replay(visits_of(records, RUNS), np.ones(len(records), dtype=bool), runs)


def rewards_by_visit(replay: Replay, setting: Setting) -> list[list[float]]:
    """Of each visit's correct rollouts."""
    rewards = np.concatenate([outcome.rewards for outcome in replay.under(setting.objectives)])
    assert (rewards[replay.visits.valid & ~replay.visits.correct] == 0).all()
    return [row[correct].tolist() for row, correct in zip(rewards, replay.visits.correct, strict=True)]


def targets_by_visit(replay: Replay, setting: Setting) -> NDArray[np.float64]:
    return np.concatenate([outcome.after for outcome in replay.under(setting.objectives)])


def one_by_one(records: list[Record], setting: Setting) -> tuple[list[list[float]], list[float | None]]:
    """Rewards and targets, visit after visit."""
    targets: dict[str, float | None] = {}
    rewards, after = [], []
    for record in records:
        before = targets.get(record.problem_id)
        rewards.append(plain_rewards(setting, record.run, before, record.correct_lengths))
        targets[record.problem_id] = plain_target(setting, record.run, before, record.correct_lengths)
        after.append(targets[record.problem_id])
    return rewards, after


def same(budgets: NDArray[np.float64], expected: list[float | None]) -> bool:
    return [None if np.isnan(budget) else budget for budget in budgets.tolist()] == expected


@settings(max_examples=150, deadline=None)
@given(st.data(), configs, configs)
def test_the_replay_is_the_method_bit_for_bit(data: st.DataObject, run: Setting, other: Setting) -> None:
    records = data.draw(histories(run))
    # Without a second visit that shows an old budget there is one reading of a history.
    replay = replay_of([replace(record, prompt_budget=None) for record in records], run)
    for setting in (run, other):
        rewards, budgets = one_by_one(records, setting)
        assert rewards_by_visit(replay, setting) == rewards
        assert same(targets_by_visit(replay, setting), budgets)


@settings(max_examples=100, deadline=None)
@given(st.data(), configs)
def test_the_runs_settings_give_back_what_was_recorded(data: st.DataObject, run: Setting) -> None:
    """Also where some visits were guided and others not."""
    records = data.draw(histories(run))
    replay = replay_of(records, run)
    assert same(targets_by_visit(replay, run), [record.target for record in records])
    assert rewards_by_visit(replay, run) == one_by_one(records, run)[0]


@settings(max_examples=100, deadline=None)
@given(histories(), configs)
def test_no_weight_is_no_length_signal(records: list[Record], run: Setting) -> None:
    silent = run.changed("silent", {"alpha": 0, "beta": 0})
    replay = replay_of(records, run)
    outcomes = replay.under(silent.objectives)
    for name in {record.run for record in records}:
        here = [record for record in records if record.run == name]
        metrics = replay.metrics(RUNS.index(name), outcomes)
        assert metrics["reward"] == sum(len(r.correct_lengths) for r in here) / sum(r.n for r in here)
        assert metrics["rank_correlation"] is None
        assert metrics["length_share"] in (0, None)
        assert metrics["length_push"] == pytest.approx(0, abs=1e-5) or metrics["length_push"] is None
        all_or_none = [len(r.correct_lengths) in (0, r.n) for r in here]
        assert metrics["no_signal_share"] == np.mean(all_or_none)


@settings(max_examples=100, deadline=None)
@given(st.data(), configs, st.integers(1, 5000))
def test_discovery_knows_no_absolute_length(data: st.DataObject, run: Setting, shift: int) -> None:
    records = [record for record in data.draw(histories(run)) if record.run == "discovery"]
    moved = [replace(record, lengths=tuple((length or 0) + shift for length in record.lengths)) for record in records]
    before, after = replay_of(records, run), replay_of(moved, run)
    for one, two in zip(rewards_by_visit(before, run), rewards_by_visit(after, run), strict=True):
        assert one == pytest.approx(two, abs=1e-9)
    assert targets_by_visit(after, run) == pytest.approx(targets_by_visit(before, run) + shift, nan_ok=True)


@settings(max_examples=100, deadline=None)
@given(st.data(), configs)
def test_lengths_in_another_unit_have_the_same_rewards(data: st.DataObject, run: Setting) -> None:
    """Twice the lengths with twice the decay and sigma."""
    records = data.draw(histories(run))
    doubled = [
        replace(
            record,
            lengths=tuple(2 * (length or 0) for length in record.lengths),
            prompt_budget=None if record.prompt_budget is None else 2 * record.prompt_budget,
            target=None if record.target is None else 2 * record.target,
        )
        for record in records
    ]
    decay, sigma = (run.objectives[name].config()[key] for name, key in zip(RUNS, ("decay", "sigma"), strict=True))
    wider = run.changed("wider", {"decay": 2 * decay, "sigma": 2 * sigma})
    one, two = rewards_by_visit(replay_of(records, run), run), rewards_by_visit(replay_of(doubled, wider), wider)
    for row, other in zip(one, two, strict=True):
        assert row == pytest.approx(other, abs=1e-9)


@settings(max_examples=100, deadline=None)
@given(st.data(), configs)
def test_budgets_of_stage_two_only_fall_and_the_minimum_is_the_lowest(data: st.DataObject, run: Setting) -> None:
    records = data.draw(histories(run))
    replay = replay_of(records, run)
    by_statistic = {name: targets_by_visit(replay, run.changed(name, {"statistic": name})) for name in STATISTICS}
    for budgets in by_statistic.values():
        before: dict[str, float] = {}
        for record, budget in zip(records, budgets.tolist(), strict=True):
            if record.run == "internalization" and record.problem_id in before:
                assert budget <= before[record.problem_id]
            before.pop(record.problem_id, None)
            if not np.isnan(budget):
                before[record.problem_id] = budget
    solved = ~np.isnan(by_statistic["minimum"])
    for name in ("median", "mean"):
        assert (solved == ~np.isnan(by_statistic[name])).all()
        assert (by_statistic["minimum"][solved] <= by_statistic[name][solved]).all()


@settings(max_examples=100, deadline=None)
@given(st.data(), configs, st.sampled_from(RUNS))
def test_metrics_are_those_of_the_training_log(data: st.DataObject, run: Setting, name: str) -> None:
    """As ``lapo/...`` reports them for one step of the same rollouts."""
    visits = data.draw(st.lists(st.tuples(st.integers(0, 3), st.lists(st.integers(0, 3000), max_size=9)), min_size=1))
    rollouts, records = [], []
    for number, (wrong, lengths) in enumerate(visits):
        tokens, flags = rollouts_of(lengths, max(wrong, 1))
        problem = f"p{number}"
        rollouts += [Rollout(problem, problem, None, flag, n) for n, flag in zip(tokens, flags, strict=True)]
        records.append(Record(problem, name, 1, tokens, flags, None, None))
    step = Step(rollouts, response_limit=4096)
    trained = run.objectives[name]
    rewards = trained.rewards(step.groups)
    logged = step_metrics(step, trained, rewards, None, {}, {})
    replay = replay_of(records, run)
    metrics = replay.metrics(RUNS.index(name), replay.own)
    assert metrics["no_signal_share"] == pytest.approx(logged["lapo/no_signal_share"])
    assert metrics["reward"] == pytest.approx(np.nanmean(rewards))
    for key in ("length_reward", "in_band_share"):
        assert metrics.get(key) == pytest.approx(logged.get(f"lapo/{key}"), abs=1e-9)


rows = st.integers(1, 8).flatmap(
    lambda k: st.lists(st.lists(st.integers(0, 5), min_size=k, max_size=k), min_size=1, max_size=6)
)


@settings(deadline=None)
@given(st.data(), rows)
def test_rank_correlation_is_scipys(data: st.DataObject, values: list[list[int]]) -> None:
    others = [data.draw(st.permutations(row)) for row in values]
    # A rollout that is left out changes nothing.
    left_out = [[np.nan, *row] for row in values], [[np.nan, *row] for row in others]
    found = _correlations(*(_ranks(np.array(rows, dtype=float)) for rows in left_out))
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
    _, advantages = _advantages(np.array([[*group, np.nan]]))
    expected: Any = (group - mean) / (deviation + 1e-6)
    assert advantages[0, :-1].tolist() == pytest.approx(expected.tolist(), abs=1e-6)


def test_two_visits_in_a_step_are_rewarded_as_two(tmp_path: Path) -> None:
    """As training rewarded them; their target comes from both."""
    path = tmp_path / "twice.sqlite"
    own = Setting("x", {"discovery": Discovery(), "internalization": Internalization(sigma=50)})

    def visit(problem: str, n: int, lengths: list[int], named: float | None = None) -> GroupRecord:
        return GroupRecord(problem, *rollouts_of(lengths, n - len(lengths)), named)

    with LengthStore.open(path) as store:
        twice = [visit("a", 2, [100, 100]), visit("b", 2, [7]), visit("a", 3, [400, 500])]
        store.record_step("discovery", 1, twice, own.objectives["discovery"])
        # Neither of the second step's visits saw what the other made of the target, guided or not.
        twice = [visit("a", 2, [90, 110], 250.0), visit("a", 2, [60, 120])]
        store.record_step("internalization", 1, twice, own.objectives["internalization"])
    source = read_source(path)
    replay = Replay(source.visits, source.measured, source.runs)
    assert check_budgets(replay) == {"visits": 5, "equal": 5}
    rewards = rewards_by_visit(replay, source.own)
    for number, lengths in ((0, (100, 100)), (2, (400, 500))):
        assert rewards[number] == plain_rewards(own, "discovery", None, lengths)
    for number, lengths in ((3, (90, 110)), (4, (60, 120))):
        assert rewards[number] == plain_rewards(own, "internalization", 250.0, lengths)
    # Written under another statistic, the visits stay two.
    run_replay(path, ["statistic=mean"], write=tmp_path / "mean.sqlite")
    assert read_source(tmp_path / "mean.sqlite").visits.valid.sum(axis=1).tolist() == [2, 2, 3, 2, 2]


def test_a_replay_rewards_around_the_number_that_was_shown(tmp_path: Path) -> None:
    path = tmp_path / "rounded.sqlite"
    discovery, internalization = objective("discovery"), objective("internalization", sigma=50)
    with LengthStore.open(path) as store:
        lengths, right = (100, 120, 350), (True,) * 3
        solved = [GroupRecord("a", lengths, right), GroupRecord("b", lengths, right)]
        store.record_step("discovery", 1, solved, discovery)
        store.begin_run("internalization", internalization, {"guidance_rounding": 100})
        guided, plain = (
            GroupRecord(name, (110, 50), (True, False), named) for name, named in (("a", 100.0), ("b", None))
        )
        store.record_step("internalization", 1, [guided, plain], internalization)
    source = read_source(path)
    replay = Replay(source.visits, source.measured, source.runs)

    def around(target: float) -> list[float]:
        return plain_rewards(source.own, "internalization", target, (110,))

    # One visit was guided, the other was not.
    assert rewards_by_visit(replay, source.own)[2:] == [around(100.0), around(120.0)]
    # Of the mean, 190, the prompt would have shown 200.
    mean = source.own.changed("mean", {"statistic": "mean"})
    assert rewards_by_visit(replay, mean)[2:] == [around(200.0), around(190.0)]
