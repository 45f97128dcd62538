"""Where stage 2 starts: the weights and the length store of stage 1, both from one key, ``lapo.init_from``.

The config of stage 2 takes its model from the resolver ``lapo_weights``. Every process of a training needs it: Hydra's
search path plugin registers it for the command, verl's plugin for Ray's workers.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from omegaconf import OmegaConf

from lapo_verl.runs.checkpoints import LORA_NOTE, SNAPSHOT, checkpoints_of, model_in, step_of, why_no_model

RESOLVER = "lapo_weights"


class StartingPointError(ValueError):
    """``lapo.init_from`` names nothing that stage 2 can start from; the message says why and what to do."""


@dataclass(frozen=True)
class StartingPoint:
    """What stage 2 starts from.

    Attributes:
        store: stage 1's length store.
        weights: stage 1's model in Hugging Face format; None where ``lapo.init_from`` names a store's file.
        step: of the checkpoint that both are of; None where ``lapo.init_from`` names a store's file.
    """

    store: Path
    weights: Path | None = None
    step: int | None = None


def starting_point(init_from: Path) -> StartingPoint:
    """The newest checkpoint of the run, or the checkpoint, in which both weights and store are; or a store's file.

    Raises:
        StartingPointError: a folder that has no such checkpoint.
    """
    if not init_from.is_dir():
        return StartingPoint(init_from)
    checkpoints = [init_from] if step_of(init_from) is not None else checkpoints_of(init_from)
    for checkpoint in checkpoints:
        weights = model_in(checkpoint)
        if weights is not None and (checkpoint / SNAPSHOT).is_file():
            return StartingPoint(checkpoint / SNAPSHOT, weights, step_of(checkpoint))
    if not checkpoints:
        raise StartingPointError(
            f"lapo.init_from={init_from}: has no checkpoint (a folder global_step_<number>). Name the "
            "trainer.default_local_dir of the Discovery run, and train it with trainer.save_freq above 0"
        )
    newest = checkpoints[0]
    why = (
        why_no_model(newest)
        if model_in(newest) is None
        else f"{newest} has no {SNAPSHOT}, is it a checkpoint of Discovery?"
    )
    if (newest / "actor" / LORA_NOTE).is_file():
        why += f" as actor_rollout_ref.model.path, with lapo.init_from={newest / SNAPSHOT}"
    raise StartingPointError(f"lapo.init_from={init_from}: {why}")


def stage_one_weights(init_from: str | None) -> str:
    """The model that stage 2 starts with where ``actor_rollout_ref.model.path`` is not set; the resolver's value.

    Raises:
        StartingPointError: ``lapo.init_from`` does not lead to weights.
    """
    if init_from is None:
        raise StartingPointError(
            "stage 2 starts from stage 1: set lapo.init_from to the folder of the Discovery run, or both "
            "actor_rollout_ref.model.path and lapo.store"
        )
    path = Path(init_from).expanduser()
    if not path.exists():
        raise StartingPointError(f"lapo.init_from={init_from}: does not exist; name the folder of the Discovery run")
    weights = starting_point(path).weights
    if weights is None:
        raise StartingPointError(
            f"lapo.init_from={init_from}: is a store's file and has no weights. Name the folder of the "
            "Discovery run instead, or set actor_rollout_ref.model.path as well"
        )
    return str(weights)


def register_resolver() -> None:
    """Makes ``${lapo_weights:${lapo.init_from}}`` known in this process."""
    OmegaConf.register_new_resolver(RESOLVER, stage_one_weights, replace=True)
