"""What ``trainer.v1.trainer_mode=separate_async`` asks for; verl 0.9.1 finds out after Ray and the models are up."""

from __future__ import annotations

import os
from collections.abc import Iterator

from omegaconf import DictConfig

from lapo_verl.doctor.diagnostic import Finding
from lapo_verl.doctor.verl_settings import uses_lora

MODE = "separate_async"
# verl's levels at which it writes lines of level INFO; it takes INFO where the variable is not set.
SHOWS_INFO = ("INFO", "DEBUG")


def separate_async_findings(config: DictConfig) -> Iterator[Finding]:
    """Each setting that such a training would end with."""
    if config.trainer.v1.trainer_mode != MODE:
        return
    yield from _batch(config)
    rollout = config.actor_rollout_ref.rollout
    if rollout.nnodes < 1:
        yield _error(
            "actor_rollout_ref.rollout.nnodes=0: vLLM needs devices of its own. Set actor_rollout_ref.rollout.nnodes=1 "
            "and actor_rollout_ref.rollout.n_gpus_per_node to their number"
        )
    if rollout.checkpoint_engine.backend == "naive":
        yield _error(
            "actor_rollout_ref.rollout.checkpoint_engine.backend=naive copies weights within one process, and vLLM is "
            "in another one. Set it to nccl (on a CPU, platform=cpu sets it to gloo)"
        )
    if uses_lora(config) and not config.actor_rollout_ref.model.lora.merge:
        yield _error(
            "verl then sends vLLM no LoRA adapter but the base model alone, under names that vLLM does not know, and "
            "the start hangs. Set actor_rollout_ref.model.lora.merge=true, which sends base model and adapter as one"
        )
    if not config.actor_rollout_ref.hybrid_engine and os.environ.get("VERL_LOGGING_LEVEL", "INFO") in SHOWS_INFO:
        yield _error(
            "actor_rollout_ref.hybrid_engine=false: verl 0.9.1 then ends with a TypeError in one of its own log lines. "
            "Set VERL_LOGGING_LEVEL=WARNING in the environment, which leaves that line out"
        )


def _batch(config: DictConfig) -> Iterator[Finding]:
    parts = int(config.trainer.v1.separate_async.parameter_sync_step)
    batch, mini = int(config.data.train_batch_size), int(config.actor_rollout_ref.actor.ppo_mini_batch_size)
    if batch == parts * mini:
        return
    remedy = (
        f"Set actor_rollout_ref.actor.ppo_mini_batch_size={batch // parts}"
        if batch % parts == 0
        else f"Set data.train_batch_size to a multiple of {parts}, and actor_rollout_ref.actor.ppo_mini_batch_size to "
        f"a {parts}th of it"
    )
    yield _error(
        f"trainer.v1.separate_async.parameter_sync_step={parts}: verl trains on a batch in {parts} parts, so "
        f"data.train_batch_size={batch} must be {parts} times actor_rollout_ref.actor.ppo_mini_batch_size={mini}. "
        f"{remedy}"
    )


def _error(text: str) -> Finding:
    return Finding("error", f"trainer.v1.trainer_mode={MODE}: {text}")
