"""A store of the second schema, which cannot mark a record as filtered, is read and carried over."""

from __future__ import annotations

import dataclasses
import os
import shutil
import sqlite3
from pathlib import Path

import pytest
from store_visits import DISCOVERY, visit

from lapo_verl.store import LengthStore, StoreDamagedError
from lapo_verl.store.schema import SECOND_VERSION, VERSION

DROPPED = dataclasses.replace(visit("p9", 2, (50,)), filtered=True)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Two steps of three problems, in a file as the second schema had it."""
    where = tmp_path / "store"
    with LengthStore.open(where, meta={"a": 1}) as store:
        for step in (1, 2):
            store.record_step("discovery", step, [visit(f"p{i}", 4, (step, i)) for i in range(3)], DISCOVERY)
    change(where, "DROP TABLE filtered_records", f"PRAGMA user_version = {SECOND_VERSION}")
    return where


def change(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()


def version(path: Path) -> int:
    connection = sqlite3.connect(path)
    (number,) = connection.execute("PRAGMA user_version").fetchone()
    connection.close()
    return int(number)


def check_content(store: LengthStore) -> None:
    assert [(r.problem_id, r.step, r.filtered) for r in store.records()] == [
        (f"p{i}", step, False) for step in (1, 2) for i in range(3)
    ]
    assert store.history("p2")[-1].target == 2 and store.totals()["filtered"] == 0 and store.meta == {"a": 1}


def test_a_reader_finds_everything_and_leaves_the_file(path: Path) -> None:
    before = path.read_bytes()
    with LengthStore.open(path, read_only=True) as store:
        check_content(store)
        store.snapshot(path.with_name("copy"))
    assert path.read_bytes() == before
    assert version(path.with_name("copy")) == VERSION
    with LengthStore.open(path.with_name("copy"), read_only=True) as store:
        check_content(store)


def test_a_writer_carries_it_over_and_goes_on(path: Path) -> None:
    with LengthStore.open(path) as store:
        check_content(store)
        store.record_step("discovery", 3, [DROPPED], DISCOVERY)
    assert version(path) == VERSION
    with LengthStore.open(path) as store:
        assert [record.filtered for record in store.records()] == [False] * 6 + [True]
        store.rewind("discovery", 2)
        check_content(store)


def test_a_snapshot_of_it_is_restored(path: Path) -> None:
    LengthStore.restore(path, path.with_name("restored"))
    assert (version(path), version(path.with_name("restored"))) == (SECOND_VERSION, VERSION)
    with LengthStore.open(path.with_name("restored")) as store:
        check_content(store)
        store.record_step("discovery", 3, [DROPPED], DISCOVERY)


def test_a_damaged_one_is_refused_and_stays_as_it_is(path: Path) -> None:
    change(path, "UPDATE records SET target = 7 WHERE record = 1")
    before = path.read_bytes()
    with pytest.raises(StoreDamagedError, match="record 1 is not what was written"):
        LengthStore.restore(path, path.with_name("restored"))
    assert path.read_bytes() == before


@pytest.mark.parametrize("record", [1, 99])
def test_a_mark_that_is_not_what_was_written_is_damage(path: Path, record: int) -> None:
    LengthStore.open(path).close()
    change(path, f"INSERT INTO filtered_records VALUES ({record}, 0)")
    with pytest.raises(StoreDamagedError, match=f"filtered_record {record} is not what was written"):
        LengthStore.restore(path, path.with_name("restored"))


def test_a_writer_that_dies_before_its_first_step_leaves_a_whole_file(path: Path) -> None:
    """The new table is in the -wal then: the main file alone is one of the second schema, with all steps."""
    store = LengthStore.open(path)
    shutil.copy(path, path.with_name("main_file"))
    store.close()
    with LengthStore.open(path.with_name("main_file"), read_only=True) as copy:
        check_content(copy)
    assert sorted(name for name in os.listdir(path.parent) if "v1" in name) == []
