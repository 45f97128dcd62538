"""A warm Python runs what a Python runs, in the same way, with modules that are there already."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lapo_verl.cpu import WARM_PYTHON, warm_python

SHOW = """
import json, os, sys
open_files = [n for n in range(64) if os.path.exists(f"/proc/self/fd/{n}")]
print(json.dumps([__name__, sys.argv, os.getcwd(), os.environ.get("COLOUR"), os.environ.get("VERL_PLATFORM"),
                  sys.path[0], open_files]))
print(sys.stdin.read(), file=sys.stderr)
"""


@pytest.fixture(scope="module")
def warm() -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patched:
        patched.delenv(WARM_PYTHON, raising=False)  # that of the other tests
        with warm_python.offered(["colorsys"]):
            yield os.environ[WARM_PYTHON]
        assert WARM_PYTHON not in os.environ


def both(warm: str, folder: Path, *arguments: str) -> list[subprocess.CompletedProcess[str]]:
    """The arguments given to a Python, and to the warm one."""
    environment = {"COLOUR": "red", "PATH": os.environ["PATH"], "PYTHONPATH": str(folder / "own")}
    return [
        subprocess.run([python, *arguments], cwd=folder, env=environment, input="in", capture_output=True, text=True)
        for python in (sys.executable, warm)
    ]


@pytest.mark.parametrize("arguments", [("show.py", "a b"), ("-m", "shown", "--x", "é"), ("-c", SHOW, "'")])
def test_it_runs_what_a_python_runs(warm: str, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    (tmp_path / "show.py").write_text(SHOW)
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "shown.py").write_text(SHOW)
    cold, hot = both(warm, tmp_path, *arguments)
    assert cold.returncode == 0, cold.stderr
    assert (hot.stdout, hot.stderr, hot.returncode) == (cold.stdout, cold.stderr, cold.returncode)


@pytest.mark.parametrize(
    "code",
    [
        "import sys; sys.exit(7)",
        "import sys; sys.exit('in words')",
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
        "import atexit; atexit.register(print, 'at the end')",
    ],
)
def test_it_ends_as_a_python_ends(warm: str, tmp_path: Path, code: str) -> None:
    cold, hot = both(warm, tmp_path, "-c", code)
    assert (hot.stdout, hot.stderr, hot.returncode) == (cold.stdout, cold.stderr, cold.returncode)


def test_an_error_is_shown_and_is_status_1(warm: str, tmp_path: Path) -> None:
    cold, hot = both(warm, tmp_path, "-c", "1 / 0")
    assert hot.returncode == cold.returncode == 1
    assert hot.stderr.splitlines()[-1] == cold.stderr.splitlines()[-1] == "ZeroDivisionError: division by zero"


def test_modules_are_there_already(warm: str, tmp_path: Path) -> None:
    cold, hot = both(warm, tmp_path, "-c", "import sys; print('colorsys' in sys.modules)")
    assert (cold.stdout, hot.stdout) == ("False\n", "True\n")


def test_processes_draw_different_random_numbers(warm: str) -> None:
    code = "import random, numpy; print(random.random(), numpy.random.random())"
    drawn = [subprocess.run([warm, "-c", code], capture_output=True, text=True).stdout.split() for _ in range(3)]
    assert len({number for pair in drawn for number in pair}) == 6


def test_many_at_once(warm: str) -> None:
    code = "import sys; print(sys.argv[1])"
    started = [subprocess.Popen([warm, "-c", code, str(i)], stdout=subprocess.PIPE, text=True) for i in range(30)]
    assert [process.communicate()[0] for process in started] == [f"{i}\n" for i in range(30)]


def test_what_ends_the_command_ends_the_process(warm: str, tmp_path: Path) -> None:
    code = """
import os, pathlib, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit("on request"))
pathlib.Path("pid").write_text(str(os.getpid()))
time.sleep(60)
"""
    for ending, status in ((signal.SIGTERM, 1), (signal.SIGKILL, -signal.SIGKILL)):
        process = subprocess.Popen([warm, "-c", code], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
        # The process may run before the command has read who it is, and so to whom a signal goes on.
        wait_until(lambda run=process.pid: (tmp_path / "pid").exists() and catches_sigterm(run))
        own = int((tmp_path / "pid").read_text())
        (tmp_path / "pid").unlink()
        assert own != process.pid and is_running(own)
        process.send_signal(ending)
        _, said = process.communicate(timeout=30)
        assert process.returncode == status
        assert said == ("on request\n" if ending == signal.SIGTERM else "")
        wait_until(lambda own=own: not is_running(own))


def test_multiprocessing_spawns_by_it(warm: str) -> None:
    """As vLLM starts its engine."""
    code = """
import multiprocessing, os, sys
multiprocessing.set_executable(sys.argv[1])
say = "import sys; print('colorsys' in sys.modules)"
process = multiprocessing.get_context("spawn").Process(target=exec, args=(say,))
process.start()
process.join(60)
print(process.exitcode)
"""
    done = subprocess.run([sys.executable, "-B", "-c", code, warm], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("True\n0\n", "")


def test_one_that_is_offered_already_is_taken(warm: str) -> None:
    with warm_python.offered():
        assert os.environ[WARM_PYTHON] == warm
    assert os.environ[WARM_PYTHON] == warm


def test_what_cannot_be_imported_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(WARM_PYTHON, raising=False)
    with warm_python.offered(["no_such_module"]):
        done = subprocess.run([os.environ[WARM_PYTHON], "-c", ""], capture_output=True, text=True)
    assert done.returncode == 1
    assert "No module named 'no_such_module'" in done.stderr


def test_nothing_is_imported_before_the_first_request(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(WARM_PYTHON, raising=False)
    (tmp_path / "noted.py").write_text("import pathlib; pathlib.Path(__file__).with_suffix('.imported').touch()")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with warm_python.offered(["noted"]):
        time.sleep(2)
        assert not (tmp_path / "noted.imported").exists()
        subprocess.run([os.environ[WARM_PYTHON], "-c", ""], check=True)
        assert (tmp_path / "noted.imported").exists()


def test_it_ends_with_its_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(WARM_PYTHON, raising=False)
    code = """
import os, subprocess, sys, time
from lapo_verl.cpu import WARM_PYTHON, warm_python
with warm_python.offered([]):
    warm = os.environ[WARM_PYTHON]
    print(warm, subprocess.run([warm, "-c", "import os; print(os.getppid())"], capture_output=True, text=True).stdout)
    sys.stdout.flush()
    time.sleep(60)
"""
    owner = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    command, server = owner.stdout.readline().split()
    assert is_running(int(server))
    owner.kill()
    owner.wait()
    wait_until(lambda: not is_running(int(server)))
    wait_until(lambda: not Path(command).parent.exists())


def catches_sigterm(process: int) -> bool:
    """Whether it has a handler of its own."""
    (mask,) = re.findall(r"SigCgt:\s*(\w+)", Path(f"/proc/{process}/status").read_text())
    return bool(int(mask, 16) >> (signal.SIGTERM - 1) & 1)


def is_running(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
