"""The store's door: what is recorded is what is read, and rewinding is exact."""

from __future__ import annotations

import dataclasses
import os
import sqlite3
import tempfile
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_visits import DISCOVERY, INTERNALIZATION, WRONG, visit

from lapo_verl.objectives import Groups, Memory, Objective, objective
from lapo_verl.objectives.base import Floats
from lapo_verl.store import GroupRecord, LengthStore, Record, StoreDamagedError, StoreError, check_scope
from lapo_verl.store.records import pack_correct, pack_lengths, unpack

TABLES = ("runs", "problems", "records", "filtered_records", "steps", "meta")
STATISTICS = {"median": np.median, "mean": np.mean, "minimum": np.min}


@dataclasses.dataclass(frozen=True)
class Steady(Objective):
    """Counts rollouts and their tokens over the whole run, and keeps each problem's last mean length."""

    def rewards(self, groups: Groups, memory: Memory | None = None) -> Floats:
        return groups.masked(groups.correct)

    def update(self, groups: Groups) -> Floats:
        return groups.all_lengths.mean()

    def adapt(self, memory: Memory | None, groups: Groups) -> Memory:
        seen, tokens = (0, 0.0) if memory is None else (memory["seen"], memory["tokens"])
        return {"seen": seen + int(groups.valid.sum()), "tokens": tokens + float(groups.lengths[groups.valid].sum())}


@st.composite
def rollouts(draw: st.DrawFn) -> GroupRecord:
    correct = draw(st.lists(st.booleans(), min_size=1, max_size=9))
    lengths = draw(st.lists(st.integers(0, 4096) | st.just(2**16), min_size=len(correct), max_size=len(correct)))
    name = draw(st.sampled_from(["p1", "p2", "p3", "p4", "日本 'x\""]))
    budget = draw(st.none() | st.floats(0, 4096))
    return GroupRecord(name, tuple(lengths), tuple(correct), budget, filtered=draw(st.booleans()))


groups = rollouts()
RUNS = ["discovery", "internalization", "steady"]  # in their order, which is that of the alphabet
statistics = st.sampled_from(list(STATISTICS))
objectives = {
    "discovery": st.builds(
        lambda statistic, on_unsolved: objective("discovery", statistic=statistic, on_unsolved=on_unsolved),
        statistics,
        st.sampled_from(["reset", "keep"]),
    ),
    "internalization": st.builds(lambda statistic: objective("internalization", statistic=statistic), statistics),
    "steady": st.just(Steady()),
}
# Three trainings, one after the other; step numbers may leave gaps.
trainings = st.lists(
    st.sampled_from(RUNS).flatmap(
        lambda run: st.tuples(st.just(run), st.integers(0, 8), st.lists(groups, max_size=5), objectives[run])
    ),
    max_size=7,
).map(lambda calls: sorted(calls, key=lambda call: (call[0], call[1])))


def tables(path: Path) -> dict[str, list[Any]]:
    """All that the file holds."""
    connection = sqlite3.connect(path)
    found = {table: connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall() for table in TABLES}
    connection.close()
    return found


def train(path: Path, calls: list[Any]) -> None:
    """Records ``calls`` in the store at ``path``."""
    with LengthStore.open(path) as store:
        for call in calls:
            store.record_step(*call)


@settings(max_examples=60, deadline=None)
@given(calls=trainings, run=st.sampled_from(RUNS), step=st.integers(-1, 9))
def test_rewind_gives_the_store_that_recorded_only_so_far(memory: Path, calls: list[Any], run: str, step: int) -> None:
    folder = Path(tempfile.mkdtemp(dir=memory))
    kept = [call for call in calls if (call[0], call[1]) <= (run, step)]
    train(folder / "whole", calls)
    train(folder / "short", kept)
    with LengthStore.open(folder / "whole") as store:
        names = [each.name for each in store.runs()]
        if run not in names:
            with pytest.raises(ValueError, match=f"whole: has no run '{run}'"):
                store.rewind(run, step)
            return
        before = len(list(store.records()))
        forgotten = store.rewind(run, step)
        assert before - forgotten == len(list(store.records()))
        if run in [each.name for each in store.runs()]:
            assert store.rewind(run, step) == 0
    whole, short = tables(folder / "whole"), tables(folder / "short")
    # A run's row has the latest fields of its objective, a rewind leaves them.
    assert [row[:2] for row in whole.pop("runs")] == [row[:2] for row in short.pop("runs")]
    assert whole == short
    # And training on from there gives the training that was never interrupted.
    train(folder / "whole", calls[len(kept) :])
    train(folder / "never_rewound", calls)
    assert tables(folder / "whole") == tables(folder / "never_rewound")


