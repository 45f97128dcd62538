"""How a training's problems became prompts, noted in each checkpoint so that ``lapo eval`` asks the same way."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from lapo_verl.files import write_whole

FILE = "lapo_prompt.json"


class PromptNoteError(ValueError):
    """A note that cannot be read; the message names its file."""


@dataclass(frozen=True)
class PromptNote:
    """``lapo.prompt`` of a training, and the chat template behind it.

    Attributes:
        name: ``model``, ``paper``, or a name of the user's own.
        template: jinja text; None for the model's own.
    """

    name: str
    template: str | None

    def write(self, checkpoint: Path) -> None:
        """Put the note into a checkpoint's folder, ``global_step_N``."""
        write_whole(checkpoint / FILE, json.dumps(asdict(self), indent=2) + "\n")


def read_note(weights: Path) -> PromptNote | None:
    """The note of the checkpoint that a folder of weights (``global_step_N/actor/huggingface``) is part of, if any.

    Raises:
        PromptNoteError: there is a note, and it cannot be read.
    """
    path = note_beside(weights, FILE)
    if path is None:
        return None
    try:
        return PromptNote(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise PromptNoteError(f"{path}: cannot be read ({error}); copy it again, or remove it") from error


def note_beside(weights: Path, file: str) -> Path | None:
    """The file of this name in the checkpoint that a folder of weights is part of, or is; None where it has none."""
    places = (folder / file for folder in (weights, *weights.parents[:3]))
    return next((path for path in places if path.is_file()), None)
