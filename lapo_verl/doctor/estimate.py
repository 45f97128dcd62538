"""What a run will take: steps, rollouts, tokens, disk and memory. Numbers of bytes are estimates, and say so."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from lapo_verl.doctor.diagnostic import Finding
from lapo_verl.doctor.generation import BYTES, HALF
from lapo_verl.doctor.model_shape import ModelShape
from lapo_verl.doctor.verl_settings import uses_lora

GB = 10**9
SHARDED = ("fsdp", "fsdp2")


@dataclass(frozen=True)
class RunEstimate:
    """What the steps that are left will take.

    Attributes:
        steps: that are left.
        rollouts, tokens: of training; ``tokens`` if every response had full length.
        validations, answers: how often it is validated, and the answers of all of them.
        checkpoints, kept: written, and left on the disk at the end.
        checkpoint_bytes: of one checkpoint; None where the model's size is not known.
        memory: {part: bytes of one device} while training; None where the model's size is not known.
    """

    steps: int
    rollouts: int
    tokens: int
    validations: int
    answers: int
    checkpoints: int
    kept: int
    checkpoint_bytes: int | None
    memory: dict[str, int] | None


def estimate_run(config: DictConfig, model: ModelShape | None, done: int, total: int, validation: int) -> RunEstimate:
    """The estimate of a composed, resolved config.

    Args:
        done: steps of the checkpoint that the run goes on from, 0 from scratch.
        total: steps of the whole run.
        validation: rows that are validated on.
    """
    trainer, rollout = config.trainer, config.actor_rollout_ref.rollout
    rollouts = (total - done) * int(config.data.train_batch_size) * int(rollout.n)
    validations = _times(done, total, int(trainer.test_freq)) + bool(trainer.val_before_train)
    checkpoints = _times(done, total, int(trainer.save_freq))
    sharded = model is not None and str(config.actor_rollout_ref.actor.strategy) in SHARDED
    return RunEstimate(
        steps=total - done,
        rollouts=rollouts,
        tokens=rollouts * int(config.data.max_response_length),
        validations=validations,
        answers=validations * validation * int(rollout.val_kwargs.n),
        checkpoints=checkpoints,
        kept=min(checkpoints, int(trainer.max_actor_ckpt_to_keep or checkpoints)),
        checkpoint_bytes=checkpoint_bytes(config, model) if model is not None and sharded else None,
        memory=training_memory(config, model) if model is not None and sharded else None,
    )


def checkpoint_bytes(config: DictConfig, model: ModelShape) -> int:
    """Of one checkpoint of FSDP's, the shards of all devices together: verl saves every part in the model's dtype."""
    actor = config.actor_rollout_ref.actor
    parts = {"model": 1, "hf_model": 1, "optimizer": 0 if uses_lora(config) else 2}  # Adam has two moments
    copies = sum(parts.get(part, 0) for part in actor.checkpoint.save_contents)
    return copies * model.parameters * _width(str(actor.fsdp_config.model_dtype))


def training_memory(config: DictConfig, model: ModelShape) -> dict[str, int]:
    """{part: bytes of one device} at the peak of a training step with FSDP; a rough estimate."""
    actor, ref = config.actor_rollout_ref.actor, config.actor_rollout_ref.ref
    devices = int(config.trainer.nnodes) * int(config.trainer.n_gpus_per_node)
    share = model.parameters * _width(str(actor.fsdp_config.model_dtype)) // devices
    trained = 0 if uses_lora(config) else share
    reference = model.parameters * _width(str(ref.fsdp_config.model_dtype)) // devices
    needs_reference = (actor.use_kl_loss or config.algorithm.use_kl_in_reward) and not uses_lora(config)
    tokens = _micro_batch_tokens(config)
    return {
        "weights": 0 if actor.fsdp_config.param_offload else share,
        "gradients": trained,
        "optimizer": 0 if actor.fsdp_config.optimizer_offload else 2 * trained,
        "reference model": reference if needs_reference and not ref.fsdp_config.param_offload else 0,
        # Per layer its input (gradient checkpointing), and the logits with their gradient in 32 bits.
        "micro-batch": tokens * (HALF * model.layers * model.hidden + 2 * 4 * model.vocabulary),
    }


def estimate_findings(estimate: RunEstimate, disk_free: int, device_memory: int | None) -> Iterator[Finding]:
    """Where the disk or a GPU's memory is hardly enough.

    Args:
        disk_free: bytes in the checkpoints' folder.
        device_memory: bytes of one GPU; None where there is none.
    """
    if estimate.checkpoint_bytes is not None and estimate.kept * estimate.checkpoint_bytes > disk_free:
        yield Finding(
            "warning",
            f"trainer.default_local_dir: {estimate.kept} checkpoints of about {_gb(estimate.checkpoint_bytes)} do not "
            f"fit the {_gb(disk_free)} that are free there. Set trainer.max_actor_ckpt_to_keep, or save less "
            "often with trainer.save_freq",
        )
    needed = sum((estimate.memory or {}).values())
    if device_memory is not None and needed > device_memory:
        yield Finding(
            "warning",
            f"training takes about {_gb(needed)} a GPU (a rough estimate), and a GPU has {_gb(device_memory)}. Lower "
            "actor_rollout_ref.actor.ppo_max_token_len_per_gpu, or set actor_rollout_ref.actor.fsdp_config."
            "param_offload=true and optimizer_offload=true",
        )


def estimate_lines(estimate: RunEstimate) -> Iterator[tuple[str, str]]:
    """The estimate for a reader, as (name, text)."""
    yield "takes", f"{estimate.steps:,} steps, {estimate.rollouts:,} rollouts, at most {estimate.tokens:,} tokens"
    if estimate.validations:
        often = "once" if estimate.validations == 1 else f"{estimate.validations} times"
        yield "", f"validates {often}: {estimate.answers:,} answers"
    if estimate.checkpoints:
        kept = f"{estimate.checkpoints} checkpoints, {estimate.kept} kept"
        if estimate.checkpoint_bytes is not None:
            on_disk = _gb(estimate.kept * estimate.checkpoint_bytes)
            kept += f", about {_gb(estimate.checkpoint_bytes)} each and {on_disk} together"
        yield "disk", kept
    if estimate.memory is not None:
        parts = ", ".join(f"{name} {_gb(size)}" for name, size in estimate.memory.items() if size)
        total = _gb(sum(estimate.memory.values()))
        yield "memory", f"a rough estimate for one device while it trains: {parts}; together {total}"


def _times(done: int, total: int, frequency: int) -> int:
    """How often verl does what it does every ``frequency`` steps and after the last one, in steps done + 1 to total.

    >>> _times(0, 10, 4), _times(4, 10, 4), _times(0, 10, -1)
    (3, 2, 0)
    """
    if frequency <= 0 or total <= done:
        return 0
    return math.ceil(total / frequency) - done // frequency


def _micro_batch_tokens(config: DictConfig) -> int:
    actor = config.actor_rollout_ref.actor
    if actor.use_dynamic_bsz:
        return int(actor.ppo_max_token_len_per_gpu)
    length = int(config.data.max_prompt_length) + int(config.data.max_response_length)
    return int(actor.ppo_micro_batch_size_per_gpu or 1) * length


def disk_free(folder: Path) -> int:
    """Free bytes where ``folder`` is, or will be made."""
    folder = folder.expanduser().absolute()
    return shutil.disk_usage(next(parent for parent in (folder, *folder.parents) if parent.is_dir())).free


def _width(dtype: str) -> int:
    return BYTES.get(dtype, HALF)


def _gb(size: int) -> str:
    return f"{size / GB:.1f} GB" if size >= GB // 10 else f"{size / 10**6:.1f} MB"
