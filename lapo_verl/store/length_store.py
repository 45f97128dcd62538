"""The store's interface: records steps, answers queries, rewinds and copies."""

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
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from lapo_verl.objectives import Memory, Objective
from lapo_verl.store import runs, schema, second_schema, snapshot, steps, whole
from lapo_verl.store.errors import StoreDamagedError, StoreError, explained
from lapo_verl.store.lock import WriterLock
from lapo_verl.store.records import GroupRecord, Record, lengths_of_correct, unpack
from lapo_verl.store.runs import Run

BUDGET_PERCENTILES = (0, 10, 25, 50, 75, 90, 100)
# Writes between two times that the -wal is folded into the main file: a few megabytes of steps.
WRITES_A_FOLD = 8

# A run that is missing is found out when the row is read.
_RECORDS = (
    "SELECT record, problem_id, name, step, n, lengths, correct, prompt_budget, target, f.record IS NOT NULL"
    " FROM records r LEFT JOIN runs ON runs.run = r.run LEFT JOIN filtered_records f USING (record)"
)

# Of each problem in a JSON list that has a target, its records from the last one back to those of the step at which the
# target took its value. found: whether it is of that step, and no later one.
_VISITS_OF_TARGET = """WITH RECURSIVE visits (key, record, found) AS (
    SELECT j.key, r.record, b.target IS NOT r.target
    FROM json_each(?) j CROSS JOIN problems p ON p.problem_id = j.value
    CROSS JOIN records r ON r.record = p.last_record LEFT JOIN records b ON b.record = r.previous
    WHERE p.target IS NOT NULL
    UNION ALL
    SELECT v.key, b.record, v.found OR c.target IS NOT b.target
    FROM visits v CROSS JOIN records r ON r.record = v.record
    CROSS JOIN records b ON b.record = r.previous LEFT JOIN records c ON c.record = b.previous
    WHERE NOT v.found OR (b.run = r.run AND b.step = r.step)
)"""

_CHECKSUMS = "SELECT record, checksum FROM records WHERE record > ? ORDER BY record LIMIT 10000"


