"""Ask the server, a process of its own, what only a computer algebra system can tell; it is started when first asked.

The caller, which may have CUDA, threads and locks, is never forked. The time limit starts when the server takes a
question: its start, an import of sympy, does not count against an answer. Questions of several threads are answered
at the same time, so a hanging one keeps no other waiting; they only share the processor with it.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import threading
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Final

from lapo_verl.verify import server

_GRACE_S: Final = 30.0  # the server kills what is late; where even that does not come, the server is killed


class AnswerTimeout(Exception):
    """The child was killed, or died, over this question."""


class ServerUnavailable(RuntimeError):
    """The server did not start. This is about the machine or the installation, never about an answer."""


class _Server:
    """A running server, and the thread that hands its replies out."""

    def __init__(self) -> None:
        # With this process's path, and without its main module, which may be a script without a guard.
        code = f"import sys; sys.path[:] = {sys.path!r}; from lapo_verl.verify.server import serve; serve()"
        self.process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            start_new_session=True,  # Ctrl-C is for the caller; the server ends when its input does
        )
        assert self.process.stdin and self.process.stdout
        self.questions, self.replies = self.process.stdin, self.process.stdout
        self.lock = threading.Lock()
        self.waiting: dict[int, Future[int]] = {}
        self.numbers = itertools.count()
        self.ended = False
        if self.replies.read(len(server.READY)) != server.READY:
            self.end()
            raise ServerUnavailable(
                f"the verifier's server did not start; see that `{sys.executable} -c 'import math_verify'` works"
            )
        threading.Thread(target=self._listen, daemon=True).start()

    def ask(self, answer: str, truth: str, limit_s: float) -> int:
        """The server's code for the pair. Raises OSError where the server has ended."""
        reply: Future[int] = Future()
        with self.lock:
            if self.ended:
                raise ConnectionError("the server has ended")
            number = next(self.numbers)
            self.waiting[number] = reply
            self.questions.write(json.dumps([number, limit_s, answer, truth]).encode() + b"\n")
        return reply.result(timeout=limit_s + _GRACE_S)

    def _listen(self) -> None:
        pending = b""
        while received := self.replies.read(1 << 16):
            *lines, pending = (pending + received).split(b"\n")
            for line in lines:
                number, code = map(int, line.split())
                self.waiting.pop(number).set_result(code)
        with self.lock:
            self.ended = True
            for reply in self.waiting.values():
                reply.set_exception(ConnectionError("the server has ended"))

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


_lock = threading.Lock()
_server: _Server | None = None


def ask(answer: str, truth: str, timeout_s: float) -> bool:
    """Whether two normalized texts are the same. Raises ``AnswerTimeout`` or ``ServerUnavailable``."""
    for _ in range(2):
        running = _running()
        try:
            code = running.ask(answer, truth, timeout_s)
        except (OSError, FutureTimeout):  # the server is gone or stuck, for a reason that need not be this answer
            _discard(running)
            continue
        if code == server.DIED:
            break
        return code == server.EQUAL
    raise AnswerTimeout(f"no verdict within {timeout_s} s")


def warm_up() -> None:
    """Start the server now and wait until it is up. Optional: the first question does it as well."""
    _running()


def _running() -> _Server:
    global _server
    with _lock:
        if _server is None:
            _server = _Server()
        return _server


def _discard(one: _Server) -> None:
    global _server
    one.end()
    with _lock:
        if _server is one:
            _server = None


def _forget() -> None:
    """In a forked child: the server is the parent's, and ends when nobody has its input open any more."""
    global _server, _lock
    if _server is not None:
        _server.questions.close()
        _server.replies.close()
    _server, _lock = None, threading.Lock()


os.register_at_fork(after_in_child=_forget)
