"""A run that joins a Ray cluster: which one, and what its config may not say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from lapo_verl.doctor.cluster import PATHS, cluster_address, cluster_findings

ADDRESS = "10.0.0.1:6379"


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)


def config(**changes: Any) -> DictConfig:
    """A run whose paths are all absolute."""
    node = OmegaConf.create({"ray_kwargs": {"ray_init": {"num_cpus": None}}})
    for key in PATHS:
        OmegaConf.update(node, key, "/shared/run", force_add=True)
    for key, value in changes.items():
        OmegaConf.update(node, key.replace("__", "."), value, force_add=True)
    return node


def texts(node: DictConfig) -> list[str]:
    return [finding.text for finding in cluster_findings(node) if finding.level == "error"]


def test_the_address_is_rays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert cluster_address(config()) is None
    assert cluster_address(config(ray_kwargs__ray_init__address="a:1")) == "a:1"
    monkeypatch.setenv("RAY_ADDRESS", ADDRESS)
    assert cluster_address(config()) == ADDRESS
    assert cluster_address(config(ray_kwargs__ray_init__address="local")) is None
    monkeypatch.setenv("RAY_ADDRESS", "local")
    assert cluster_address(config()) is None
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "ray_current_cluster").write_text("b:2\n")  # as `ray start` leaves it
    assert cluster_address(config()) is None
    monkeypatch.delenv("RAY_ADDRESS")
    assert cluster_address(config()) == cluster_address(config(ray_kwargs__ray_init__address="auto")) == "b:2"


def test_without_a_cluster_nothing_is_wrong() -> None:
    assert texts(config(trainer__default_local_dir="runs/1", ray_kwargs__ray_init__num_cpus=32)) == []


def test_absolute_paths_and_names_of_the_hub_are_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", ADDRESS)
    node = config(actor_rollout_ref__model__path="Qwen/Qwen3-0.6B", data__train_files=["hdfs://a/b", "/c"])
    assert texts(node) == []


def test_a_cluster_has_its_own_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", ADDRESS)
    (text,) = texts(config(ray_kwargs__ray_init__num_cpus=32, ray_kwargs__ray_init__num_gpus=1))
    assert f"num_cpus=32: this command joins the Ray at {ADDRESS}" in text
    assert "ray_kwargs.ray_init.num_cpus=null ray_kwargs.ray_init.num_gpus=null" in text and "RAY_ADDRESS=local" in text


@pytest.mark.parametrize("key", PATHS)
def test_every_relative_path_is_refused(key: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RAY_ADDRESS", ADDRESS)
    (tmp_path / "mine").mkdir()
    (text,) = texts(config(**{key.replace(".", "__"): "mine"}))
    assert f"{key}=mine is a relative path" in text and f"Write {tmp_path}/mine" in text


def test_one_of_several_data_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RAY_ADDRESS", ADDRESS)
    (tmp_path / "b.parquet").touch()
    (text,) = texts(config(data__train_files=["/a.parquet", "b.parquet"]))
    assert "data.train_files=b.parquet" in text
