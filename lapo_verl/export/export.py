"""``lapo export``: from a checkpoint to a folder that vLLM, transformers and a hub take as it is."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lapo_verl.evaluate.models import resolve_model
from lapo_verl.export.card import FILE as CARD
from lapo_verl.export.card import Evaluated, model_card, read_evaluation
from lapo_verl.export.errors import ExportError
from lapo_verl.export.lineage import lineage_of
from lapo_verl.export.prompts import TEMPLATE, write_prompts
from lapo_verl.export.source import Source, check_whole, find_source
from lapo_verl.export.weights import write_adapter, write_weights
from lapo_verl.runs.trained_sentence import SentenceError, trained_sentence


@dataclass(frozen=True)
class Request:
    """What is to be exported, and how.

    Attributes:
        checkpoint: a run, its ``global_step_N``, or a Hugging Face folder.
        evaluation: a folder of ``lapo eval`` whose results the card shows.
        base_model: name on the hub; None for the one that the checkpoint's notes tell of.
        keep_adapter: write a LoRA adapter alone, and not the model that it makes.
        force: replace an earlier export.
        overrides: ``lapo.guidance.KEY=VALUE``, for a checkpoint that does not note its sentence.
    """

    checkpoint: Path
    output: Path
    evaluation: Path | None = None
    base_model: str | None = None
    keep_adapter: bool = False
    force: bool = False
    overrides: Sequence[str] = ()


def export(request: Request, say: Callable[[str], object]) -> Path:
    """Write the folder, whole or not at all; an earlier export is replaced when the new one is whole.

    Args:
        say: what was done, a line each.

    Raises:
        ExportError: the checkpoint cannot be exported as asked; the message says what to do.
    """
    output = request.output.expanduser().resolve()
    source = find_source(request.checkpoint)
    _check_output(output, source, request.force)
    evaluated = _evaluated(request, source)
    lineage = lineage_of(source.folder)
    base_model = request.base_model or lineage.base_model
    if request.keep_adapter and base_model is None:
        raise ExportError("--keep-adapter: an adapter needs the name of its base model; give it with --base-model")
    try:
        sentence = trained_sentence(lineage.note, request.overrides)
    except SentenceError as error:
        raise ExportError(str(error)) from error
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{output.name}.", dir=output.parent) as beside:
        folder = Path(beside) / output.name
        folder.mkdir()
        # The prompt first: it is done in seconds, and what is wrong with it is known before gigabytes are written.
        prompts = write_prompts(source.folder, folder, sentence, lineage.prompt)
        if request.keep_adapter:
            assert base_model is not None
            say(f"weights: {write_adapter(source, folder, base_model)}")
        else:
            say(f"weights: {write_weights(source, folder)}")
            check_whole(folder)
        say(prompts)
        card = model_card(output.name, lineage, base_model, sentence.guidance, evaluated)
        (folder / CARD).write_text(card, encoding="utf-8")
        if output.exists():
            shutil.rmtree(output)
        folder.rename(output)
    return output


def _evaluated(request: Request, source: Source) -> Evaluated | None:
    if request.evaluation is None:
        return None
    if source.shards is not None:
        raise ExportError(
            "--eval: this export merges the weights, so no evaluation of them exists yet; leave --eval out, and "
            "evaluate the export"
        )
    return read_evaluation(request.evaluation, resolve_model("exported", source.folder).fingerprint)


def _check_output(output: Path, source: Source, force: bool) -> None:
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return
    if source.folder.resolve().is_relative_to(output):
        raise ExportError(f"{output}: is, or contains, the checkpoint; give another folder")
    if not force:
        raise ExportError(f"{output}: is not empty; give another folder, or replace it with --force")
    if not ((output / TEMPLATE).is_file() and (output / CARD).is_file()):
        raise ExportError(f"{output}: is not an earlier export, and --force replaces nothing else; give another folder")
