"""verl's checkpoint hook, and its missing counterpart: the length store goes and comes with the checkpoints.

A note of the prompt goes with them as well.

verl calls ``on_save`` after a checkpoint is complete; it has no hook on load. The store is therefore put back by
whoever opens it for writing, the replay buffer, which verl builds before it reads the first row.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from verl.trainer.ppo.checkpoint_callback import CheckpointCallback
from verl.utils.checkpoint.checkpoint_manager import find_latest_ckpt_path

from lapo_verl.config import LapoSettings
from lapo_verl.runs.checkpoints import SNAPSHOT
from lapo_verl.runs.prompt_note import PromptNote
from lapo_verl.runs.starting_point import starting_point
from lapo_verl.store import LengthStore, StoreDamagedError, StoreError

# The step of stage 1 that stage 2 began with, noted in its store; None where a store's file was named.
STARTING_STEP = "starting_step"
logger = logging.getLogger(__name__)


class NoteOfPrompt(CheckpointCallback):  # type: ignore[misc]
    """Notes in each checkpoint's folder how problems became prompts, so that an evaluation asks the same way."""

    def on_save(
        self, trainer: Any, global_step: int, checkpoint_dir: str, async_save: bool = False, **kwargs: Any
    ) -> None:
        """Called by verl after a checkpoint."""
        template = trainer.config.data.apply_chat_template_kwargs.get("chat_template")
        PromptNote(str(trainer.config.lapo.prompt), template).write(Path(checkpoint_dir))


class StoreSnapshot(NoteOfPrompt):
    """Writes a snapshot of the store into each checkpoint's folder; the store's own file is whole as well then."""

    def on_save(
        self, trainer: Any, global_step: int, checkpoint_dir: str, async_save: bool = False, **kwargs: Any
    ) -> None:
        """Called by verl after a checkpoint; an error here ends the training, so no checkpoint lacks its store."""
        super().on_save(trainer, global_step, checkpoint_dir, async_save, **kwargs)
        store: LengthStore = trainer.replay_buffer.store
        store.snapshot(Path(checkpoint_dir) / SNAPSHOT)
        store.make_whole()


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that verl will resume from: its folder and its global step."""

    folder: Path
    step: int


def resume_point(default_local_dir: str, resume_mode: str, resume_from_path: str | None) -> Checkpoint | None:
    """Where verl will resume from, by verl's own rules (``PPOTrainer._load_checkpoint``); None from scratch.

    Raises:
        ValueError: the checkpoint is missing or is none of verl's; verl would find out after the store is put back.
    """
    if resume_mode == "disable":
        return None
    if resume_mode == "auto":
        folder = find_latest_ckpt_path(os.path.abspath(default_local_dir))
        if folder is None:
            return None
    elif resume_mode == "resume_path":
        if resume_from_path is None:
            raise ValueError(
                "trainer.resume_mode=resume_path needs trainer.resume_from_path=<folder>/global_step_<number>"
            )
        folder = resume_from_path
    else:
        raise ValueError(f"trainer.resume_mode must be disable, auto or resume_path, got {resume_mode!r}")
    step = str(folder).rstrip("/").rsplit("global_step_", 1)[-1]
    if not step.isdigit():
        raise ValueError(f"trainer.resume_from_path={folder} does not end in global_step_<number>")
    checkpoint = Checkpoint(Path(os.path.abspath(folder)), int(step))
    _check_is_verls(checkpoint.folder)
    return checkpoint


def trains(val_only: bool, val_before_train: bool) -> bool:
    """Whether verl trains at all: with both of its keys set it ends after the first validation."""
    return not (val_only and val_before_train)


def open_store(settings: LapoSettings, checkpoint: Checkpoint | None) -> LengthStore:
    """The store opened for writing, as it was at ``checkpoint``, or as the stage starts with where that is None.

    Nothing is lost: a store whose records are forgotten is copied beside itself first.

    Raises:
        StoreError: stage 2 has no store to start from, neither snapshot nor store reach back to the checkpoint, or the
            checkpoint is another stage's.
    """
    settings.store.parent.mkdir(parents=True, exist_ok=True)
    if checkpoint is not None:
        return _resume_store(settings, checkpoint)
    with _kept(settings.store):
        if settings.stage == "internalization" and settings.initial_store is not None:
            _copy_stage_one(settings.initial_store, settings.store)
        elif settings.store.exists():
            with LengthStore.open(settings.store) as store:
                store.rewind(settings.stage, -1)
    if settings.stage == "internalization" and not settings.store.exists():
        raise StoreError(
            f"{settings.store}: stage 2 starts from the store of stage 1, and there is none; set lapo.init_from to the "
            "folder of that run"
        )
    store = LengthStore.open(settings.store)
    if settings.stage == "internalization" and settings.init_from is not None:
        store.set_meta(STARTING_STEP, starting_point(settings.init_from).step)
    return store


def check_stage(store: LengthStore, stage: str, checkpoint: Checkpoint) -> None:
    """StoreError where ``checkpoint``, whose store is ``store``, was made by another stage than ``stage``."""
    made_by = store.stage
    if made_by != stage:
        raise StoreError(
            f"{checkpoint.folder}: is a checkpoint of {made_by}, and this run is {stage}. verl would go on from step "
            f"{checkpoint.step} as if it were this run's own. Give {stage} a folder of its own "
            "(trainer.default_local_dir), or set trainer.resume_mode=disable"
        )


def _check_is_verls(folder: Path) -> None:
    if not folder.is_dir():
        there = sorted(path.name for path in folder.parent.glob("global_step_*"))
        hint = f"there are {', '.join(there)}" if there else f"{folder.parent} has none"
        raise ValueError(f"{folder}: there is no such checkpoint ({hint}); set trainer.resume_from_path to one")
    if not (folder / "actor").is_dir():
        raise ValueError(
            f"{folder}: is no checkpoint of verl's, it has no folder actor/ with the weights. Resume from another one "
            "(verl removes the weights of old checkpoints where trainer.max_actor_ckpt_to_keep is set)"
        )


def _copy_stage_one(source: Path, target: Path) -> None:
    """Stage 1's part of the store at ``source``, which stays as it is."""
    LengthStore.restore(source, target)
    with LengthStore.open(target) as store:
        steps = store.totals()["steps"]["internalization"]
        store.rewind("internalization", -1)
    if steps:
        logger.warning(
            "lapo: %s has %d steps of internalization as well; %s starts from the end of discovery without them",
            source,
            steps,
            target,
        )


