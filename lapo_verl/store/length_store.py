"""The store's door: records steps, answers what is known, forgets and copies."""

from __future__ import annotations

import atexit
import json
import operator
import os
import sqlite3
import threading
import weakref
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from lapo_verl.method import LengthStats, discovery_budget, update_budget
from lapo_verl.store import schema, snapshot, whole
from lapo_verl.store.errors import StoreDamagedError, StoreError, explained
from lapo_verl.store.lock import WriterLock
from lapo_verl.store.records import (
    STAGES,
    GroupRecord,
    Record,
    pack_lengths,
    stage_number,
    unpack_lengths,
)

BUDGET_PERCENTILES = (0, 10, 25, 50, 75, 90, 100)
# Writes between two times that the -wal is folded into the main file: a few megabytes of steps.
WRITES_A_FOLD = 8

_RECORD_COLUMNS = (
    "problem_id, stage, step, n, correct_lengths, low, high, median, mean, minimum, budget_shown, budget_after"
)

_CHECKSUMS = "SELECT record, checksum FROM records WHERE record > ? ORDER BY record LIMIT 10000"


class LengthStore:
    """What is known of every problem's length, in one SQLite file; made by ``LengthStore.open``.

    One process writes, any number on the same host read, and readers never wait for the writer. Threads may
    share a store; a forked process has to open its own. Steps are recorded in the order of training; to go
    back, ``rewind``.

    The file is in SQLite's write-ahead mode, which needs memory shared by all who have it open: on a network
    file system the store works for the processes of one host at a time.

    While a writer is at work, the latest steps are in the ``-wal`` beside the file. To copy a store, take a
    ``snapshot``. After ``make_whole`` and ``close`` the file is whole by itself; a copy that lacks its ``-wal``
    is refused when it is opened.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection, lock: WriterLock | None) -> None:
        self.path = path
        self._connection = connection
        self._lock = lock
        self._pid = os.getpid()
        self._threads = threading.RLock()
        self._writes_until_fold = 0
        _open_stores.add(self)

    @classmethod
    def open(
        cls, path: str | os.PathLike[str], read_only: bool = False, meta: Mapping[str, Any] | None = None
    ) -> LengthStore:
        """Opens the store at ``path``; a writer makes it, and its folder, where there is none.

        Args:
            path: the store's file.
            read_only: whether to only read, which any number of processes may.
            meta: facts to note in the store; a key that it has already keeps its value.

        Raises:
            StoreLockedError: another live process writes to it.
            StoreDamagedError: the file is no store, is damaged, was written by a newer version, or lacks the
                ``-wal`` that its latest steps are in.
            StoreError: there is none to read, or it cannot be opened.
            ValueError: ``meta`` is given for reading only.
        """
        where = Path(path).resolve()
        if read_only and meta:
            raise ValueError("meta cannot be noted in a store that is opened with read_only=True")
        if read_only or where.exists():
            snapshot.check_present(where)
        if read_only:
            return cls(where, _connect(where, "ro"), None)
        with explained(where):
            where.parent.mkdir(parents=True, exist_ok=True)
        lock = WriterLock(where)
        try:
            if not where.exists():
                snapshot.create(where)
            store = cls(where, _connect(where, "rw"), lock)
        except BaseException:
            lock.release()
            raise
        try:
            store._note(meta or {})
        except BaseException:
            store.close()
            raise
        return store

    def record_step(
        self,
        stage: str,
        step: int,
        groups: Iterable[GroupRecord],
        *,
        statistic: str = "median",
        on_unsolved: str = "reset",
        low: float = 30,
        high: float = 70,
    ) -> dict[str, float | None]:
        """Records all groups of a step in one transaction, which is on the disk when this returns.

        Each group becomes a record. A problem that a step visits more than once, in one call or in several with the
        same stage and step, gets its budget from all of the step's correct rollouts so far.

        Args:
            stage: ``discovery`` (budgets by Eq. 3) or ``internalization`` (Eq. 8).
            step: the training step, >= 0.
            groups: what was sampled; may be empty.
            statistic: what a budget is made of: ``median``, ``mean`` or ``minimum``.
            on_unsolved: in discovery, the budget of a problem without a correct rollout: ``reset`` or
                ``keep``.
            low, high: percentiles of the band that is noted.

        Returns:
            The budget of each of the step's problems after it, in tokens; None where unsolved.

        Raises:
            ValueError: an argument is out of range.
            StoreError: a later step is recorded already, or the step cannot be written; nothing of it is then
                kept.
        """
        number = stage_number(stage)
        if isinstance(step, bool) or not hasattr(step, "__index__") or step < 0:
            raise ValueError(f"step must be a whole number >= 0, got {step!r}")
        step = int(step)
        recorded = list(groups)
        with self._writing() as connection:
            first_record, next_record = self._begin_step(connection, number, step)
            names = list(dict.fromkeys(group.problem_id for group in recorded))
            known = {
                name: (budget, last)
                for name, budget, last in connection.execute(
                    "SELECT problem_id, budget, last_record FROM problems"
                    " WHERE problem_id IN (SELECT value FROM json_each(?))",
                    (json.dumps(names),),
                )
            }
            problems = {name: _before_visit(connection, first_record, *known.get(name, (None, None))) for name in names}
            record_rows: list[tuple[Any, ...]] = []
            budgets: dict[str, float | None] = {}
            for record, group in enumerate(recorded, start=next_record):
                name = group.problem_id
                before = problems[name]
                lengths = before.lengths + group.correct_lengths
                stats = LengthStats.of(lengths, low, high)
                if stage == "discovery":
                    after = discovery_budget(before.budget, stats, statistic, on_unsolved)
                else:
                    after = update_budget(before.budget, stats, statistic)
                row = (
                    record,
                    number,
                    step,
                    name,
                    group.n,
                    pack_lengths(group.correct_lengths),
                    *(
                        (None,) * 5
                        if stats is None
                        else (stats.low, stats.high, stats.median, stats.mean, stats.minimum)
                    ),
                    group.budget_shown,
                    after,
                    before.last_record,
                )
                record_rows.append((*row, schema.checksum(row)))
                problems[name] = replace(before, lengths=lengths, last_record=record)
                budgets[name] = after
            connection.executemany(f"INSERT INTO records VALUES ({', '.join('?' * 15)})", record_rows)
            # In the order of their place in the file, so that each page is visited once.
            rows = sorted((name, budget, problems[name].last_record) for name, budget in budgets.items())
            connection.executemany("INSERT OR REPLACE INTO problems VALUES (?, ?, ?)", rows)
        return budgets

    def budgets(self, ids: Iterable[str]) -> dict[str, float | None]:
        """Current budget of each problem, in tokens; None where it is unsolved or unknown. One query."""
        asked = list(ids)
        rows = self._read(
            "SELECT j.key, p.budget FROM json_each(?) j CROSS JOIN problems p ON p.problem_id = j.value",
            (json.dumps(asked),),
        )
        found: dict[str, float | None] = dict.fromkeys(asked)
        found.update((asked[key], budget) for key, budget in rows)
        return found

    def known(self, ids: Iterable[str]) -> set[str]:
        """Those of ``ids`` that have a record. One query."""
        asked = list(ids)
        rows = self._read(
            "SELECT j.key FROM json_each(?) j CROSS JOIN problems p ON p.problem_id = j.value",
            (json.dumps(asked),),
        )
        return {asked[key] for (key,) in rows}

    def bands(self, ids: Iterable[str]) -> dict[str, tuple[float, float] | None]:
        """The band of Eq. 2 at the visit that set each problem's budget, (low, high) in tokens. One query.

        In discovery each solved visit sets the budget (Eq. 3), in internalization one that lowers it (Eq. 8).
        None where the problem is unsolved or unknown.
        """
        asked = list(ids)
        rows = self._read(
            """WITH RECURSIVE visits (key, record) AS (
                SELECT j.key, p.last_record
                FROM json_each(?) j CROSS JOIN problems p ON p.problem_id = j.value WHERE p.budget IS NOT NULL
                UNION ALL
                SELECT v.key, r.previous
                FROM visits v CROSS JOIN records r ON r.record = v.record
                LEFT JOIN records b ON b.record = r.previous
                WHERE r.median IS NULL OR (r.stage != 0 AND b.budget_after IS r.budget_after)
            )
            SELECT v.key, r.low, r.high
            FROM visits v CROSS JOIN records r ON r.record = v.record
            LEFT JOIN records b ON b.record = r.previous
            WHERE NOT (r.median IS NULL OR (r.stage != 0 AND b.budget_after IS r.budget_after))""",
            (json.dumps(asked),),
        )
        found: dict[str, tuple[float, float] | None] = dict.fromkeys(asked)
        found.update((asked[key], (low, high)) for key, low, high in rows)
        return found

    def history(self, problem_id: str) -> list[Record]:
        """All records of one problem, oldest first; empty where it is unknown."""
        rows = self._read(
            f"""WITH RECURSIVE chain (record) AS (
                SELECT last_record FROM problems WHERE problem_id = ?
                UNION ALL
                SELECT r.previous FROM chain c CROSS JOIN records r ON r.record = c.record
                WHERE r.previous IS NOT NULL
            )
            SELECT {_RECORD_COLUMNS} FROM records
            WHERE record IN (SELECT record FROM chain) ORDER BY record""",
            (problem_id,),
        )
        return [_record(row) for row in rows]

    def records(self) -> Iterator[Record]:
        """All records in the order of training, a thousand in memory at a time; for exports."""
        last = 0
        while True:
            rows = self._read(
                f"SELECT record, {_RECORD_COLUMNS} FROM records WHERE record > ? ORDER BY record LIMIT 1000",
                (last,),
            )
            if not rows:
                return
            last = rows[-1][0]
            yield from (_record(row[1:]) for row in rows)

    def rewind(self, stage: str, step: int) -> int:
        """Forgets exactly what came after ``step`` of ``stage``: budgets and records are as they were then.

        All of internalization comes after all of discovery. What was noted with ``set_meta`` stays.

        Returns:
            The number of records forgotten.

        Raises:
            ValueError: there is no such stage.
            TypeError: the step is no whole number.
            StoreError: the store cannot be written; nothing is then forgotten.
        """
        after = (stage_number(stage), operator.index(step))
        with self._writing() as connection:
            (first,) = connection.execute(
                "SELECT min(first_record) FROM steps WHERE (stage, step) > (?, ?)", after
            ).fetchone()
            if first is None:
                return 0
            # A problem's first record to be forgotten is the one whose previous record stays.
            connection.execute(
                "DELETE FROM problems WHERE problem_id IN"
                " (SELECT problem_id FROM records WHERE record >= ? AND previous IS NULL)",
                (first,),
            )
            connection.executemany(
                "UPDATE problems SET budget = ?, last_record = ? WHERE problem_id = ?",
                connection.execute(
                    "SELECT stays.budget_after, stays.record, stays.problem_id"
                    " FROM records r JOIN records stays ON stays.record = r.previous"
                    " WHERE r.record >= ? AND r.previous < ?",
                    (first, first),
                ),
            )
            forgotten = connection.execute("DELETE FROM records WHERE record >= ?", (first,)).rowcount
            connection.execute("DELETE FROM steps WHERE (stage, step) > (?, ?)", after)
        return forgotten

    def last_step(self, stage: str) -> int | None:
        """The last step recorded in ``stage``; None where there is none."""
        ((step,),) = self._read("SELECT max(step) FROM steps WHERE stage = ?", (stage_number(stage),))
        return None if step is None else int(step)

    @property
    def stage(self) -> str | None:
        """The stage of the last step that is recorded; None where there is none."""
        return next((stage for stage in reversed(STAGES) if self.last_step(stage) is not None), None)

    def has_all_of(self, other: LengthStore) -> bool:
        """Whether every record of ``other`` is in this store as well, at the same place. Reads both."""
        last = 0
        while True:
            rows = other._read(_CHECKSUMS, (last,))
            if not rows:
                return True
            if self._read(_CHECKSUMS, (last,))[: len(rows)] != rows:
                return False
            last = rows[-1][0]

    def totals(self) -> dict[str, Any]:
        """Counts over the whole store, and percentiles of the budgets in tokens.

        Reads every problem: about a second for a million of them, so nothing for each step of a large
        training.

        Returns:
            ``problems``, ``solved``, ``unsolved``, ``visits`` (records), ``steps`` ({stage: number of steps})
            and ``budget_percentiles`` ({percentile: tokens}, empty where no problem is solved).
        """
        with self._reading() as connection:
            connection.execute("BEGIN")  # all of it as of one moment
            try:
                (problems,) = connection.execute("SELECT count(*) FROM problems").fetchone()
                (visits,) = connection.execute("SELECT coalesce(max(record), 0) FROM records").fetchone()
                steps = dict(connection.execute("SELECT stage, count(*) FROM steps GROUP BY stage").fetchall())
                budgets = np.fromiter(
                    (
                        budget
                        for (budget,) in connection.execute("SELECT budget FROM problems WHERE budget IS NOT NULL")
                    ),
                    dtype=np.float64,
                )
            finally:
                connection.execute("ROLLBACK")
        percentiles = np.percentile(budgets, BUDGET_PERCENTILES).tolist() if budgets.size else []
        return {
            "problems": problems,
            "solved": int(budgets.size),
            "unsolved": problems - int(budgets.size),
            "visits": visits,
            "steps": {stage: steps.get(number, 0) for number, stage in enumerate(STAGES)},
            "budget_percentiles": dict(zip(BUDGET_PERCENTILES, percentiles, strict=False)),
        }

    @property
    def meta(self) -> dict[str, Any]:
        """The facts that were noted about the training."""
        rows = self._read("SELECT key, value FROM meta WHERE key != ?", (whole.KEY,))
        return {key: json.loads(value) for key, value in rows}

    def set_meta(self, key: str, value: Any) -> None:
        """Notes a fact about the training, which has to have JSON; an earlier value is replaced."""
        text = json.dumps(value)
        with self._writing() as connection:
            connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, text))

    def snapshot(self, copy_path: str | os.PathLike[str]) -> None:
        """Writes a consistent copy of the store: one file, durable, there whole or not at all.

        Steps may be recorded meanwhile, here or by another process; the copy has those committed before it
        began. One process at a time may write to one ``copy_path``.

        Raises:
            StoreError: the copy cannot be written.
        """
        self._check_process()
        snapshot.write(self.path, Path(copy_path).resolve())

    @staticmethod
    def restore(copy_path: str | os.PathLike[str], path: str | os.PathLike[str]) -> None:
        """Checks the snapshot at ``copy_path`` and puts it at ``path``, in place of what is there.

        A file at ``path`` that is no readable store is kept beside it with ``.damaged`` added to its name.
        Who has ``path`` open for reading goes on to see the old store and must open it again.

        Raises:
            StoreDamagedError: the copy is no store, is damaged, or was written by a newer version.
            StoreLockedError: a live process writes to ``path``.
            StoreError: a file is missing, or cannot be read or written.
        """
        snapshot.restore(Path(copy_path).resolve(), Path(path).resolve())

    def make_whole(self) -> None:
        """Brings every step into the main file, so that it can be copied alone until the next step is recorded.

        Where another program reads for long, it is given up; a copy of the main file is then refused.
        """
        self._check_process()
        with self._threads, explained(self.path):
            whole.fold(self._connection)
            self._writes_until_fold = 0

    def close(self) -> None:
        """Closes the file, whole by itself, and lets the next writer in; a second call does nothing."""
        if os.getpid() != self._pid or self not in _open_stores:
            return  # the file is the parent's, or closed
        with self._threads, explained(self.path):
            _open_stores.discard(self)
            try:
                if self._lock is not None:
                    whole.fold(self._connection)
            finally:
                self._connection.close()
                if self._lock is not None:
                    self._lock.release()

    def __enter__(self) -> LengthStore:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _begin_step(self, connection: sqlite3.Connection, stage: int, step: int) -> tuple[int, int]:
        """The step's first record, and the next free one; StoreError where a later step is recorded."""
        later = connection.execute(
            "SELECT stage, step FROM steps WHERE (stage, step) > (?, ?) ORDER BY stage DESC, step DESC LIMIT 1",
            (stage, step),
        ).fetchone()
        if later is not None:
            raise StoreError(
                f"{self.path}: cannot record {STAGES[stage]} step {step} after {STAGES[later[0]]} step"
                f" {later[1]}. Call rewind({STAGES[stage]!r}, {step - 1}) first to train on from there, or use"
                " another store."
            )
        (next_record,) = connection.execute("SELECT coalesce(max(record), 0) + 1 FROM records").fetchone()
        connection.execute("INSERT OR IGNORE INTO steps VALUES (?, ?, ?)", (stage, step, next_record))
        (first_record,) = connection.execute(
            "SELECT first_record FROM steps WHERE stage = ? AND step = ?", (stage, step)
        ).fetchone()
        return first_record, next_record

    def _note(self, meta: Mapping[str, Any]) -> None:
        rows = [(key, json.dumps(value)) for key, value in meta.items()]
        if rows:
            with self._writing() as connection:
                connection.executemany("INSERT OR IGNORE INTO meta VALUES (?, ?)", rows)

    def _read(self, query: str, values: tuple[Any, ...] = ()) -> list[Any]:
        with self._reading() as connection:
            return connection.execute(query, values).fetchall()

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        self._check_process()
        with self._threads, explained(self.path):
            yield self._connection

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction: all of it is on the disk after the block, or none of it where the block raises."""
        self._check_process()
        if self._lock is None:
            raise StoreError(f"{self.path}: was opened with read_only=True. Open it without to write.")
        with self._threads, explained(self.path):
            connection = self._connection
            try:
                if self._writes_until_fold == 0 and whole.announce(connection):
                    self._writes_until_fold = WRITES_A_FOLD
                connection.execute("BEGIN IMMEDIATE")
                whole.mark(connection, True)
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:  # SQLite has rolled back by itself after some errors
                    connection.execute("ROLLBACK")
                whole.repair(connection)
                raise
            self._writes_until_fold = max(0, self._writes_until_fold - 1)

    def _check_process(self) -> None:
        # SQLite's connections do not survive a fork, and using one damages the file.
        if os.getpid() != self._pid:
            raise StoreError(
                f"{self.path}: was opened by process {self._pid} before a fork. "
                "Open it in this process, with read_only=True."
            )


_open_stores: weakref.WeakSet[LengthStore] = weakref.WeakSet()
_of_the_parent: list[sqlite3.Connection] = []


def _keep_in_child() -> None:
    # Were a forked child to drop a connection, SQLite would close it, and the parent's file may be damaged.
    _of_the_parent.extend(store._connection for store in list(_open_stores))


os.register_at_fork(after_in_child=_keep_in_child)


def _close_all() -> None:
    # verl's trainer ends without closing its replay buffer.
    for store in list(_open_stores):
        store.close()


atexit.register(_close_all)


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    with explained(path):
        connection = snapshot.connect(path, mode)
        try:
            schema.check(connection, path)
            whole.check(connection, path)
            if mode == "rw":
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = FULL")  # a commit is on the disk when it returns
                connection.execute("PRAGMA wal_autocheckpoint = 0")
                whole.repair(connection)
        except BaseException:
            connection.close()
            raise
    return connection


@dataclass(frozen=True)
class _BeforeVisit:
    """What a visit finds of its problem: the budget before the step, and what the step has recorded already.

    ``lengths`` are those of the step's correct rollouts, in tokens; ``last_record`` is None for a new problem.
    """

    budget: float | None
    lengths: tuple[int, ...]
    last_record: int | None


def _before_visit(
    connection: sqlite3.Connection, first_record: int, budget: float | None, last: int | None
) -> _BeforeVisit:
    """From a problem's current ``budget`` and its ``last`` record; the step's records begin at ``first_record``."""
    lengths: tuple[int, ...] = ()
    earlier = last
    while earlier is not None and earlier >= first_record:
        packed, earlier, budget = connection.execute(
            "SELECT r.correct_lengths, r.previous, b.budget_after FROM records r"
            " LEFT JOIN records b ON b.record = r.previous WHERE r.record = ?",
            (earlier,),
        ).fetchone()
        lengths = unpack_lengths(packed) + lengths
    return _BeforeVisit(budget, lengths, last)


def _record(row: tuple[Any, ...]) -> Record:
    problem_id, stage, step, n, packed, *numbers = row
    if stage not in range(len(STAGES)):
        raise StoreDamagedError(f"problem {problem_id!r} has a record of unknown stage {stage!r}")
    return Record(problem_id, STAGES[stage], step, n, unpack_lengths(packed), *numbers)
