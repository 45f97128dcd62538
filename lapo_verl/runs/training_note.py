"""What a training was made with, noted in each checkpoint, so that its model can be served and described."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lapo_verl.guidance.config import GuidanceConfig
from lapo_verl.runs.notes import read_note, write_note

FILE = "lapo_training.json"
# verl's keys that a reader of the model's description asks for.
KEYS = (
    "algorithm.adv_estimator",
    "actor_rollout_ref.rollout.n",
    "actor_rollout_ref.rollout.temperature",
    "data.train_batch_size",
    "data.max_response_length",
    "actor_rollout_ref.actor.optim.lr",
    "actor_rollout_ref.actor.kl_loss_coef",
    "actor_rollout_ref.model.lora_rank",
)


@dataclass(frozen=True)
class TrainingNote:
    """One training.

    Attributes:
        model: that it started with, as ``actor_rollout_ref.model.path`` names it.
        data: names of the training files.
        guidance: ``lapo.guidance``; None where its objective names no budget in the prompt.
        keys: values of ``KEYS``.
    """

    model: str
    data: tuple[str, ...]
    guidance: GuidanceConfig | None
    keys: Mapping[str, Any]

    def write(self, checkpoint: Path) -> None:
        """Put the note into a checkpoint's folder, ``global_step_N``."""
        write_note(checkpoint, FILE, asdict(self))


def read_training_note(weights: Path) -> TrainingNote | None:
    """The note beside a folder of weights, if any.

    Raises:
        NoteError: there is a note, and it cannot be read.
    """
    return read_note(weights, FILE, _parsed)


def _parsed(values: Any) -> TrainingNote:
    guidance = values["guidance"]
    return TrainingNote(
        model=values["model"],
        data=tuple(values["data"]),
        guidance=None if guidance is None else GuidanceConfig(**guidance),
        keys=dict(values["keys"]),
    )
