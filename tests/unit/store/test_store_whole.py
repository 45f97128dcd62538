"""The main file is the whole store after a checkpoint and at the end; a copy that lacks its -wal is noticed."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_visits import DISCOVERY, visit

from lapo_verl.store import LengthStore, StoreDamagedError
from lapo_verl.store.length_store import WRITES_A_FOLD

LEFT_BEHIND = r"x: is not the whole store\. It has .*; .*Copy that file too, as x-wal, or take the snapshot"


def record(store: LengthStore, step: int) -> None:
    store.record_step("discovery", step, [visit(f"p{i}", 8, (step, i)) for i in range(40)], DISCOVERY)


def copy_alone(folder: Path) -> Path:
    """``cp store x``, and nothing else."""
    for suffix in ("", "-wal", "-shm", ".lock"):
        (folder / f"x{suffix}").unlink(missing_ok=True)
    return Path(shutil.copy(folder / "store", folder / "x"))


def last_step(path: Path) -> int | None:
    with LengthStore.open(path, read_only=True) as store:
        return store.last_step("discovery")


def test_after_a_checkpoint_and_at_the_end_the_file_is_whole(tmp_path: Path) -> None:
    with LengthStore.open(tmp_path / "store") as store:
        for step in (1, 2, 3):
            record(store, step)
        store.make_whole()
        assert last_step(copy_alone(tmp_path)) == 3
        record(store, 4)
    assert last_step(copy_alone(tmp_path)) == 4


def test_while_a_reader_has_it_open_as_well(tmp_path: Path) -> None:
    with LengthStore.open(tmp_path / "store") as store:
        record(store, 1)
        with LengthStore.open(tmp_path / "store", read_only=True):
            store.make_whole()
            assert last_step(copy_alone(tmp_path)) == 1
            record(store, 2)
            store.close()
            assert last_step(copy_alone(tmp_path)) == 2


def test_a_copy_without_its_wal_is_refused_and_says_what_to_bring(tmp_path: Path) -> None:
    with LengthStore.open(tmp_path / "store") as store:
        record(store, 1)
        store.make_whole()
        record(store, 2)
        for read_only in (True, False):
            with pytest.raises(
                StoreDamagedError, match=LEFT_BEHIND.replace("has .*", "has the steps up to discovery step 1")
            ):
                LengthStore.open(copy_alone(tmp_path), read_only=read_only)
        with pytest.raises(StoreDamagedError, match=LEFT_BEHIND):
            LengthStore.restore(copy_alone(tmp_path), tmp_path / "y")
        assert not (tmp_path / "y").exists()
        # What the message advises helps.
        shutil.copy(tmp_path / "store-wal", tmp_path / "x-wal")
        assert last_step(tmp_path / "x") == 2
        store.snapshot(copy_alone(tmp_path))
        assert last_step(tmp_path / "x") == 2


def test_a_first_step_that_is_not_in_the_file_is_noticed(tmp_path: Path) -> None:
    with LengthStore.open(tmp_path / "store") as store:
        record(store, 1)
        with pytest.raises(StoreDamagedError, match="It has no step"):
            last_step(copy_alone(tmp_path))


def test_a_store_that_was_left_behind_is_kept_when_it_is_replaced(tmp_path: Path) -> None:
    with LengthStore.open(tmp_path / "store") as store:
        record(store, 1)
        copy_alone(tmp_path)
        store.snapshot(tmp_path / "good")
    LengthStore.restore(tmp_path / "good", tmp_path / "x")
    assert last_step(tmp_path / "x") == 1
    assert (tmp_path / "x.damaged").exists()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from(["step", "whole", "snapshot", "reopen", "read"]), max_size=30))
def test_a_copy_has_every_step_or_is_refused(memory: Path, actions: list[str]) -> None:
    """Whatever was done before, and however often the -wal was folded in."""
    folder = memory / "copies"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    store, step, whole = LengthStore.open(folder / "store"), 0, True
    for action in actions:
        if action == "step":
            step += 1
            record(store, step)
        elif action == "whole":
            store.make_whole()
        elif action == "snapshot":
            store.snapshot(folder / "copy")
            assert last_step(folder / "copy") == (step or None)
        elif action == "reopen":
            store.close()
            store = LengthStore.open(folder / "store")
        else:
            assert last_step(folder / "store") == (step or None)
        whole = action in ("whole", "reopen") or (whole and action != "step")
        if whole:
            assert last_step(copy_alone(folder)) == (step or None)
        else:
            with pytest.raises(StoreDamagedError, match=LEFT_BEHIND):
                last_step(copy_alone(folder))
    store.close()


def test_the_wal_is_folded_in_as_the_training_goes(tmp_path: Path) -> None:
    with LengthStore.open(tmp_path / "store") as store:
        sizes = set()
        for step in range(1, 6 * WRITES_A_FOLD):
            record(store, step)
            sizes.add((tmp_path / "store-wal").stat().st_size)
        assert len(sizes) <= 2 * WRITES_A_FOLD  # written over, not grown


def test_a_reader_in_the_way_does_not_stop_the_writer(tmp_path: Path) -> None:
    """Its transaction keeps the -wal from being folded in; what was whole before is not taken for whole now."""
    with LengthStore.open(tmp_path / "store") as store:
        record(store, 1)
        store.make_whole()
        reader = sqlite3.connect(tmp_path / "store", isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM records").fetchone()
        for step in range(2, 2 + 2 * WRITES_A_FOLD):
            record(store, step)
        reader.execute("ROLLBACK")
        reader.close()
        record(store, step + 1)
        with pytest.raises(StoreDamagedError, match=LEFT_BEHIND):
            last_step(copy_alone(tmp_path))


CHILD = """
import sys
from lapo_verl.objectives import objective
from lapo_verl.store import GroupRecord, LengthStore
store = LengthStore.open(sys.argv[1])
for step in (1, 2):
    store.record_step("discovery", step, [GroupRecord("p", (1, 2), (True, True))], objective("discovery"))
