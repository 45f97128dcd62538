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
# Earlier ones are read and carried over, see ``first_schema`` and ``second_schema``.
FIRST_VERSION, SECOND_VERSION, VERSION = 1, 2, 3
WHOLE = "file.whole"  # the key in meta of a mark that is no fact about the training, see ``whole``

# The records that the trainer dropped.
FILTERED_RECORDS = "CREATE TABLE filtered_records (record INTEGER PRIMARY KEY, checksum INTEGER NOT NULL)"
# checksum: of the row's other columns, since SQLite does not notice a bit that flips inside a value.
_TABLES = (
    # The trainings, in their order; objective and settings are JSON objects.
    """CREATE TABLE runs (
        run INTEGER PRIMARY KEY,
        name TEXT UNIQUE NOT NULL,
        objective TEXT NOT NULL,
        settings TEXT NOT NULL,
        checksum INTEGER NOT NULL
    )""",
    # The current target in tokens, NULL for none. Can be made again from records, which is what rewind does.
    """CREATE TABLE problems (
        problem_id TEXT PRIMARY KEY NOT NULL,
        target REAL,
        last_record INTEGER NOT NULL
    ) WITHOUT ROWID""",
    # record counts from 1 without gaps, in the order of training. lengths and correct: of n rollouts, see ``records``.
    # target: the problem's after this record. previous: the problem's record before this one.
    """CREATE TABLE records (
        record INTEGER PRIMARY KEY,
        run INTEGER NOT NULL,
        step INTEGER NOT NULL,
        problem_id TEXT NOT NULL,
        n INTEGER NOT NULL,
        lengths BLOB NOT NULL,
        correct BLOB NOT NULL,
        prompt_budget REAL,
        target REAL,
        previous INTEGER,
        checksum INTEGER NOT NULL
    )""",
    FILTERED_RECORDS,
    # memory: the objective's memory of the whole run after the step, a JSON object; NULL for none.
    """CREATE TABLE steps (
        run INTEGER NOT NULL,
        step INTEGER NOT NULL,
        first_record INTEGER NOT NULL,
        memory TEXT,
        checksum INTEGER NOT NULL,
        PRIMARY KEY (run, step)
    ) WITHOUT ROWID""",
    # Facts about the training, tokenizer and model for instance; values are JSON.
    "CREATE TABLE meta (key TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL) WITHOUT ROWID",
)


def create(connection: sqlite3.Connection) -> None:
    """Makes an empty file a store."""
    connection.execute("BEGIN")
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {VERSION}")
    for table in _TABLES:
        connection.execute(table)
    connection.execute("COMMIT")


def version(connection: sqlite3.Connection) -> int:
    """The schema's version that the file says it has."""
    (number,) = connection.execute("PRAGMA user_version").fetchone()
    return int(number)


def check(connection: sqlite3.Connection, path: Path) -> None:
    """StoreDamagedError unless the file is a store of a version that is known here."""
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    if application_id != APPLICATION_ID or version(connection) < FIRST_VERSION:
        raise StoreDamagedError(f"{path}: an SQLite file, but not a length store. Give the path of a store.")
    if version(connection) > VERSION:
        raise StoreDamagedError(
            f"{path}: written by a newer lapo-verl (schema version {version(connection)}, this one reads "
            f"{VERSION}). Upgrade lapo-verl to use it."
        )
    # Reads the first page of each table: a file that was cut off is found here and not in the middle of a
    # step.
    for table in ("problems", "records", "steps", "meta"):
        connection.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone()
    if version(connection) > FIRST_VERSION:
        connection.execute("SELECT 1 FROM runs LIMIT 1").fetchone()
    if version(connection) == VERSION:
        connection.execute("SELECT 1 FROM filtered_records LIMIT 1").fetchone()


def check_pages(connection: sqlite3.Connection, path: Path) -> None:
    """StoreDamagedError where the structure of a page of the file is damaged; reads all of them."""
    (result,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if result != "ok":
        raise StoreDamagedError(f"{path}: damaged ({result}). {RESTORE}")


def check_rows(connection: sqlite3.Connection, path: Path) -> None:
    """StoreDamagedError where a row is not what was written, or does not match the others; reads all of them."""
    for table, key in (("records", 1), ("runs", 1), ("steps", 2), ("filtered_records", 1)):
        for *row, noted in connection.execute(f"SELECT * FROM {table}"):
            check_row(table, tuple(row), noted, path, key)
    (count, last) = connection.execute("SELECT count(*), coalesce(max(record), 0) FROM records").fetchone()
    if count != last:
        raise StoreDamagedError(f"{path}: damaged (it has {count} of {last} records). {RESTORE}")
    (marks,) = connection.execute(
        "SELECT count(*) FROM filtered_records WHERE record NOT IN (SELECT record FROM records)"
    ).fetchone()
    if marks:
        raise StoreDamagedError(f"{path}: damaged (records that are not there are marked as filtered). {RESTORE}")
    (problems, strays) = connection.execute(
        "SELECT count(*), sum(r.problem_id IS NOT p.problem_id OR r.target IS NOT p.target)"
        " FROM problems p LEFT JOIN records r ON r.record = p.last_record"
    ).fetchone()
    (firsts,) = connection.execute("SELECT count(*) FROM records WHERE previous IS NULL").fetchone()
    if strays or problems != firsts:
        raise StoreDamagedError(f"{path}: damaged (targets do not match the records). {RESTORE}")
    (unmatched,) = connection.execute(
        "SELECT count(*) FROM"
        " (SELECT run, step, min(record) AS first_record FROM records GROUP BY run, step)"
        " LEFT JOIN steps USING (run, step, first_record) WHERE steps.step IS NULL"
    ).fetchone()
    (without_run,) = connection.execute("SELECT count(*) FROM steps WHERE run NOT IN (SELECT run FROM runs)").fetchone()
    if unmatched or without_run:
        raise StoreDamagedError(f"{path}: damaged (steps do not match the records). {RESTORE}")


def check_row(table: str, row: tuple[Any, ...], noted: int, path: Path, key: int = 1) -> None:
    """StoreDamagedError where the ``noted`` checksum is not the row's; its first ``key`` columns name it."""
    if checksum(row) != noted:
        name = f"{table[:-1]} {' '.join(map(str, row[:key]))}"
        raise StoreDamagedError(f"{path}: damaged ({name} is not what was written). {RESTORE}")


def checksum(row: tuple[Any, ...]) -> int:
    """Of a row's other columns, in their order; the values have the types that SQLite gives back."""
    return zlib.crc32(ascii(row).encode())


def checked(*row: Any) -> tuple[Any, ...]:
    """The row with its checksum as its last column."""
    return (*row, checksum(row))
