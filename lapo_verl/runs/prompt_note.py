"""How a training's problems became prompts, noted in each checkpoint so that ``lapo eval`` asks the same way."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from lapo_verl.runs.notes import read_note, write_note

FILE = "lapo_prompt.json"


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
        write_note(checkpoint, FILE, asdict(self))


def read_prompt_note(weights: Path) -> PromptNote | None:
    """The note beside a folder of weights, if any.

    Raises:
        NoteError: there is a note, and it cannot be read.
    """
    return read_note(weights, FILE, lambda values: PromptNote(**values))
