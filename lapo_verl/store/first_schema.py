"""The first schema: two numbered stages, and the lengths of correct rollouts only. It is read, and carried over.

Its records have statistics of the lengths as well, which are left out: they can be derived. Its settings of each stage
were facts in ``meta``; they go into the run's row.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lapo_verl.store import schema
from lapo_verl.store.errors import RESTORE, StoreDamagedError
from lapo_verl.store.records import pack_correct, pack_lengths

STAGES = ("discovery", "internalization")  # in the order of training; the file holds the position
_FIELDS = "settings."  # with the stage's name: the fields of its objective
_SETTINGS = {"length.scope": "length_scope", "guidance.rounding": "guidance_rounding"}


def carry_over(old: sqlite3.Connection, new: sqlite3.Connection, path: Path) -> None:
    """Makes the empty file ``new`` a store of today's schema with all that ``old``, the store at ``path``, knows.

    Raises:
        StoreDamagedError: a record of ``old`` is not what was written.
    """
    schema.create(new)
    new.execute("BEGIN")
    old.execute("BEGIN")  # all of it as of one moment
    try:
        notes = {
            key: json.loads(value) for key, value in old.execute("SELECT * FROM meta WHERE key != ?", (schema.WHOLE,))
        }
        runs = _runs(old, notes, path)
        numbers = {stage: number for number, stage in enumerate(runs, start=1)}
        rows = (schema.checked(numbers[stage], STAGES[stage], *runs[stage]) for stage in runs)
        new.executemany("INSERT INTO runs VALUES (?, ?, ?, ?, ?)", rows)
        new.executemany(f"INSERT INTO records VALUES ({', '.join('?' * 11)})", _records(old, numbers, path))
        new.executemany(
            "INSERT INTO steps VALUES (?, ?, ?, ?, ?)",
            (
                schema.checked(numbers[stage], step, first_record, None)
                for stage, step, first_record in old.execute("SELECT stage, step, first_record FROM steps")
            ),
        )
        new.executemany(
            "INSERT INTO problems VALUES (?, ?, ?)",
            old.execute("SELECT problem_id, budget, last_record FROM problems ORDER BY problem_id"),
        )
        kept = {key: value for key, value in notes.items() if key not in _SETTINGS and not key.startswith(_FIELDS)}
        new.executemany("INSERT INTO meta VALUES (?, ?)", ((key, json.dumps(value)) for key, value in kept.items()))
    finally:
        old.execute("ROLLBACK")
    new.execute("COMMIT")


def last_step(connection: sqlite3.Connection) -> tuple[str, int] | None:
    """Stage and step of the last step; None where there is none."""
    row = connection.execute("SELECT stage, step FROM steps ORDER BY stage DESC, step DESC LIMIT 1").fetchone()
    return None if row is None else (STAGES[row[0]], row[1])


def _runs(old: sqlite3.Connection, notes: dict[str, Any], path: Path) -> dict[int, tuple[str, str]]:
    """{stage's number: (objective, settings) as JSON}, of the stages that have a step or noted their fields."""
    begun = {number for (number,) in old.execute("SELECT DISTINCT stage FROM steps")}
    for key, value in notes.items():
        if key.startswith(_FIELDS) and not isinstance(value, dict):
            raise StoreDamagedError(f"{path}: its note {key} is not understood, got {value!r}. {RESTORE}")
    settings = json.dumps({new: notes[key] for key, new in _SETTINGS.items() if key in notes})
    return {
        number: (json.dumps({"name": stage, **notes.get(f"{_FIELDS}{stage}", {})}), settings)
        for number, stage in enumerate(STAGES)
        if number in begun or f"{_FIELDS}{stage}" in notes
    }


def _records(old: sqlite3.Connection, numbers: dict[int, int], path: Path) -> Iterator[tuple[Any, ...]]:
    for *row, noted in old.execute("SELECT * FROM records ORDER BY record"):
        schema.check_row("records", tuple(row), noted, path)
        record, stage, step, problem_id, n, packed, *_, prompt_budget, target, previous = row
        lengths = np.frombuffer(packed, dtype="<u4").tolist()
        if stage not in numbers or len(lengths) > n:
            raise StoreDamagedError(f"{path}: damaged (record {record} cannot be). {RESTORE}")
        wrong = n - len(lengths)
        rollouts = pack_lengths([*lengths, *[None] * wrong]), pack_correct([True] * len(lengths) + [False] * wrong)
        yield schema.checked(record, numbers[stage], step, problem_id, n, *rollouts, prompt_budget, target, previous)
