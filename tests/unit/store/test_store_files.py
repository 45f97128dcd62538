"""The store as a file: who may write it, copies of it, and the message where it cannot be used."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from store_visits import DISCOVERY, visit

from lapo_verl.objectives import objective
from lapo_verl.store import LengthStore, Record, StoreDamagedError, StoreError, StoreLockedError


def fill(path: Path, steps: int, first: int = 1) -> None:
    """Records ``steps`` steps of 40 problems."""
    with LengthStore.open(path) as store:
        for step in range(first, first + steps):
            groups = [visit(f"problem {i}", 8, (100 * step + i, 50)) for i in range(40)]
            store.record_step("discovery", step, groups, DISCOVERY)


def content(path: Path) -> list[Record]:
    with LengthStore.open(path, read_only=True) as store:
        return list(store.records())


def answers(store: LengthStore) -> tuple[object, ...]:
    return list(store.records()), store.budgets([f"p{i}" for i in range(60)]), store.runs(), store.memory("laser_d")


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that writes to ``tmp_path / "store"``."""
    code = (
        "import sys; from lapo_verl.store import LengthStore\n"
        "store = LengthStore.open(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "store")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == "open\n"
        yield process
        process.kill()


class TestLock:
    def test_a_second_writer_is_told_who_holds_it(self, tmp_path: Path, writer: subprocess.Popen[str]) -> None:
        with pytest.raises(StoreLockedError, match=f"process {writer.pid} on host {os.uname().nodename}"):
            LengthStore.open(tmp_path / "store")
        LengthStore.open(tmp_path / "store", read_only=True).close()

    def test_a_dead_writers_lock_is_taken_over(self, tmp_path: Path, writer: subprocess.Popen[str]) -> None:
        writer.kill()
        writer.wait()
        LengthStore.open(tmp_path / "store").close()

    def test_a_second_writer_in_the_same_process_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "link").symlink_to(tmp_path / "store")
        with LengthStore.open(tmp_path / "store"):
            for path in (tmp_path / "store", tmp_path / "link"):
                with pytest.raises(StoreLockedError, match=str(os.getpid())):
                    LengthStore.open(path)
        LengthStore.open(tmp_path / "store").close()

    def test_a_store_that_was_dropped_is_not_held(self, tmp_path: Path) -> None:
        store = LengthStore.open(tmp_path / "store")
        del store
        LengthStore.open(tmp_path / "store").close()

    def test_a_forked_child_does_not_hold_it(self, tmp_path: Path) -> None:
        code = (
            "import os, sys, time; from lapo_verl.store import LengthStore\n"
            "store = LengthStore.open(sys.argv[1]); child = os.fork()\n"
            "if child == 0: print(os.getpid(), flush=True)\n"
            "time.sleep(60)"
        )
        command = [sys.executable, "-c", code, str(tmp_path / "store")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
            assert parent.stdout is not None
            child = int(parent.stdout.readline())
            with pytest.raises(StoreLockedError, match=f"process {parent.pid} "):
                LengthStore.open(tmp_path / "store")
            parent.kill()
            parent.wait()
            LengthStore.open(tmp_path / "store").close()
            os.kill(child, signal.SIGKILL)

    def test_the_lock_file_is_json(self, tmp_path: Path) -> None:
        with LengthStore.open(tmp_path / "store"):
            holder = json.loads((tmp_path / "store.lock").read_text())
        assert holder == {"host": os.uname().nodename, "pid": os.getpid()}


class TestSnapshot:
    def test_a_copy_is_the_store_in_one_file(self, tmp_path: Path) -> None:
        with LengthStore.open(tmp_path / "store", meta={"tokenizer": "x"}) as store:
            store.record_step("discovery", 1, [visit("a", 2, (3, 5))], DISCOVERY)
            store.snapshot(tmp_path / "new folder" / "copy?%41.db")
            store.record_step("discovery", 2, [visit("a", 2, (7,))], DISCOVERY)
            # Over the one that is there, and from a reader as well.
            with LengthStore.open(tmp_path / "store", read_only=True) as reader:
                reader.snapshot(tmp_path / "new folder" / "copy?%41.db")
            copied = list(store.records())
        assert os.listdir(tmp_path / "new folder") == ["copy?%41.db"]
        with LengthStore.open(tmp_path / "new folder" / "copy?%41.db", read_only=True) as copy:
            assert list(copy.records()) == copied and copy.meta == {"tokenizer": "x"}

    def test_copies_made_while_a_writer_writes_have_whole_steps(self, tmp_path: Path) -> None:
        fill(tmp_path / "store", 1)
        writing = threading.Thread(target=fill, args=(tmp_path / "store", 60, 2))
        writing.start()
        seen = set()
        while writing.is_alive():
            with LengthStore.open(tmp_path / "store", read_only=True) as reader:
                reader.snapshot(tmp_path / "copy")
            LengthStore.restore(tmp_path / "copy", tmp_path / "restored")
            records = content(tmp_path / "restored")
            assert len(records) == 40 * records[-1].step
            seen.add(len(records))
        writing.join()
        assert len(seen) > 1

    def test_it_does_not_replace_the_store(self, tmp_path: Path) -> None:
        with LengthStore.open(tmp_path / "store") as store, pytest.raises(StoreError, match="cannot replace"):
            store.snapshot(tmp_path / "store")

    def test_a_copy_that_fails_leaves_the_last_one(self, tmp_path: Path) -> None:
        fill(tmp_path / "store", 1)
        with LengthStore.open(tmp_path / "store") as store:
            store.snapshot(tmp_path / "copy")
            store.record_step("discovery", 2, [visit(f"q{i}", 9, tuple(range(9))) for i in range(999)], DISCOVERY)
            with small_files(40_000), pytest.raises(StoreError, match="copy"):
                store.snapshot(tmp_path / "copy")
        assert len(content(tmp_path / "copy")) == 40
        assert not (tmp_path / "copy.partial").exists()


class TestRestore:
    def test_it_replaces_the_store_and_what_was_not_folded_in(self, tmp_path: Path) -> None:
        fill(tmp_path / "store", 2)
        with LengthStore.open(tmp_path / "store") as store:
            store.snapshot(tmp_path / "copy")
            store.record_step("discovery", 3, [visit("later", 1, (1,))], DISCOVERY)
            # As a killed writer leaves them.
            shutil.copytree(tmp_path, tmp_path / "crashed")
        assert (tmp_path / "crashed" / "store-wal").stat().st_size > 0
        LengthStore.restore(tmp_path / "copy", tmp_path / "crashed" / "store")
        assert len(content(tmp_path / "crashed" / "store")) == 80
        fill(tmp_path / "crashed" / "store", 1, first=3)
        assert len(content(tmp_path / "crashed" / "store")) == 120

    def test_it_makes_the_folder(self, tmp_path: Path) -> None:
        fill(tmp_path / "store", 1)
        with LengthStore.open(tmp_path / "store") as store:
            store.snapshot(tmp_path / "copy")
        LengthStore.restore(tmp_path / "copy", tmp_path / "a" / "b")
        assert content(tmp_path / "a" / "b") == content(tmp_path / "store")

    def test_a_reader_that_has_the_store_open_does_not_hinder(self, tmp_path: Path) -> None:
        fill(tmp_path / "store", 1)
        with LengthStore.open(tmp_path / "store", read_only=True) as reader:
            reader.snapshot(tmp_path / "copy")
            fill(tmp_path / "store", 1, first=2)
            LengthStore.restore(tmp_path / "copy", tmp_path / "store")
            assert reader.last_step("discovery") == 2  # the old file, until it is opened again
        with LengthStore.open(tmp_path / "store", read_only=True) as reader:
            assert reader.last_step("discovery") == 1

    def test_a_live_writer_is_not_overrun(self, tmp_path: Path, writer: subprocess.Popen[str]) -> None:
        fill(tmp_path / "copy", 1)
        with pytest.raises(StoreLockedError, match=str(writer.pid)):
            LengthStore.restore(tmp_path / "copy", tmp_path / "store")

    def test_a_damaged_store_is_kept_beside(self, tmp_path: Path) -> None:
        fill(tmp_path / "copy", 1)
        (tmp_path / "store").write_text("no store")
        LengthStore.restore(tmp_path / "copy", tmp_path / "store")
        assert len(content(tmp_path / "store")) == 40
        assert (tmp_path / "store.damaged").read_text() == "no store"

    @pytest.mark.parametrize(
        "damage", ["missing", "folder", "empty", "text", "other", "newer", "cut", "page", "target"]
    )
    def test_a_bad_copy_is_refused_by_name_and_the_store_kept(self, tmp_path: Path, damage: str) -> None:
        fill(tmp_path / "store", 2)
        fill(tmp_path / "a copy", 2)
        spoil(tmp_path / "a copy", damage)
        with pytest.raises(StoreError, match="a copy: ") as raised:
            LengthStore.restore(tmp_path / "a copy", tmp_path / "store")
        assert isinstance(raised.value, StoreDamagedError) == (damage not in ("missing", "folder"))
        assert len(content(tmp_path / "store")) == 80

    def test_a_flipped_bit_is_refused_or_makes_no_difference(self, memory: Path) -> None:
        with LengthStore.open(memory / "store", meta={"a": 1}) as store:
            for step in range(5):
                store.record_step("discovery", step, [visit(f"p{i}", 9, (i, step)) for i in range(60)], DISCOVERY)
            for step in range(60):  # of a run with a memory, whose groups were dropped
                dropped = dataclasses.replace(visit("p0", 9, (step, 9)), filtered=True)
                store.record_step("laser_d", step, [dropped], objective("laser_d"))
            store.snapshot(memory / "copy")
            expected = answers(store)
        whole, rng, refused = (memory / "copy").read_bytes(), random.Random(0), 0
        for _ in range(100):
            position = rng.randrange(len(whole))
            changed = bytes([whole[position] ^ 1 << rng.randrange(8)])
            (memory / "copy").write_bytes(whole[:position] + changed + whole[position + 1 :])
            try:
                LengthStore.restore(memory / "copy", memory / "restored")
            except StoreDamagedError:
                refused += 1
                continue
            with LengthStore.open(memory / "restored") as store:
                assert answers(store) == expected
        assert refused > 40


class TestDamage:
    @pytest.mark.parametrize("read_only", [True, False])
    @pytest.mark.parametrize("damage", ["folder", "empty", "text", "other", "newer", "cut"])
    def test_opening_says_the_file_and_the_way_out(self, tmp_path: Path, damage: str, read_only: bool) -> None:
        fill(tmp_path / "a store", 2)
        spoil(tmp_path / "a store", damage)
        spoilt = None if damage == "folder" else (tmp_path / "a store").read_bytes()
        with pytest.raises(StoreError, match=r"a store: .*\. (Give|Restore|Upgrade)"):
            LengthStore.open(tmp_path / "a store", read_only=read_only)
        assert spoilt is None or (tmp_path / "a store").read_bytes() == spoilt

    def test_a_missing_store_cannot_be_read(self, tmp_path: Path) -> None:
        with pytest.raises(StoreError, match="no such length store"):
            LengthStore.open(tmp_path / "store", read_only=True)
        assert os.listdir(tmp_path) == []

    def test_a_new_store_takes_nothing_from_an_earlier_one(self, tmp_path: Path) -> None:
        fill(tmp_path / "store", 1)
        with LengthStore.open(tmp_path / "store") as store:
            store.record_step("discovery", 2, [], DISCOVERY)
            shutil.copy(tmp_path / "store-wal", tmp_path / "old")
        (tmp_path / "store").unlink()
        (tmp_path / "old").rename(tmp_path / "store-wal")
        assert LengthStore.open(tmp_path / "store").totals()["visits"] == 0


class TestNoRoom:
    def test_full_disk(self, tmp_path: Path) -> None:
        fill(tmp_path / "store", 2)
        with LengthStore.open(tmp_path / "store") as store:
            (pages,) = store._connection.execute("PRAGMA page_count").fetchone()
            store._connection.execute(f"PRAGMA max_page_count = {pages}")
            with pytest.raises(StoreError, match=r"store: the disk is full .*Free space.*last committed step"):
                store.record_step("discovery", 3, [visit(f"q{i}", 9, (1, 2)) for i in range(999)], DISCOVERY)
            assert store.last_step("discovery") == 2 and store.totals()["visits"] == 80
            store._connection.execute("PRAGMA max_page_count = 1000000")
            store.record_step("discovery", 3, [visit("a", 1, (5,))], DISCOVERY)

    def test_a_file_that_may_not_grow(self, tmp_path: Path) -> None:
        fill(tmp_path / "store", 2)
        with LengthStore.open(tmp_path / "store") as store:
            with small_files(20_000), pytest.raises(StoreError, match="last committed step"):
                store.record_step("discovery", 3, [visit(f"q{i}", 9, (1, 2)) for i in range(999)], DISCOVERY)
            assert store.last_step("discovery") == 2
            store.record_step("discovery", 3, [visit("a", 1, (5,))], DISCOVERY)
        assert len(content(tmp_path / "store")) == 81

    def test_read_only_folder(self) -> None:
        with unprivileged() as folder:
            fill(folder / "store", 1)
            (folder / "store.lock").unlink()
            folder.chmod(0o555)
            with pytest.raises(StoreError, match="store: cannot be opened or written"):
                LengthStore.open(folder / "store")
            with pytest.raises(StoreError, match="other: cannot be opened or written"):
                LengthStore.open(folder / "other")
            with pytest.raises(StoreError, match="inside: cannot be opened or written"):
                LengthStore.open(folder / "below" / "inside")
            with LengthStore.open(folder / "store", read_only=True) as store:
                assert store.last_step("discovery") == 1
                with pytest.raises(StoreError, match="copy: cannot be opened or written"):
                    store.snapshot(folder / "copy")
            with pytest.raises(StoreError, match="restored: cannot be opened or written"):
                LengthStore.restore(folder / "store", folder / "restored")

    def test_read_only_file(self) -> None:
        with unprivileged() as folder:
            fill(folder / "store", 1)
            (folder / "store").chmod(0o444)
            with pytest.raises(StoreError, match="store: cannot be opened or written"):
                fill(folder / "store", 1, first=2)
            assert len(content(folder / "store")) == 40


def spoil(path: Path, damage: str) -> None:
    """Makes the store at ``path`` one that cannot be used."""
    if damage == "missing":
        path.unlink()
    elif damage == "folder":
        path.unlink()
        path.mkdir()
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "text":
        path.write_text("x" * 5000)
    elif damage == "cut":
        os.truncate(path, path.stat().st_size // 2)
    elif damage == "page":
        whole = path.read_bytes()
        path.write_bytes(whole[:12288] + b"\xff" * 4096 + whole[16384:])
    else:
        connection = sqlite3.connect(path)
        statement = {
            "other": "PRAGMA application_id = 7",
            "newer": "PRAGMA user_version = 99",
            "target": "UPDATE problems SET target = 1 WHERE problem_id = 'problem 3'",
        }[damage]
        connection.execute(statement)
        connection.commit()
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.close()


class small_files:
    """No file of this process may grow beyond ``size`` bytes, as on a disk that fills up."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __enter__(self) -> None:
        self.limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.size, self.limits[1]))

    def __exit__(self, *_: object) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, self.limits)


class unprivileged:
    """A folder, and no right to write where its mode forbids it, also where the tests run as root."""

    def __enter__(self) -> Path:
        self.folder = Path(tempfile.mkdtemp())
        self.root = os.geteuid() == 0
        if self.root:
            os.chown(self.folder, 65534, 65534)
            os.seteuid(65534)
        return self.folder

    def __exit__(self, *_: object) -> None:
        if self.root:
            os.seteuid(0)
        self.folder.chmod(0o755)
        shutil.rmtree(self.folder)
