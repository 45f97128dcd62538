from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lapo_verl.runs import verl_process

LISTENING = "import time; print('ready', flush=True); time.sleep(600)"
DEAF = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {LISTENING}"


PARENT = f"""
import os, sys
from pathlib import Path
from lapo_verl.runs import verl_process
verl_process.exit_on_sigterm()
with verl_process.running([sys.executable, "-c", {LISTENING!r}], Path(sys.argv[1]), os.environ) as process:
    print(process.pid, flush=True)
    process.wait()
"""


def wait_until_ready(log: Path) -> None:
    deadline = time.monotonic() + 30
    while "ready" not in log.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_process_is_ended_when_the_block_fails(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "verl.log"
    with (
        pytest.raises(RuntimeError, match="stop"),
        verl_process.running([sys.executable, "-c", LISTENING], log, os.environ) as process,
    ):
        wait_until_ready(log)
        raise RuntimeError("stop")
    assert process.returncode == -signal.SIGTERM


def test_a_process_that_does_not_listen_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verl_process, "PATIENCE", ((signal.SIGTERM, 0.2), (signal.SIGKILL, 10)))
    log = tmp_path / "verl.log"
    with verl_process.running([sys.executable, "-c", DEAF], log, os.environ) as process:
        wait_until_ready(log)
    assert process.returncode == -signal.SIGKILL


def test_a_process_that_ended_is_left_alone(tmp_path: Path) -> None:
    log = tmp_path / "verl.log"
    with verl_process.running([sys.executable, "-c", "print('a'); print('b')"], log, os.environ) as process:
        process.wait(30)
    assert process.returncode == 0
    assert verl_process.last_lines(log, 1) == "b\n"


def test_sigterm_ends_what_runs_below(tmp_path: Path) -> None:
    log = tmp_path / "verl.log"
    with subprocess.Popen([sys.executable, "-c", PARENT, str(log)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        below = int(parent.stdout.readline())
        wait_until_ready(log)
        parent.send_signal(signal.SIGTERM)
        assert parent.wait(30) == 1
    with pytest.raises(ProcessLookupError):
        os.kill(below, 0)