class LengthStore:
    """What is known about every problem's lengths, in one SQLite file; made by ``LengthStore.open``.

    One process writes, any number on the same host read, and readers never wait for the writer. Threads may
    share a store; a forked process has to open its own. Steps are recorded in the order of training; to go
    back, ``rewind``.

    The file is in SQLite's write-ahead mode, which needs memory shared by all who have it open: on a network
    file system the store works for the processes of one host at a time.

    While a writer is at work, the latest steps are in the ``-wal`` beside the file. To copy a store, take a
    ``snapshot``. After ``make_whole`` and ``close`` the file is whole by itself; a copy that lacks its ``-wal``
    is refused when it is opened.

    A store of an earlier schema can be read like a current one, and a writer converts it. The first schema has no
    lengths of wrong rollouts: its old file stays beside the new one as ``<name>.v1``.

    >>> import tempfile
    >>> from lapo_verl.objectives import objective
    >>> folder = tempfile.TemporaryDirectory()
    >>> with LengthStore.open(f"{folder.name}/store.sqlite") as store:
    ...     visit = GroupRecord("p1", lengths=(310, 700, 290), correct=(True, False, True))
    ...     store.record_step("discovery", 1, [visit], objective("discovery"))
    {'p1': 300.0}
    >>> with LengthStore.open(f"{folder.name}/store.sqlite", read_only=True) as store:
    ...     store.budgets(["p1", "p2"]), store.history("p1")[0].lengths
    ({'p1': 300.0, 'p2': None}, (310, 700, 290))
    >>> folder.cleanup()
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
            StoreDamagedError: the file is not a store, is damaged, was written by a newer version, or lacks the
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
            elif _is_of_first_schema(where):
                snapshot.carry_over(where)
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

    def begin_run(self, name: str, objective: Objective, settings: Mapping[str, Any]) -> None:
        """Notes that what follows is the training ``name``: a new one, or one that is resumed.

        For a run that is resumed, the objective's fields and the settings replace those that the store has noted.

        Args:
            name: the run's name, usually ``objective.name``.
            objective: what it is trained with.
            settings: what else its numbers depend on, see ``Run``; JSON values.

        Raises:
            StoreError: the run is another objective's, or the store cannot be written.
            ValueError: the name is not a text, or a value has no JSON.
        """
        with self._writing() as connection:
            runs.begin(connection, self.path, name, objective, settings)

    def record_step(
        self, run: str, step: int, groups: Iterable[GroupRecord], objective: Objective
    ) -> dict[str, float | None]:
        """Records all groups of a step in one transaction, which is on the disk when this returns.

        Each group becomes a record. A problem that a step visits more than once, in one call or in several with the
        same run and step, gets its target from all of the step's rollouts so far. The memory goes on with each call.

        Args:
            run: the training's name. One that has not begun begins here.
            step: the training step, >= 0.
            groups: what was sampled; may be empty, which changes no target and no memory.
            objective: makes targets and memory (``update`` and ``adapt``), given the targets from before the step, and
                the ``response_limit`` of the run's settings.

        Returns:
            The target of each of the step's problems after it, in tokens; None for none.

        Raises:
            ValueError: an argument is out of range, or the objective gave what cannot be used.
            StoreError: a later step is recorded already, the run is another objective's, or the step cannot be written.
                Whatever is raised, also by the objective: nothing of the step is then kept.
        """
        if isinstance(step, bool) or not hasattr(step, "__index__") or step < 0:
            raise ValueError(f"step must be a whole number >= 0, got {step!r}")
        recorded = list(groups)
        with self._writing() as connection:
            number, settings = runs.begin(connection, self.path, run, objective, None)
            limit = settings.get("response_limit")
            return steps.record(connection, self.path, (number, run), int(step), recorded, objective, limit)

    def memory(self, run: str) -> Memory | None:
        """The objective's memory after the last step of ``run``; None where there is none."""
        with self._reading() as connection:
            number = runs.number(connection, run)
            return None if number is None else steps.last_memory(connection, number)

    def runs(self) -> list[Run]:
        """The trainings that the store has seen, in their order."""
        return [runs.of_row(*row) for row in self._read(runs.ALL)]

    def budgets(self, ids: Iterable[str]) -> dict[str, float | None]:
        """Current target of each problem, in tokens; None where it has none or is unknown. One query."""
        asked = list(ids)
        rows = self._read(
            "SELECT j.key, p.target FROM json_each(?) j CROSS JOIN problems p ON p.problem_id = j.value",
            (json.dumps(asked),),
        )
        found: dict[str, float | None] = dict.fromkeys(asked)
        found.update((asked[key], target) for key, target in rows)
        return found

    def known(self, ids: Iterable[str]) -> set[str]:
        """Those of ``ids`` that have a record. One query."""
        asked = list(ids)
        rows = self._read(
            "SELECT j.key FROM json_each(?) j CROSS JOIN problems p ON p.problem_id = j.value",
            (json.dumps(asked),),
        )
        return {asked[key] for (key,) in rows}

    def lengths_of_target(self, ids: Iterable[str]) -> dict[str, tuple[int, ...] | None]:
        """Lengths of the correct rollouts that gave each problem the target that it has now, in tokens. One query.

        They are those of the visit at which the target took its value, and of the same step's visits before it. None
        where the problem has no target or is unknown, and where none of these rollouts was correct.
        """
        asked = list(ids)
        rows = self._read(
            f"{_VISITS_OF_TARGET} SELECT v.key, r.n, r.lengths, r.correct"
            " FROM visits v CROSS JOIN records r ON r.record = v.record WHERE v.found ORDER BY v.record",
            (json.dumps(asked),),
        )
        lengths: dict[int, tuple[int, ...]] = {}
        for key, *packed in rows:
            lengths[key] = lengths.get(key, ()) + lengths_of_correct(*unpack(*packed))
        found: dict[str, tuple[int, ...] | None] = dict.fromkeys(asked)
        found.update((asked[key], values or None) for key, values in lengths.items())
        return found

    def steps_since_target(self, ids: Iterable[str]) -> dict[str, int | None]:
        """How many steps, later runs included, came after the one that gave each problem its target. One query.

        A step that leaves the target as it is does not count as one that gave it. None where the problem has no target
        or is unknown.
        """
        asked = list(ids)
        rows = self._read(
            f"{_VISITS_OF_TARGET} SELECT v.key, (SELECT count(*) FROM steps WHERE (run, step) > (r.run, r.step))"
            " FROM visits v CROSS JOIN records r ON r.record = v.record WHERE v.found",
            (json.dumps(asked),),
        )
        found: dict[str, int | None] = dict.fromkeys(asked)
        found.update((asked[key], steps) for key, steps in rows)
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
            {_RECORDS} WHERE record IN (SELECT record FROM chain) ORDER BY record""",
            (problem_id,),
        )
        return [_record(row) for row in rows]

    def records(self) -> Iterator[Record]:
        """All records in the order of training, a thousand in memory at a time; for exports."""
        last = 0
        while True:
            rows = self._read(
                f"{_RECORDS} WHERE record > ? ORDER BY record LIMIT 1000",
                (last,),
            )
            if not rows:
                return
            last = rows[-1][0]
            yield from map(_record, rows)

    def rewind(self, run: str, step: int) -> int:
        """Forgets exactly what came after ``step`` of ``run``, later runs included.

        Targets, memory and records are as they were then, and a run without a step is gone. What was noted with
        ``set_meta`` stays.

        Returns:
            The number of records forgotten.

        Raises:
            ValueError: there is no such run.
            TypeError: the step is not a whole number.
            StoreError: the store cannot be written; nothing is then forgotten.
        """
        step = operator.index(step)
        with self._writing() as connection:
            number = runs.number(connection, run)
            if number is None:
                names = ", ".join(name for (name,) in connection.execute("SELECT name FROM runs ORDER BY run"))
                raise ValueError(f"{self.path}: has no run {run!r}; it has {names or 'none'}")
            after = (number, step)
            (first,) = connection.execute(
                "SELECT min(first_record) FROM steps WHERE (run, step) > (?, ?)", after
            ).fetchone()
            forgotten = 0 if first is None else _forget_records(connection, first)
            connection.execute("DELETE FROM steps WHERE (run, step) > (?, ?)", after)
            runs.forget_empty(connection, number)
        return forgotten

    def last_step(self, run: str) -> int | None:
        """The last step recorded in ``run``; None where there is none."""
        ((step,),) = self._read("SELECT max(step) FROM steps JOIN runs USING (run) WHERE name = ?", (run,))
        return None if step is None else int(step)

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
        """Counts over the whole store, and percentiles of the targets in tokens.

        Reads every problem: about a second for a million of them, so nothing for each step of a large
        training.

        Returns:
            ``problems``, ``solved`` (with a target), ``unsolved``, ``visits`` (records), ``filtered`` (those of them
            that the trainer dropped), ``steps`` ({run: number of steps}) and
            ``budget_percentiles`` of the targets ({percentile: tokens}, empty where there is none).
        """
        with self._reading() as connection:
            connection.execute("BEGIN")  # all of it as of one moment
            try:
                (problems,) = connection.execute("SELECT count(*) FROM problems").fetchone()
                (visits,) = connection.execute("SELECT coalesce(max(record), 0) FROM records").fetchone()
                (filtered,) = connection.execute("SELECT count(*) FROM filtered_records").fetchone()
                counts = {run.name: run.steps for run in self.runs()}
                targets = np.fromiter(
                    (
                        target
                        for (target,) in connection.execute("SELECT target FROM problems WHERE target IS NOT NULL")
                    ),
                    dtype=np.float64,
                )
            finally:
                connection.execute("ROLLBACK")
        percentiles = np.percentile(targets, BUDGET_PERCENTILES).tolist() if targets.size else []
        return {
            "problems": problems,
            "solved": int(targets.size),
            "unsolved": problems - int(targets.size),
            "visits": visits,
            "filtered": filtered,
            "steps": counts,
            "budget_percentiles": dict(zip(BUDGET_PERCENTILES, percentiles, strict=False)),
        }

    @property
    def meta(self) -> dict[str, Any]:
        """The facts that were noted about the training."""
        rows = self._read("SELECT key, value FROM meta WHERE key != ?", (schema.WHOLE,))
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

        A file at ``path`` that is not a readable store is kept beside it with ``.damaged`` added to its name.
        A reader that has ``path`` open still sees the old store, and must open it again.

        Raises:
            StoreDamagedError: the copy is not a store, is damaged, or was written by a newer version.
            StoreLockedError: a live process writes to ``path``.
            StoreError: a file is missing, or cannot be read or written.
        """
        snapshot.restore(Path(copy_path).resolve(), Path(path).resolve())

    def make_whole(self) -> None:
        """Brings every step into the main file, so that it can be copied alone until the next step is recorded.

        If another program reads for too long, the steps stay in the ``-wal``, and a copy of the main file is refused.
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
            if schema.version(connection) == schema.FIRST_VERSION:
                read = snapshot.read_first_schema(connection, path)
                connection.close()
                return read
            if mode == "rw":
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = FULL")  # a commit is on the disk when it returns
                connection.execute("PRAGMA wal_autocheckpoint = 0")
                whole.repair(connection)
                second_schema.carry_over(connection)
            else:
                second_schema.read(connection)
        except BaseException:
            connection.close()
            raise
    return connection


def _is_of_first_schema(path: Path) -> bool:
    with explained(path):
        connection = snapshot.connect(path, "ro")
        try:
            return schema.version(connection) == schema.FIRST_VERSION
        finally:
            connection.close()


def _forget_records(connection: sqlite3.Connection, first: int) -> int:
    """Removes the records from ``first`` on; their problems are as before. Returns how many there were."""
    # A problem's first record to be forgotten is the one whose previous record stays.
    connection.execute(
        "DELETE FROM problems WHERE problem_id IN"
        " (SELECT problem_id FROM records WHERE record >= ? AND previous IS NULL)",
        (first,),
    )
    connection.executemany(
        "UPDATE problems SET target = ?, last_record = ? WHERE problem_id = ?",
        connection.execute(
            "SELECT stays.target, stays.record, stays.problem_id"
            " FROM records r JOIN records stays ON stays.record = r.previous"
            " WHERE r.record >= ? AND r.previous < ?",
            (first, first),
        ),
    )
    connection.execute("DELETE FROM filtered_records WHERE record >= ?", (first,))
    return connection.execute("DELETE FROM records WHERE record >= ?", (first,)).rowcount


def _record(row: tuple[Any, ...]) -> Record:
    _, problem_id, run, step, n, lengths, correct, prompt_budget, target, filtered = row
    if run is None:
        raise StoreDamagedError(f"problem {problem_id!r} has a record of a run that is not in the store")
    return Record(problem_id, run, step, *unpack(n, lengths, correct), prompt_budget, target, bool(filtered))
