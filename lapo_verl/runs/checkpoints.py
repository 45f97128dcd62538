"""verl's checkpoints on disk: a run's folders ``global_step_N``, and what is in one."""

from __future__ import annotations

import re
from pathlib import Path

# The snapshot of the length store in a checkpoint.
SNAPSHOT = "lapo_store.sqlite"
# A Hugging Face model has one of these.
WEIGHTS = (".safetensors", ".bin")
# verl writes it beside the shards of a training with LoRA.
LORA_NOTE = "lora_train_meta.json"
# The weights of a training with FSDP, a file for each rank.
SHARDS = "model_world_size_*_rank_*.pt"
# Megatron's list of what a checkpoint contains.
_MEGATRON_NOTE = "ckpt_contents.json"
# Where verl puts a Hugging Face model into a checkpoint: with FSDP, and with Megatron.
_PLACES = ("huggingface", "model/huggingface")
_STEP = re.compile(r"global_step_(\d+)")


def step_of(folder: Path) -> int | None:
    """The global step that a checkpoint's folder is named after; None where it is no checkpoint's."""
    found = _STEP.fullmatch(folder.name)
    return int(found.group(1)) if found else None


def checkpoints_of(run: Path) -> list[Path]:
    """The checkpoints in the folder of a run, the newest first."""
    steps = [folder for folder in run.glob("global_step_*") if step_of(folder) is not None]
    return sorted(steps, key=lambda folder: step_of(folder) or 0, reverse=True)


def model_in(folder: Path) -> Path | None:
    """The Hugging Face model that a folder is, or that verl put into a checkpoint; None where there is none.

    One of a training with LoRA is none: verl saves its weights under names that no library reads.
    """
    for candidate in (folder, *(actor / place for actor in (folder, folder / "actor") for place in _PLACES)):
        has_weights = (candidate / "config.json").is_file() and any(
            path.suffix in WEIGHTS for path in candidate.iterdir()
        )
        if has_weights and not (candidate.parent / LORA_NOTE).is_file():
            return candidate
    return None


def why_no_model(checkpoint: Path) -> str:
    """What to say of a checkpoint that has no Hugging Face model: how to train, or to convert it."""
    actor = checkpoint / "actor" if (checkpoint / "actor").is_dir() else checkpoint
    if (actor / LORA_NOTE).is_file():
        return (
            f"{checkpoint} was trained with LoRA, and verl saves its weights under names that no library reads. Make a "
            f"model of it (lapo export {checkpoint} -o MODEL) and name that folder"
        )
    backend, place = ("megatron", _PLACES[1]) if (actor / _MEGATRON_NOTE).is_file() else ("fsdp", _PLACES[0])
    return (
        f"{checkpoint} has no Hugging Face weights. Train with actor_rollout_ref.actor.checkpoint.save_contents="
        f"'[model,optimizer,extra,hf_model]', or convert it: python -m verl.model_merger merge --backend {backend} "
        f"--local_dir {actor} --target_dir {actor / place}"
    )
