"""Where the verifier is called from: threads, asyncio, scripts, forked children; and what a dead server does."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lapo_verl.verify import client, is_correct, server, verify

# What only math-verify can tell: a sum that has no end.
SLOW_RIGHT = ("\\boxed{\\sum_{k=1}^{n} k}", "\\frac{n(n+1)}{2}")
HANGS = "\\boxed{\\int_0^{1} x^{x^{x^{x}}} dx}"


def slow(name: str) -> tuple[str, str]:
    """A right answer that nobody has asked the server before."""
    return f"\\boxed{{\\sum_{{k=1}}^{{n}} k{name}}}", f"\\frac{{n(n+1)}}{{2}}{name}"


ROOT = Path(__file__).parents[3]


def run_python(*arguments: str, path: tuple[Path, ...] = (ROOT,)) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def server_id() -> int:
    assert client._server is not None
    return client._server.process.pid


def test_what_is_slow_here_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str, float]] = []
    monkeypatch.setattr(client, "ask", lambda *question: asked.append(question) or True)
    assert is_correct(*slow("q_0"), 7.0)
    assert asked == [("\\sum_{k=1}^n kq_0", "\\frac{n(n+1)}{2}q_0", 7.0)]


def test_import_is_light() -> None:
    code = (
        "import sys, lapo_verl.verify\n"
        "from lapo_verl.verify import is_correct\n"
        "assert is_correct('\\\\boxed{0.5}', '1/2')\n"
        "heavy = {'sympy', 'math_verify', 'latex2sympy2_extended', 'torch', 'multiprocessing'}\n"
        "print(heavy & set(sys.modules))"
    )
    assert run_python("-c", code).stdout.strip() == "set()"


def test_python_c_ends_without_waiting() -> None:
    code = "from lapo_verl.verify import is_correct\nprint(is_correct('\\\\boxed{x^2<4}', '(-2,2)'))"
    done = run_python("-c", code)
    assert (done.stdout, done.returncode, done.stderr) == ("True\n", 0, "")


def test_an_end_right_after_the_start_is_quiet() -> None:
    done = run_python("-c", "from lapo_verl.verify import client\nclient.warm_up()\nclient._discard(client._server)")
    assert (done.stdout, done.returncode, done.stderr) == ("", 0, "")


def test_a_script_without_a_guard_runs_once(tmp_path: Path) -> None:
    script = tmp_path / "unguarded.py"
    script.write_text(
        "print('imported')\nfrom lapo_verl.verify import is_correct\nprint(is_correct('\\\\boxed{x^2<4}', '(-2,2)'))\n"
    )
    done = run_python(str(script))
    assert (done.stdout, done.returncode) == ("imported\nTrue\n", 0), done.stderr


def test_the_end_does_not_wait_for_a_busy_server() -> None:
    code = (
        "import threading, time\n"
        "from lapo_verl.verify import verify, client\n"
        "client.warm_up()\n"
        f"question = ({HANGS!r}, '42', 300.0)\n"
        "threading.Thread(target=verify, args=question, daemon=True).start()\n"
        "time.sleep(0.5)\n"
        "print(time.time())"
    )
    done = run_python("-c", code)
    assert time.time() - float(done.stdout) < 10


def test_threads() -> None:
    with ThreadPoolExecutor(16) as threads:
        verdicts = list(
            threads.map(lambda k: is_correct(f"\\boxed{{x^2<{k * k}}}", f"(-{k},{k + k % 2})", 60.0), range(2, 34))
        )
    assert verdicts == [not k % 2 for k in range(2, 34)]


def test_asyncio() -> None:
    async def all_of_them() -> list[bool]:
        loop = asyncio.get_running_loop()
        tasks = [loop.run_in_executor(None, is_correct, *slow(f"r_{k}"), 60.0) for k in range(8)]
        return list(await asyncio.gather(*tasks))

    assert asyncio.run(all_of_them()) == [True] * 8


def test_a_timeout_is_told() -> None:
    verdict = verify(HANGS, "42", 0.2)
    assert (verdict.correct, verdict.timed_out) == (False, True)
    assert verdict.answer == "\\int_0^{1} x^{x^{x^{x}}} dx"


def test_a_timeout_is_not_remembered() -> None:
    verify(*slow("p_1"), 0.0001)
    assert is_correct(*slow("p_1"), 60.0)


def test_many_hanging_answers_at_once_do_not_stop_the_others() -> None:
    client.warm_up()
    with ThreadPoolExecutor(12) as threads:
        bad = [threads.submit(verify, HANGS, f"{k}+42", 0.5) for k in range(8)]
        good = [threads.submit(is_correct, *slow(f"u_{k}"), 30.0) for k in range(4)]
        assert [future.result(timeout=30) for future in good] == [True] * 4
        assert all(future.result(timeout=30).timed_out for future in bad)


def test_memory_is_bounded() -> None:
    code = (
        "import resource\nfrom lapo_verl.verify import server\n"
        "server._bound(resource.RLIMIT_AS, server.MEMORY_BYTES)\n"
        "try:\n    bytearray(2 * server.MEMORY_BYTES)\nexcept MemoryError:\n    print('bounded')"
    )
    assert run_python("-c", code).stdout == "bounded\n"
    assert "_bound(resource.RLIMIT_AS, MEMORY_BYTES)" in Path(server.__file__).read_text()


def test_an_answer_that_takes_memory_dies_alone() -> None:
    client.warm_up()
    before = server_id()
    verdict = verify("\\boxed{\\int_0^1 (a+b+c+d+e+f)^{60}-(a+b)^{900} dx}", "x", 20.0)
    assert not verdict.correct
    assert is_correct(*slow("v_1"), 60.0)
    assert server_id() == before


def test_a_late_child_is_replaced_at_once() -> None:
    """The server stays: what comes next waits for a fork, not for an import of sympy."""
    client.warm_up()
    before = server_id()
    assert verify(HANGS, "45", 0.3).timed_out
    assert is_correct(*slow("v_2"), 60.0)
    assert server_id() == before


def test_a_server_that_dies_is_replaced() -> None:
    client.warm_up()
    os.kill(server_id(), signal.SIGKILL)
    assert is_correct(*slow("v_3"), 60.0)


def test_a_server_that_dies_over_a_question_is_asked_again() -> None:
    client.warm_up()
    before = server_id()
    with ThreadPoolExecutor(1) as threads:
        question = threads.submit(verify, HANGS, "46", 2.0)
        time.sleep(0.3)
        os.kill(before, signal.SIGKILL)
        assert question.result(timeout=60).timed_out
    assert server_id() != before


def test_no_process_is_left_over() -> None:
    client.warm_up()
    before = server_id()
    assert client._server is not None
    client._discard(client._server)
    assert not Path(f"/proc/{before}").exists()
    assert is_correct(*slow("v_4"), 60.0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_has_its_own_server() -> None:
    code = (
        "import os\n"
        "from lapo_verl.verify import is_correct\n"
        "assert is_correct('\\\\boxed{x^2<4}', '(-2,2)')\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    os._exit(0 if is_correct('\\\\boxed{x^2<9}', '(-3,3)') else 1)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), is_correct('\\\\boxed{x^2<16}', '(-4,4)'))"
    )
    assert run_python("-c", code).stdout == "0 True\n"


def test_a_broken_installation_is_an_error_and_not_a_wrong_answer(tmp_path: Path) -> None:
    (tmp_path / "math_verify.py").write_text("raise ImportError('broken on purpose')\n")
    code = (
        "from lapo_verl.verify import client, is_correct\n"
        "try:\n"
        "    is_correct('\\\\boxed{x^2<4}', '(-2,2)')\n"
        "except client.ServerUnavailable as error:\n"
        "    print('told:', error)"
    )
    done = run_python("-c", code, path=(tmp_path, ROOT))
    assert done.stdout.startswith("told: the verifier's server did not start")


def test_called_from_a_thread_that_is_not_the_main_one() -> None:
    results: list[bool] = []
    thread = threading.Thread(target=lambda: results.append(is_correct(*slow("g_1"), 60.0)))
    thread.start()
    thread.join()
    assert results == [True]
