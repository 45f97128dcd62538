"""What can be exported: a model in Hugging Face format, or verl's shards of one."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from lapo_verl.export.errors import ExportError
from lapo_verl.runs.checkpoints import LORA_NOTE, SHARDS, checkpoints_of, model_in, why_no_model

_NUMBERED = re.compile(r"(.*)-\d{5}-of-(\d{5})(\.\w+)")


@dataclass(frozen=True)
class Source:
    """A model to export.

    Attributes:
        folder: in Hugging Face format: config.json and tokenizer, and the weights unless they are in ``shards``.
        shards: verl's folder ``actor`` with ``model_world_size_*_rank_*.pt`` that the weights are merged from; None
            where ``folder`` has them.
        is_lora: whether the training's changes are an adapter, in the shards, beside the base model's weights.
    """

    folder: Path
    shards: Path | None = None
    is_lora: bool = False


def find_source(given: Path) -> Source:
    """The model of a Hugging Face folder, of a folder ``global_step_N``, or of a run's newest checkpoint that has one.

    Raises:
        ExportError: there is no such folder, it has no weights, or a part of them is missing.
    """
    given = given.expanduser()
    if not given.is_dir():
        raise ExportError(f"{given}: no such folder; give a run, its global_step_N, or a Hugging Face folder")
    candidates = (given, *checkpoints_of(given))
    source = next((found for found in map(_source_in, candidates) if found is not None), None)
    if source is None:
        raise ExportError(why_no_model(candidates[1] if len(candidates) > 1 else given))
    if source.shards is None:
        check_whole(source.folder)
    else:
        _check_shards(source.shards)
    return source


def check_whole(folder: Path) -> None:
    """ExportError where a file of a model's weights is missing or was cut off."""
    from safetensors import SafetensorError, safe_open

    files = {path.name for path in folder.iterdir()}
    for name in _expected(folder):
        if name not in files:
            raise ExportError(f"{folder / name}: this part of the weights is missing; copy the checkpoint again")
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(path, framework="pt") as weights:
                weights.keys()
        except SafetensorError as error:
            raise ExportError(f"{path}: cannot be read ({error}); copy the checkpoint again") from error


def _source_in(folder: Path) -> Source | None:
    weights = model_in(folder)
    if weights is not None:
        return Source(weights)
    actors = [folder / "actor", folder, *([folder.parent] if folder.name == "huggingface" else [])]
    shards = next((actor for actor in actors if any(actor.glob(SHARDS))), None)
    return None if shards is None else Source(shards / "huggingface", shards, (shards / LORA_NOTE).is_file())


def _expected(folder: Path) -> set[str]:
    """The weight files that a folder's index, or the numbers in their names, tell of."""
    expected: set[str] = set()
    for index in folder.glob("*.index.json"):
        try:
            expected |= set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        except (ValueError, KeyError, AttributeError) as error:
            raise ExportError(f"{index}: is not an index of weights ({error}); copy the checkpoint again") from error
    for found in (_NUMBERED.fullmatch(path.name) for path in folder.iterdir()):
        if found is not None:
            stem, count, suffix = found.groups()
            expected |= {f"{stem}-{number:05}-of-{count}{suffix}" for number in range(1, int(count) + 1)}
            expected.add(f"{stem}{suffix}.index.json")
    return expected


def _check_shards(actor: Path) -> None:
    config = actor / "fsdp_config.json"
    if not config.is_file():
        raise ExportError(
            f"{actor}: has shards and no {config.name}; only FSDP's are merged here. Merge others with python -m "
            "verl.model_merger merge, and export the folder that it makes"
        )
    try:
        count = int(json.loads(config.read_text(encoding="utf-8"))["world_size"])
    except (ValueError, KeyError, TypeError) as error:
        raise ExportError(f"{config}: does not say how many shards exist ({error})") from error
    for rank in range(count):
        shard = actor / f"model_world_size_{count}_rank_{rank}.pt"
        if not shard.is_file():
            raise ExportError(f"{shard}: this part of the weights is missing; copy the checkpoint again")
    if not (actor / "huggingface" / "config.json").is_file():
        raise ExportError(f"{actor / 'huggingface'}: has no config.json, which the shards are merged with")
