"""The verifier inside Ray actors, which is where verl's reward workers live: async, threaded, killed."""

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray

from lapo_verl.verify import verify

# Ray's processes cannot import a test's module by its name.
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])

LIMIT_S = 1.0
MARGIN_S = 0.5
# (response, truth): settled at once, asked of the server, and hanging.
RIGHT = [("\\boxed{1{,}000}", "1000"), ("\\boxed{x^2<4}", "(-2,2)")]
WRONG = [("\\boxed{1001}", "1000"), ("\\boxed{x^2<5}", "(-2,2)"), ("no box", "1000")]
HANGING = ("\\boxed{\\int_0^{1} x^{x^{x^{x}}} dx}", "x^2+\\sin y")


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    # Not pytest's folder: the path of a socket may have 107 characters.
    with tempfile.TemporaryDirectory(prefix="ray") as folder:
        ray.init(num_cpus=1, include_dashboard=False, _temp_dir=folder, log_to_driver=False)
        yield
        ray.shutdown()


@ray.remote(num_cpus=0)
class AsyncActor:
    """Calls as ``LapoRewardManager`` does: from the event loop's default executor."""

    async def judge(self, response: str, truth: str, limit_s: float) -> tuple[bool, bool, float]:
        begin = time.monotonic()
        verdict = await asyncio.get_running_loop().run_in_executor(None, verify, response, truth, limit_s)
        return verdict.correct, verdict.timed_out, time.monotonic() - begin

    async def processes(self) -> list[int]:
        return descendants(os.getpid())


@ray.remote(num_cpus=0, max_concurrency=6)
class ThreadedActor:
    def judge(self, response: str, truth: str, limit_s: float) -> tuple[bool, bool, float]:
        begin = time.monotonic()
        verdict = verify(response, truth, limit_s)
        return verdict.correct, verdict.timed_out, time.monotonic() - begin

    def processes(self) -> list[int]:
        return descendants(os.getpid())


def descendants(process: int) -> list[int]:
    """The processes that a process has started, and those that these have; the server's children are such."""
    children: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(status.read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has ended meanwhile
            continue
        children.setdefault(parent, []).append(int(status.parent.name))
    found, look_at = [], [process]
    while look_at:
        look_at = [child for one in look_at for child in children.get(one, [])]
        found += look_at
    return found


def lives(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture(params=[AsyncActor, ThreadedActor], ids=["async", "threaded"], scope="module")
def actor(request: pytest.FixtureRequest) -> Any:
    return request.param.remote()


def test_answers_at_once(actor: Any) -> None:
    ray.get(actor.judge.remote(*RIGHT[1], 60.0))  # the first question starts the server
    # On a machine that others use, one of some tries is on time; a verifier that does not keep its limit never is.
    for _ in range(3):
        hanging = [actor.judge.remote(*HANGING, LIMIT_S) for _ in range(3)]
        right = [actor.judge.remote(*pair, 60.0) for pair in RIGHT]
        wrong = [actor.judge.remote(*pair, 60.0) for pair in WRONG]
        assert [correct for correct, _, _ in ray.get(right)] == [True] * len(RIGHT)
        assert [(correct, late) for correct, late, _ in ray.get(wrong)] == [(False, False)] * len(WRONG)
        results = ray.get(hanging)
        assert [(correct, timed_out) for correct, timed_out, _ in results] == [(False, True)] * 3
        if max(took for _, _, took in results) < LIMIT_S + MARGIN_S:
            break
    else:
        pytest.fail(f"three hanging answers took {results} s, limit {LIMIT_S} s")


def test_no_process_outlives_its_actor(actor: Any, request: pytest.FixtureRequest) -> None:
    """The async actor ends by itself, the threaded one is killed, and both leave a child that computes.

    Ray lets an async actor finish the call that it is in, so the answer's limit is below the test's.
    """
    actor.judge.remote(*HANGING, 6.0 if "async" in request.node.name else 60.0)
    time.sleep(0.5)
    processes = ray.get(actor.processes.remote())
    assert len(processes) >= 2, "a server and its child"
    if "async" in request.node.name:
        actor.__ray_terminate__.remote()
    else:
        ray.kill(actor)
    deadline = time.monotonic() + 20
    while any(lives(process) for process in processes) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not [process for process in processes if lives(process)]
