"""Copies of a store: made while it is written to, checked, and put in place atomically.

A copy is of today's schema, also where the store is of an earlier one. Only what ``carry_over`` keeps stays as it is.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lapo_verl.store import first_schema, schema, second_schema, whole
from lapo_verl.store.errors import StoreDamagedError, StoreError, explained
from lapo_verl.store.lock import WriterLock


def connect(path: Path, mode: str) -> sqlite3.Connection:
    """Opens the SQLite file in ``mode`` ("ro", "rw", "rwc"), each statement a transaction of its own."""
    # A path that holds a question mark or a percent sign is quoted by as_uri.
    uri = f"{path.as_uri()}?mode={mode}"
    writable = os.access(path.parent, os.W_OK, effective_ids=True)
    if mode == "ro" and not writable and not _beside(path, "-wal").exists():
        # SQLite wants to put files beside the store, which is not needed where nothing is left to be folded
        # in.
        uri += "&immutable=1"
    # The store's own lock keeps its threads apart, so SQLite's check that one thread uses it is not wanted.
    timeout = whole.BUSY_TIMEOUT_MS / 1000
    return sqlite3.connect(uri, uri=True, timeout=timeout, isolation_level=None, check_same_thread=False)


def create(path: Path) -> None:
    """A new, empty store at ``path``; there whole or not at all."""
    with _partial(path) as partial, explained(path):
        connection = connect(partial, "rwc")
        try:
            connection.execute("PRAGMA synchronous = OFF")  # it is synced once, before it gets its name
            schema.create(connection)
            whole.mark(connection, True)
        finally:
            connection.close()
        _put_in_place(partial, path)


def carry_over(path: Path) -> None:
    """Makes the store of the first schema at ``path`` one of today's; the old file stays beside it as ``<name>.v1``.

    Raises:
        StoreDamagedError: it is damaged; nothing is then changed.
        StoreError: a file cannot be read or written.
    """
    kept = _beside(path, ".v1")
    number = 1
    while kept.exists():
        number += 1
        kept = _beside(path, f".v1.{number}")
    with _partial(path) as partial:
        _copy(path, partial, path)
        _check(partial, path)
        with _partial(kept) as old:
            _copy(path, old, kept, as_it_is=True)
            with explained(kept):
                _put_in_place(old, kept)
        with explained(path):
            _retire(path)
            _put_in_place(partial, path)


def read_first_schema(connection: sqlite3.Connection, path: Path) -> sqlite3.Connection:
    """What the store of the first schema at ``path`` knows, in a file of today's schema that only this process has."""
    temporary = sqlite3.connect("", isolation_level=None, check_same_thread=False)  # SQLite removes it when closed
    try:
        first_schema.carry_over(connection, temporary, path)
    except BaseException:
        temporary.close()
        raise
    return temporary


def write(path: Path, copy_path: Path) -> None:
    """Writes a consistent copy of the store at ``path``, also while another connection writes to it.

    The copy is one file, durable when this returns, and appears whole under its name or not at all.

    Raises:
        StoreError: the copy cannot be written, or would replace the store itself.
    """
    if copy_path == path:
        raise StoreError(f"{path}: a snapshot cannot replace the store it is made of. Give another path.")
    with explained(copy_path):
        copy_path.parent.mkdir(parents=True, exist_ok=True)
    with _partial(copy_path) as partial:
        _copy(path, partial, copy_path)
        with explained(copy_path):
            _put_in_place(partial, copy_path)


def restore(copy_path: Path, path: Path) -> None:
    """Checks the copy at ``copy_path`` and puts it at ``path``, in place of what is there.

    A file at ``path`` that is not a readable store is kept beside it with ``.damaged`` added to its name.
    Readers that have ``path`` open go on to see the old store and must open it again.

    Raises:
        StoreDamagedError: the copy is not a store, is damaged, or was written by a newer version.
        StoreLockedError: a live process writes to ``path``.
        StoreError: a file is missing or cannot be read or written. In all of these cases ``path`` is as it was.
    """
    if copy_path == path:
        raise StoreError(f"{path}: is both the snapshot and the store. Give the path of a snapshot.")
    check_file(copy_path)
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    lock = WriterLock(path)
    try:
        with _partial(path) as partial:
            _copy(copy_path, partial, path)
            with explained(path):
                _retire(path)
                _put_in_place(partial, path)
    finally:
        lock.release()