@settings(max_examples=40, deadline=None)
@given(
    step_groups=st.lists(groups, max_size=8),
    cut=st.integers(0, 8),
    seen=st.lists(groups, max_size=3),
    chosen=st.sampled_from([objective("discovery", on_unsolved="keep"), Steady()]),
)
def test_a_step_in_two_calls_is_the_step_in_one(
    memory: Path, step_groups: list[GroupRecord], cut: int, seen: list[GroupRecord], chosen: Objective
) -> None:
    folder = Path(tempfile.mkdtemp(dir=memory))
    train(folder / "one", [("run", 1, seen, chosen), ("run", 2, step_groups, chosen)])
    with LengthStore.open(folder / "two") as store:
        store.record_step("run", 1, seen, chosen)
        store.record_step("run", 2, step_groups[:cut], chosen)
        store.record_step("run", 2, step_groups[cut:], chosen)
    assert tables(folder / "one") == tables(folder / "two")


@settings(max_examples=40, deadline=None)
@given(calls=trainings)
def test_what_is_read_is_what_a_plain_dictionary_says(memory: Path, calls: list[Any]) -> None:
    folder = Path(tempfile.mkdtemp(dir=memory))
    train(folder / "store", calls)
    # The reference: Eq. 3, Eq. 8 and the mean, visit after visit, over what the step has seen of the problem so far.
    visits: list[tuple[str, int, GroupRecord]] = []
    targets: dict[str, float | None] = {}
    made_of: dict[str, tuple[int, ...]] = {}
    before_step: dict[tuple[str, int, str], float | None] = {}
    seen: dict[tuple[str, int, str], tuple[int, ...]] = {}
    right: dict[tuple[str, int, str], tuple[int, ...]] = {}
    counted: dict[str, dict[str, float]] = {}
    steps: list[tuple[str, int]] = []
    steps_until: dict[str, int] = {}
    for run, step, step_groups, chosen in calls:
        if (run, step) not in steps:
            steps.append((run, step))
        for group in step_groups:
            visits.append((run, step, group))
            name, key = group.problem_id, (run, step, group.problem_id)
            before = before_step.setdefault(key, targets.get(name))
            seen[key] = seen.get(key, ()) + group.lengths
            right[key] = right.get(key, ()) + tuple(np.array(group.lengths)[list(group.correct)].tolist())
            if run == "steady":
                after = float(np.mean(seen[key]))
                memory_of = counted.setdefault(run, {"seen": 0, "tokens": 0.0})
                memory_of["seen"] += len(group.lengths)
                memory_of["tokens"] += sum(group.lengths)
            elif not right[key]:
                after = None if run == "discovery" and chosen.on_unsolved == "reset" else before
            else:
                new = float(STATISTICS[chosen.statistic](right[key]))
                after = new if run == "discovery" or before is None else min(before, new)
            if after != targets.get(name):
                made_of[name], steps_until[name] = right[key], len(steps)
            targets[name] = after
    with LengthStore.open(folder / "store", read_only=True) as store:
        assert store.budgets([*targets, "unknown"]) == {**targets, "unknown": None}
        expected = {name: made_of[name] or None if target is not None else None for name, target in targets.items()}
        assert store.lengths_of_target([*targets, "unknown"]) == {**expected, "unknown": None}
        since = {name: None if target is None else len(steps) - steps_until[name] for name, target in targets.items()}
        assert store.steps_since_target([*targets, "unknown"]) == {**since, "unknown": None}
        assert store.known([*targets, "unknown"]) == set(targets)
        recorded = [
            (r.run, r.step, GroupRecord(r.problem_id, r.lengths, r.correct, r.prompt_budget, r.filtered))
            for r in store.records()
        ]
        assert recorded == visits
        for name in targets:
            assert store.history(name) == [r for r in store.records() if r.problem_id == name]
        totals = store.totals()
        assert (totals["problems"], totals["visits"]) == (len(targets), len(visits))
        assert totals["filtered"] == sum(group.filtered for _, _, group in visits)
        assert totals["solved"] == sum(target is not None for target in targets.values())
        assert [run.name for run in store.runs()] == sorted({call[0] for call in calls})
        for run in store.runs():
            steps = {call[1] for call in calls if call[0] == run.name}
            assert store.last_step(run.name) == run.last_step == max(steps)
            assert totals["steps"][run.name] == run.steps == len(steps)
            assert objective_of(run.objective) == [call[3] for call in calls if call[0] == run.name][-1]
            assert store.memory(run.name) == counted.get(run.name)


