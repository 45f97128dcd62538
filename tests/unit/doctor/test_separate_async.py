"""Settings that verl's separate trainer would end with, minutes after the start."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf

from lapo_verl.doctor.separate_async import separate_async_findings


def config(**changes: Any) -> DictConfig:
    """The part of verl's config that the checks read: 128 problems a step, in four parts."""
    node = OmegaConf.create(
        {
            "trainer": {"v1": {"trainer_mode": "separate_async", "separate_async": {"parameter_sync_step": 4}}},
            "data": {"train_batch_size": 128},
            "actor_rollout_ref": {
                "hybrid_engine": True,
                "model": {"lora_rank": 0, "lora_adapter_path": None, "lora": {"merge": False}},
                "actor": {"ppo_mini_batch_size": 32},
                "rollout": {"nnodes": 1, "checkpoint_engine": {"backend": "nccl"}},
            },
        }
    )
    for key, value in changes.items():
        OmegaConf.update(node, key.replace("__", "."), value)
    return node


def texts(**changes: Any) -> list[str]:
    found = list(separate_async_findings(config(**changes)))
    assert all(finding.level == "error" for finding in found)
    return [finding.text for finding in found]


@pytest.fixture(autouse=True)
def verls_own_level(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VERL_LOGGING_LEVEL", raising=False)


def test_what_works() -> None:
    assert texts() == []


def test_an_adapter_that_is_merged_is_sent() -> None:
    assert texts(actor_rollout_ref__model__lora_rank=8, actor_rollout_ref__model__lora__merge=True) == []


def test_another_mode_is_not_looked_at() -> None:
    assert texts(trainer__v1__trainer_mode="sync", actor_rollout_ref__rollout__nnodes=0) == []


@pytest.mark.parametrize(
    ("key", "value", "remedy"),
    [
        ("actor_rollout_ref__rollout__nnodes", 0, "Set actor_rollout_ref.rollout.nnodes=1"),
        ("actor_rollout_ref__rollout__checkpoint_engine__backend", "naive", "Set it to nccl"),
        ("actor_rollout_ref__model__lora_rank", 8, "Set actor_rollout_ref.model.lora.merge=true"),
        ("actor_rollout_ref__model__lora_adapter_path", "adapter", "Set actor_rollout_ref.model.lora.merge=true"),
        ("actor_rollout_ref__hybrid_engine", False, "Set VERL_LOGGING_LEVEL=WARNING"),
        ("actor_rollout_ref__actor__ppo_mini_batch_size", 128, "Set actor_rollout_ref.actor.ppo_mini_batch_size=32"),
        ("data__train_batch_size", 130, "Set data.train_batch_size to a multiple of 4"),
    ],
)
def test_what_verl_would_end_with(key: str, value: Any, remedy: str) -> None:
    (text,) = texts(**{key: value})
    assert text.startswith("trainer.v1.trainer_mode=separate_async: ") and remedy in text


@pytest.mark.parametrize(("level", "ends"), [("DEBUG", True), ("INFO", True), ("WARNING", False), ("ERROR", False)])
def test_a_line_that_verl_does_not_write_ends_nothing(level: str, ends: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERL_LOGGING_LEVEL", level)
    assert bool(texts(actor_rollout_ref__hybrid_engine=False)) == ends


@given(batch=st.integers(1, 512), mini=st.integers(1, 512), parts=st.integers(1, 16))
def test_a_mini_batch_that_is_offered_is_accepted(batch: int, mini: int, parts: int) -> None:
    changes = {
        "data__train_batch_size": batch,
        "actor_rollout_ref__actor__ppo_mini_batch_size": mini,
        "trainer__v1__separate_async__parameter_sync_step": parts,
    }
    found = texts(**changes)
    assert bool(found) == (batch != mini * parts)
    for text in found:
        offered = text.rsplit("ppo_mini_batch_size=", 1)[1]
        if "Set actor_rollout_ref" in text:
            changes["actor_rollout_ref__actor__ppo_mini_batch_size"] = int(offered)
            assert texts(**changes) == []