print("recorded", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("killed", [False, True])
def test_a_process_that_does_not_close_its_store(tmp_path: Path, killed: bool) -> None:
    """As verl's trainer: at its end the file is whole; killed, its steps are in the -wal, and a copy is refused."""
    command = [sys.executable, "-c", CHILD, str(tmp_path / "store")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        assert process.stdout.readline() == "recorded\n"
        if killed:
            os.kill(process.pid, signal.SIGKILL)
        process.stdin.close()
        process.wait()
    if killed:
        with pytest.raises(StoreDamagedError, match=LEFT_BEHIND):
            last_step(copy_alone(tmp_path))
        assert last_step(tmp_path / "store") == 2
    else:
        assert last_step(copy_alone(tmp_path)) == 2


def test_other_programs_that_fold_the_wal_in_make_the_file_whole(tmp_path: Path) -> None:
    """An sqlite3 shell on the store of a killed training, for instance."""
    with LengthStore.open(tmp_path / "store") as store:
        record(store, 1)
        for suffix in ("", "-wal"):
            shutil.copy(tmp_path / f"store{suffix}", tmp_path / f"killed{suffix}")
    shell = sqlite3.connect(tmp_path / "killed")
    shell.execute("SELECT count(*) FROM records").fetchone()
    shell.close()
    assert not (tmp_path / "killed-wal").exists()
    assert last_step(tmp_path / "killed") == 1


def test_the_mark_is_no_fact_of_the_training(tmp_path: Path) -> None:
    with LengthStore.open(tmp_path / "store", meta={"model": "m"}) as store:
        record(store, 1)
        store.make_whole()
        assert store.meta == {"model": "m"}
    assert re.search("whole", str(sqlite3.connect(tmp_path / "store").execute("SELECT key FROM meta").fetchall()))
