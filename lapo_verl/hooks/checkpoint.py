"""verl's checkpoint hook, and its missing counterpart: the length store goes and comes with the checkpoints.

verl calls ``on_save`` after a checkpoint is complete; it has no hook on load. The store is therefore put back by
whoever opens it for writing, the replay buffer, which verl builds before it reads the first row.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from verl.trainer.ppo.checkpoint_callback import CheckpointCallback
from verl.utils.checkpoint.checkpoint_manager import find_latest_ckpt_path

from lapo_verl.checkpoints import SNAPSHOT
from lapo_verl.hooks.settings import LapoSettings
from lapo_verl.hooks.starting_point import starting_point
from lapo_verl.store import LengthStore, StoreError

# The step of stage 1 that stage 2 began with, noted in its store; None where a store's file was named.
STARTING_STEP = "starting_step"
logger = logging.getLogger(__name__)


class StoreSnapshot(CheckpointCallback):  # type: ignore[misc]
    """Writes a snapshot of the store into each checkpoint's folder; the store's own file is whole as well then."""

    def on_save(
        self, trainer: Any, global_step: int, checkpoint_dir: str, async_save: bool = False, **kwargs: Any
    ) -> None:
        """Called by verl after a checkpoint; an error here ends the training, so no checkpoint lacks its store."""
        store: LengthStore = trainer.replay_buffer.store
        store.snapshot(Path(checkpoint_dir) / SNAPSHOT)
        store.make_whole()


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that verl will resume from: its folder and its global step."""

    folder: Path
    step: int


def resume_point(default_local_dir: str, resume_mode: str, resume_from_path: str | None) -> Checkpoint | None:
    """Where verl will resume from, by verl's own rules (``PPOTrainer._load_checkpoint``); None from scratch."""
    if resume_mode == "disable":
        return None
    if resume_mode == "auto":
        folder = find_latest_ckpt_path(os.path.abspath(default_local_dir))
    elif resume_mode == "resume_path":
        folder = resume_from_path
    else:
        raise ValueError(f"trainer.resume_mode must be disable, auto or resume_path, got {resume_mode!r}")
    if folder is None:
        return None
    step = str(folder).rstrip("/").rsplit("global_step_", 1)[-1]
    if not step.isdigit():
        raise ValueError(f"trainer.resume_from_path={folder} does not end in global_step_<number>")
    return Checkpoint(Path(os.path.abspath(folder)), int(step))


def open_store(settings: LapoSettings, checkpoint: Checkpoint | None) -> LengthStore:
    """The store opened for writing, as it was at ``checkpoint``, or as the stage starts with where that is None.

    Nothing is lost: records that a new start would forget are copied beside the store first.

    Raises:
        StoreError: stage 2 has no store to start from, or neither snapshot nor store reach back to the checkpoint.
    """
    settings.store.parent.mkdir(parents=True, exist_ok=True)
    if checkpoint is not None:
        return _resume_store(settings, checkpoint)
    if settings.store.exists():
        _set_records_aside(settings)
    if settings.stage == "internalization" and settings.initial_store is not None:
        LengthStore.restore(settings.initial_store, settings.store)
    if settings.stage == "internalization" and not settings.store.exists():
        raise StoreError(
            f"{settings.store}: stage 2 starts from the store of stage 1, and there is none; set lapo.init_from to the "
            "folder of that run"
        )
    store = LengthStore.open(settings.store)
    if settings.stage == "internalization" and settings.init_from is not None:
        store.set_meta(STARTING_STEP, starting_point(settings.init_from).step)
    return store


def _resume_store(settings: LapoSettings, checkpoint: Checkpoint) -> LengthStore:
    snapshot = checkpoint.folder / SNAPSHOT
    if snapshot.exists():
        LengthStore.restore(snapshot, settings.store)
        logger.warning("lapo: store %s put back to %s", settings.store, snapshot)
        return LengthStore.open(settings.store)
    # The process died between verl's checkpoint and our snapshot. The store itself has then seen that step.
    if not settings.store.exists():
        raise StoreError(f"{snapshot}: missing, and so is the store {settings.store}; resume from another checkpoint")
    store = LengthStore.open(settings.store)
    last = store.last_step(settings.stage)
    if last is None or last < checkpoint.step:
        store.close()
        raise StoreError(
            f"{snapshot}: missing, and the store {settings.store} ends at step {last} of {settings.stage}, before the "
            f"checkpoint's step {checkpoint.step}; resume from another checkpoint"
        )
    forgotten = store.rewind(settings.stage, checkpoint.step)
    logger.warning(
        "lapo: store %s rewound to step %d, %d records forgotten", settings.store, checkpoint.step, forgotten
    )
    return store


def _set_records_aside(settings: LapoSettings) -> None:
    """Forget what an earlier start of this stage recorded, after copying the store beside itself."""
    with LengthStore.open(settings.store) as store:
        if store.last_step(settings.stage) is None:
            return
        number = 1
        while (copy := settings.store.with_name(f"{settings.store.name}.old{number}")).exists():
            number += 1
        store.snapshot(copy)
        store.rewind(settings.stage, 0)
    logger.warning(
        "lapo: %s held records of an earlier %s run; they are kept in %s", settings.store, settings.stage, copy
    )