def objective_of(config: dict[str, Any]) -> Objective:
    return Steady() if config["name"] == "Steady" else objective(**config)


def test_one_training_by_hand(tmp_path: Path) -> None:
    with LengthStore.open(tmp_path / "store") as store:
        step = [visit("a", 4, (100, 200, 300)), visit("b", 4, ())]
        assert store.record_step("discovery", 1, step, DISCOVERY) == {"a": 200.0, "b": None}
        # Eq. 8: 250 does not raise 200; an unsolved problem gets its first target.
        step = [visit("a", 4, (250,), 200.0), visit("b", 4, (90, 110))]
        assert store.record_step("internalization", 1, step, INTERNALIZATION) == {"a": 200.0, "b": 100.0}
        assert store.budgets(["b", "a", "c"]) == {"b": 100.0, "a": 200.0, "c": None}
        first, second = store.history("a")
        right = (True, True, True, False)
        assert first == Record("a", "discovery", 1, (100, 200, 300, WRONG), right, None, 200.0)
        assert (first.n, first.correct_lengths) == (4, (100, 200, 300))
        right = (True, False, False, False)
        assert second == Record("a", "internalization", 1, (250, WRONG, WRONG, WRONG), right, 200.0, 200.0)
        assert store.history("b")[0].target is None and store.history("c") == []
        assert store.totals() == {
            "problems": 2,
            "solved": 2,
            "unsolved": 0,
            "visits": 4,
            "filtered": 0,
            "steps": {"discovery": 1, "internalization": 1},
            "budget_percentiles": {0: 100.0, 10: 110.0, 25: 125.0, 50: 150.0, 75: 175.0, 90: 190.0, 100: 200.0},
        }


def test_two_visits_in_a_step_are_two_records_and_one_target(tmp_path: Path) -> None:
    with LengthStore.open(tmp_path / "store") as store:
        groups = [visit("a", 4, (100, 200)), visit("b", 4, (50,)), visit("a", 4, (600,))]
        # The median of 100, 200 and 600.
        assert store.record_step("discovery", 1, groups, DISCOVERY) == {"a": 200.0, "b": 50.0}
        first, second = store.history("a")
        assert (first.n, first.correct_lengths, first.target) == (4, (100, 200), 150.0)
        assert (second.n, second.correct_lengths, second.target) == (4, (600,), 200.0)
        # Another part of the step finds what the first has recorded, also where it solves nothing.
        assert store.record_step("discovery", 1, [visit("a", 2, ())], DISCOVERY) == {"a": 200.0}
        assert store.lengths_of_target(["a"]) == {"a": (100, 200, 600)}
        assert store.rewind("discovery", 0) == 4


def test_a_group_that_was_dropped_is_a_visit_as_any_other(tmp_path: Path) -> None:
    with LengthStore.open(tmp_path / "store") as store:
        dropped, trained = [dataclasses.replace(visit("a", 2, (90, 110)), filtered=mark) for mark in (True, False)]
        assert store.record_step("discovery", 1, [dropped], DISCOVERY) == {"a": 100.0}
        store.record_step("discovery", 2, [trained], DISCOVERY)
        assert [record.filtered for record in store.history("a")] == [True, False]
        assert store.lengths_of_target(["a"]) == {"a": (90, 110)}
        store.snapshot(tmp_path / "copy")
        store.rewind("discovery", 0)
        # The number of a record that is forgotten is given again, and its mark is not.
        store.record_step("discovery", 1, [trained], DISCOVERY)
        assert [record.filtered for record in store.records()] == [False]
    with LengthStore.open(tmp_path / "copy", read_only=True) as copy:
        assert [record.filtered for record in copy.records()] == [True, False]


