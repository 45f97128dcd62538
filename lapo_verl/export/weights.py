"""The weights of an export, in safetensors: copied, converted, or merged by verl's own merger."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from lapo_verl.export.errors import ExportError
from lapo_verl.export.source import Source

ADAPTER_CONFIG = "adapter_config.json"
_ADAPTER = "lora_adapter"


def write_weights(source: Source, target: Path) -> str:
    """Write the weights and config.json into ``target``; returns how they came to be, for the user.

    Raises:
        ExportError: verl's merger fails, or the weights cannot be read.
    """
    if source.shards is None:
        return _copy(source.folder, target)
    merged = target / "merged"
    _merge(source.shards, merged)
    if source.is_lora:
        _merge_adapter(merged, target)
    else:
        _copy(merged, target)
    shutil.rmtree(merged)
    return f"merged from {source.shards} by verl's merger, in bfloat16{', with the adapter' * source.is_lora}"


def write_adapter(source: Source, target: Path, base_model: str) -> str:
    """Write the LoRA adapter alone, which names its base model; returns how it came to be.

    Raises:
        ExportError: the training had none, or verl's merger fails.
    """
    if source.shards is None or not source.is_lora:
        raise ExportError(f"{source.folder}: has no LoRA adapter; leave --keep-adapter out")
    merged = target / "merged"
    _merge(source.shards, merged)
    for path in (merged / _ADAPTER).iterdir():
        shutil.copyfile(path, target / path.name)
    config = json.loads((target / ADAPTER_CONFIG).read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = base_model
    (target / ADAPTER_CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    shutil.rmtree(merged)
    return f"LoRA adapter from {source.shards} by verl's merger, in bfloat16"


def _copy(folder: Path, target: Path) -> str:
    """Byte for byte; weights in another format than safetensors are written anew, in the dtype that they have."""
    shutil.copyfile(folder / "config.json", target / "config.json")
    files = [*folder.glob("*.safetensors"), *folder.glob("*.safetensors.index.json")]
    for path in files:
        shutil.copyfile(path, target / path.name)
    if files:
        return f"copied from {folder}"
    _load(folder).save_pretrained(target)
    return f"converted to safetensors from {folder}"


def _merge(shards: Path, target: Path) -> None:
    command = [sys.executable, "-m", "verl.model_merger", "merge", "--backend", "fsdp"]
    command += ["--local_dir", str(shards), "--target_dir", str(target)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
        raise ExportError(f"{shards}: verl's merger fails: {last}; see {' '.join(command[1:])}")


def _merge_adapter(merged: Path, target: Path) -> None:
    try:
        from peft import PeftModel
    except ImportError as error:
        raise ExportError("a LoRA adapter is merged with the package peft: pip install peft") from error
    model = PeftModel.from_pretrained(_load(merged), merged / _ADAPTER)
    model.merge_and_unload().save_pretrained(target)


def _load(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    try:
        return AutoModelForCausalLM.from_pretrained(folder, dtype="auto")
    except (OSError, ValueError, RuntimeError) as error:
        raise ExportError(f"{folder}: the weights cannot be loaded ({error})") from error
