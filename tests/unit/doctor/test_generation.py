"""Context and KV cache, against configs of published models."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf
from published_models import LLAMA_8B, QWEN3_30B, R1_QWEN, shape

from lapo_verl.doctor.diagnostic import Finding
from lapo_verl.doctor.generation import context_findings, kv_cache_findings, kv_cache_tokens
from lapo_verl.doctor.model_shape import ModelShape, read_model_config

GB = 10**9


def config(**changes: Any) -> DictConfig:
    """Of the paper's limits on four GPUs."""
    node = OmegaConf.create(
        {
            "data": {"max_prompt_length": 1024, "max_response_length": 4096, "train_batch_size": 128},
            "trainer": {"device": "cuda", "nnodes": 1, "n_gpus_per_node": 4},
            "actor_rollout_ref": {
                "rollout": {
                    "n": 8,
                    "dtype": "bfloat16",
                    "gpu_memory_utilization": 0.6,
                    "max_model_len": None,
                    "max_num_seqs": 256,
                    "tensor_model_parallel_size": 1,
                    "pipeline_model_parallel_size": 1,
                }
            },
        }
    )
    for key, value in changes.items():
        OmegaConf.update(node, key.replace("__", "."), value)
    return node


@pytest.mark.parametrize(
    ("model", "billions"),
    [(R1_QWEN, 1.777), (LLAMA_8B, 8.03), (QWEN3_30B, 30.5), ({"text_config": LLAMA_8B}, 8.03)],
    ids=["r1_distill_qwen_1.5b", "llama_3.1_8b", "qwen3_30b_a3b", "with_images"],
)
def test_parameters_are_those_that_were_published(model: dict[str, Any], billions: float) -> None:
    assert shape(model).parameters == pytest.approx(billions * 1e9, rel=0.005)


def test_another_kind_of_model_has_no_shape() -> None:
    assert ModelShape.from_config({"model_type": "mamba", "hidden_size": 64}) is None


def test_a_config_is_read_without_a_server(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(R1_QWEN))
    assert read_model_config(str(tmp_path)) == R1_QWEN
    (tmp_path / "config.json").write_text("{")
    assert read_model_config(str(tmp_path)) is None
    assert read_model_config(str(tmp_path / "gone" / "not" / "there")) is None
    assert read_model_config("nobody/no-model") is None


def texts(findings: Iterable[Finding], level: str) -> list[str]:
    found = list(findings)
    assert all(finding.level == level for finding in found)
    return [finding.text for finding in found]


@pytest.mark.parametrize(
    ("context", "max_model_len", "remedy"),
    [
        (5120, None, None),
        (5119, None, "Set data.max_response_length=4095"),
        (1000, None, "Lower both"),
        (131072, 5120, None),
        (131072, 4096, "Set actor_rollout_ref.rollout.max_model_len=5120"),
        (4096, 4096, "Set data.max_response_length=3072"),
        (4096, 8192, "more than the model's context of 4096"),
        (None, None, None),
    ],
)
def test_limits_that_do_not_fit_the_context(context: int | None, max_model_len: int | None, remedy: str | None) -> None:
    model = shape({**R1_QWEN, "max_position_embeddings": context})
    found = texts(context_findings(config(actor_rollout_ref__rollout__max_model_len=max_model_len), model), "error")
    assert len(found) == (remedy is not None)
    assert all(str(remedy) in text for text in found)


def test_tokens_that_the_cache_holds() -> None:
    # A token takes 2 (key, value) x 28 layers x 2 heads x 128 values x 2 bytes = 28,672 bytes.
    holds = kv_cache_tokens(config(), shape(R1_QWEN), 80 * GB)
    assert holds == pytest.approx((0.6 * 80e9 - 2 * 1.777e9) / 28672, rel=0.01)
    assert kv_cache_tokens(config(), shape(R1_QWEN), None) is None
    assert kv_cache_tokens(config(), shape(R1_QWEN), GB) == 0


def test_the_cpu_platforms_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "2")
    on_cpu = config(trainer__device="cpu", actor_rollout_ref__rollout__dtype="float32")
    assert kv_cache_tokens(on_cpu, shape(R1_QWEN), None) == (2 << 30) // (4 * 2 * 28 * 2 * 128)


def test_rollouts_against_the_cache() -> None:
    model = shape(R1_QWEN)
    assert texts(kv_cache_findings(config(), model, lambda: 80 * GB), "remark") == []
    assert texts(kv_cache_findings(config(), model, lambda: None), "remark") == []
    (text,) = texts(kv_cache_findings(config(), model, lambda: 24 * GB), "remark")
    assert "a rough estimate" in text and "of the 256 rollouts" in text
    (text,) = texts(kv_cache_findings(config(), model, lambda: 10 * GB), "warning")
    assert "a rough estimate" in text and "max_model_len=5120" in text
    small = config(actor_rollout_ref__rollout__max_model_len=5120)
    (text,) = texts(kv_cache_findings(small, model, lambda: 10 * GB), "remark")
    assert "of the 256 rollouts" in text
