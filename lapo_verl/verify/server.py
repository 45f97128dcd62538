"""The process that compares what only a computer algebra system can: started by ``client``, a line a question.

It imports math-verify once and forks a child for each question, with memory and CPU time bounded, which gives its
verdict as its exit code. A child that is late is killed; the next one is a fork away and not an import of sympy.
Questions are JSON, ``[number, limit in seconds, answer, truth]``; replies are ``number code``.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import math
import os
import resource
import select
import signal
import time
from typing import Any, Final

MEMORY_BYTES: Final = 512 << 20  # a child has 80 MB, nearly all of it shared
READY: Final = b"ready\n"
EQUAL: Final = 10
DIFFERENT: Final = 11
DIED: Final = 12  # killed because it was late, or ended otherwise
_PR_SET_PDEATHSIG: Final = 1  # of Linux's prctl

# What the children need not do for the first time: parser tables, imports within sympy, caches.
_EXAMPLES: Final = (
    ("(1,2)\\cup(3,4)", "(1,4)\\setminus[2,3]"),
    ("\\sum_{k=1}^{n}k", "\\int_0^1 x dx"),
    ("x+1>3", "(2,\\infty)"),
    ("|x|<2", "x^2<3"),
    ("\\begin{pmatrix}1&2\\end{pmatrix}", "2\\begin{pmatrix}1&x\\end{pmatrix}"),
)


def serve() -> None:
    """Answer questions until the caller closes its end."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    replies = os.dup(1)
    os.dup2(devnull, 1)  # what sympy prints is no reply
    for pair in _EXAMPLES:
        equal(*pair)
    wake, woken = os.pipe()
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    os.write(replies, READY)

    children: dict[int, tuple[int, float]] = {}  # process: (number of its question, when it is late)
    pending = b""
    while True:
        wait = min((late for _, late in children.values()), default=math.inf) - time.monotonic()
        readable, _, _ = select.select([0, wake], [], [], None if math.isinf(wait) else max(wait, 0))
        if wake in readable:
            os.read(wake, 4096)
        if 0 in readable:
            if not (received := os.read(0, 1 << 16)):
                break
            *lines, pending = (pending + received).split(b"\n")
            for line in lines:
                number, limit_s, answer, truth = json.loads(line)
                children[_child(answer, truth, limit_s, replies)] = (number, time.monotonic() + limit_s)
        for process, (number, late) in list(children.items()):
            is_late = time.monotonic() >= late
            if is_late:
                os.kill(process, signal.SIGKILL)
            ended, status = os.waitpid(process, 0 if is_late else os.WNOHANG)
            if ended:
                del children[process]
                code = os.waitstatus_to_exitcode(status)
                os.write(replies, b"%d %d\n" % (number, code if code in (EQUAL, DIFFERENT) else DIED))
    for process in children:
        os.kill(process, signal.SIGKILL)


def _child(answer: str, truth: str, limit_s: float, replies: int) -> int:
    parent = os.getpid()
    if process := os.fork():
        return process
    try:
        _end_with(parent)
        os.close(0)
        os.close(replies)  # the caller learns of the server's end by it
        signal.set_wakeup_fd(-1)
        _bound(resource.RLIMIT_AS, MEMORY_BYTES)
        _bound(resource.RLIMIT_CORE, 0)
        _bound(resource.RLIMIT_CPU, math.ceil(limit_s) + 5)
        os._exit(EQUAL if equal(answer, truth) else DIFFERENT)
    finally:
        os._exit(DIED)


def equal(answer: str, truth: str) -> bool:
    """Whether math-verify takes two normalized texts for equal."""
    try:
        from math_verify import verify

        ours, theirs = _parse(answer), _parse(truth)
        return bool(
            verify(theirs, ours, allow_set_relation_comp=True, timeout_seconds=None)
            and _says_something(theirs)
            and not _far_apart(ours, theirs)
        )
    except (MemoryError, ImportError):
        raise
    except Exception:  # noqa: BLE001 - a model's text in third-party code: what it raises means "cannot be read"
        return False


def _parse(text: str) -> Any:
    """What the whole text says; math-verify's own ``parse`` would take a part of it where it cannot read the whole."""
    from latex2sympy2_extended import latex2sympy

    text = text.replace("\\degree", "^{\\circ}").replace("\\dollar", "")
    return latex2sympy(text, is_real="i" not in text, convert_degrees=False, normalization_config=None)


def _says_something(truth: Any) -> bool:
    """Whether an inequality holds for some numbers and not for all: all others are the same set."""
    from sympy import Rel, S

    return not isinstance(truth, Rel) or truth.as_set() not in (S.EmptySet, S.Reals)


def _far_apart(a: Any, b: Any) -> bool:
    """Whether two plain numbers that math-verify's absolute tolerance takes for equal are not: 10^{-20} and 0."""
    from sympy import Expr, Float, N

    if not (isinstance(a, Expr) and isinstance(b, Expr)) or a.free_symbols or b.free_symbols:
        return False
    rough = a.has(Float) or b.has(Float)
    x, y = N(a, 30), N(b, 30)
    if not (x.is_number and y.is_number):
        return False
    return bool(abs(x - y) > max(abs(x), abs(y)) * (1e-5 if rough else 1e-12))


def _end_with(parent: int) -> None:
    """On Linux, let this process end when its parent is killed, as Ray kills what an actor has started."""
    with contextlib.suppress(AttributeError):  # other systems have no prctl
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(DIED)


def _bound(kind: int, value: int) -> None:
    """Lower a limit of this process; where the system refuses (macOS for memory), go on without."""
    _, hard = resource.getrlimit(kind)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(kind, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))
