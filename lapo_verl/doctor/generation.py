"""Whether the rollouts fit the model's context and, by a rough estimate, vLLM's KV cache."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from omegaconf import DictConfig

from lapo_verl.doctor.diagnostic import Finding
from lapo_verl.doctor.model_shape import ModelShape

CONTEXT_KEY = "actor_rollout_ref.rollout.max_model_len"
# Bytes of a number, by verl's names of dtypes.
BYTES = {"float32": 4, "fp32": 4, "float": 4}
HALF = 2
GIB = 1 << 30


def context_findings(config: DictConfig, model: ModelShape) -> Iterator[Finding]:
    """verl cuts a response at the end of the context, and does not count it as truncated."""
    given = config.actor_rollout_ref.rollout.max_model_len
    if model.context is not None and given is not None and int(given) > model.context:
        text = (
            f"{CONTEXT_KEY}={given} is more than the model's context of {model.context} tokens, and verl refuses it. "
        )
        yield Finding("error", f"{text}Leave the key out, or lower it")
        return
    context = model.context if given is None else int(given)
    prompt, response = int(config.data.max_prompt_length), int(config.data.max_response_length)
    if context is None or prompt + response <= context:
        return
    name = f"the model's context of {context} tokens" if given is None else f"{CONTEXT_KEY}={given}"
    text = (
        f"data.max_prompt_length={prompt} and data.max_response_length={response} do not fit {name}: verl would cut "
        "responses there without counting them as truncated. "
    )
    if given is None or model.context is None or prompt + response > model.context:
        remedy = f"Set data.max_response_length={context - prompt}" if context > prompt else "Lower both"
    else:
        remedy = f"Set {CONTEXT_KEY}={prompt + response}"
    yield Finding("error", text + remedy)


def kv_cache_tokens(config: DictConfig, model: ModelShape, device_memory: int | None) -> int | None:
    """Tokens that the KV cache of one vLLM replica holds, a rough estimate; None where the device is not known.

    Args:
        device_memory: bytes of one GPU.
    """
    rollout = config.actor_rollout_ref.rollout
    width = BYTES.get(str(rollout.dtype), HALF)
    if config.trainer.device == "cpu":
        space = float(os.environ.get("VLLM_CPU_KVCACHE_SPACE") or 1) * GIB
    elif device_memory is None:
        return None
    else:
        devices = int(rollout.tensor_model_parallel_size) * int(rollout.pipeline_model_parallel_size)
        space = devices * float(rollout.gpu_memory_utilization) * device_memory - width * model.parameters
    return max(0, int(space / (width * model.kv_values)))


def kv_cache_findings(config: DictConfig, model: ModelShape, memory: Callable[[], int | None]) -> Iterator[Finding]:
    """Where the cache does not hold one rollout of full length, or not all that vLLM would work on at a time.

    Args:
        memory: gives the bytes of one GPU, None where there is none.
    """
    holds = kv_cache_tokens(config, model, memory())
    if holds is None:
        return
    rollout, length = config.actor_rollout_ref.rollout, int(config.data.max_prompt_length)
    length += int(config.data.max_response_length)
    longest = int(rollout.max_model_len or model.context or length)
    devices = int(config.trainer.nnodes) * int(config.trainer.n_gpus_per_node)
    replica = int(rollout.tensor_model_parallel_size) * int(rollout.pipeline_model_parallel_size)
    rollouts = int(config.data.train_batch_size) * int(rollout.n)
    at_a_time = min(int(rollout.max_num_seqs), max(1, rollouts * replica // devices))
    room = "raise actor_rollout_ref.rollout.gpu_memory_utilization"
    if holds < longest:
        yield Finding(
            "warning",
            f"vLLM's KV cache holds about {holds:,} tokens (a rough estimate), fewer than one sequence of the whole "
            f"context ({longest:,}): vLLM would not start. Set {CONTEXT_KEY}={length}, or {room}",
        )
    elif holds < at_a_time * length:
        yield Finding(
            "remark",
            f"vLLM's KV cache holds about {holds:,} tokens (a rough estimate): {holds // length} of the {at_a_time} "
            f"rollouts that it works on at a time, if all were {length:,} tokens long; the others then wait. To speed "
            f"it up, {room} or lower data.max_response_length",
        )
