"""What a machine has to have: the checks are given the number of devices, the installed packages and the memory."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf

from lapo_verl.doctor.diagnostic import Finding
from lapo_verl.doctor.environment import (
    device_findings,
    logical_cpu_findings,
    needed_devices,
    needed_logical_cpus,
    package_findings,
)

EVERYTHING = {"vllm", "transfer_queue", "flash_attn"}


def config(**changes: Any) -> DictConfig:
    """The part of verl's config that the checks read: eight GPUs on one machine."""
    node = OmegaConf.create(
        {
            "trainer": {"device": "cuda", "nnodes": 1, "n_gpus_per_node": 8, "v1": {"trainer_mode": "sync"}},
            "reward": {"reward_model": {"enable_resource_pool": False, "nnodes": 1, "n_gpus_per_node": 2}},
            "actor_rollout_ref": {
                "actor": {"strategy": "fsdp"},
                "model": {"override_config": {}},
                "rollout": {"name": "vllm", "nnodes": 1, "n_gpus_per_node": 4},
            },
            "transfer_queue": {"backend": {"SimpleStorage": {"num_data_storage_units": 8}}},
            "ray_kwargs": {"ray_init": {"num_cpus": 64}},
        }
    )
    for key, value in changes.items():
        OmegaConf.update(node, key.replace("__", "."), value, force_add=True)
    return node


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))


def texts(findings: Iterable[Finding]) -> list[str]:
    found = list(findings)
    assert all(finding.level == "error" for finding in found)
    return [finding.text for finding in found]


# --- devices ---


def test_enough_devices() -> None:
    assert texts(device_findings(config(), lambda: 8)) == []


def test_no_device() -> None:
    (text,) = texts(device_findings(config(), lambda: 0))
    assert "sees no GPU" in text and "VERL_PLATFORM=cpu and platform=cpu" in text


def test_fewer_devices_than_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3")
    (text,) = texts(device_findings(config(), lambda: 4))
    assert "takes 8 GPUs" in text and "Set trainer.n_gpus_per_node=4" in text and "'0,1,2,3'" in text


def test_the_driver_of_a_cluster_needs_no_device(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert texts(device_findings(config(trainer__nnodes=2), lambda: 0)) == []
    assert texts(device_findings(config(ray_kwargs__ray_init__address="auto"), lambda: 0)) == []
    assert texts(logical_cpu_findings(config(trainer__nnodes=2, ray_kwargs__ray_init__num_cpus=1))) == []
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert texts(device_findings(config(), lambda: 0)) == []
    monkeypatch.delenv("RAY_ADDRESS")
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "ray_current_cluster").write_text("10.0.0.1:6379")  # as `ray start` leaves it
    assert texts(device_findings(config(), lambda: 0)) == []


def test_the_cpu_platform_has_logical_devices() -> None:
    on_cpu = {"trainer__device": "cpu", "trainer__n_gpus_per_node": 2}
    assert texts(device_findings(config(**on_cpu, ray_kwargs__ray_init__num_gpus=2), lambda: 0)) == []
    (text,) = texts(device_findings(config(**on_cpu, ray_kwargs__ray_init__num_gpus=1), lambda: 0))
    assert "ray_kwargs.ray_init.num_gpus=2" in text


def test_pools_of_their_own_take_devices_too() -> None:
    assert needed_devices(config()) == 8
    assert needed_devices(config(trainer__v1__trainer_mode="separate_async")) == 12
    assert needed_devices(config(reward__reward_model__enable_resource_pool=True)) == 10


@given(have=st.integers(1, 64), devices=st.integers(1, 16))
def test_the_offered_number_of_logical_cpus_is_enough(have: int, devices: int) -> None:
    short = config(ray_kwargs__ray_init__num_cpus=have, trainer__n_gpus_per_node=devices)
    found = texts(logical_cpu_findings(short))
    assert bool(found) == (have < needed_logical_cpus(short))
    for text in found:
        number = int(text.split("ray_kwargs.ray_init.num_cpus=")[1].split()[0])
        short.ray_kwargs.ray_init.num_cpus = number
        assert texts(logical_cpu_findings(short)) == []


# --- packages ---


def packages(installed: set[str], **changes: Any) -> list[str]:
    return texts(package_findings(config(**changes), installed.__contains__))


def test_everything_is_installed() -> None:
    assert packages(EVERYTHING) == []


def test_attention_that_is_not_installed() -> None:
    (text,) = packages(EVERYTHING - {"flash_attn"})
    assert "flash_attention_2, verl's default, needs the package flash_attn" in text
    assert "flash-attn==2.8.3 --no-build-isolation" in text
    assert "++actor_rollout_ref.model.override_config.attn_implementation=sdpa" in text


@pytest.mark.parametrize(
    ("installed", "changes"),
    [
        (set(), {"actor_rollout_ref__model__override_config__attn_implementation": "sdpa"}),
        (set(), {"actor_rollout_ref__model__override_config__attn_implementation": "eager"}),
        ({"kernels"}, {}),  # transformers takes the kernel from the hub
        ({"megatron"}, {"actor_rollout_ref__actor__strategy": "megatron"}),
    ],
)
def test_attention_that_needs_no_flash_attn(installed: set[str], changes: dict[str, Any]) -> None:
    assert packages({"vllm", "transfer_queue", *installed}, **changes) == []


def test_flash_attention_3_is_another_package() -> None:
    key = "actor_rollout_ref__model__override_config__attn_implementation"
    (text,) = packages(EVERYTHING, **{key: "flash_attention_3"})
    assert "flash_attn_interface" in text and "verl's default" not in text


@pytest.mark.parametrize("missing", ["vllm", "transfer_queue"])
def test_what_every_training_needs(missing: str) -> None:
    (text,) = packages(EVERYTHING - {missing})
    assert "is not installed: pip install" in text


def test_sglang_is_not_installed() -> None:
    name = "actor_rollout_ref__rollout__name"
    (text,) = packages(EVERYTHING, **{name: "sglang"})
    assert "actor_rollout_ref.rollout.name=sglang: sglang is not installed" in text
    assert packages({"sglang", *EVERYTHING} - {"vllm"}, **{name: "sglang"}) == []
    (text,) = packages(EVERYTHING, **{name: "hf"})
    assert "no such engine" in text


def test_megatron_is_not_installed() -> None:
    (text,) = packages(EVERYTHING, actor_rollout_ref__actor__strategy="megatron")
    assert "actor_rollout_ref.actor.strategy=megatron" in text and "leave model_engine=megatron out" in text
