"""``lapo replay`` on rollouts that real trainings left behind, and on what users may give it instead.

fixtures_replay was recorded from two runs of verl on the CPU with the settings of tests/e2e/verl_runs.py: four steps of
Discovery with lapo.discovery.decay=8, then four of Internalization with lapo.internalization.sigma=6, problems coming
again after three steps. The store is the snapshot of the last checkpoint; the texts in the rollout dumps are cut short.
"""

import dataclasses
import json
import math
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from lapo_verl.cli.main import app
from lapo_verl.objectives import Groups, objective, objective_names
from lapo_verl.replay.command import check_rewards, compare, read_source, run_replay, write_store
from lapo_verl.replay.measure import RecordedRun, Replay
from lapo_verl.replay.recorded import visits_of
from lapo_verl.replay.settings import ReplaySettingError, Setting
from lapo_verl.store import GroupRecord, LengthStore

RECORDED = Path(__file__).parent / "fixtures_replay"
DISCOVERY, INTERNALIZATION = objective("discovery", decay=10), objective("internalization", sigma=5)
DEFAULTS = objective("discovery"), objective("internalization")


def visit(problem: str, n: int, correct: tuple[int, ...], prompt_budget: float | None = None) -> GroupRecord:
    """``n`` rollouts; the wrong ones have 50 tokens."""
    wrong = n - len(correct)
    return GroupRecord(problem, correct + (50,) * wrong, (True,) * len(correct) + (False,) * wrong, prompt_budget)


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """A copy: SQLite may put files beside a store that is read."""
    return Path(shutil.copytree(RECORDED, tmp_path / "recorded"))


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Problem a: 14 then 10; b: unsolved, then 30, then 20 in stage 2; c: a lone visit of stage 2."""
    path = tmp_path / "small" / "lapo_store.sqlite"
    with LengthStore.open(path, meta={"tokenizer": "t"}) as opened:
        opened.record_step("discovery", 1, [visit("a", 4, (10, 18)), visit("b", 4, ())], DISCOVERY)
        opened.record_step("discovery", 2, [visit("a", 2, (10,)), visit("b", 4, (20, 30, 31, 60))], DISCOVERY)
        guided = [visit("a", 2, (10, 15), 10.0), visit("b", 2, (20,), 30.5)]
        opened.record_step("internalization", 1, guided, INTERNALIZATION)
        opened.record_step("internalization", 2, [visit("c", 2, (7, 9))], INTERNALIZATION)
    return path


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["replay", *map(str, arguments)])
    return result.exit_code, result.output


def replay_json(*arguments: object) -> dict[str, Any]:
    code, output = run(*arguments, "--json")
    assert code == 0, output
    return json.loads(output)


def metrics_of(report: dict[str, Any], of: str, name: str = "run") -> dict[str, Any]:
    (row,) = [row for row in report["runs"][of]["settings"] if row["name"] == name]
    return row["metrics"]


@pytest.mark.parametrize("stage", ["discovery", "internalization"])
def test_the_runs_settings_give_back_the_runs_own_rewards(recorded: Path, stage: str) -> None:
    """Bit for bit: verl dumps float32."""
    arguments = (recorded / stage, "--store", recorded / "lapo_store.sqlite", "--of", stage)
    report = replay_json(*arguments)
    assert report["check"]["rewards"] == {"rollouts": 128, "equal": 128}
    assert report["check"]["budgets"] == {"visits": 64, "equal": 64}
    rows = [json.loads(line) for step in range(1, 5) for line in (recorded / stage / f"{step}.jsonl").open()]
    assert metrics_of(report, stage)["reward"] == pytest.approx(np.mean([row["score"] for row in rows]), rel=1e-6)
    assert len({row["score"] for row in rows}) >= 10, "lengths made a difference"
    # Other settings than the run's own do not.
    other = replay_json(*arguments, "--run", "decay=9,sigma=7")
    assert other["check"]["rewards"]["equal"] < 128


def test_a_dump_is_checked_reward_for_reward(recorded: Path) -> None:
    source = read_source(recorded / "discovery", "discovery", None, recorded / "lapo_store.sqlite")
    replay = Replay(source.visits, source.measured, source.runs)
    assert source.scores is not None
    (changed, *rest), *others = source.scores[2], source.scores[1], source.scores[3], source.scores[4]
    nudged = float(np.nextafter(np.float32(max(changed)), np.float32(9)))
    scores = {2: [(nudged, *sorted(changed)[:-1]), *rest], **dict(zip((1, 3, 4), others, strict=True))}
    assert check_rewards(replay, scores) == {"rollouts": 128, "equal": 124}


def test_a_store_alone_has_both_stages(recorded: Path) -> None:
    report = replay_json(recorded / "lapo_store.sqlite", "--try", "sigma=3,6")
    assert list(report["runs"]) == ["discovery", "internalization"]
    assert report["notes"] == []
    stage = report["runs"]["internalization"]
    assert (stage["groups"], stage["rollouts"], stage["steps"]) == (32, 128, [1, 4])
    assert [row["name"] for row in stage["settings"]] == ["run", "sigma=3", "sigma=6"]
    assert all(change == 0 for change in stage["settings"][2]["change"].values())
    assert stage["settings"][1]["change"]["length_reward"] < 0
    assert list(replay_json(recorded / "lapo_store.sqlite", "--of", "discovery")["runs"]) == ["discovery"]


def test_metrics_by_hand(store: Path) -> None:
    discovery = metrics_of(replay_json(store), "discovery")
    # a: P30 = 12.4, P70 = 15.6 of 10 and 18; both are 2.4 outside, R1 = 0.76. Its second visit: R1 = 1.
    # b: P30 = 29, P70 = 33.9 of 20 30 31 60: R1 = 0.1, 1, 1, 0. Four groups, 14 rollouts, 7 of them correct.
    sum_r1 = 2 * 0.76 + 1 + 0.1 + 2
    assert discovery["length_reward"] == pytest.approx(sum_r1 / 7)
    assert discovery["reward"] == pytest.approx((7 + 0.7 * sum_r1) / 14)
    assert discovery["in_band_share"] == pytest.approx(3 / 7)
    assert discovery["no_signal_share"] == 0.25
    groups = [[1.532, 1.532, 0, 0], [0] * 4, [1.7, 0], [1.07, 1.7, 1.7, 1.0]]
    # In the first three, correctness explains all that differs; in the last one nothing.
    variation = [np.var(group) * len(group) for group in groups]
    assert discovery["length_share"] == pytest.approx(variation[3] / sum(variation))
    assert discovery["reward_spread"] == pytest.approx(np.mean([np.std(group, ddof=1) for group in groups]))
    # Only b's second visit has rewards that differ: ranks of lengths 0 1 2 3, of rewards 1 2.5 2.5 0.
    ours = np.array([1, 2.5, 2.5, 0])
    assert discovery["rank_correlation"] == pytest.approx(np.corrcoef(ours, np.arange(4))[0, 1])
    advantages = (np.array(groups[3]) - np.mean(groups[3])) / (np.std(groups[3], ddof=1) + 1e-6)
    # Where all correct ones have one reward, their advantages push in no direction.
    assert discovery["length_push"] == pytest.approx((advantages * (np.array([20, 30, 31, 60]) - 35.25)).sum() / 7)
    assert (discovery["budget_mean"], discovery["budget_p50"]) == (20.25, 20.25)  # a: 10, b: 30.5
    assert discovery["budget_solved_share"] == 1.0

    internalization = metrics_of(replay_json(store), "internalization")
    # a around 10, b around 30.5, c, unsolved, around its own median 8.
    r2 = [1, math.exp(-25 / 50), math.exp(-(10.5**2) / 50), math.exp(-1 / 50), math.exp(-1 / 50)]
    assert internalization["length_reward"] == pytest.approx(np.mean(r2))
    assert internalization["budget_mean"] == pytest.approx((10 + 20 + 8) / 3)


def test_another_statistic_reaches_the_rewards_of_stage_two(store: Path) -> None:
    report = replay_json(store, "--try", "statistic=minimum", "--try", "beta=1")
    name = "statistic=minimum beta=1"
    assert metrics_of(report, "discovery", name)["budget_mean"] == 15.0  # a: 10, b: 20
    assert metrics_of(report, "discovery", name)["budget_changed_share"] == 0.5
    r2 = [1, math.exp(-25 / 50), 1.0, 1.0, math.exp(-4 / 50)]
    assert metrics_of(report, "internalization", name)["reward"] == pytest.approx((5 + sum(r2)) / 6)


def test_keep_remembers_what_was_solved(tmp_path: Path) -> None:
    with LengthStore.open(tmp_path / "s.sqlite") as opened:
        opened.record_step("discovery", 1, [visit("a", 2, (40,))], DISCOVERY)
        opened.record_step("discovery", 2, [visit("a", 2, ())], DISCOVERY)
    report = replay_json(tmp_path / "s.sqlite", "--try", "on_unsolved=keep")
    assert metrics_of(report, "discovery")["budget_mean"] is None
    assert metrics_of(report, "discovery", "on_unsolved=keep")["budget_mean"] == 40.0


def test_which_budget_a_visit_was_read_with(tmp_path: Path) -> None:
    """Shown: that one. Unguided: the one before. Read ahead of the last update: the older one."""
    with LengthStore.open(tmp_path / "s.sqlite") as opened:
        steps = (
            visit("a", 2, (40, 44), None),  # 42
            visit("a", 2, (30, 34), 42.0),  # 32
            visit("a", 2, (32, 20), 42.0),  # 26, read ahead
            visit("a", 2, (26, 28), None),  # 26, no guidance
            visit("a", 1, (70,), 70.0),  # from nowhere
        )
        for step, group in enumerate(steps, start=1):
            opened.record_step("internalization", step, [group], DEFAULTS[1])
        visits = visits_of(opened.records(), ["internalization"])
    replay = Replay(visits, np.ones(5, dtype=bool), [RecordedRun("internalization", DEFAULTS[1])])
    (own,) = replay.own
    targets = (42.0, 42.0, 42.0, 26.0, 70.0)
    lengths = ((40, 44), (30, 34), (32, 20), (26, 28), (70,))
    for rewards, target, tokens in zip(own.rewards, targets, lengths, strict=True):
        expected = 1 + 0.7 * np.exp(-((np.array(tokens) - target) ** 2) / (2 * 120**2))
        assert rewards[: len(tokens)].tolist() == pytest.approx(expected.tolist())
    (smallest,) = replay.under({"internalization": objective("internalization", statistic="minimum")})
    ahead = 1 + 0.7 * np.exp(-(np.array([8, 20]) ** 2) / (2 * 120**2))
    assert smallest.rewards[2].tolist() == pytest.approx(ahead.tolist())


def test_a_validation_dump_is_groups_of_samples(recorded: Path) -> None:
    report = replay_json(recorded / "validation", "--try", "alpha=0.2")
    stage = report["runs"]["discovery"]
    assert (stage["groups"], stage["rollouts"], stage["correct"], stage["steps"]) == (6, 12, 11, [4, 4])
    assert report["check"] == {"budgets": None, "rewards": None}
    assert "--run" in report["notes"][0]
    tokens = [json.loads(line)["tokens"] for line in (recorded / "validation" / "4.jsonl").open()]
    assert 0 < metrics_of(report, "discovery")["budget_mean"] < max(tokens)
    assert list(replay_json(recorded / "validation" / "4.jsonl", "--run", "name=internalization")["runs"]) == [
        "internalization"
    ]


def sample(**changes: object) -> dict[str, object]:
    return {"problem_id": "p", "acc": 1.0, "tokens": 7, **changes}


def lines(path: Path, *rows: object, tail: str = "") -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows) + tail)
    return path


def test_a_validation_dump_is_counted_as_its_run_counted(tmp_path: Path) -> None:
    rows = [
        {"problem_id": "p", "acc": 1.0, "tokens": tokens, "think_tokens": thought, "final_turn_tokens": 7, "step": 3}
        for tokens, thought in ((100, 10), (900, 12))
    ]
    for scope, lengths in ((None, [100, 900]), ("response", [100, 900]), ("think", [10, 12]), ("final_turn", [7, 7])):
        noted = [row if scope is None else {**row, "length_scope": scope} for row in rows]
        source = read_source(lines(tmp_path / f"{scope}.jsonl", *noted), None, None, None)
        assert source.visits.lengths.tolist() == [lengths]


def test_samples_of_an_evaluation_are_told_apart(tmp_path: Path) -> None:
    base = {"checkpoint": "base", "benchmark": "math", "condition": "", "sample": 0, "truncated": False}
    others = ({"checkpoint": "LAPO-I"}, {"benchmark": "aime"}, {"condition": "conflict=500"})
    rows = [sample(**base), sample(**base), *(sample(**{**base, **other}) for other in others)]
    assert replay_json(lines(tmp_path / "samples.jsonl", *rows))["runs"]["discovery"]["groups"] == 4


def test_the_last_output_of_a_session_counts(tmp_path: Path) -> None:
    rows = [sample(uid=f"u_0_{index}", step=1) for index in range(3)] + [sample(uid="u_1_0", step=1)]
    assert replay_json(lines(tmp_path / "1.jsonl", *rows))["runs"]["discovery"]["rollouts"] == 2


def test_a_half_last_line_is_left_out_and_said(tmp_path: Path, recorded: Path) -> None:
    # U+2028 ends a line for some readers; a text that is cut inside a character is no UTF-8.
    path = lines(tmp_path / "1.jsonl", sample(output="a\u2028b"), sample(), tail='{"problem_id": "é')
    path.write_bytes(path.read_bytes()[:-1])
    report = replay_json(path, "--run", "alpha=0.7")
    assert report["runs"]["discovery"]["rollouts"] == 2
    assert report["notes"] == [f"{path}, line 3: the last line was cut off and is left out"]
    dump = recorded / "discovery" / "3.jsonl"
    dump.write_bytes(dump.read_bytes()[:-20])
    report = replay_json(recorded / "discovery", "--store", recorded / "lapo_store.sqlite", "--of", "discovery")
    assert report["check"]["rewards"] == {"rollouts": 127, "equal": 124}
    assert report["notes"] == [f"{dump}, line 32: the last line was cut off and is left out"]


def test_files_that_cannot_be_used_are_named_with_the_line(tmp_path: Path, recorded: Path) -> None:
    (tmp_path / "empty").mkdir()
    whole = lines(tmp_path / "whole.jsonl", sample())
    broken = tmp_path / "broken.jsonl"
    broken.write_text(json.dumps(sample()) + '\n{"x": \n' + json.dumps(sample()) + "\n")
    score = {"score": 1.0, "step": 1, "uid": "u_0_0"}
    store = recorded / "lapo_store.sqlite"
    later = lines(tmp_path / "7.jsonl", {**score, "step": 7})
    for arguments, message in (
        ((tmp_path / "gone.jsonl",), "gone.jsonl"),
        ((tmp_path / "gone.sqlite",), "gone.sqlite"),
        ((tmp_path / "empty",), "contains no <step>.jsonl"),
        ((lines(tmp_path / "0.jsonl"),), "0.jsonl: has no rows"),
        ((broken,), "broken.jsonl, line 2: not JSON"),
        ((lines(tmp_path / "a.jsonl", sample(), {"tokens": 3}),), "a.jsonl, line 2: no field 'problem_id'"),
        ((lines(tmp_path / "b.jsonl", sample(), sample(acc=0.4)),), "b.jsonl, line 2: problem_id must be"),
        ((lines(tmp_path / "c.jsonl", sample(), sample(tokens=1.5)),), "c.jsonl, line 2: problem_id must be"),
        ((lines(tmp_path / "d.jsonl", sample(), [3]),), "d.jsonl, line 2: must be an object"),
        ((lines(tmp_path / "e.jsonl", {"x": 1}),), "e.jsonl, line 1: neither"),
        ((recorded / "discovery",), "add --store"),
        ((whole, "--store", store), "whole.jsonl is not a training dump"),
        ((store, "--store", store), "lapo_store.sqlite is not a training dump"),
        (
            (lines(tmp_path / "f.jsonl", score, {**score, "score": None}), "--store", store),
            "f.jsonl, line 2: not a row",
        ),
        ((later, "--store", store), "no internalization record of its steps"),
    ):
        code, output = run(*arguments)
        assert code == 1, output
        assert message in output.replace("\n", "")
        assert "lapo: error:" in output


def test_settings_that_cannot_be_used_are_named(store: Path, recorded: Path, tmp_path: Path) -> None:
    for arguments, message in (
        (("--try", "alpha=-1"), "setting 'alpha=-1': objective discovery: alpha must be >= 0, got -1"),
        (("--try", "alpha=much"), "alpha must be a finite number, got 'much'"),
        (("--try", "low=80"), "low must not be above high"),
        (("--try", "statistic=mode"), "statistic must be one of"),
        (("--try", "alhpa=1"), "no field 'alhpa' in discovery, internalization: did you mean alpha?"),
        (("--try", "alpha"), "--try: 'alpha' must be field=value"),
        (("--set", "x:alhpa=1"), "setting 'x': no field 'alhpa' in discovery, internalization: did you mean alpha?"),
        (("--set", "alpha=1"), "must be NAME:field=value"),
        (("--set", "x:alpha=1", "--set", "x:alpha=2"), "two settings are named 'x'"),
        (("--set", "x:name=kimi,wieght=1"), "objective kimi has no field 'wieght': did you mean weight?"),
        (("--set", "x:path=pkg://no_such_module,name=Mine"), "pkg://no_such_module cannot be imported"),
        (("--objective", "kimmi"), "unknown objective 'kimmi': did you mean kimi?"),
        (("--run", "alpha"), "--run: 'alpha' must be field=value"),
        (("--of", "discovary"), "has no run 'discovary': did you mean discovery?"),
    ):
        code, output = run(store, *arguments)
        assert code == 1
        assert message in output, output
    code, output = run(recorded / "lapo_store.sqlite", "--objective", "kimi")
    assert code == 1
    assert "objective kimi needs the lengths of wrong rollouts" in output
    code, output = run(recorded / "validation", "--of", "discovery")
    assert code == 1
    assert "--of goes with a store" in output


def test_a_grid_is_every_combination_and_named_settings_come_last(store: Path) -> None:
    report = replay_json(store, "--try", "alpha=0.3,0.7", "--try", "low=10,20", "--set", "mine:decay=4,high=90")
    names = [row["name"] for row in report["runs"]["discovery"]["settings"]]
    assert names == ["run", "alpha=0.3 low=10", "alpha=0.3 low=20", "alpha=0.7 low=10", "alpha=0.7 low=20", "mine"]
    mine = report["runs"]["discovery"]["settings"][-1]["objective"]
    assert (mine["decay"], mine["high"], mine["alpha"]) == (4, 90, 0.7)


def test_other_objectives_are_rows_with_their_own_tried_values(store: Path) -> None:
    report = replay_json(
        store,
        "--try",
        "alpha=0.3",
        "--try",
        "weight=0.2,1",
        "--objective",
        "kimi,hapo",
        "--set",
        "short:name=kimi,weight=2",
    )
    rows = {row["name"]: row for row in report["runs"]["discovery"]["settings"]}
    assert list(rows) == [
        *("run", "alpha=0.3", "kimi", "kimi weight=0.2", "kimi weight=1"),
        *("hapo", "hapo weight=0.2", "hapo weight=1", "short"),
    ]
    assert rows["hapo"]["metrics"]["budget_mean"] == 15.0  # a: 10, b: 20
    assert rows["kimi"]["objective"] == objective("kimi").config()
    # Step by step, with the shortest of the visits before as the target.
    lengths = [[10, 18, 50, 50], [50] * 4, [10, 50], [20, 30, 31, 60]]
    correct = [[True] * 2 + [False] * 2, [False] * 4, [True, False], [True] * 4]
    for name, targets in (("kimi weight=0.2", None), ("hapo weight=0.2", [None, None, 10, None])):
        groups = Groups.of(correct, lengths, target=targets)
        rewards = objective(name.split()[0], weight=0.2).rewards(groups)
        assert rows[name]["metrics"]["reward"] == pytest.approx(np.nanmean(rewards))


def test_a_memory_goes_on_from_step_to_step(tmp_path: Path) -> None:
    """LASER-D makes its lengths anew after each step here."""
    laser = objective("laser_d", interval=1, lower_bound=10, spacing=10, target_length=30)
    groups = [
        [visit("a", 4, (15, 25, 35, 45)), visit("b", 2, (20,))],
        [visit("a", 4, (20, 60))],
        [visit("b", 2, (55, 9))],
    ]
    with LengthStore.open(tmp_path / "s.sqlite") as opened:
        for step, visits in enumerate(groups, start=1):
            opened.record_step("laser_d", step, visits, laser)
        memory = opened.memory("laser_d")
    source = read_source(tmp_path / "s.sqlite")
    (own,) = Replay(source.visits, source.measured, source.runs).own
    assert own.memory == memory
    expected, before = [], None
    for visits in groups:
        step = Groups.of([v.correct for v in visits], [v.lengths for v in visits])
        expected += laser.rewards(step, before).tolist()
        before = laser.adapt(before, step)
    for row, values in zip(own.rewards.tolist(), expected, strict=True):
        assert row[: len(values)] == pytest.approx(values, nan_ok=True)
    assert len({reward for row in expected for reward in row if reward > 0}) == 2, "the limits made a difference"


@pytest.mark.parametrize("name", ["new", "first schema"])
def test_all_objectives_that_the_records_allow(store: Path, recorded: Path, name: str) -> None:
    report = replay_json(store if name == "new" else recorded / "lapo_store.sqlite", "--objective", "all")
    shown = [row["name"] for row in report["runs"]["discovery"]["settings"]]
    if name == "new":
        assert shown == ["run", *objective_names()]
        assert report["notes"] == []
    else:
        assert {"accuracy", "discovery", "internalization"} <= set(shown)
        assert "kimi" not in shown
        assert "first schema" in report["notes"][0]
        assert "hapo, kimi" in report["notes"][0]
    # What is computed for a reward that is correctness alone.
    accuracy = metrics_of(report, "discovery", "accuracy")
    assert (accuracy["length_share"], accuracy["rank_correlation"]) == (0.0, None)


def test_a_reward_of_wrong_answers_is_no_length(store: Path) -> None:
    """Below its gate GRPO-LEAD gives 1 and -1, LASER below its target 1.5 and -0.5: correctness alone."""
    report = replay_json(store, "--objective", "grpo_lead,laser,shorterbetter")
    for name in ("grpo_lead", "laser"):
        assert metrics_of(report, "discovery", name)["length_share"] == 0
    assert 0 < metrics_of(report, "discovery", "shorterbetter")["length_share"] < 1


def test_objectives_that_would_have_named_a_budget_are_said(store: Path) -> None:
    report = replay_json(store, "--of", "discovery", "--objective", "l1,kimi,truncation")
    (note,) = report["notes"]
    assert "training with l1, truncation names one" in note
    assert metrics_of(report, "discovery", "l1")["length_share"] == 0
    assert replay_json(store, "--objective", "l1")["notes"] == [], "stage 2 named budgets"


def test_filtered_groups_are_replayed_and_said(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    dropped = dataclasses.replace(visit("a", 2, (10, 10)), filtered=True)
    with LengthStore.open(path) as store:
        store.record_step("discovery", 1, [dropped, visit("b", 2, (10,))], DISCOVERY)
    report = replay_json(path, "--objective", "kimi")
    assert "1 of 2 groups were filtered" in report["notes"][0] and len(report["notes"]) == 1
    assert report["runs"]["discovery"]["groups"] == 2
    assert write_store(path, tmp_path / "new", {"discovery": DISCOVERY}) == 2
    with LengthStore.open(tmp_path / "new", read_only=True) as store:
        assert [record.filtered for record in store.records()] == [True, False]


def test_an_objective_of_the_users_own(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "replay_own.py").write_text(
        "from dataclasses import dataclass\n"
        "from lapo_verl.objectives import Objective\n\n\n"
        "@dataclass(frozen=True)\n"
        "class Halved(Objective):\n"
        "    worth: float = 0.5\n\n"
        "    def rewards(self, groups, memory=None):\n"
        "        return groups.masked(self.worth * groups.correct)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    report = replay_json(store, "--set", "mine:path=pkg://replay_own,name=Halved,worth=0.25")
    assert metrics_of(report, "discovery", "mine")["reward"] == pytest.approx(0.25 * 7 / 14)
    report = replay_json(store, "--objective", "pkg://replay_own:Halved,kimi")
    assert metrics_of(report, "discovery", "Halved")["reward"] == pytest.approx(0.5 * 7 / 14)


def test_a_setting_of_a_run_that_is_not_there_is_refused(store: Path, tmp_path: Path) -> None:
    first = tmp_path / "first.sqlite"
    with LengthStore.open(first) as opened:
        opened.record_step("discovery", 1, [visit("a", 4, (10, 18))], DISCOVERY)
    for arguments, message in (
        ((first, "--try", "beta=1"), "no field 'beta' in discovery"),
        ((first, "--try", "alpha=1", "--set", "mine:sigma=3"), "'mine': no field 'sigma' in discovery"),
        ((store, "--of", "discovery", "--try", "beta=1"), "no field 'beta' in discovery"),
        # Stage 2 starts from the budgets that the run's stage 1 ended with.
        ((store, "--of", "internalization", "--try", "on_unsolved=keep"), "no field 'on_unsolved' in internalization"),
    ):
        code, output = run(*arguments)
        assert code == 1, output
        assert message in output, output


def test_a_settings_name_breaks_between_its_settings_only(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    code, output = run(store, "--try", "alpha=0.3,0.7", "--try", "degenerate_band=zero")
    assert code == 0
    for setting in ("alpha=0.3", "alpha=0.7", "degenerate_band=zero"):
        assert setting in output


def test_the_tables_say_what_changed(store: Path) -> None:
    code, output = run(store, "--try", "alpha=0,0.7", "--try", "statistic=mean")
    assert code == 0
    assert "budgets under the run's settings: 7 of 7 visits as recorded" in output
    assert "discovery, steps 1 to 2: 4 groups, 14 rollouts, 7 correct" in output
    assert "internalization: budgets after step 2" in output
    code, output = run(store, "--set", "[/b]:alpha=0")
    assert "[/b]" in output
    code, output = run(store, "--run", "statistic=mean")
    assert "was it trained with these settings?" in output


def records_of(path: Path) -> list[Any]:
    with LengthStore.open(path, read_only=True) as opened:
        return list(opened.records())


def test_a_store_is_written_under_another_statistic(recorded: Path, tmp_path: Path) -> None:
    source, target = recorded / "lapo_store.sqlite", tmp_path / "new" / "mean.sqlite"
    report = replay_json(source, "--try", "statistic=mean", "--of", "discovery", "--write", target)
    assert report["written"] == {"path": str(target), "records": 32}
    old, new = [record for record in records_of(source) if record.run == "discovery"], records_of(target)
    for before, after in zip(old, new, strict=True):
        assert (after.problem_id, after.step, after.correct) == (before.problem_id, before.step, before.correct)
        assert after.lengths == before.lengths
        assert after.target == (np.mean(before.correct_lengths) if before.correct_lengths else None)
    with LengthStore.open(source, read_only=True) as one, LengthStore.open(target, read_only=True) as two:
        assert two.meta["tokenizer"] == one.meta["tokenizer"]
        assert [each.objective for each in two.runs()] == [objective("discovery", decay=8, statistic="mean").config()]
    # The new store needs no other: its note gives its budgets.
    assert replay_json(target)["check"]["budgets"] == {"visits": 32, "equal": 32}
    assert list(target.parent.iterdir()) == [target]


def test_stage_two_is_written_from_the_budgets_that_stage_one_ended_with(store: Path, tmp_path: Path) -> None:
    target = tmp_path / "two.sqlite"
    report = replay_json(store, "--try", "statistic=minimum", "--of", "internalization", "--write", target)
    # a: min(10, 10); b: min(30.5, 20); c is new.
    with LengthStore.open(target, read_only=True) as opened:
        assert opened.budgets(["a", "b", "c"]) == {"a": 10.0, "b": 20.0, "c": 7.0}
        assert opened.runs()[0].objective == DISCOVERY.config()
    old, new = records_of(store), records_of(target)
    assert [record for record in new if record.run == "discovery"] == old[:4]
    assert report["written"]["records"] == len(new) == len(old)
    # What the table says of the setting is what the file has.
    (_, changed) = report["runs"]["internalization"]["settings"]
    assert changed["metrics"]["budget_mean"] == pytest.approx((10 + 20 + 7) / 3)


def test_the_budgets_start_as_they_were(tmp_path: Path) -> None:
    """The smallest median is 100, of stage 1; stage 2 alone would give 300."""
    path, target = tmp_path / "store.sqlite", tmp_path / "new.sqlite"
    with LengthStore.open(path) as opened:
        opened.record_step("discovery", 1, [visit("a", 1, (100,))], DISCOVERY)
        opened.record_step("internalization", 1, [visit("a", 3, (300, 310, 500), 100.0)], INTERNALIZATION)
    report = replay_json(path, "--try", "statistic=mean", "--of", "internalization", "--write", target)
    (_, changed) = report["runs"]["internalization"]["settings"]
    assert changed["metrics"]["budget_mean"] == 100.0
    with LengthStore.open(target, read_only=True) as opened:
        assert opened.budgets(["a"]) == {"a": 100.0}


def test_the_same_settings_write_the_same_store(recorded: Path, tmp_path: Path) -> None:
    source, target = recorded / "lapo_store.sqlite", tmp_path / "same.sqlite"
    own = read_source(source).own
    assert write_store(source, target, own.objectives) == 64
    assert records_of(target) == records_of(source)
    with LengthStore.open(source, read_only=True) as one, LengthStore.open(target, read_only=True) as two:
        assert one.meta == two.meta
        assert one.runs() == two.runs()


def test_what_cannot_be_written_is_refused_before_any_work(store: Path, recorded: Path, tmp_path: Path) -> None:
    target = tmp_path / "new.sqlite"
    for arguments, message in (
        ((store, "--try", "alpha=0.3"), "not alpha"),
        ((store, "--set", "mixed:statistic=mean,sigma=9"), "not sigma"),
        ((store, "--objective", "hapo"), "--write takes other fields of discovery"),
        ((store,), "exactly one setting, got 0"),
        ((store, "--try", "statistic=mean,minimum"), "exactly one setting, got 2"),
        ((recorded / "validation", "--try", "statistic=mean"), "needs a store"),
    ):
        code, output = run(*arguments, "--write", target)
        assert code == 1
        assert message in output
    assert not target.exists()
    target.write_text("mine")
    code, output = run(store, "--try", "statistic=mean", "--write", target)
    assert code == 1
    assert target.read_text() == "mine"


def test_help_has_an_example() -> None:
    code, output = run("--help")
    assert code == 0
    assert "Example: lapo replay" in output


def test_neither_verl_nor_torch_is_loaded(store: Path) -> None:
    code = (
        "import sys; from lapo_verl.cli.main import app; app(sys.argv[1:], standalone_mode=False); "
        "print([m for m in ('torch', 'verl', 'ray', 'lapo_verl.hooks', 'scipy') if m in sys.modules])"
    )
    command = [sys.executable, "-c", code, "replay", str(store), "--json"]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert found.stdout.splitlines()[-1] == "[]"


@dataclass
class Noted:
    """An objective as another version may have noted it."""

    fields: dict[str, Any]
    name: str = "discovery"

    def config(self) -> dict[str, Any]:
        return {"name": self.name, **self.fields}


def test_settings_of_an_unknown_kind_are_refused(store: Path) -> None:
    with LengthStore.open(store) as opened:
        opened.begin_run("discovery", Noted({"gamma": 1}), {})  # type: ignore[arg-type]
    code, output = run(store)
    assert code == 1
    assert "lapo_store.sqlite: objective discovery has no field 'gamma'" in output


def test_settings_that_nobody_noted_are_said(store: Path) -> None:
    with LengthStore.open(store) as opened:
        opened.begin_run("discovery", Noted({}), {})  # type: ignore[arg-type]
    assert "does not note the settings of discovery" in replay_json(store)["notes"][0]
    assert replay_json(store, "--run", "decay=10")["notes"] == []


def test_compare_takes_settings_of_both_runs(store: Path) -> None:
    source = read_source(store)
    other = Setting("other", {"discovery": objective("discovery", alpha=0), "internalization": objective("accuracy")})
    report = compare(Replay(source.visits, source.measured, source.runs), [other])
    for run, accuracy in (("discovery", 7 / 14), ("internalization", 5 / 6)):
        metrics = report[run]["settings"][1]["metrics"]
        assert metrics["reward"] == pytest.approx(accuracy)
        assert metrics["rank_correlation"] is None
    with pytest.raises(ReplaySettingError, match="already"):
        run_replay(store, ["statistic=mean"], write=store)
