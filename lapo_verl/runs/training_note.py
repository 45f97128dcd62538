"""What a training was made with, noted in each checkpoint, so that its model can be served and described."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lapo_verl.files import write_whole
from lapo_verl.guidance.config import GuidanceConfig
from lapo_verl.runs.prompt_note import note_beside

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


class TrainingNoteError(ValueError):
    """A note that cannot be read; the message names its file."""


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
        write_whole(checkpoint / FILE, json.dumps(asdict(self), indent=2) + "\n")


def read_training_note(weights: Path) -> TrainingNote | None:
    """The note of the checkpoint that a folder of weights (``global_step_N/actor/huggingface``) is part of, if any.

    Raises:
        TrainingNoteError: there is a note, and it cannot be read.
    """
    path = note_beside(weights, FILE)
    if path is None:
        return None
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        guidance = values["guidance"]
        return TrainingNote(
            model=values["model"],
            data=tuple(values["data"]),
            guidance=None if guidance is None else GuidanceConfig(**guidance),
            keys=dict(values["keys"]),
        )
    except (ValueError, TypeError, KeyError) as error:
        raise TrainingNoteError(f"{path}: cannot be read ({error}); copy it again, or remove it") from error