def test_the_memory_counts_each_visit_once(tmp_path: Path) -> None:
    """A problem that a step visits twice has its target from both visits, and each visit is one group of the memory."""
    with LengthStore.open(tmp_path / "store") as store:
        store.record_step("run", 1, [visit("a", 2, (10, 20)), visit("a", 1, (30,))], Steady())
        assert store.budgets(["a"]) == {"a": 20.0}
        assert store.memory("run") == {"seen": 3, "tokens": 60.0}


def test_the_memory_comes_and_goes_with_its_step(tmp_path: Path) -> None:
    with LengthStore.open(tmp_path / "store") as store:
        assert store.memory("run") is None
        store.record_step("run", 1, [visit("a", 2, (10, 20))], Steady())
        at_one = store.memory("run")
        store.record_step("run", 2, [], Steady())  # a step without groups has nothing to adapt to
        assert store.memory("run") == at_one
        store.record_step("run", 3, [visit("a", 1, (5,))], Steady())
        store.record_step("other", 1, [visit("a", 1, (5,))], Steady())
        assert store.memory("run") == {"seen": 3, "tokens": 35.0}
        assert store.memory("other") == {"seen": 1, "tokens": 5.0}
        store.rewind("run", 2)
        assert store.memory("run") == at_one and store.memory("other") is None
        store.snapshot(tmp_path / "copy")
    with LengthStore.open(tmp_path / "copy", read_only=True) as store:
        assert store.memory("run") == at_one


def test_the_lengths_are_those_of_the_visit_that_set_the_target(tmp_path: Path) -> None:
    with LengthStore.open(tmp_path / "store") as store:
        first = [visit("a", 8, (490, 500, 510)), visit("b", 8, ())]
        store.record_step("discovery", 1, first, DISCOVERY)
        assert store.lengths_of_target(["a", "b", "c"]) == {"a": (490, 500, 510), "b": None, "c": None}
        store.record_step("internalization", 1, [visit("a", 8, (1480, 1500, 1520))], INTERNALIZATION)
        assert store.budgets(["a"]) == {"a": 500.0}
        assert store.lengths_of_target(["a"]) == {"a": (490, 500, 510)}
        store.record_step("internalization", 2, [visit("a", 8, ())], INTERNALIZATION)
        assert store.lengths_of_target(["a"]) == {"a": (490, 500, 510)}
        store.record_step("internalization", 3, [visit("a", 8, (390, 400, 410))], INTERNALIZATION)
        assert store.lengths_of_target(["a", "a"]) == {"a": (390, 400, 410)}


def test_the_age_of_a_target_counts_the_steps_of_later_runs_too(tmp_path: Path) -> None:
    with LengthStore.open(tmp_path / "store") as store:
        store.record_step("discovery", 1, [visit("a", 8, (500,)), visit("b", 8, ())], DISCOVERY)
        assert store.steps_since_target(["a", "b", "c"]) == {"a": 0, "b": None, "c": None}
        store.record_step("discovery", 2, [visit("b", 8, (300,))], DISCOVERY)
        store.record_step("internalization", 1, [visit("a", 8, (600,))], INTERNALIZATION)  # the target stays
        assert store.steps_since_target(["a", "b"]) == {"a": 2, "b": 1}
        # Two parts of one step.
        store.record_step("internalization", 2, [visit("a", 8, (400,))], INTERNALIZATION)
        store.record_step("internalization", 2, [visit("b", 8, (900,))], INTERNALIZATION)
        assert store.steps_since_target(["a", "b", "a"]) == {"a": 0, "b": 2}


