"""A copy of a model whose tokenizer transformers loads as its tokenizer.json says."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from lapo_verl.doctor.tokenizer_round_trip import FILE, TokenizerError, find_difference

CONFIG = "tokenizer_config.json"
# The class that takes tokenizer.json as it is.
PLAIN_CLASS = "PreTrainedTokenizerFast"
# What a model folder has beside its weights. Only these are copied; the rest is linked to.
COPIED = (".json", ".jinja", ".txt", ".md", ".py")


def repair_tokenizer(model: str, target: Path) -> Path:
    """Write a model folder with the tokenizer class ``PreTrainedTokenizerFast``; weights are links to the model's own.

    Args:
        model: a folder in Hugging Face format, or a name on the hub, which is downloaded where it is not in the cache.

    Raises:
        TokenizerError: there is nothing to repair, the target has files, or the copy has the same fault.
    """
    from transformers import AutoTokenizer

    source = _folder(model)
    if find_difference(AutoTokenizer.from_pretrained(source), source / FILE) is None:
        raise TokenizerError(f"{model}: the tokenizer reads texts as its {FILE} says; there is nothing to repair")
    target = target.expanduser()
    if target.exists() and any(target.iterdir()):
        raise TokenizerError(f"{target}: is not empty; give a new folder")
    _copy(source, target)
    difference = find_difference(AutoTokenizer.from_pretrained(target), target / FILE)
    if difference is not None:
        shutil.rmtree(target)
        raise TokenizerError(
            f"{model}: cannot be repaired: transformers has a tokenizer of its own for this model_type, whatever class "
            f"{CONFIG} names. {difference}"
        )
    return target


def _copy(source: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for path in source.iterdir():
        if path.name == CONFIG:
            continue
        if path.is_file() and path.suffix in COPIED:
            shutil.copyfile(path, target / path.name)
        else:
            (target / path.name).symlink_to(path.resolve())
    config = source / CONFIG
    values = json.loads(config.read_text(encoding="utf-8")) if config.is_file() else {}
    values["tokenizer_class"] = PLAIN_CLASS
    (target / CONFIG).write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _folder(model: str) -> Path:
    folder = Path(model).expanduser()
    if not folder.is_dir():
        from huggingface_hub import snapshot_download

        folder = Path(snapshot_download(model))
    if not (folder / FILE).is_file():
        raise TokenizerError(f"{model}: has no {FILE}, which a repaired copy is made of")
    return folder
