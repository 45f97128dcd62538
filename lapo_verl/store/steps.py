"""Recording a step: each problem's target and the run's memory, by the objective, within the store's transaction."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lapo_verl.objectives import Groups, Memory, Objective, checked_memory, checked_targets
from lapo_verl.store import schema
from lapo_verl.store.errors import StoreError
from lapo_verl.store.records import GroupRecord, pack_correct, pack_lengths, unpack


@dataclass(frozen=True)
class _Problem:
    """What is known of a problem amid a step.

    Attributes:
        target: before the step, in tokens; None for none.
        lengths, correct: of the rollouts that the step has recorded so far.
        last_record: None for a new problem.
    """

    target: float | None = None
    lengths: tuple[int | None, ...] = ()
    correct: tuple[bool, ...] = ()
    last_record: int | None = None

    def visited(self, group: GroupRecord, record: int) -> _Problem:
        """The same after one more visit, which is the ``record``."""
        return _Problem(self.target, self.lengths + group.lengths, self.correct + group.correct, record)


def record(
    connection: sqlite3.Connection,
    path: Path,
    run: tuple[int, str],
    step: int,
    groups: Sequence[GroupRecord],
    objective: Objective,
    response_limit: int | None,
) -> dict[str, float | None]:
    """Writes the groups of a step of ``run``, which is its number and its name; part of a step that may go on.

    Returns:
        The target of each of their problems, in tokens; None for none.

    Raises:
        StoreError: a later step is recorded already.
        ValueError: the objective gave targets or a memory that cannot be used.
    """
    number, _ = run
    _refuse_earlier(connection, path, run, step)
    (next_record,) = connection.execute("SELECT coalesce(max(record), 0) + 1 FROM records").fetchone()
    row = connection.execute("SELECT first_record FROM steps WHERE run = ? AND step = ?", (number, step)).fetchone()
    first_record = next_record if row is None else row[0]
    before = last_memory(connection, number)
    targets: dict[str, float | None] = {}
    memory = before
    if groups:
        problems = _problems(connection, [group.problem_id for group in groups], first_record)
        previous, visits = [], []
        for place, group in enumerate(groups, start=next_record):
            problem = problems[group.problem_id]
            previous.append(problem.last_record)
            visits.append(problem.visited(group, place))
            problems[group.problem_id] = visits[-1]
        so_far = _groups(visits, visits, groups, response_limit)
        alone = all(len(visit.lengths) == len(group.lengths) for visit, group in zip(visits, groups, strict=True))
        found = [_or_none(target) for target in checked_targets(objective, so_far).tolist()]
        memory = checked_memory(objective, before, so_far if alone else _groups(groups, visits, groups, response_limit))
        _insert(connection, (number, step, next_record), groups, found, previous)
        targets = {group.problem_id: target for group, target in zip(groups, found, strict=True)}
        # In the order of their place in the file, so that each page is visited once.
        rows = sorted((name, target, problems[name].last_record) for name, target in targets.items())
        connection.executemany("INSERT OR REPLACE INTO problems VALUES (?, ?, ?)", rows)
    text = None if memory is None else json.dumps(memory)
    connection.execute(
        "INSERT OR REPLACE INTO steps VALUES (?, ?, ?, ?, ?)", schema.checked(number, step, first_record, text)
    )
    return targets


def last_memory(connection: sqlite3.Connection, run: int) -> Memory | None:
    """The memory after the last step of the run; None where there is none."""
    row = connection.execute("SELECT memory FROM steps WHERE run = ? ORDER BY step DESC LIMIT 1", (run,)).fetchone()
    return None if row is None or row[0] is None else json.loads(row[0])


def _refuse_earlier(connection: sqlite3.Connection, path: Path, run: tuple[int, str], step: int) -> None:
    number, name = run
    later = connection.execute(
        "SELECT name, step FROM steps JOIN runs USING (run) WHERE (run, step) > (?, ?)"
        " ORDER BY run DESC, step DESC LIMIT 1",
        (number, step),
    ).fetchone()
    if later is not None:
        raise StoreError(
            f"{path}: cannot record {name} step {step} after {later[0]} step {later[1]}. Call "
            f"rewind({name!r}, {step - 1}) first to train on from there, or use another store."
        )


def _problems(connection: sqlite3.Connection, names: Sequence[str], first_record: int) -> dict[str, _Problem]:
    """What is known of each problem; the step's records begin at ``first_record``."""
    found = {name: _Problem() for name in names}
    for name, target, last in connection.execute(
        "SELECT problem_id, target, last_record FROM problems WHERE problem_id IN (SELECT value FROM json_each(?))",
        (json.dumps(list(found)),),
    ).fetchall():
        lengths: tuple[int | None, ...] = ()
        correct: tuple[bool, ...] = ()
        earlier = last
        while earlier is not None and earlier >= first_record:
            *packed, earlier, target = connection.execute(
                "SELECT r.n, r.lengths, r.correct, r.previous, b.target FROM records r"
                " LEFT JOIN records b ON b.record = r.previous WHERE r.record = ?",
                (earlier,),
            ).fetchone()
            earlier_lengths, earlier_correct = unpack(*packed)
            lengths, correct = earlier_lengths + lengths, earlier_correct + correct
        found[name] = _Problem(target, lengths, correct, last)
    return found


def _groups(
    rollouts: Sequence[_Problem] | Sequence[GroupRecord],
    visits: Sequence[_Problem],
    groups: Sequence[GroupRecord],
    response_limit: int | None,
) -> Groups:
    """``rollouts`` of the visits as arrays, with the targets from before the step."""
    return Groups.of(
        correct=[row.correct for row in rollouts],
        lengths=[row.lengths for row in rollouts],
        target=[visit.target for visit in visits],
        prompt_budget=[group.prompt_budget for group in groups],
        response_limit=response_limit,
    )


def _insert(
    connection: sqlite3.Connection,
    place: tuple[int, int, int],
    groups: Sequence[GroupRecord],
    targets: Sequence[float | None],
    previous: Sequence[int | None],
) -> None:
    """A record for each group; ``place`` is its run's number, its step and the first record's number."""
    run, step, first = place
    rows: list[tuple[Any, ...]] = [
        schema.checked(
            number,
            run,
            step,
            group.problem_id,
            len(group.lengths),
            pack_lengths(group.lengths),
            pack_correct(group.correct),
            group.prompt_budget,
            target,
            earlier,
        )
        for number, (group, target, earlier) in enumerate(zip(groups, targets, previous, strict=True), start=first)
    ]
    connection.executemany(f"INSERT INTO records VALUES ({', '.join('?' * 11)})", rows)
    connection.executemany(
        "INSERT INTO filtered_records VALUES (?, ?)",
        [schema.checked(number) for number, group in enumerate(groups, start=first) if group.filtered],
    )


def _or_none(target: float) -> float | None:
    return None if math.isnan(target) else target + 0.0  # SQLite keeps no -0.0