class TestRuns:
    def test_a_run_notes_its_objective_and_its_settings(self, tmp_path: Path) -> None:
        with LengthStore.open(tmp_path / "store") as store:
            store.begin_run("discovery", objective("discovery", decay=8), {"length_scope": "think"})
            store.begin_run("kimi", objective("kimi"), {})
            store.snapshot(tmp_path / "copy")
        with LengthStore.open(tmp_path / "copy") as store:
            first, second = store.runs()
            assert (first.name, first.settings) == ("discovery", {"length_scope": "think"})
            assert (first.steps, first.last_step, second.name) == (0, None, "kimi")
            assert objective(**first.objective) == objective("discovery", decay=8)
            # Resumed: the new values take the place of the old ones, and those of another run stay.
            store.begin_run("discovery", objective("discovery", decay=9), {"response_limit": 512})
            assert objective(**store.runs()[0].objective) == objective("discovery", decay=9)
            assert store.runs()[0].settings == {"response_limit": 512}
            assert store.runs()[1] == second
            # A step notes the objective that it was recorded with, and leaves the settings.
            store.record_step("discovery", 1, [], DISCOVERY)
            assert objective(**store.runs()[0].objective) == DISCOVERY
            assert store.runs()[0].settings == {"response_limit": 512}

    def test_a_run_of_another_objective_is_refused(self, tmp_path: Path) -> None:
        with LengthStore.open(tmp_path / "store") as store:
            store.begin_run("mine", objective("kimi"), {})
            message = r"store: its run mine was made with the objective kimi, this one has hapo\. .*lapo\.store"
            with pytest.raises(StoreError, match=message):
                store.begin_run("mine", objective("hapo"), {})
            with pytest.raises(StoreError, match=message):
                store.record_step("mine", 1, [visit("a", 1, (1,))], objective("hapo"))
            assert [run.objective["name"] for run in store.runs()] == ["kimi"] and store.known(["a"]) == set()

    @pytest.mark.parametrize("name", ["", "a\0b", 7])
    def test_a_name_that_is_no_text_is_refused(self, tmp_path: Path, name: Any) -> None:
        with LengthStore.open(tmp_path / "store") as store, pytest.raises(ValueError, match="name of a run"):
            store.begin_run(name, DISCOVERY, {})

    def test_settings_without_json_are_refused(self, tmp_path: Path) -> None:
        with LengthStore.open(tmp_path / "store") as store, pytest.raises(ValueError, match="settings of the run x"):
            store.begin_run("x", DISCOVERY, {"path": tmp_path})

    def test_the_objective_knows_the_response_limit(self, tmp_path: Path) -> None:
        @dataclasses.dataclass(frozen=True)
        class AtTheLimit(Steady):
            def update(self, groups: Groups) -> Floats:
                return np.full(len(groups), float(groups.response_limit or -1))

        with LengthStore.open(tmp_path / "store") as store:
            store.begin_run("run", AtTheLimit(), {"response_limit": 512})
            assert store.record_step("run", 1, [visit("a", 1, (1,))], AtTheLimit()) == {"a": 512.0}

    def test_lengths_of_two_kinds_do_not_meet_in_a_store(self, tmp_path: Path) -> None:
        with LengthStore.open(tmp_path / "store.sqlite") as store:
            store.begin_run("discovery", DISCOVERY, {"length_scope": "think"})
            check_scope(store, "response")  # nothing is counted yet
            store.begin_run("discovery", DISCOVERY, {"length_scope": "response"})
            store.record_step("discovery", 1, [visit("a", 1, (10,))], DISCOVERY)
            check_scope(store, "response")
            store.record_step("kimi", 1, [visit("a", 1, (10,))], objective("kimi"))  # nobody knows what it counts
            check_scope(store, "response")
            message = r"store\.sqlite: .*scope=response in the run discovery, this run has lapo\.length\.scope=think"
            with pytest.raises(StoreError, match=message):
                check_scope(store, "think")


@dataclasses.dataclass(frozen=True)
class Broken(Steady):
    """An objective with a mistake."""

    mistake: str = "none"

    def update(self, groups: Groups) -> Floats:
        if self.mistake == "raises":
            raise ZeroDivisionError
        return super().update(groups) * (-1.0 if self.mistake == "targets" else 1.0)

    def adapt(self, memory: Memory | None, groups: Groups) -> Memory:
        return {"when": object()} if self.mistake == "memory" else super().adapt(memory, groups)


@pytest.mark.parametrize(
    ("mistake", "error"), [("raises", ZeroDivisionError), ("targets", ValueError), ("memory", ValueError)]
)
def test_a_mistake_of_the_objective_leaves_the_store_as_before_the_step(
    tmp_path: Path, mistake: str, error: type[Exception]
) -> None:
    with LengthStore.open(tmp_path / "store") as store:
        store.record_step("run", 1, [visit("a", 1, (10,))], Broken())
        before = tables(tmp_path / "store")
        with pytest.raises(error):
            store.record_step("run", 2, [visit("a", 1, (5,)), visit("b", 1, (5,))], Broken(mistake=mistake))
        assert tables(tmp_path / "store") == before


