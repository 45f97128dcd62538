"""verl's checkpoint hook, and its missing counterpart: the length store goes and comes with the checkpoints.

Notes of the prompt and of the training go with them as well.

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

from omegaconf import DictConfig, OmegaConf
from verl.trainer.ppo.checkpoint_callback import CheckpointCallback
from verl.utils.checkpoint.checkpoint_manager import find_latest_ckpt_path

from lapo_verl.config import LapoConfig
from lapo_verl.objectives import Objective
from lapo_verl.runs.checkpoints import SNAPSHOT
from lapo_verl.runs.prompt_note import PromptNote
from lapo_verl.runs.starting_point import starting_point
from lapo_verl.runs.training_note import KEYS, TrainingNote
from lapo_verl.store import LengthStore, StoreDamagedError, StoreError

# The step of the earlier run that this one began with, noted in its store; None where a store's file was named.
STARTING_STEP = "starting_step"
logger = logging.getLogger(__name__)


class NotesOfTraining(CheckpointCallback):  # type: ignore[misc]
    """Notes in each checkpoint's folder how problems became prompts, for evaluations, and what the training was."""

    def on_save(
        self, trainer: Any, global_step: int, checkpoint_dir: str, async_save: bool = False, **kwargs: Any
    ) -> None:
        """Called by verl after a checkpoint."""
        config, folder = trainer.config, Path(checkpoint_dir)
        template = config.data.apply_chat_template_kwargs.get("chat_template")
        PromptNote(str(config.lapo.prompt), template).write(folder)
        _note_of(config).write(folder)


class StoreSnapshot(NotesOfTraining):
    """Writes a snapshot of the store into each checkpoint's folder; the store's own file is whole as well then."""

    def on_save(
        self, trainer: Any, global_step: int, checkpoint_dir: str, async_save: bool = False, **kwargs: Any
    ) -> None:
        """Called by verl after a checkpoint; an error here ends the training, so no checkpoint lacks its store."""
        super().on_save(trainer, global_step, checkpoint_dir, async_save, **kwargs)
        store: LengthStore = trainer.replay_buffer.store
        store.snapshot(Path(checkpoint_dir) / SNAPSHOT)
        store.make_whole()


def _note_of(config: DictConfig) -> TrainingNote:
    lapo, files = LapoConfig.parse(config.lapo), config.data.train_files
    return TrainingNote(
        model=str(config.actor_rollout_ref.model.path),
        data=tuple(Path(str(file)).name for file in ([files] if isinstance(files, str) else files)),
        guidance=lapo.guidance if lapo.objective.names_budget else None,
        keys={key: OmegaConf.select(config, key) for key in KEYS},
    )


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


def open_store(config: LapoConfig, checkpoint: Checkpoint | None) -> LengthStore:
    """The store opened for writing, as it was at ``checkpoint``, or as the run starts with where that is None.

    A run starts with the store that ``lapo.init_from`` names. Without, one whose objective needs the targets of an
    earlier run starts with what ``lapo.store`` has of such runs, every other one with nothing.

    Nothing is lost: a store whose records are forgotten is copied beside itself first.

    Raises:
        StoreError: there is no store to start from, neither snapshot nor store reach back to the checkpoint, or the
            checkpoint is another objective's.
    """
    config.store.parent.mkdir(parents=True, exist_ok=True)
    if checkpoint is not None:
        return _resume_store(config, checkpoint)
    objective, start = config.objective, None if config.init_from is None else starting_point(config.init_from)
    with _kept(config.store):
        if start is not None:
            _copy_earlier_runs(start.store, config.store, objective.name)
        elif config.store.exists():
            with LengthStore.open(config.store) as store:
                _forget(store, objective.name if objective.starts_from_targets else None)
    if objective.starts_from_targets and not config.store.exists():
        raise StoreError(
            f"{config.store}: {objective.name} starts from the store of an earlier run (stage 2 from stage 1's), and "
            "there is none; set lapo.init_from to the folder of that run"
        )
    store = LengthStore.open(config.store)
    if start is not None:
        store.set_meta(STARTING_STEP, start.step)
    return store


def check_run(store: LengthStore, objective: Objective, checkpoint: Checkpoint) -> None:
    """StoreError where ``checkpoint``, whose store is ``store``, was made by another run than ``objective``'s."""
    made_by = next((run.name for run in reversed(store.runs()) if run.steps), None)
    if made_by != objective.name:
        raise StoreError(
            f"{checkpoint.folder}: is a checkpoint of {made_by}, and this run is {objective.name}. verl would go on "
            f"from step {checkpoint.step} as if it were this run's own. Give {objective.name} a folder of its own "
            "(trainer.default_local_dir), or set trainer.resume_mode=disable"
        )


def _check_is_verls(folder: Path) -> None:
    if not folder.is_dir():
        there = sorted(path.name for path in folder.parent.glob("global_step_*"))
        hint = f"there are {', '.join(there)}" if there else f"{folder.parent} has none"
        raise ValueError(f"{folder}: no such checkpoint ({hint}); set trainer.resume_from_path to one")
    if not (folder / "actor").is_dir():
        raise ValueError(
            f"{folder}: is not a checkpoint of verl's: it has no folder actor/ with the weights. Resume from another "
            "one (verl removes the weights of old checkpoints where trainer.max_actor_ckpt_to_keep is set)"
        )


def _copy_earlier_runs(source: Path, target: Path, name: str) -> None:
    """The store at ``source``, which stays as it is, without the run ``name`` and what came after it."""
    LengthStore.restore(source, target)
    with LengthStore.open(target) as store:
        steps = {run.name: run.steps for run in store.runs()}.get(name, 0)
        _forget(store, name)
    if steps:
        logger.warning(
            "lapo: %s has %d steps of %s as well; %s starts from what came before, without them",
            source,
            steps,
            name,
            target,
        )


def _forget(store: LengthStore, name: str | None) -> None:
    """Forgets the run ``name`` and what came after it, nothing where there is no such run; all runs where None."""
    runs = [run.name for run in store.runs()]
    first = name if name is not None else next(iter(runs), None)
    if first in runs:
        store.rewind(first, -1)


def _resume_store(config: LapoConfig, checkpoint: Checkpoint) -> LengthStore:
    snapshot, name = checkpoint.folder / SNAPSHOT, config.objective.name
    if snapshot.exists():
        with LengthStore.open(snapshot, read_only=True) as store:
            check_run(store, config.objective, checkpoint)
        with _kept(config.store):
            LengthStore.restore(snapshot, config.store)
        logger.warning("lapo: store %s put back to %s", config.store, snapshot)
        return LengthStore.open(config.store)
    # The process died between verl's checkpoint and our snapshot. The store itself has then seen that step.
    if not config.store.exists():
        raise StoreError(f"{snapshot}: missing, and so is the store {config.store}; resume from another checkpoint")
    with LengthStore.open(config.store, read_only=True) as store:
        check_run(store, config.objective, checkpoint)
        last = store.last_step(name)
    if last is None or last < checkpoint.step:
        raise StoreError(
            f"{snapshot}: missing, and the store {config.store} ends at step {last} of {name}, before the checkpoint's "
            f"step {checkpoint.step}; resume from another checkpoint"
        )
    with _kept(config.store), LengthStore.open(config.store) as store:
        forgotten = store.rewind(name, checkpoint.step)
    logger.warning("lapo: store %s rewound to step %d, %d records forgotten", config.store, checkpoint.step, forgotten)
    return LengthStore.open(config.store)


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
