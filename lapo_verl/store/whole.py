"""Is the main file the whole store? SQLite puts the latest steps into the ``-wal`` beside it, and copies forget that.

A mark in ``meta`` tells. In the main file it is false while newer steps are in the ``-wal``; in the ``-wal`` it is
true. So who reads both sees true, and who has the main file alone sees false. Whoever folds the ``-wal`` into the main
file, SQLite at the last close included, brings the true mark along. Where there is no mark, an earlier version wrote
the file and nothing is known.

SQLite would fold by itself, without renewing the mark: the store turns that off and calls ``announce`` instead.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from lapo_verl.store import first_schema, schema
from lapo_verl.store.errors import StoreDamagedError

WAIT_MS = 2_000  # for readers, at a checkpoint of the training
BUSY_TIMEOUT_MS = 30_000


def check(connection: sqlite3.Connection, path: Path) -> None:
    """StoreDamagedError where the main file says that newer steps are in a ``-wal``, and there is none."""
    if not _is_false(connection):
        return
    wal = path.with_name(f"{path.name}-wal")
    # SQLite makes an empty one when it opens the file. A writer that is announcing has the false mark in it.
    if wal.exists() and wal.stat().st_size > 0:
        return
    last = _last_step(connection)
    holds = "no step" if last is None else f"the steps up to {last[0]} step {last[1]}"
    raise StoreDamagedError(
        f"{path}: is not the whole store. It has {holds}; later ones were in the -wal file beside the original. Copy "
        f"that file too, as {wal.name}, or take the snapshot (lapo_store.sqlite) from a checkpoint's folder instead."
    )


def announce(connection: sqlite3.Connection) -> bool:
    """Folds the ``-wal`` into the main file and leaves it marked as not whole: a write follows.

    The write has to set the mark to true in the ``-wal``, also where it fails (``repair``).

    Returns:
        Whether the main file has the mark; false where a reader was in the way, and it is to be tried again.
    """
    connection.execute("PRAGMA synchronous = NORMAL")  # folding syncs the mark, so that its commit need not
    try:
        mark(connection, False)
        # It does not wait for readers.
        _, in_wal, folded = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    finally:
        connection.execute("PRAGMA synchronous = FULL")
    return bool(in_wal == folded)


def fold(connection: sqlite3.Connection) -> None:
    """Folds the ``-wal`` into the main file, which then is the whole store; waits for readers for a while."""
    connection.execute(f"PRAGMA busy_timeout = {WAIT_MS}")
    try:
        connection.execute("PRAGMA wal_checkpoint(FULL)").fetchone()
    finally:
        connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")


def repair(connection: sqlite3.Connection) -> None:
    """Sets the false mark right that a write has left which failed, or whose writer was killed."""
    if _is_false(connection):
        mark(connection, True)


def mark(connection: sqlite3.Connection, whole: bool) -> None:
    """Writes the mark; nothing where it is there."""
    connection.execute(
        "INSERT INTO meta VALUES (?, ?)"
        " ON CONFLICT (key) DO UPDATE SET value = excluded.value WHERE value != excluded.value",
        (schema.WHOLE, "true" if whole else "false"),
    )


def _last_step(connection: sqlite3.Connection) -> tuple[str, int] | None:
    """Run and step of the last step; None where there is none."""
    if schema.version(connection) == schema.FIRST_VERSION:
        return first_schema.last_step(connection)
    row: tuple[str, int] | None = connection.execute(
        "SELECT name, step FROM steps JOIN runs USING (run) ORDER BY run DESC, step DESC LIMIT 1"
    ).fetchone()
    return row


def _is_false(connection: sqlite3.Connection) -> bool:
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (schema.WHOLE,)).fetchone()
    return row is not None and row[0] == "false"