def test_unsolved_is_null_in_the_file(tmp_path: Path) -> None:
    train(tmp_path / "store", [("discovery", 1, [visit("a", 8, ())], DISCOVERY)])
    assert tables(tmp_path / "store")["problems"] == [("a", None, 1)]


def test_ten_thousand_ids_in_one_query(tmp_path: Path) -> None:
    ids = [f"p{i}" for i in range(10_000)]
    with LengthStore.open(tmp_path / "store") as store:
        store.record_step("discovery", 1, [visit(name, 1, (i,)) for i, name in enumerate(ids)], DISCOVERY)
        queries: list[str] = []
        store._connection.set_trace_callback(queries.append)
        assert store.budgets(ids) == {name: float(i) for i, name in enumerate(ids)}
        assert len(store.lengths_of_target(ids)) == len(store.known(ids)) == 10_000
        assert store.budgets([]) == {} and store.budgets(["p1", "p1"]) == {"p1": 1.0}
        assert len(queries) == 5


def test_an_earlier_step_is_refused_until_rewound(tmp_path: Path) -> None:
    with LengthStore.open(tmp_path / "store") as store:
        store.begin_run("discovery", DISCOVERY, {})
        store.record_step("internalization", 3, [visit("a", 1, (10,))], INTERNALIZATION)
        for run, step, chosen in (("internalization", 2, INTERNALIZATION), ("discovery", 9, DISCOVERY)):
            with pytest.raises(StoreError, match=rf"after internalization step 3.*rewind\('{run}', {step - 1}\)"):
                store.record_step(run, step, [visit("a", 1, (5,))], chosen)
        assert store.budgets(["a"]) == {"a": 10.0}
        store.rewind("internalization", 1)
        store.record_step("internalization", 2, [visit("a", 1, (50,))], INTERNALIZATION)
        assert store.budgets(["a"]) == {"a": 50.0}


def test_a_step_without_groups_counts(tmp_path: Path) -> None:
    with LengthStore.open(tmp_path / "store") as store:
        assert store.last_step("discovery") is None
        assert store.record_step("discovery", 5, [], DISCOVERY) == {}
        assert store.last_step("discovery") == 5 and store.last_step("internalization") is None


def test_a_call_that_raises_changes_nothing(tmp_path: Path) -> None:
    with LengthStore.open(tmp_path / "store") as store:
        store.record_step("discovery", 1, [visit("a", 1, (10,))], DISCOVERY)
        before = tables(tmp_path / "store")
        group = [visit("a", 1, (5,))]
        for run, step in (("", 2), ("discovery", -1), ("discovery", 2.5), ("discovery", True)):
            with pytest.raises(ValueError):
                store.record_step(run, step, group, DISCOVERY)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=r"has no run 'training'; it has discovery"):
            store.rewind("training", 1)
        assert tables(tmp_path / "store") == before


