"""A Python whose processes start with verl, vLLM and torch imported: they are forked from one that did it once.

A start of verl takes ten processes, and each of them imports the same modules for 5 to 13 seconds. ``offered`` starts
one process that imports them at the first request, and names in ``LAPO_WARM_PYTHON`` a command that takes a Python's
arguments (``script ...``, ``-m module ...``, ``-c code ...``). The command, ``warm_client.py``, hands its arguments,
environment and open files over; a fork runs them under that name. Ray starts its workers by it (``py_executable`` in
``hydra_configs/platform/cpu.yaml``), vLLM its engine (``vllm_plugin.py``).

Only on the CPU platform: a process that has touched a GPU cannot be forked.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import gc
import importlib
import json
import os
import runpy
import select
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lapo_verl.cpu import ENVIRONMENT, WARM_PYTHON, set_environment

# Its own name in its folder, so that the folder may be put on PATH.
COMMAND = "python3"
CLIENT = Path(__file__).with_name("warm_client.py")
# What verl's processes import: driver, task runner, training worker, agent loop, rewards, vLLM's server and engine.
MODULES = (
    # Before verl's, whose actor classes draw ids.
    "lapo_verl.cpu.ray_ids",
    "verl.trainer.ppo.ray_trainer",
    "verl.workers.engine_workers",
    "verl.workers.rollout.vllm_rollout.vllm_async_server",
    "vllm.v1.engine.async_llm",
    "vllm.v1.engine.core",
)
# Ray's library reads a worker's job and its raylet's process from the environment when it is loaded, and never again.
# The job of a verl that starts its own Ray is the first one; the raylet is watched by ``_become_a_ray_worker``.
RAY_JOB = "01000000"
# The most open files that one message between processes carries (Linux: SCM_MAX_FD).
MOST_FILES = 253


@contextlib.contextmanager
def offered(modules: Sequence[str] = MODULES) -> Iterator[None]:
    """Name a warm Python in ``LAPO_WARM_PYTHON`` for all that this block starts; one that is named already stays."""
    is_offered = os.environ.get(WARM_PYTHON, sys.executable) != sys.executable
    # A Ray that was there before has had jobs: see RAY_JOB.
    if is_offered or "RAY_ADDRESS" in os.environ:
        yield
        return
    folder = Path(tempfile.mkdtemp(prefix="lapo_warm_"))
    process = _start(folder, modules)
    os.environ[WARM_PYTHON] = str(folder / COMMAND)
    try:
        yield
    finally:
        del os.environ[WARM_PYTHON]
        process.terminate()
        process.wait()
        shutil.rmtree(folder)


def _start(folder: Path, modules: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start the process that imports and forks, and ends with this one; make ``folder/python3``, its command."""
    command = folder / COMMAND
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -IS "{CLIENT}" "{folder / "socket"}" "$@"\n')
    command.chmod(0o700)
    # Not to this process's terminal: verl and vLLM warn of much when they are imported.
    with socket.socket(socket.AF_UNIX) as listener, (folder / "log").open("w") as log:
        listener.bind(str(folder / "socket"))
        listener.listen(64)
        return subprocess.Popen(
            [sys.executable, "-m", __spec__.name, str(listener.fileno()), str(os.getpid()), *modules],
            # vLLM's loggers are made when it is imported; to Ray's workers, verl says WARN.
            env={**ENVIRONMENT, "VLLM_LOGGING_LEVEL": "WARN", **os.environ, "VERL_PLATFORM": "cpu"},
            pass_fds=[listener.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


@dataclass(frozen=True)
class Job:
    """What a forked process has to run."""

    arguments: list[str]
    environment: dict[str, str]
    folder: str

    def run(self) -> None:
        """As ``python *arguments`` would, in this process."""
        os.chdir(self.folder)
        os.environ.clear()
        os.environ.update(self.environment)
        set_environment()
        # Python seeds its own generator anew after a fork, numpy's it does not know.
        np.random.seed()
        if "RAY_JOB_ID" in self.environment:
            _become_a_ray_worker(self.environment)
        kind, *rest = without_flags(self.arguments)
        own = [path for path in self.environment.get("PYTHONPATH", "").split(os.pathsep) if path]
        if kind == "-m":
            sys.argv = rest
            sys.path[:0] = [os.getcwd(), *own]
            runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
        elif kind == "-c":
            sys.argv = ["-c", *rest[1:]]
            sys.path[:0] = ["", *own]
            exec(compile(rest[0], "<string>", "exec"), {"__name__": "__main__"})
        else:
            sys.argv = [kind, *rest]
            sys.path[:0] = [str(Path(kind).resolve().parent), *own]
            runpy.run_path(kind, run_name="__main__")


def end_of(job: Job) -> int:
    """Run a job to its end, with what follows a program's last line; its exit status."""
    try:
        job.run()
        status = 0
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        if isinstance(ended.code, str):
            print(ended.code, file=sys.stderr)
    except BaseException:  # noqa: BLE001, the end of a program prints whatever reaches it
        sys.excepthook(*sys.exc_info())
        status = 1
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(ValueError):  # closed
            stream.flush()
    return status


def _become_a_ray_worker(environment: dict[str, str]) -> None:
    if environment["RAY_JOB_ID"] != RAY_JOB:
        sys.exit(f"A warm Python works for the first job of a Ray, not for job {environment['RAY_JOB_ID']}.")
    raylet = os.pidfd_open(int(environment["RAY_RAYLET_PID"]))

    def end_with_the_raylet() -> None:
        select.select([raylet], [], [])
        os._exit(1)

    threading.Thread(target=end_with_the_raylet, daemon=True).start()
    # All other settings, like its authentication, Ray reads anew on request.
    importlib.import_module("ray._raylet").Config.initialize("")


def without_flags(arguments: Sequence[str]) -> list[str]:
    """What a Python is to run; flags like ``-B`` are an interpreter's from its start, so a fork has its server's."""
    left = list(arguments)
    while left[0].startswith("-") and left[0] not in ("-m", "-c"):
        del left[: 2 if left[0] in ("-W", "-X") else 1]
    return left


class Server:
    """Forks a process for each connection, and tells the client its process id, then its exit status."""

    def __init__(self, listener: socket.socket, owner: int) -> None:
        self._listener = listener
        self._job: Job | None = None
        self._owner_lives = True
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ, self._accept)
        self._selector.register(os.pidfd_open(owner), selectors.EVENT_READ, self._end)

    def waits_for_a_request(self) -> bool:
        """Whether one came, or the owner ended."""
        return any(key.fileobj is self._listener for key, _ in self._selector.select())

    def serve(self) -> Job | None:
        """The job of a forked process, in which this returns at once; None when the owner has ended."""
        while self._owner_lives:
            for key, _ in self._selector.select():
                # One that an earlier event of this round took out has nothing to say.
                if key.fd in self._selector.get_map():
                    key.data()
                if self._job is not None:
                    return self._job
        return None

    def _end(self) -> None:
        self._owner_lives = False

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        job, files = _receive(connection)
        process = os.fork()
        if process == 0:
            connection.close()
            self._leave_to(files)
            self._job = job
            return
        for number in files.values():
            os.close(number)
        _tell(connection, process)
        handle = os.pidfd_open(process)

        def exited() -> None:
            _, status = os.waitpid(process, 0)
            _tell(connection, os.waitstatus_to_exitcode(status))
            self._drop(handle)
            self._drop(connection)

        def client_gone() -> None:
            # Whoever killed the client meant the process.
            os.killpg(process, signal.SIGKILL)
            self._selector.unregister(connection)

        self._selector.register(handle, selectors.EVENT_READ, exited)
        self._selector.register(connection, selectors.EVENT_READ, client_gone)

    def _drop(self, file: int | socket.socket) -> None:
        if file in self._selector.get_map():
            self._selector.unregister(file)
        _close(file)

    def _leave_to(self, files: dict[int, int]) -> None:
        """In the fork: close the server's files, and give the client's the numbers that they had there."""
        os.setsid()
        # Not unregistered: the fork and the server share what Linux watches for the selector.
        for key in list(self._selector.get_map().values()):
            _close(key.fileobj)
        self._selector.close()
        # Out of the way first: one file's number here may be another one's there.
        moved = {wanted: fcntl.fcntl(number, fcntl.F_DUPFD, 1024) for wanted, number in files.items()}
        for number in files.values():
            os.close(number)
        for wanted, number in moved.items():
            os.dup2(number, wanted)
            os.close(number)


def _close(file: Any) -> None:
    if isinstance(file, int):
        os.close(file)
    else:
        file.close()


def _tell(connection: socket.socket, number: int) -> None:
    with contextlib.suppress(BrokenPipeError):
        connection.sendall(f"{number}\n".encode())


def _receive(connection: socket.socket) -> tuple[Job, dict[int, int]]:
    """A client's job, and its open files: {number there: number here}."""
    size, numbers, _, _ = socket.recv_fds(connection, 8, MOST_FILES)
    message = json.loads(connection.recv(int.from_bytes(size, "big"), socket.MSG_WAITALL))
    job = Job(message["arguments"], message["environment"], message["folder"])
    return job, dict(zip(message["files"], numbers, strict=True))


def main() -> None:
    """Wait for a first request, import the modules, then fork until the owner ends; in a fork, run its job."""
    listener = socket.socket(fileno=int(sys.argv[1]))
    owner = int(sys.argv[2])
    os.environ.update(RAY_JOB_ID=RAY_JOB, RAY_RAYLET_PID=str(os.getpid()))
    server = Server(listener, owner)
    if server.waits_for_a_request():
        for module in sys.argv[3:]:
            importlib.import_module(module)
    # What the forks share is not walked by their garbage collection, which would copy it page by page.
    gc.freeze()
    folder = Path(listener.getsockname()).parent
    job = server.serve()
    if job is not None:
        # Python would first take down, for a second, all that was imported.
        os._exit(end_of(job))
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
