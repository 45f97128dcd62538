"""The store's door: what is recorded is what is read, and rewinding is exact."""

from __future__ import annotations

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

from lapo_verl.method import LengthStats
from lapo_verl.store import GroupRecord, LengthStore, Record, StoreError

TABLES = ("problems", "records", "steps", "meta")

groups = st.builds(
    lambda name, lengths, wrong, shown: GroupRecord(name, len(lengths) + wrong, tuple(lengths), shown),
    st.sampled_from(["p1", "p2", "p3", "p4", "日本 'x\""]),
    st.lists(st.integers(0, 4096), max_size=4),
    st.integers(1, 4),
    st.none() | st.floats(0, 4096),
)
# A training: some steps of discovery, then some of internalization; step numbers may leave gaps.
trainings = st.lists(
    st.tuples(
        st.sampled_from(["discovery", "internalization"]),
        st.integers(0, 8),
        st.lists(groups, max_size=5),
        st.sampled_from(["median", "mean", "minimum"]),
        st.sampled_from(["reset", "keep"]),
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
        for stage, step, step_groups, statistic, on_unsolved in calls:
            store.record_step(stage, step, step_groups, statistic=statistic, on_unsolved=on_unsolved)


@settings(max_examples=60, deadline=None)
@given(calls=trainings, stage=st.sampled_from(["discovery", "internalization"]), step=st.integers(-1, 9))
def test_rewind_gives_the_store_that_recorded_only_so_far(
    memory: Path, calls: list[Any], stage: str, step: int
) -> None:
    folder = Path(tempfile.mkdtemp(dir=memory))
    kept = [call for call in calls if (call[0], call[1]) <= (stage, step)]
    train(folder / "whole", calls)
    train(folder / "short", kept)
    with LengthStore.open(folder / "whole") as store:
        before = len(list(store.records()))
        forgotten = store.rewind(stage, step)
        assert before - forgotten == len(list(store.records()))
        assert store.rewind(stage, step) == 0
    assert tables(folder / "whole") == tables(folder / "short")
    # And training on from there gives the training that was never interrupted.
    train(folder / "whole", calls[len(kept) :])
    train(folder / "never_rewound", calls)
    assert tables(folder / "whole") == tables(folder / "never_rewound")


@settings(max_examples=40, deadline=None)
@given(step_groups=st.lists(groups, max_size=8), cut=st.integers(0, 8), seen=st.lists(groups, max_size=3))
def test_a_step_in_two_calls_is_the_step_in_one(
    memory: Path, step_groups: list[GroupRecord], cut: int, seen: list[GroupRecord]
) -> None:
    folder = Path(tempfile.mkdtemp(dir=memory))
    train(folder / "one", [("discovery", 1, seen, "median", "keep"), ("discovery", 2, step_groups, "median", "keep")])
    with LengthStore.open(folder / "two") as store:
        store.record_step("discovery", 1, seen, on_unsolved="keep")
        store.record_step("discovery", 2, step_groups[:cut], on_unsolved="keep")
        store.record_step("discovery", 2, step_groups[cut:], on_unsolved="keep")
    assert tables(folder / "one") == tables(folder / "two")


@settings(max_examples=40, deadline=None)
@given(calls=trainings)
def test_what_is_read_is_what_a_plain_dictionary_says(memory: Path, calls: list[Any]) -> None:
    folder = Path(tempfile.mkdtemp(dir=memory))
    train(folder / "store", calls)
    # The reference: Eq. 3 and Eq. 8, visit after visit, over what the step has seen of the problem so far.
    visits: list[tuple[str, int, GroupRecord]] = []
    budgets: dict[str, float | None] = {}
    bands: dict[str, tuple[float, float] | None] = {}
    before_step: dict[tuple[str, int, str], float | None] = {}
    seen: dict[tuple[str, int, str], tuple[int, ...]] = {}
    for stage, step, step_groups, statistic, on_unsolved in calls:
        for group in step_groups:
            visits.append((stage, step, group))
            name, key = group.problem_id, (stage, step, group.problem_id)
            before = before_step.setdefault(key, budgets.get(name))
            seen[key] = seen.get(key, ()) + group.correct_lengths
            stats = LengthStats.of(seen[key])
            if stats is None:
                after = None if (stage, on_unsolved) == ("discovery", "reset") else before
            else:
                new = stats.value(statistic)
                after = new if stage == "discovery" or before is None else min(before, new)
                if stage == "discovery" or after != budgets.get(name):
                    bands[name] = (stats.low, stats.high)
            budgets[name] = after
            bands[name] = None if after is None else bands[name]
    with LengthStore.open(folder / "store", read_only=True) as store:
        assert store.budgets([*budgets, "unknown"]) == {**budgets, "unknown": None}
        assert store.bands([*budgets, "unknown"]) == {**bands, "unknown": None}
        assert store.known([*budgets, "unknown"]) == set(budgets)
        recorded = [
            (r.stage, r.step, GroupRecord(r.problem_id, r.n, r.correct_lengths, r.budget_shown))
            for r in store.records()
        ]
        assert recorded == visits
        for name in budgets:
            assert store.history(name) == [r for r in store.records() if r.problem_id == name]
        totals = store.totals()
        assert (totals["problems"], totals["visits"]) == (len(budgets), len(visits))
        assert totals["solved"] == sum(budget is not None for budget in budgets.values())
        for stage in ("discovery", "internalization"):
            steps = {call[1] for call in calls if call[0] == stage}
            assert store.last_step(stage) == max(steps, default=None)
            assert totals["steps"][stage] == len(steps)


def test_one_training_by_hand(tmp_path: Path) -> None:
    with LengthStore.open(tmp_path / "store") as store:
        step = [GroupRecord("a", 4, (100, 200, 300)), GroupRecord("b", 4, ())]
        assert store.record_step("discovery", 1, step) == {"a": 200.0, "b": None}
        # Eq. 8: 250 does not raise 200; an unsolved problem gets its first budget.
        step = [GroupRecord("a", 4, (250,), 200.0), GroupRecord("b", 4, (90, 110))]
        assert store.record_step("internalization", 1, step) == {"a": 200.0, "b": 100.0}
        assert store.budgets(["b", "a", "c"]) == {"b": 100.0, "a": 200.0, "c": None}
        # Percentiles 30 and 70 of (100, 200, 300) lie at positions 0.6 and 1.4.
        first, second = store.history("a")
        assert first == Record("a", "discovery", 1, 4, (100, 200, 300), 160.0, 240.0, 200.0, 200.0, 100.0, None, 200.0)
        assert second == Record("a", "internalization", 1, 4, (250,), 250.0, 250.0, 250.0, 250.0, 250.0, 200.0, 200.0)
        assert store.history("b")[0].median is None and store.history("c") == []
        assert store.totals() == {
            "problems": 2,
            "solved": 2,
            "unsolved": 0,
            "visits": 4,
            "steps": {"discovery": 1, "internalization": 1},
            "budget_percentiles": {0: 100.0, 10: 110.0, 25: 125.0, 50: 150.0, 75: 175.0, 90: 190.0, 100: 200.0},
        }


def test_two_visits_in_a_step_are_two_records_and_one_budget(tmp_path: Path) -> None:
    with LengthStore.open(tmp_path / "store") as store:
        groups = [GroupRecord("a", 4, (100, 200)), GroupRecord("b", 4, (50,)), GroupRecord("a", 4, (600,))]
        assert store.record_step("discovery", 1, groups) == {"a": 200.0, "b": 50.0}  # the median of 100, 200 and 600
        first, second = store.history("a")
        assert (first.n, first.correct_lengths, first.budget_after) == (4, (100, 200), 150.0)
        assert (second.n, second.correct_lengths, second.budget_after) == (4, (600,), 200.0)
        # Another part of the step finds what the first has recorded, also where it solves nothing.
        assert store.record_step("discovery", 1, [GroupRecord("a", 2, ())]) == {"a": 200.0}
        assert store.bands(["a"]) == {"a": (160.0, 360.0)}
        assert store.rewind("discovery", 0) == 4


def test_the_band_is_that_of_the_visit_that_set_the_budget(tmp_path: Path) -> None:
    with LengthStore.open(tmp_path / "store") as store:
        store.record_step("discovery", 1, [GroupRecord("a", 8, (490, 500, 510)), GroupRecord("b", 8, ())])
        assert store.bands(["a", "b", "c"]) == {"a": (496.0, 504.0), "b": None, "c": None}
        store.record_step("internalization", 1, [GroupRecord("a", 8, (1480, 1500, 1520))])
        assert store.budgets(["a"]) == {"a": 500.0}
        assert store.bands(["a"]) == {"a": (496.0, 504.0)}
        store.record_step("internalization", 2, [GroupRecord("a", 8, ())])
        assert store.bands(["a"]) == {"a": (496.0, 504.0)}
        store.record_step("internalization", 3, [GroupRecord("a", 8, (390, 400, 410))])
        assert store.bands(["a"]) == {"a": (396.0, 404.0)}


def test_unsolved_is_null_in_the_file(tmp_path: Path) -> None:
    train(tmp_path / "store", [("discovery", 1, [GroupRecord("a", 8, ())], "median", "reset")])
    assert tables(tmp_path / "store")["problems"] == [("a", None, 1)]


def test_ten_thousand_ids_in_one_query(tmp_path: Path) -> None:
    ids = [f"p{i}" for i in range(10_000)]
    with LengthStore.open(tmp_path / "store") as store:
        store.record_step("discovery", 1, [GroupRecord(name, 1, (i,)) for i, name in enumerate(ids)])
        queries: list[str] = []
        store._connection.set_trace_callback(queries.append)
        assert store.budgets(ids) == {name: float(i) for i, name in enumerate(ids)}
        assert len(store.bands(ids)) == len(store.known(ids)) == 10_000
        assert store.budgets([]) == {} and store.budgets(["p1", "p1"]) == {"p1": 1.0}
        assert len(queries) == 5


def test_an_earlier_step_is_refused_until_rewound(tmp_path: Path) -> None:
    with LengthStore.open(tmp_path / "store") as store:
        store.record_step("internalization", 3, [GroupRecord("a", 1, (10,))])
        for stage, step in (("internalization", 2), ("discovery", 9)):
            with pytest.raises(StoreError, match=rf"rewind\('{stage}', {step - 1}\)"):
                store.record_step(stage, step, [GroupRecord("a", 1, (5,))])
        assert store.budgets(["a"]) == {"a": 10.0}
        store.rewind("internalization", 1)
        store.record_step("internalization", 2, [GroupRecord("a", 1, (50,))])
        assert store.budgets(["a"]) == {"a": 50.0}


def test_a_step_without_groups_counts(tmp_path: Path) -> None:
    with LengthStore.open(tmp_path / "store") as store:
        assert store.last_step("discovery") is None
        assert store.record_step("discovery", 5, []) == {}
        assert store.last_step("discovery") == 5 and store.last_step("internalization") is None


def test_a_call_that_raises_changes_nothing(tmp_path: Path) -> None:
    with LengthStore.open(tmp_path / "store") as store:
        store.record_step("discovery", 1, [GroupRecord("a", 1, (10,))])
        before = tables(tmp_path / "store")
        group = [GroupRecord("a", 1, (5,))]
        for stage, step, options in (
            ("training", 2, {}),
            ("discovery", -1, {}),
            ("discovery", 2.5, {}),
            ("discovery", True, {}),
            ("discovery", 2, {"statistic": "mode"}),
            ("discovery", 2, {"on_unsolved": "forget"}),
            ("discovery", 2, {"low": 80}),
        ):
            with pytest.raises(ValueError):
                store.record_step(stage, step, group, **options)  # type: ignore[arg-type]
        assert tables(tmp_path / "store") == before
        with pytest.raises(ValueError, match="stage"):
            store.rewind("training", 1)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        (("", 1, ()), "problem_id"),
        ((7, 1, ()), "problem_id"),
        (("a\0b", 1, ()), "problem_id"),
        (("\ud800", 1, ()), "problem_id"),
        (("a", 0, ()), "n must"),
        (("a", True, ()), "n must"),
        (("a", 1.5, ()), "n must"),
        (("a", 1, (1, 2)), "correct_lengths"),
        (("a", 1, (-1,)), "correct_lengths"),
        (("a", 1, (2**32,)), "correct_lengths"),
        (("a", 1, (1.5,)), "correct_lengths"),
        (("a", 1, (True,)), "correct_lengths"),
        (("a", 1, (), -1.0), "budget_shown"),
        (("a", 1, (), float("nan")), "budget_shown"),
    ],
)
def test_a_group_that_cannot_be_is_refused_by_name(values: Any, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        GroupRecord(*values)


def test_a_group_takes_numpys_numbers() -> None:
    group = GroupRecord("a", np.int64(3), np.array([1, 2**32 - 1]), np.float32(1.5))  # type: ignore[arg-type]
    assert group == GroupRecord("a", 3, (1, 2**32 - 1), 1.5)
    assert type(group.correct_lengths[0]) is int


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
        store.record_step("discovery", 1, [GroupRecord("a", 1, (10,))])
        assert reader.budgets(["a"]) == {"a": 10.0}
        for write in (
            lambda: reader.record_step("discovery", 2, []),
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
            store.record_step("discovery", step, [GroupRecord("a", 1, (step,))])
        for thread in threads:
            thread.join()
        assert not failed
        assert len(store.history("a")) == 30


def test_a_forked_process_has_to_open_its_own(tmp_path: Path) -> None:
    with LengthStore.open(tmp_path / "store") as store:
        store.record_step("discovery", 1, [GroupRecord("a", 1, (10,))])
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
        store.record_step("discovery", 2, [GroupRecord("a", 1, (20,))])
        assert store.budgets(["a"]) == {"a": 20.0}


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store = LengthStore.open(tmp_path / "store")
    store.close()
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.budgets(["a"])
