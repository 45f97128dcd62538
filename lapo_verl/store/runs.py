"""The trainings that a store has seen, in their order: a row each, with the objective and the settings of the run."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lapo_verl.objectives import Objective
from lapo_verl.store import schema
from lapo_verl.store.errors import StoreError
from lapo_verl.store.records import check_text


@dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        name: its name in the store.
        objective: what ``lapo_verl.objectives.objective(**run.objective)`` makes its objective of again.
        settings: what else its numbers depend on: ``response_limit``, ``length_scope``, ``guidance_rounding`` and so
            on. A key is absent where nobody noted it.
        steps: number of steps recorded.
        last_step: the last one; None where there is none.

    >>> run = Run("discovery", {"name": "discovery"}, {"response_limit": 4096}, steps=20, last_step=20)
    >>> run.settings["response_limit"]
    4096
    """

    name: str
    objective: dict[str, Any]
    settings: dict[str, Any]
    steps: int
    last_step: int | None


def begin(
    connection: sqlite3.Connection, path: Path, name: str, objective: Objective, settings: Mapping[str, Any] | None
) -> tuple[int, dict[str, Any]]:
    """The run's number, of a new row after all others where there is none, and its settings.

    What the row has noted of the objective's fields is replaced, and of the settings unless they are None.

    Raises:
        StoreError: the run is another objective's.
        ValueError: the name is not a text, or a value has no JSON.
    """
    check_text("the name of a run", name)
    row = connection.execute("SELECT run, objective, settings FROM runs WHERE name = ?", (name,)).fetchone()
    if row is None:
        (number,) = connection.execute("SELECT coalesce(max(run), 0) + 1 FROM runs").fetchone()
        noted = "{}"
    else:
        number, before, noted = row
        was = json.loads(before)["name"]
        if was != objective.name:
            raise StoreError(
                f"{path}: its run {name} was made with the objective {was}, this one has {objective.name}. Set "
                f"lapo.objective.name={was}, or give this run a store of its own (lapo.store)"
            )
    kept = noted if settings is None else _json(f"the settings of the run {name}", dict(settings))
    fields = _json(f"the fields of the objective {objective.name}", objective.config())
    if row is None or (before, noted) != (fields, kept):
        connection.execute(
            "INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?)", schema.checked(number, name, fields, kept)
        )
    return number, json.loads(kept)


def number(connection: sqlite3.Connection, name: str) -> int | None:
    """The number of the run of this name; None where there is none."""
    row = connection.execute("SELECT run FROM runs WHERE name = ?", (name,)).fetchone()
    return None if row is None else int(row[0])


def forget_empty(connection: sqlite3.Connection, first: int) -> None:
    """Removes the runs from number ``first`` on that have no step."""
    connection.execute("DELETE FROM runs WHERE run >= ? AND run NOT IN (SELECT run FROM steps)", (first,))


ALL = """SELECT name, objective, settings, (SELECT count(*) FROM steps s WHERE s.run = r.run),
    (SELECT max(step) FROM steps s WHERE s.run = r.run) FROM runs r ORDER BY run"""


def of_row(name: str, objective: str, settings: str, steps: int, last_step: int | None) -> Run:
    """The run of a row of ``ALL``."""
    return Run(name, json.loads(objective), json.loads(settings), steps, last_step)


def _json(what: str, value: Any) -> str:
    try:
        return json.dumps(value)
    except TypeError as error:
        raise ValueError(f"{what} must be JSON values: {error}") from error
