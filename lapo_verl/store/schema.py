"""What the file holds, and whether a file is one of ours.

``records`` only grows at its end and is cut at its end, so a step writes its pages in a row, whatever the
number of problems. For the same reason a problem's records are found by a chain (``problems.last_record``,
then ``records.previous``) and not by an index, which a step would have to write in as many places as it has
problems.
"""

from __future__ import annotations

import sqlite3
import zlib
from pathlib import Path
from typing import Any

from lapo_verl.store.errors import RESTORE, StoreDamagedError

APPLICATION_ID = 0x4C41504F  # "LAPO"
SCHEMA_VERSION = 1

_TABLES = (
    # The current budget in tokens, NULL while unsolved. Can be made again from records, which is what
    # rewind does.
    """CREATE TABLE problems (
        problem_id TEXT PRIMARY KEY NOT NULL,
        budget REAL,
        last_record INTEGER NOT NULL
    ) WITHOUT ROWID""",
    # stage: 0 discovery, 1 internalization. record counts from 1 without gaps, in the order of training.
    # correct_lengths: little-endian unsigned 32-bit integers. previous: the problem's record before this one.
    # checksum: of the other columns, since SQLite does not notice a bit that flips inside a value.
    """CREATE TABLE records (
        record INTEGER PRIMARY KEY,
        stage INTEGER NOT NULL,
        step INTEGER NOT NULL,
        problem_id TEXT NOT NULL,
        n INTEGER NOT NULL,
        correct_lengths BLOB NOT NULL,
        low REAL, high REAL, median REAL, mean REAL, minimum REAL,
        budget_shown REAL,
        budget_after REAL,
        previous INTEGER,
        checksum INTEGER NOT NULL
    )""",
    """CREATE TABLE steps (
        stage INTEGER NOT NULL,
        step INTEGER NOT NULL,
        first_record INTEGER NOT NULL,
        PRIMARY KEY (stage, step)
    ) WITHOUT ROWID""",
    # Facts about the training, tokenizer and model for instance; values are JSON.
    "CREATE TABLE meta (key TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL) WITHOUT ROWID",
)


def create(connection: sqlite3.Connection) -> None:
    """Makes an empty file a store."""
    connection.execute("BEGIN")
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    for table in _TABLES:
        connection.execute(table)
    connection.execute("COMMIT")


def check(connection: sqlite3.Connection, path: Path) -> None:
    """StoreDamagedError unless the file is a store of a version that is known here."""
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application_id != APPLICATION_ID:
        raise StoreDamagedError(f"{path}: an SQLite file, but not a length store. Give the path of a store.")
    if version > SCHEMA_VERSION:
        raise StoreDamagedError(
            f"{path}: written by a newer lapo-verl (schema version {version}, this one reads "
            f"{SCHEMA_VERSION}). Upgrade lapo-verl to use it."
        )
    # Reads the first page of each table: a file that was cut off is found here and not in the middle of a
    # step.
    for table in ("problems", "records", "steps", "meta"):
        connection.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone()


def check_whole(connection: sqlite3.Connection, path: Path) -> None:
    """As ``check``, and reads the whole file: each page's structure, each record, each budget against them."""
    check(connection, path)
    (result,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if result != "ok":
        raise StoreDamagedError(f"{path}: damaged ({result}). {RESTORE}")
    for *row, noted in connection.execute("SELECT * FROM records"):
        if checksum(tuple(row)) != noted:
            raise StoreDamagedError(f"{path}: damaged (record {row[0]} is not what was written). {RESTORE}")
    (count, last) = connection.execute("SELECT count(*), coalesce(max(record), 0) FROM records").fetchone()
    if count != last:
        raise StoreDamagedError(f"{path}: damaged (it has {count} of {last} records). {RESTORE}")
    (problems, strays) = connection.execute(
        "SELECT count(*), sum(r.problem_id IS NOT p.problem_id OR r.budget_after IS NOT p.budget)"
        " FROM problems p LEFT JOIN records r ON r.record = p.last_record"
    ).fetchone()
    (firsts,) = connection.execute("SELECT count(*) FROM records WHERE previous IS NULL").fetchone()
    if strays or problems != firsts:
        raise StoreDamagedError(f"{path}: damaged (budgets do not match the records). {RESTORE}")
    (unmatched,) = connection.execute(
        "SELECT count(*) FROM"
        " (SELECT stage, step, min(record) AS first_record FROM records GROUP BY stage, step)"
        " LEFT JOIN steps USING (stage, step, first_record) WHERE steps.step IS NULL"
    ).fetchone()
    if unmatched:
        raise StoreDamagedError(f"{path}: damaged (steps do not match the records). {RESTORE}")


def checksum(row: tuple[Any, ...]) -> int:
    """Of a record's other columns, in their order; the values have the types that SQLite gives back."""
    return zlib.crc32(ascii(row).encode())
