"""A store of the first schema is read and carried over; commit 2f8ddeb wrote it, see ``first_schema/make_store.py``."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from store_visits import INTERNALIZATION, visit

from lapo_verl.objectives import objective
from lapo_verl.store import GroupRecord, LengthStore, StoreDamagedError, StoreError, StoreLockedError, check_scope
from lapo_verl.store.schema import VERSION

FOLDER = Path(__file__).parent / "first_schema"
EXPECTED: dict[str, Any] = json.loads((FOLDER / "content.json").read_text())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    # A copy, since SQLite writes beside a file that it reads.
    return Path(shutil.copy(FOLDER / "lapo_store.sqlite", tmp_path))


def is_of_version(path: Path) -> int:
    connection = sqlite3.connect(path)
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    connection.close()
    return int(version)


def stores_beside(path: Path) -> list[str]:
    """Without what SQLite and the lock leave."""
    return sorted(name for name in os.listdir(path.parent) if not name.endswith(("-wal", "-shm", ".lock")))


def change(path: Path, statement: str, *values: object) -> None:
    connection = sqlite3.connect(path)
    connection.execute(statement, values)
    connection.commit()
    connection.close()


def check_content(store: LengthStore) -> None:
    """All that the first schema's own code answered, of what can still be asked."""
    assert store.budgets(EXPECTED["budgets"]) == EXPECTED["budgets"]
    totals = json.loads(json.dumps(store.totals()))
    assert totals == {**EXPECTED["totals"], "filtered": 0}
    assert store.meta == {"tokenizer": EXPECTED["meta"]["tokenizer"]}
    records = list(store.records())
    assert len(records) == len(EXPECTED["records"])
    for record, before in zip(records, EXPECTED["records"], strict=True):
        assert (record.problem_id, record.run, record.step) == (before["problem_id"], before["stage"], before["step"])
        assert (record.n, record.correct_lengths) == (before["n"], tuple(before["correct_lengths"]))
        assert (record.prompt_budget, record.target) == (before["budget_shown"], before["budget_after"])
        # Nobody knows how long the wrong ones were.
        assert [length is None for length in record.lengths] == [not right for right in record.correct]
        if record.correct_lengths:  # what the file no longer has can be derived, to the bit
            lengths = record.correct_lengths
            derived = [*np.percentile(lengths, [30, 70, 50]), np.mean(lengths), min(lengths)]
            assert derived == [before[name] for name in ("low", "high", "median", "mean", "minimum")]
    for problem in EXPECTED["budgets"]:
        assert store.history(problem) == [record for record in records if record.problem_id == problem]


def test_a_reader_finds_everything_and_leaves_the_file(path: Path) -> None:
    before = path.read_bytes()
    with LengthStore.open(path, read_only=True) as store:
        check_content(store)
        store.snapshot(path.with_name("copy"))
    assert path.read_bytes() == before
    assert stores_beside(path) == ["copy", "lapo_store.sqlite"]
    assert is_of_version(path.with_name("copy")) == VERSION  # a copy is of today's schema
    with LengthStore.open(path.with_name("copy"), read_only=True) as store:
        check_content(store)


def test_the_stages_are_runs_with_the_objectives_they_had_noted(path: Path) -> None:
    with LengthStore.open(path, read_only=True) as store:
        discovery, internalization = store.runs()
        assert (discovery.name, discovery.steps, discovery.last_step) == ("discovery", 6, 6)
        assert (internalization.name, internalization.steps, internalization.last_step) == ("internalization", 5, 5)
        assert objective(**discovery.objective) == objective("discovery")
        assert objective(**internalization.objective) == objective("internalization")
        assert discovery.settings == internalization.settings == {}
        assert store.memory("discovery") is None


def test_what_was_noted_of_scope_and_rounding_is_in_the_runs_settings(path: Path) -> None:
    for key, value in (("length.scope", '"think"'), ("guidance.rounding", "16")):
        change(path, "INSERT INTO meta VALUES (?, ?)", key, value)
    with LengthStore.open(path, read_only=True) as store:
        assert [run.settings for run in store.runs()] == [{"length_scope": "think", "guidance_rounding": 16}] * 2
        check_content(store)
        with pytest.raises(StoreError, match=r"lapo\.length\.scope=think in the run discovery"):
            check_scope(store, "response")


def test_a_writer_carries_it_over_and_keeps_the_old_file(path: Path) -> None:
    with LengthStore.open(path) as store:
        check_content(store)
    kept = path.with_name("lapo_store.sqlite.v1")
    assert (is_of_version(path), is_of_version(kept)) == (VERSION, 1)
    with LengthStore.open(kept, read_only=True) as store:
        check_content(store)
    # Once only; another one that comes to the same place does not replace what was kept.
    LengthStore.open(path).close()
    assert not path.with_name("lapo_store.sqlite.v1.2").exists()
    shutil.copy(FOLDER / "lapo_store.sqlite", path)
    LengthStore.open(path).close()
    assert is_of_version(path.with_name("lapo_store.sqlite.v1.2")) == 1


