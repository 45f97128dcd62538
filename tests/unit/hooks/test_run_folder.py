"""The folder of a run, and the file of verl's file logger in it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hydra.core.utils import JobReturn
from omegaconf import DictConfig, OmegaConf

from lapo_verl.hooks.run_folder import LOG_PATH, RunFolder


def config(folder: Path) -> DictConfig:
    return OmegaConf.create({"trainer": {"default_local_dir": str(folder)}})


def test_each_job_of_a_sweep_logs_into_its_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(LOG_PATH, raising=False)
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
    callback = RunFolder()
    callback.on_job_start(config(tmp_path))
    callback.on_job_end(config(tmp_path), JobReturn())
    assert os.environ[LOG_PATH] == "mine.jsonl"
