"""Which trainings made a model, read from the files of its checkpoint: the notes, and the length store's snapshot."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lapo_verl.export.errors import ExportError
from lapo_verl.hub import is_hub_name
from lapo_verl.runs.checkpoints import SNAPSHOT
from lapo_verl.runs.notes import NoteError, note_beside
from lapo_verl.runs.prompt_note import PromptNote, read_prompt_note
from lapo_verl.runs.training_note import TrainingNote, read_training_note
from lapo_verl.store import LengthStore, StoreError


@dataclass(frozen=True)
class Lineage:
    """A model's trainings.

    Attributes:
        note: of the last training; None where its checkpoint has none.
        prompt: of the last training.
        base_model: name on the hub of the model that the first training began with; None where that was a folder.
        runs: (objective's name, its fields, steps) of each training that the store knows, oldest first.
    """

    note: TrainingNote | None
    prompt: PromptNote | None
    base_model: str | None
    runs: tuple[tuple[str, dict[str, Any], int], ...]


def lineage_of(weights: Path) -> Lineage:
    """What the checkpoint of a folder of weights says.

    Raises:
        ExportError: a note or the snapshot cannot be read.
    """
    try:
        note = read_training_note(weights)
        return Lineage(note, read_prompt_note(weights), _base_model(note), _runs(weights))
    except (NoteError, StoreError) as error:
        raise ExportError(str(error)) from error


def _base_model(note: TrainingNote | None) -> str | None:
    """The name that the first of the trainings began with: stage 2 begins with a checkpoint of stage 1."""
    seen: set[Path] = set()
    while note is not None:
        model = Path(note.model).expanduser()
        if model in seen:  # a copy of a checkpoint may name itself
            return None
        seen.add(model)
        if not model.exists():
            return note.model if is_hub_name(note.model) else None
        note = read_training_note(model)
    return None


def _runs(weights: Path) -> tuple[tuple[str, dict[str, Any], int], ...]:
    snapshot = note_beside(weights, SNAPSHOT)
    if snapshot is None:
        return ()
    with LengthStore.open(snapshot, read_only=True) as store:
        return tuple((run.name, run.objective, run.steps) for run in store.runs())
