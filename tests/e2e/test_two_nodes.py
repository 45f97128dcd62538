"""Two Ray nodes, each with one training process: a training, and its resume in another Ray cluster.

Both nodes are on this machine and have its address, so that the warm Python works for their workers. In the last test
the command has a file system of its own.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import ray.util
from verl_runs import DISCOVERY, Run, environment_of, groups_of, rewards_of

from lapo_verl.cpu import ENVIRONMENT, WARM_PYTHON
from lapo_verl.runs import verl_process
from lapo_verl.store import LengthStore

TRAINING = (
    *DISCOVERY,
    "trainer.nnodes=2",
    "actor_rollout_ref.rollout.agent.num_workers=2",
    "ray_kwargs.ray_init.num_cpus=null",
    "ray_kwargs.ray_init.num_gpus=null",
)
ALONE = ["unshare", "--map-root-user", "--mount"]
# Seconds that a node may take to start.
START_LIMIT = 120


class Cluster:
    """Ray nodes that this process starts and ends; their workers have the environment of a training's processes."""

    def __init__(self, folder: Path, temporary: Path) -> None:
        self._folder, self._temporary = folder, temporary
        # RAY_TMPDIR: where a driver on this machine looks for a cluster that was started before.
        self.environment = {
            **ENVIRONMENT,
            **environment_of(folder),
            "RAY_TMPDIR": str(temporary),
            "RAY_AUTH_MODE": "disabled",
            # Each node takes the machine's memory for its own, and would end workers for what others use.
            "RAY_memory_monitor_refresh_ms": "0",
            # A busy machine's node may answer late; it and its workers would end without a word.
            "RAY_health_check_timeout_ms": "60000",
            "RAY_health_check_failure_threshold": "10",
        }
        del self.environment["VERL_FILE_LOGGER_PATH"]
        self._nodes: list[subprocess.Popen[bytes]] = []
        self.address = f"{ray.util.get_node_ip_address()}:{_free_port()}"

    def start_node(self, *options: str) -> None:
        """One more node; the first one is the head."""
        log = self._folder / f"{self._temporary.name}.node{len(self._nodes)}.log"
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block"]
        command += ["--disable-usage-stats"]
        if self._nodes:
            command += [f"--address={self.address}"]
        else:
            command += ["--head", f"--port={self.address.split(':')[1]}", f"--temp-dir={self._temporary}"]
            # Nothing that a training does not need: a node that takes more than 30 seconds to start gives up.
            command += ["--include-dashboard=false", "--no-monitor"]
        node = verl_process.start([*command, *options], log, self.environment, self._folder)
        self._nodes.append(node)
        deadline = time.monotonic() + START_LIMIT
        while "Ray runtime started" not in log.read_text():
            assert node.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)

    def end(self) -> None:
        for node in reversed(self._nodes):
            verl_process.end(node)


@contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """Without a node yet."""
    # Ray's sockets are in it, and their paths may have 107 characters.
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp", ignore_cleanup_errors=True) as temporary:
        nodes = Cluster(folder, Path(temporary))
        try:
            yield nodes
        finally:
            nodes.end()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("", 0))
        return int(listener.getsockname()[1])


@pytest.fixture(scope="module")
def train(run_verl: Callable[..., Run]) -> Callable[..., Run]:
    """``train(cluster, folder, *overrides)``: verl's command, as a driver on the head node."""

    def run(nodes: Cluster, folder: Path, *overrides: str) -> Run:
        env = {**nodes.environment, "RAY_ADDRESS": nodes.address, "VERL_FILE_LOGGER_PATH": None}
        return run_verl("lapo_discovery", folder, *TRAINING, *overrides, env=env)

    return run


@pytest.fixture(scope="module")
def two_nodes(train: Callable[..., Run], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two steps, then a third one by another cluster, with the same command."""
    folder = tmp_path_factory.mktemp("two_nodes")
    for steps in (2, 3):
        with cluster(folder) as nodes:
            nodes.start_node("--num-cpus=32", "--num-gpus=1")
            nodes.start_node("--num-cpus=32", "--num-gpus=1")
            run = train(nodes, folder, f"trainer.total_training_steps={steps}")
        assert run.returncode == 0, run.faults
    return run


def test_rewards_are_eq_4(two_nodes: Run) -> None:
    groups = groups_of(two_nodes.recorded())
    assert sorted(step for step, _ in groups) == [1] * 8 + [2] * 8 + [3] * 8
    for rows in groups.values():
        assert len(rows) == 4
        assert [sum(row["scores"]) for row in rows] == pytest.approx(
            rewards_of(rows, None, "discovery", decay=8), abs=2**-16
        )


def test_each_node_trains_a_half(two_nodes: Run) -> None:
    """A node has one logical device, so two ranks are on two nodes."""
    for step in (1, 2, 3):
        actor = two_nodes.checkpoints / f"global_step_{step}" / "actor"
        assert sorted(path.name for path in actor.glob("model_*.pt")) == [
            "model_world_size_2_rank_0.pt",
            "model_world_size_2_rank_1.pt",
        ]


def test_the_resume_continues_with_data_and_store(two_nodes: Run) -> None:
    first, second = two_nodes.recorded("start")
    assert first["records"] == [] and len(second["records"]) == 16
    with LengthStore.open(two_nodes.store, read_only=True) as store:
        visited = [(record.step, record.problem_id) for record in store.records()]
    # One epoch of 24 problems in three steps of 8: none twice.
    assert len({problem for _, problem in visited}) == len(visited) == 24
    assert {step for step, _ in visited} == {1, 2, 3}


def test_metrics_of_both_starts_are_in_the_runs_folder(two_nodes: Run) -> None:
    """The nodes were started without VERL_FILE_LOGGER_PATH; the command hands it on."""
    files = sorted(two_nodes.checkpoints.glob("metrics.*.jsonl"))
    assert [len(file.read_text().splitlines()) for file in files] == [2, 1]


def test_a_command_with_another_file_system_than_the_task_runner(
    train: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a node that has no shared file system: the command's run folder is one that only the command has."""
    if subprocess.run([*ALONE, "true"], capture_output=True).returncode != 0:
        pytest.skip("this machine does not allow namespaces (unshare --map-root-user --mount)")
    (tmp_path / "checkpoints").mkdir()
    alone = tmp_path / "python3"
    alone.write_text(
        f"""#!/bin/sh
exec {" ".join(ALONE)} sh -c 'mount -t tmpfs none "$0" && exec "$@"' {tmp_path}/checkpoints {sys.executable} "$@"
"""
    )
    alone.chmod(0o700)
    with cluster(tmp_path) as nodes:
        nodes.start_node("--num-cpus=32", "--num-gpus=1")
        monkeypatch.setenv(WARM_PYTHON, str(alone))
        run = train(nodes, tmp_path, "trainer.nnodes=1")
    assert run.returncode != 0
    message = [line for line in run.output.splitlines() if "RunFolderError: " in line][-1]
    host = socket.gethostname()
    assert f"trainer.default_local_dir={tmp_path}/checkpoints: is another folder on {host}" in message
    assert "put it on a file system that all nodes share" in message
    assert not run.store.exists()