def _resume_store(settings: LapoSettings, checkpoint: Checkpoint) -> LengthStore:
    snapshot = checkpoint.folder / SNAPSHOT
    if snapshot.exists():
        with LengthStore.open(snapshot, read_only=True) as store:
            check_stage(store, settings.stage, checkpoint)
        with _kept(settings.store):
            LengthStore.restore(snapshot, settings.store)
        logger.warning("lapo: store %s put back to %s", settings.store, snapshot)
        return LengthStore.open(settings.store)
    # The process died between verl's checkpoint and our snapshot. The store itself has then seen that step.
    if not settings.store.exists():
        raise StoreError(f"{snapshot}: missing, and so is the store {settings.store}; resume from another checkpoint")
    with LengthStore.open(settings.store, read_only=True) as store:
        check_stage(store, settings.stage, checkpoint)
        last = store.last_step(settings.stage)
    if last is None or last < checkpoint.step:
        raise StoreError(
            f"{snapshot}: missing, and the store {settings.store} ends at step {last} of {settings.stage}, before the "
            f"checkpoint's step {checkpoint.step}; resume from another checkpoint"
        )
    with _kept(settings.store), LengthStore.open(settings.store) as store:
        forgotten = store.rewind(settings.stage, checkpoint.step)
    logger.warning(
        "lapo: store %s rewound to step %d, %d records forgotten", settings.store, checkpoint.step, forgotten
    )
    return LengthStore.open(settings.store)


@contextmanager
def _kept(path: Path) -> Iterator[None]:
    """Around what replaces or rewinds the store at ``path``: what it had before stays, in a copy beside it.

    The copy goes again where every record of it is in the store after the block.
    """
    try:
        before = _copy_beside(path) if path.exists() else None
    except StoreDamagedError:
        before = None  # what replaces a damaged store keeps it
    try:
        yield
    finally:
        if before is not None:
            with LengthStore.open(path, read_only=True) as store, LengthStore.open(before, read_only=True) as copy:
                forgotten = not store.has_all_of(copy)
            if forgotten:
                logger.warning("lapo: %s had records that are forgotten now; they are kept in %s", path, before)
            else:
                before.unlink()


def _copy_beside(path: Path) -> Path:
    number = 1
    while (copy := path.with_name(f"{path.name}.old{number}")).exists():
        number += 1
    with LengthStore.open(path, read_only=True) as store:
        store.snapshot(copy)
    return copy
