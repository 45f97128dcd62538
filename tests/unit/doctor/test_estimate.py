"""What a run will take, with the paper's settings and its model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf
from published_models import R1_QWEN, shape

from lapo_verl.doctor.estimate import (
    checkpoint_bytes,
    disk_free,
    estimate_findings,
    estimate_lines,
    estimate_run,
    training_memory,
)

GB = 10**9
STEPS = 234  # of 10,000 problems, three epochs


def config(**changes: Any) -> DictConfig:
    """The paper's stage 1 on four GPUs, as docs/training.md starts it."""
    fsdp = {"model_dtype": "fp32", "param_offload": False, "optimizer_offload": False}
    node = OmegaConf.create(
        {
            "data": {"max_prompt_length": 1024, "max_response_length": 4096, "train_batch_size": 128},
            "algorithm": {"use_kl_in_reward": False},
            "trainer": {
                "nnodes": 1,
                "n_gpus_per_node": 4,
                "save_freq": 20,
                "test_freq": 20,
                "val_before_train": True,
                "max_actor_ckpt_to_keep": None,
            },
            "actor_rollout_ref": {
                "model": {"lora_rank": 0, "lora_adapter_path": None},
                "rollout": {"n": 8, "val_kwargs": {"n": 4}},
                "ref": {"fsdp_config": dict(fsdp)},
                "actor": {
                    "strategy": "fsdp",
                    "use_kl_loss": True,
                    "use_dynamic_bsz": True,
                    "ppo_max_token_len_per_gpu": 16384,
                    "ppo_micro_batch_size_per_gpu": 1,
                    "fsdp_config": dict(fsdp),
                    "checkpoint": {"save_contents": ["model", "optimizer", "extra", "hf_model"]},
                },
            },
        }
    )
    for key, value in changes.items():
        OmegaConf.update(node, key.replace("__", "."), value)
    return node


def test_the_papers_stage_one() -> None:
    estimate = estimate_run(config(), shape(R1_QWEN), 0, STEPS, 200)
    assert (estimate.steps, estimate.rollouts, estimate.tokens) == (234, 239_616, 981_467_136)
    assert (estimate.validations, estimate.answers) == (13, 10_400)
    assert (estimate.checkpoints, estimate.kept) == (12, 12)
    # Weights twice and Adam's two moments, 32 bits each, of 1.777 billion parameters.
    assert estimate.checkpoint_bytes == pytest.approx(16 * 1.777e9, rel=0.001)
    lines = dict(estimate_lines(estimate))
    assert lines["takes"] == "234 steps, 239,616 rollouts, at most 981,467,136 tokens"
    assert lines["disk"] == "12 checkpoints, 12 kept, about 28.4 GB each and 341.2 GB together"
    assert "a rough estimate" in lines["memory"] and "reference model 1.8 GB" in lines["memory"]


def test_a_resumed_run_counts_what_is_left() -> None:
    estimate = estimate_run(config(trainer__val_before_train=False), shape(R1_QWEN), 220, STEPS, 200)
    assert (estimate.steps, estimate.checkpoints, estimate.validations) == (14, 1, 1)


@given(
    done=st.integers(0, 50), more=st.integers(1, 50), frequency=st.integers(-1, 20), keep=st.none() | st.integers(1, 5)
)
def test_checkpoints_are_counted_as_verl_writes_them(done: int, more: int, frequency: int, keep: int | None) -> None:
    total = done + more
    changed = config(trainer__save_freq=frequency, trainer__max_actor_ckpt_to_keep=keep)
    estimate = estimate_run(changed, None, done, total, 0)
    steps = range(done + 1, total + 1)
    written = sum(frequency > 0 and (step % frequency == 0 or step == total) for step in steps)
    assert (estimate.checkpoints, estimate.kept) == (written, min(written, keep or written))
    assert estimate.checkpoint_bytes is None


def test_what_is_saved_decides_the_size() -> None:
    model = shape(R1_QWEN)
    whole = checkpoint_bytes(config(), model)
    key = "actor_rollout_ref__actor__checkpoint__save_contents"
    assert checkpoint_bytes(config(**{key: ["hf_model"]}), model) == whole // 4
    assert checkpoint_bytes(config(**{key: ["model", "optimizer", "extra"]}), model) == whole * 3 // 4
    dtype = "actor_rollout_ref__actor__fsdp_config__model_dtype"
    assert checkpoint_bytes(config(**{dtype: "bf16"}), model) == whole // 2


def test_memory_by_part() -> None:
    model = shape(R1_QWEN)
    parts = training_memory(config(), model)
    assert parts["weights"] == parts["gradients"] == parts["reference model"] == model.parameters
    assert parts["optimizer"] == 2 * model.parameters
    assert parts["micro-batch"] > 16384 * model.vocabulary * 8
    assert training_memory(config(actor_rollout_ref__actor__use_kl_loss=False), model)["reference model"] == 0
    offloaded = config(
        actor_rollout_ref__actor__fsdp_config__param_offload=True,
        actor_rollout_ref__actor__fsdp_config__optimizer_offload=True,
    )
    assert training_memory(offloaded, model)["weights"] == training_memory(offloaded, model)["optimizer"] == 0
    lora = training_memory(config(actor_rollout_ref__model__lora_rank=8), model)
    assert (lora["weights"], lora["gradients"], lora["optimizer"]) == (model.parameters, 0, 0)
    fewer = training_memory(config(actor_rollout_ref__actor__use_dynamic_bsz=False), model)
    assert fewer["micro-batch"] < parts["micro-batch"]


def test_a_disk_or_a_gpu_that_is_too_small(tmp_path: Path) -> None:
    estimate = estimate_run(config(), shape(R1_QWEN), 0, STEPS, 200)
    assert list(estimate_findings(estimate, 1000 * GB, 80 * GB)) == []
    assert list(estimate_findings(estimate, 1000 * GB, None)) == []
    (disk,) = estimate_findings(estimate, 100 * GB, 80 * GB)
    assert disk.level == "warning" and "12 checkpoints of about 28.4 GB" in disk.text
    assert "trainer.max_actor_ckpt_to_keep" in disk.text
    (memory,) = estimate_findings(estimate, 1000 * GB, 16 * GB)
    assert memory.level == "warning" and "a rough estimate" in memory.text and "param_offload" in memory.text
    assert disk_free(tmp_path / "not" / "there") == pytest.approx(disk_free(tmp_path), rel=0.1)
