"""The model as verl's agent loop loads it, without its weights, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from verl.utils.config import omega_conf_to_dataclass

from lapo_verl.config import LapoConfig
from lapo_verl.doctor.diagnostic import Finding
from lapo_verl.doctor.model_shape import ModelShape
from lapo_verl.guidance.think import template_text, thinks
from lapo_verl.hub import why_out_of_reach
from lapo_verl.runs.checkpoints import why_no_model

KEY = "actor_rollout_ref.model.path"
WEIGHT_FILES = ("*.safetensors", "*.bin")


class ModelError(ValueError):
    """The model cannot be loaded; the message names its key and says what to do."""


@dataclass(frozen=True)
class Model:
    """What turns messages into tokens.

    Attributes:
        path: as configured.
        tokenizer_path: as configured; ``path`` where there is none of its own.
        processor: of a model that sees images; else None.
        hf_model_type: ``model_type`` of its config.json, by which verl chooses how to build tokens.
        template: the chat template in use; "" where there is none.
        shape: its size and context; None of another kind of model.
        pads: whether the tokenizer has a pad token of its own, which verl would replace by the text's end.
    """

    path: str
    tokenizer_path: str
    tokenizer: Any
    processor: Any
    hf_model_type: str | None
    template: str
    shape: ModelShape | None
    pads: bool


def load_model(config: DictConfig) -> Model:
    """Tokenizer, processor and config.json, by verl's own ``HFModelConfig``.

    Raises:
        ModelError: a folder is missing, the hub is out of reach, or a file cannot be read.
    """
    node = config.actor_rollout_ref.model
    path, tokenizer_path = str(node.path), str(node.tokenizer_path or node.path)
    for name in (path, tokenizer_path):
        reason = why_out_of_reach(name) if _is_hub_name(name) else None
        if reason is not None:
            raise ModelError(_not_loaded(path, tokenizer_path, reason))
    try:
        loaded = omega_conf_to_dataclass(node)
    except Exception as error:  # what transformers raises is as varied as the files that it reads
        cause = error.__cause__ or error  # Hydra, which verl makes its config classes with, wraps what they raise
        reason = " ".join((str(cause).splitlines() or [type(cause).__name__])[0].split())
        raise ModelError(_not_loaded(path, tokenizer_path, reason)) from error
    hf_model_type = getattr(loaded.hf_config, "model_type", None)
    return Model(
        path=path,
        tokenizer_path=tokenizer_path,
        tokenizer=loaded.tokenizer,
        processor=loaded.processor,
        hf_model_type=hf_model_type if isinstance(hf_model_type, str) else None,
        template=template_text(loaded.tokenizer, config.data.apply_chat_template_kwargs.get("chat_template")),
        shape=ModelShape.from_config(loaded.hf_config.to_dict()),
        # As the files have it: verl has set pad_token to the text's end where they have none.
        pads=loaded.tokenizer.init_kwargs.get("pad_token") is not None,
    )


def model_findings(model: Model, settings: LapoConfig) -> Iterator[Finding]:
    """What is wrong with tokenizer, chat template and weights."""
    if not model.template:
        yield Finding(
            "error",
            f"the tokenizer of {model.tokenizer_path} has no chat template: set lapo.prompt=paper, or give one of your "
            "own as +lapo.prompt_templates.NAME=... with lapo.prompt=NAME",
        )
    if not model.pads:
        end, where = model.tokenizer.eos_token, f"the tokenizer of {model.tokenizer_path}"
        if end is None:
            text = "has neither a pad token nor an end token, and verl cannot pad its batches: set both"
            yield Finding("error", f"{where} {text} in its tokenizer_config.json")
        else:
            text = f"has no pad token, and verl pads with the end token {end!r}: set pad_token"
            yield Finding("warning", f"{where} {text} in its tokenizer_config.json")
    folder = Path(model.path).expanduser()
    if folder.is_dir() and not any(any(folder.glob(pattern)) for pattern in WEIGHT_FILES):
        yield Finding("error", _no_weights(folder))
    if settings.length.scope == "think" and not thinks(model.tokenizer, model.template):
        yield Finding(
            "warning",
            "lapo.length.scope=think, and the model has no think blocks: every response counts in full, as with "
            "lapo.length.scope=response",
        )


def _is_hub_name(name: str) -> bool:
    """Whether it is no folder here, and can be NAME or ORGANISATION/NAME on the hub."""
    return not (Path(name).expanduser().exists() or name.startswith((".", "/", "~")) or name.count("/") > 1)


def _not_loaded(path: str, tokenizer_path: str, reason: str) -> str:
    missing = [name for name in (path, tokenizer_path) if not Path(name).expanduser().exists()]
    if missing and not _is_hub_name(missing[0]):
        key = KEY if missing[0] == path else "actor_rollout_ref.model.tokenizer_path"
        return f"{key}={missing[0]}: no such folder"
    return (
        f"{KEY}={path}: tokenizer and config cannot be loaded ({reason}). Give a folder in Hugging Face format, or the "
        "name of a model on the hub that this machine reaches or has in its cache"
    )


def _no_weights(folder: Path) -> str:
    text = f"{KEY}={folder}: the folder contains no weights (*.safetensors)"
    if folder.name == "huggingface":  # verl's checkpoints have config and tokenizer there, and weights on request
        text += f". {why_no_model(folder.parents[1])}"
    return text
