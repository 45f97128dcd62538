"""A writer that is killed at any moment loses no acknowledged step and leaves no half step.

A warm process forks the writers, so that a kill costs a fork and not the start of an interpreter. A writer opens the
store (which takes over its predecessor's lock and recovers what it left), records steps, and appends a line to a file
after each ``record_step`` that has returned. The test kills it with SIGKILL and holds the store against those lines.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lapo_verl.objectives import Memory, Objective, objective
from lapo_verl.store import GroupRecord, LengthStore
from lapo_verl.store.records import unpack

OBJECTIVES: dict[str, Objective] = {name: objective(name) for name in ("discovery", "laser_d")}
KILLS = 200
PROBLEMS = 60
GROUPS = 24  # a step
DISCOVERY_STEPS = 400  # then laser_d, which has a memory of the whole run, goes on from 1


def run_of(number: int) -> tuple[str, int]:
    """Run and step of the ``number``-th step of the training."""
    if number <= DISCOVERY_STEPS:
        return "discovery", number
    return "laser_d", number - DISCOVERY_STEPS


def number_of(store: LengthStore) -> int:
    """How many steps the store holds; all are there up to the last, which the test checks."""
    after = store.last_step("laser_d")
    return DISCOVERY_STEPS + after if after is not None else store.last_step("discovery") or 0


def groups_of(number: int) -> list[GroupRecord]:
    """The groups of the ``number``-th step, the same whenever they are asked for."""
    rng = random.Random(number)
    return [
        GroupRecord(
            f"p{problem}",
            tuple(rng.randrange(4096) for _ in range(8)),
            tuple(rng.random() < 0.5 for _ in range(8)),
        )
        for problem in rng.sample(range(PROBLEMS), GROUPS)
    ]


def record(store: LengthStore, number: int) -> None:
    """Records the ``number``-th step."""
    run, step = run_of(number)
    store.record_step(run, step, groups_of(number), OBJECTIVES[run])


def write_until_killed(path: Path, acknowledged: Path) -> None:
    """Records one step after another, and copies the store every tenth."""
    acks = os.open(acknowledged, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    with LengthStore.open(path) as store:
        number = number_of(store)
        while True:
            number += 1
            record(store, number)
            os.write(acks, f"{number}\n".encode())
            if number % 10 == 0:
                store.snapshot(path.with_name("copy"))


def fork_writers() -> None:
    """Forks a writer for each line on stdin, says its pid, and waits for it to die."""
    folder = Path(sys.argv[1])
    for _ in sys.stdin:
        pid = os.fork()
        if pid == 0:
            try:
                write_until_killed(folder / "store", folder / "acknowledged")
            finally:
                os._exit(1)  # a writer ends only by being killed; what it raised is on stderr
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


@pytest.fixture
def nursery(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, __file__, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def test_every_acknowledged_step_is_whole_after_200_kills(tmp_path: Path, nursery: subprocess.Popen[str]) -> None:
    assert nursery.stdin is not None and nursery.stdout is not None
    rng = random.Random(0)
    path, acknowledged = tmp_path / "store", tmp_path / "acknowledged"
    held, longest = 0, 0.0
    for kill in range(KILLS):
        print(file=nursery.stdin, flush=True)
        writer = int(nursery.stdout.readline())
        if kill == 0:
            longest = 1.5 * seconds_of(path, steps=4)
        else:
            time.sleep(rng.uniform(0, longest))
        os.kill(writer, signal.SIGKILL)
        assert int(nursery.stdout.readline()) == -signal.SIGKILL
        acks = [int(line) for line in acknowledged.read_text().split()] if acknowledged.exists() else []
        if not path.exists():
            assert not acks
            continue
        with LengthStore.open(path) as store:  # no lock is left
            before, held = held, number_of(store)
            # One step may have been committed and its writer killed before it said so.
            said = max([before, *acks])
            assert held in (said, said + 1)
            check_steps(store, before, held)
    with LengthStore.open(path, read_only=True) as store:
        check_steps(store, 0, held)
        (sound,) = store._connection.execute("PRAGMA integrity_check").fetchone()
        assert sound == "ok"
        assert state(store) == uninterrupted(tmp_path / "whole", held)
    # The copy was being written at some of the kills.
    LengthStore.restore(tmp_path / "copy", tmp_path / "restored")
    with LengthStore.open(tmp_path / "restored", read_only=True) as store:
        assert number_of(store) % 10 == 0
        check_steps(store, 0, number_of(store))
    print(f"{KILLS} kills: {held} steps committed, {len(acks)} of them acknowledged before the kill")
    assert len(acks) > KILLS / 2


def seconds_of(path: Path, steps: int) -> float:
    """How long a writer takes here and now to open the store and to record ``steps`` steps, waited for."""
    start = time.perf_counter()
    while True:
        if path.exists():
            with LengthStore.open(path, read_only=True) as store:
                if number_of(store) >= steps:
                    return time.perf_counter() - start
        time.sleep(0.001)


def check_steps(store: LengthStore, after: int, last: int) -> None:
    """The store's records after step number ``after`` are those of the steps up to ``last``, and no others."""
    expected = [
        (*run_of(number), group.problem_id, group.lengths, group.correct)
        for number in range(after + 1, last + 1)
        for group in groups_of(number)
    ]
    rows = store._read(  # by hand, since reading all of the records at each kill would take minutes
        "SELECT name, step, problem_id, n, lengths, correct FROM records JOIN runs USING (run) WHERE record > ?"
        " ORDER BY record",
        (after * GROUPS,),
    )
    assert [(*row[:3], *unpack(*row[3:])) for row in rows] == expected


def state(store: LengthStore) -> tuple[dict[str, float | None], Memory | None]:
    return store.budgets([f"p{problem}" for problem in range(PROBLEMS)]), store.memory("laser_d")


def uninterrupted(path: Path, last: int) -> tuple[dict[str, float | None], Memory | None]:
    """Targets and memory of a training that nobody killed."""
    with LengthStore.open(path) as store:
        for number in range(1, last + 1):
            record(store, number)
        return state(store)


if __name__ == "__main__":
    fork_writers()
