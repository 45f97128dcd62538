"""The folder of a run, the file of verl's file logger in it, and what a task runner on another node makes of it."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from hydra.core.utils import JobReturn
from omegaconf import DictConfig, OmegaConf

from lapo_verl.hooks.run_folder import LOG_PATH, MARK, RunFolder, RunFolderError, check_run_folder


def config(folder: Path) -> DictConfig:
    """Of verl's config what the callback reads and changes, with no key added to it by name."""
    node = OmegaConf.create(
        {
            "trainer": {"default_local_dir": str(folder)},
            "ray_kwargs": {"ray_init": {"runtime_env": {"py_executable": None}}},
        }
    )
    OmegaConf.set_struct(node, True)
    return node


def for_workers(node: DictConfig) -> dict[str, str]:
    """What verl hands to ``ray.init`` for the environment of Ray's workers."""
    found = OmegaConf.to_container(node.ray_kwargs.ray_init.runtime_env)
    assert isinstance(found, dict)
    return dict(found.get("env_vars", {}))


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (LOG_PATH, MARK):
        monkeypatch.setenv(name, "")  # so that it is put back
        monkeypatch.delenv(name)


def test_each_job_of_a_sweep_logs_into_its_own_folder(tmp_path: Path) -> None:
    for name in ("0", "1"):
        folder, callback = tmp_path / "runs" / name, RunFolder()
        callback.on_job_start(config(folder))
        log = Path(os.environ[LOG_PATH])
        assert folder.is_dir() and log.parent == folder
        assert log.match("metrics.*.jsonl")
        callback.on_job_end(config(folder), JobReturn())
    assert LOG_PATH not in os.environ


def test_a_path_of_the_users_own_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LOG_PATH, "mine.jsonl")
    callback, node = RunFolder(), config(tmp_path)
    callback.on_run_start(node)
    callback.on_job_start(node)
    assert LOG_PATH not in for_workers(node)
    callback.on_job_end(node, JobReturn())
    assert os.environ[LOG_PATH] == "mine.jsonl"


def test_workers_of_a_ray_that_was_there_before_get_both(tmp_path: Path) -> None:
    """They do not inherit the environment of the command."""
    callback, node = RunFolder(), config(tmp_path / "run")
    callback.on_run_start(node)
    assert not (tmp_path / "run").exists(), "the preflight comes after it, and may end the run"
    callback.on_job_start(node)
    assert for_workers(node) == {LOG_PATH: os.environ[LOG_PATH], MARK: os.environ[MARK]}


def test_the_task_runner_knows_the_folder_of_its_command(tmp_path: Path) -> None:
    check_run_folder(tmp_path)  # no command has started this process
    RunFolder().on_job_start(config(tmp_path / "0"))
    check_run_folder(tmp_path / "0")


def test_on_a_node_with_another_folder_of_this_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    RunFolder().on_job_start(config(tmp_path / "run"))
    other = tmp_path / "node" / "run"
    with pytest.raises(RunFolderError, match="put it on a file system that all nodes share") as missing:
        check_run_folder(other)
    assert f"={other}: is another folder on {socket.gethostname()}" in str(missing.value)
    # Of an earlier command, which ran on that node.
    monkeypatch.setenv(MARK, "a-host 1")
    other.mkdir(parents=True)
    (other / ".command").write_text("a-host 2")
    with pytest.raises(RunFolderError, match="than on a-host"):
        check_run_folder(other)