@pytest.mark.parametrize(
    ("values", "named"),
    [
        (("", (1,), (True,)), "problem_id"),
        ((7, (1,), (True,)), "problem_id"),
        (("a\0b", (1,), (True,)), "problem_id"),
        (("\ud800", (1,), (True,)), "problem_id"),
        (("a", (), ()), "at least 1 rollout"),
        (("a", (1, 2), (True,)), "correct has 1 rollouts, lengths has 2"),
        (("a", (-1,), (False,)), "lengths"),
        (("a", (2**32 - 1,), (False,)), "lengths"),
        (("a", (1.5,), (True,)), "lengths"),
        (("a", (True,), (True,)), "lengths"),
        (("a", (None,), (True,)), "known of correct"),
        (("a", (1,), (1,)), "correct must be true or false"),
        (("a", (1,), (True,), -1.0), "prompt_budget"),
        (("a", (1,), (True,), float("nan")), "prompt_budget"),
        (("a", (1,), (True,), None, 1), "filtered must be true or false"),
    ],
)
def test_a_group_that_cannot_be_is_refused_by_name(values: Any, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        GroupRecord(*values)


def test_a_group_takes_numpys_numbers() -> None:
    group = GroupRecord("a", np.array([1, 2**32 - 2]), np.array([True, False]), np.float32(1.5))  # type: ignore[arg-type]
    assert group == GroupRecord("a", (1, 2**32 - 2), (True, False), 1.5)
    assert type(group.lengths[0]) is int and type(group.correct[0]) is bool


@given(
    st.lists(
        st.tuples(st.booleans(), st.sampled_from([0, 1, 2**16 - 2, 2**16 - 1, 2**16, 2**32 - 2]) | st.integers(0, 9999))
        | st.just((False, None)),
        min_size=1,
        max_size=40,
    )
)
def test_every_length_and_every_verdict_comes_back(rollouts: list[tuple[bool, int | None]]) -> None:
    correct, lengths = zip(*rollouts, strict=True)
    packed = pack_lengths(lengths)
    wide = any(length is not None and length >= 2**16 - 1 for length in lengths)
    assert len(packed) == len(lengths) * (4 if wide else 2)
    assert unpack(len(lengths), packed, pack_correct(correct)) == (lengths, correct)


@pytest.mark.parametrize(("n", "lengths", "correct"), [(2, b"123", b"1"), (9, b"1" * 18, b"1"), (0, b"", b"")])
def test_rollouts_that_are_not_readable_are_damage(n: int, lengths: bytes, correct: bytes) -> None:
    with pytest.raises(StoreDamagedError, match=f"the {n} rollouts of a record"):
        unpack(n, lengths, correct)


def test_meta_keeps_its_values(tmp_path: Path) -> None:
    with LengthStore.open(tmp_path / "store", meta={"tokenizer": "x", "sizes": [1, 2]}) as store:
        store.set_meta("model", "m")
    with LengthStore.open(tmp_path / "store", meta={"tokenizer": "y"}) as store:
        assert store.meta == {"tokenizer": "x", "sizes": [1, 2], "model": "m"}
        store.set_meta("tokenizer", "y")
        assert store.meta["tokenizer"] == "y"
    with pytest.raises(ValueError, match="read_only"):
        LengthStore.open(tmp_path / "store", read_only=True, meta={"tokenizer": "z"})


def test_a_reader_sees_each_step_and_writes_nothing(tmp_path: Path) -> None:
    with LengthStore.open(tmp_path / "store") as store, LengthStore.open(tmp_path / "store", True) as reader:
        assert reader.budgets(["a"]) == {"a": None}
        store.record_step("discovery", 1, [visit("a", 1, (10,))], DISCOVERY)
        assert reader.budgets(["a"]) == {"a": 10.0}
        for write in (
            lambda: reader.record_step("discovery", 2, [], DISCOVERY),
            lambda: reader.rewind("discovery", 0),
            lambda: reader.set_meta("a", 1),
        ):
            with pytest.raises(StoreError, match="read_only"):
                write()


def test_threads_share_a_store(tmp_path: Path) -> None:
    with LengthStore.open(tmp_path / "store") as store:
        failed: list[BaseException] = []

        def read() -> None:
            try:
                for _ in range(30):
                    store.budgets(["a", "b"])
                    store.totals()
            except BaseException as error:  # noqa: BLE001
                failed.append(error)

        threads = [threading.Thread(target=read) for _ in range(4)]
        for thread in threads:
            thread.start()
        for step in range(30):
            store.record_step("discovery", step, [visit("a", 1, (step,))], DISCOVERY)
        for thread in threads:
            thread.join()
        assert not failed
        assert len(store.history("a")) == 30


def test_a_forked_process_has_to_open_its_own(tmp_path: Path) -> None:
    with LengthStore.open(tmp_path / "store") as store:
        store.record_step("discovery", 1, [visit("a", 1, (10,))], DISCOVERY)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                store.budgets(["a"])
            except StoreError as error:
                with LengthStore.open(tmp_path / "store", read_only=True) as own:
                    status = 0 if "fork" in str(error) and own.budgets(["a"]) == {"a": 10.0} else 2
            finally:
                store.close()
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        store.record_step("discovery", 2, [visit("a", 1, (20,))], DISCOVERY)
        assert store.budgets(["a"]) == {"a": 20.0}


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store = LengthStore.open(tmp_path / "store")
    store.close()
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.budgets(["a"])