def check_file(path: Path) -> None:
    """Reads the whole file; StoreError where it is missing, StoreDamagedError where it is no sound store."""
    check_present(path)
    _check(path, path)


def check_present(path: Path) -> None:
    """StoreError where there is no file at ``path``, StoreDamagedError where it is empty."""
    if path.is_dir():
        raise StoreError(f"{path}: is a folder. Give the path of a store's file.")
    if not path.exists():
        raise StoreError(f"{path}: no such length store. Check the path.")
    # SQLite takes an empty file for a new database; a store is never empty, since it appears whole.
    if path.stat().st_size == 0:
        raise StoreDamagedError(f"{path}: is empty. Restore it from a snapshot, or delete it to start anew.")


def _check(file: Path, path: Path) -> None:
    """``check_file`` of ``file``, as if it were at ``path``."""
    with explained(path):
        connection = connect(file, "ro")
        try:
            schema.check(connection, path)
            whole.check(connection, path)
            schema.check_pages(connection, path)
            if schema.version(connection) > schema.FIRST_VERSION:
                second_schema.read(connection)
                schema.check_rows(connection, path)
                return
            carried = read_first_schema(connection, path)
            try:
                schema.check_rows(carried, path)
            finally:
                carried.close()
        finally:
            connection.close()


def _copy(source: Path, target: Path, named: Path, as_it_is: bool = False) -> None:
    """A new store at ``target``, of today's schema unless ``as_it_is``; what goes wrong there is about ``named``."""
    with explained(source):
        reader = connect(source, "ro")
    try:
        with explained(named):
            writer = connect(target, "rwc")
            try:
                writer.execute("PRAGMA synchronous = OFF")  # it is synced once, before it gets its name
                if schema.version(reader) == schema.FIRST_VERSION and not as_it_is:
                    first_schema.carry_over(reader, writer, source)
                else:
                    # One step of the backup, so one read transaction: what is committed meanwhile is not in it.
                    reader.backup(writer)
                    second_schema.carry_over(writer)
                # Without the -wal of its own, so that the copy is one file and can be read from a read-only
                # folder.
                writer.execute("PRAGMA journal_mode = DELETE")
                whole.mark(writer, True)
            finally:
                writer.close()
    finally:
        reader.close()


def _retire(path: Path) -> None:
    # Folds the old store's -wal into it: were we to die after the -wal is removed, the old store would
    # still be whole.
    if not path.exists():
        return
    try:
        connection = connect(path, "rw")
        try:
            schema.check(connection, path)
            whole.check(connection, path)
            connection.execute("PRAGMA busy_timeout = 0")  # readers may stay as long as they like
            connection.execute("PRAGMA journal_mode = DELETE")
        finally:
            connection.close()
    except sqlite3.OperationalError:
        return  # a reader holds it
    except (sqlite3.Error, StoreDamagedError):
        for suffix in ("", "-wal"):
            if _beside(path, suffix).exists():
                os.replace(_beside(path, suffix), _beside(path, f".damaged{suffix}"))


def _put_in_place(partial: Path, path: Path) -> None:
    descriptor = os.open(partial, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    # What an earlier file of this name left behind would be folded into the new one.
    _beside(path, "-wal").unlink(missing_ok=True)
    _beside(path, "-shm").unlink(missing_ok=True)
    os.replace(partial, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def _partial(path: Path) -> Iterator[Path]:
    """A free name beside ``path``, for a file that is not whole yet; nothing of it stays after the block."""
    partial = _beside(path, ".partial")
    with explained(path):
        _remove(partial)  # of a process that died
    try:
        yield partial
    finally:
        _remove(partial)


def _remove(partial: Path) -> None:
    for suffix in ("", "-journal", "-wal", "-shm"):
        _beside(partial, suffix).unlink(missing_ok=True)


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)
