"""verl's command as a process: started with a log file, and ended in order, Ray included."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

# Seconds that a process group may take after each signal before the next one.
PATIENCE = ((signal.SIGTERM, 30), (signal.SIGKILL, 10))


def start(
    command: Sequence[str], log: Path, environment: Mapping[str, str], folder: Path | None = None
) -> subprocess.Popen[bytes]:
    """Start a command in a process group of its own, so that ``end`` reaches all of it.

    Args:
        log: its output is appended here.
        folder: working directory; None for that of this process.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        return subprocess.Popen(
            command, env=dict(environment), stdout=out, stderr=out, cwd=folder, start_new_session=True
        )


def end(process: subprocess.Popen[bytes]) -> None:
    """End the process group that ``start`` started, where it still runs: verl shuts its Ray down on SIGTERM."""
    for ending, patience in PATIENCE:
        if process.poll() is not None:
            return
        os.killpg(process.pid, ending)
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            continue


@contextmanager
def running(command: Sequence[str], log: Path, environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """``start`` and, however the block is left, ``end``."""
    process = start(command, log, environment)
    try:
        yield process
    finally:
        end(process)


def last_lines(log: Path, count: int = 25) -> str:
    """The last lines of a log file."""
    return "".join(log.read_text(errors="replace").splitlines(keepends=True)[-count:])


def exit_on_sigterm() -> None:
    """Let SIGTERM end this process as Ctrl-C does, through every ``finally``, so that ``running`` ends its own."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))
