"""What a model's config.json says of its size: parameters, bytes of a token in the KV cache, context."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class ModelShape:
    """A decoder-only transformer with gated feed-forward blocks, as Llama, Qwen, Gemma and Mistral are.

    Attributes:
        parameters: of the whole model; norms and biases are left out, below 0.1 %.
        kv_values: numbers that one token takes in the KV cache, over all layers.
        layers, hidden, vocabulary: of the network; ``vocabulary`` in tokens.
        context: tokens, prompt and response together; None where the config does not say.
    """

    parameters: int
    kv_values: int
    layers: int
    hidden: int
    vocabulary: int
    context: int | None

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> ModelShape | None:
        """Of a config.json's content; None where it describes another kind of model.

        >>> ModelShape.from_config({"hidden_size": 4, "intermediate_size": 8, "num_hidden_layers": 2, "vocab_size": 10,
        ...                         "num_attention_heads": 2, "tie_word_embeddings": True}).parameters
        360
        """
        text = config.get("text_config") or config  # a model that sees images holds its language model's there
        try:
            hidden, layers, heads = (
                int(text[key]) for key in ("hidden_size", "num_hidden_layers", "num_attention_heads")
            )
            feed_forward, vocabulary = int(text["intermediate_size"]), int(text["vocab_size"])
        except (KeyError, TypeError, ValueError):
            return None
        head = int(text.get("head_dim") or hidden // heads)
        kv_heads = int(text.get("num_key_value_heads") or heads)
        attention = 2 * hidden * head * (heads + kv_heads)  # query and output, key and value
        experts = int(text.get("num_experts") or text.get("num_local_experts") or 1)
        if experts > 1:
            feed_forward = int(text.get("moe_intermediate_size") or feed_forward)
        tied = text.get("tie_word_embeddings", config.get("tie_word_embeddings", False))
        context = text.get("max_position_embeddings")
        return cls(
            parameters=layers * (attention + 3 * hidden * feed_forward * experts)
            + vocabulary * hidden * (2 - bool(tied)),
            kv_values=2 * layers * kv_heads * head,
            layers=layers,
            hidden=hidden,
            vocabulary=vocabulary,
            context=context if isinstance(context, int) else None,
        )


def read_model_config(path: str) -> Mapping[str, Any] | None:
    """The config.json of a folder, or of a model on the hub that this machine has in its cache; None for others.

    Asks no server.
    """
    folder = Path(path).expanduser()
    file = folder / "config.json" if folder.is_dir() else _cached(path)
    if file is None or not file.is_file():
        return None
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:  # the model's load says what is wrong with the file
        return None
    return config if isinstance(config, Mapping) else None


def _cached(name: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(name, "config.json")
    except HFValidationError:  # no name that the hub can have
        return None
    return Path(found) if isinstance(found, str) else None
