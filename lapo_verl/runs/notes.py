"""Notes that a training leaves in each checkpoint, as JSON files, and how they are found beside the weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from lapo_verl.files import write_whole

Note = TypeVar("Note")


class NoteError(ValueError):
    """A note that cannot be read; the message names its file."""


def write_note(checkpoint: Path, file: str, values: dict[str, Any]) -> None:
    """Put a note into a checkpoint's folder, ``global_step_N``."""
    write_whole(checkpoint / file, json.dumps(values, indent=2) + "\n")


def read_note(weights: Path, file: str, parse: Callable[[Any], Note]) -> Note | None:
    """The note of the checkpoint that a folder of weights (``global_step_N/actor/huggingface``) is part of, if any.

    Raises:
        NoteError: there is a note, and ``parse`` cannot read it.
    """
    path = note_beside(weights, file)
    if path is None:
        return None
    try:
        return parse(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError, KeyError) as error:
        raise NoteError(f"{path}: cannot be read ({error}); copy it again, or remove it") from error


def note_beside(weights: Path, file: str) -> Path | None:
    """The file of this name in the checkpoint that a folder of weights is part of, or is; None where it has none."""
    places = (folder / file for folder in (weights, *weights.parents[:3]))
    return next((path for path in places if path.is_file()), None)