def test_what_was_not_folded_in_is_carried_over(path: Path) -> None:
    """As a killed training leaves the store: its last step is in the -wal only."""
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("PRAGMA journal_mode = WAL")
    writer.execute("INSERT INTO steps VALUES (1, 6, 56)")
    killed = path.with_name("killed")
    for suffix in ("", "-wal"):
        shutil.copy(f"{path}{suffix}", f"{killed}{suffix}")
    writer.close()
    for read_only in (True, False):
        with LengthStore.open(killed, read_only=read_only) as store:
            assert store.last_step("internalization") == 6
    with LengthStore.open(f"{killed}.v1", read_only=True) as store:
        assert store.last_step("internalization") == 6


def test_a_training_goes_on_from_it(path: Path) -> None:
    before = EXPECTED["budgets"]
    with LengthStore.open(path) as store:
        step = [visit("p3", 2, (100,), before["p3"])]
        assert store.record_step("internalization", 6, step, INTERNALIZATION) == {"p3": 100.0}
        assert store.history("p3")[-1].lengths == (100, 4000)
        store.rewind("internalization", 5)
        assert store.budgets(before) == before
        store.rewind("discovery", 6)
        assert [run.name for run in store.runs()] == ["discovery"]
        assert len(list(store.records())) == sum(record["stage"] == "discovery" for record in EXPECTED["records"])


def test_the_objectives_make_the_targets_of_its_records_again_to_the_bit(path: Path, tmp_path: Path) -> None:
    with LengthStore.open(path, read_only=True) as old, LengthStore.open(tmp_path / "new") as new:
        records = list(old.records())
        for (run, step), visits in groupby(records, key=lambda record: (record.run, record.step)):
            groups = [GroupRecord(r.problem_id, r.lengths, r.correct, r.prompt_budget) for r in visits]
            new.record_step(run, step, groups, objective(run))
        assert list(new.records()) == records
        assert new.budgets(EXPECTED["budgets"]) == EXPECTED["budgets"]


def test_the_lengths_of_a_target_are_those_of_the_first_schemas_band(path: Path) -> None:
    with LengthStore.open(path, read_only=True) as store:
        found = store.lengths_of_target(EXPECTED["budgets"])
    for problem, target in EXPECTED["budgets"].items():
        lengths = found[problem]
        assert (target is None) == (lengths is None)
        assert lengths is None or float(np.median(lengths)) == target


def test_a_snapshot_of_it_is_restored(path: Path, tmp_path: Path) -> None:
    LengthStore.restore(path, tmp_path / "restored")
    assert (is_of_version(path), is_of_version(tmp_path / "restored")) == (1, VERSION)
    with LengthStore.open(tmp_path / "restored") as store:
        check_content(store)


@pytest.mark.parametrize("name", ["kimi", "laser_d"])
def test_an_objective_that_needs_wrong_lengths_refuses_its_visits_and_says_why(
    path: Path, tmp_path: Path, name: str
) -> None:
    with LengthStore.open(path, read_only=True) as store:
        visits = [GroupRecord(r.problem_id, r.lengths, r.correct, r.prompt_budget) for r in store.records()]
    with LengthStore.open(tmp_path / "new") as store:
        reason = f"objective {name} needs the lengths of wrong rollouts.*a store of the first schema"
        with pytest.raises(ValueError, match=reason):
            store.record_step(name, 1, visits, objective(name))
        assert (store.runs(), list(store.records())) == ([], [])
        # One that does not need them takes the same visits.
        store.record_step("discovery", 1, visits, objective("discovery"))


def test_a_second_writer_does_not_carry_it_over(path: Path) -> None:
    other = LengthStore.open(path.with_name("other"))
    shutil.copy(FOLDER / "lapo_store.sqlite", path.with_name("other"))
    with pytest.raises(StoreLockedError):
        LengthStore.open(path.with_name("other"))
    assert not path.with_name("other.v1").exists()
    path.with_name("other").unlink()
    other.close()


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("UPDATE records SET budget_after = 7 WHERE record = 9", "record 9 is not what was written"),
        ("UPDATE problems SET budget = 7 WHERE problem_id = 'p3'", "targets do not match the records"),
        ("DELETE FROM steps WHERE stage = 0 AND step = 2", "steps do not match the records"),
        ("UPDATE meta SET value = '7' WHERE key = 'settings.discovery'", r"its note settings\.discovery"),
    ],
)
def test_a_damaged_one_is_refused_and_stays_as_it_is(path: Path, statement: str, message: str) -> None:
    change(path, statement)
    before = path.read_bytes()
    for attempt in (lambda: LengthStore.open(path), lambda: LengthStore.restore(path, path.with_name("x"))):
        with pytest.raises(StoreDamagedError, match=message):
            attempt()
    assert path.read_bytes() == before
    assert stores_beside(path) == ["lapo_store.sqlite"]


def test_a_writer_that_dies_amid_carrying_over_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At each of the moments at which a file gets its name."""
    replace, calls, dies_at = os.replace, 0, 0

    def die(source: Any, target: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == dies_at:
            raise KeyboardInterrupt
        replace(source, target)

    for moment in (1, 2):
        calls, dies_at = 0, moment
        with monkeypatch.context() as patched:
            patched.setattr(os, "replace", die)
            with pytest.raises(KeyboardInterrupt):
                LengthStore.open(path)
        assert is_of_version(path) == 1
        with LengthStore.open(path, read_only=True) as store:
            check_content(store)
    with LengthStore.open(path) as store:
        check_content(store)
