"""Which weights a checkpoint names, and a fingerprint by which changed ones are noticed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from lapo_verl.evaluate.settings import EvalError, check_name
from lapo_verl.hub import is_hub_name, why_out_of_reach
from lapo_verl.runs.checkpoints import SHARDS, WEIGHTS, checkpoints_of, model_in, why_no_model
from lapo_verl.runs.notes import NoteError
from lapo_verl.runs.prompt_note import PromptNote, read_prompt_note
from lapo_verl.runs.training_note import TrainingNote, read_training_note

# Everything of a Hugging Face folder that the model's answers follow from.
_READ = (*WEIGHTS, ".json", ".jinja", ".model", ".txt")
_CHUNK = 1 << 24
_ON_THE_HUB = "hub:"


@dataclass(frozen=True)
class Model:
    """One checkpoint.

    Attributes:
        name: how tables and samples call it.
        path: what verl loads: a Hugging Face folder, or a name on the hub.
        fingerprint: a hash of the folder's files; of a hub's model its name.
        context: tokens that it holds, prompt and response together; None where that is not known.
        prompt: how the problems of its training became prompts; None where no note of that is beside the weights.
        training: what it was trained with; None where no note of that is beside the weights.
    """

    name: str
    path: str
    fingerprint: str
    context: int | None = None
    prompt: PromptNote | None = None
    training: TrainingNote | None = None


def resolve_model(name: str, given: str | Path) -> Model:
    """The weights behind a Hugging Face folder, a folder ``global_step_N`` of verl's, or a name on the hub.

    Of a run's folder they are those of the newest checkpoint that has some.

    Raises:
        EvalError: there is no such folder, or it has no Hugging Face weights.
    """
    check_name("model", name)
    folder = Path(given).expanduser()
    if not folder.is_dir():
        if isinstance(given, str) and is_hub_name(given) and not folder.exists():
            return Model(name, given, f"{_ON_THE_HUB}{given}")
        raise EvalError(f"model {name}: {given}: no such folder (a model of the hub is named owner/name)")
    for candidate in (folder, *checkpoints_of(folder)):
        weights = model_in(candidate)
        if weights is not None:
            path = weights.resolve()
            return Model(name, str(path), _fingerprint(path), _context(path / "config.json"), *_notes(path))
    raise EvalError(f"model {name}: {_what_is_missing(folder)}")


def check_reachable(model: Model) -> None:
    """Find out in seconds, and not in verl's minutes, that a model of the hub cannot be loaded.

    Raises:
        EvalError: it cannot.
    """
    if not model.fingerprint.startswith(_ON_THE_HUB):
        return
    reason = why_out_of_reach(model.path)
    if reason is not None:
        raise EvalError(
            f"model {model.name}: {model.path} cannot be loaded: {reason}. Download it elsewhere and give its folder, "
            "or set HF_ENDPOINT to a mirror"
        )


def _notes(weights: Path) -> tuple[PromptNote | None, TrainingNote | None]:
    try:
        return read_prompt_note(weights), read_training_note(weights)
    except NoteError as error:
        raise EvalError(str(error)) from error


def _what_is_missing(folder: Path) -> str:
    checkpoints = checkpoints_of(folder)
    if checkpoints or list(folder.rglob(SHARDS)):
        return why_no_model((*checkpoints, folder)[0])
    return f"{folder} is not a Hugging Face model: it needs config.json and weights ({' or '.join(WEIGHTS)})"


def _context(config: Path) -> int | None:
    try:
        context = json.loads(config.read_text(encoding="utf-8")).get("max_position_embeddings")
    except (ValueError, AttributeError) as error:
        raise EvalError(f"{config}: is not a model's configuration: {error}") from error
    return context if isinstance(context, int) else None


def _fingerprint(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.suffix in _READ:
            digest.update(f"{path.name}\0{path.stat().st_size}\0".encode())
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK):
                    digest.update(chunk)
    return digest.hexdigest()
