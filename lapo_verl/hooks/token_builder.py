"""Which of verl's token builders makes a model's prompts.

verl 0.9.1 looks a builder up by config.json's ``model_type``. A builder needs tokens of its model family, and some
models have another family's tokenizer: DeepSeek-R1-Distill-Qwen is of type ``qwen2`` and has no ``<|im_end|>``, so
verl's agent loop raises (verl issue 7637).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from verl.utils.tokenizer.continuous_token_wiring import create_continuous_token_builder

from lapo_verl.guidance.think import token_id

# verl's DeepSeek builder needs this token.
DEEPSEEK_END = "<\uff5cend\u2581of\u2581sentence\uff5c>"
DEEPSEEK_TYPE = "deepseek_v3"


@dataclass(frozen=True)
class TokenBuilder:
    """verl's builder for a tokenizer.

    Attributes:
        hf_model_type: by which verl's agent loop finds it; None for verl's general one.
        name: of verl's class.
        why: it was chosen; for the user.
    """

    hf_model_type: str | None
    name: str
    why: str


def choose_builder(tokenizer: Any, hf_model_type: str | None, processor: Any = None) -> TokenBuilder:
    """The builder that verl would take; where the tokenizer lacks what that one needs, DeepSeek's or the general one.

    In a single turn every builder writes the same prompt, the chat template's: they differ in how they join turns.

    Args:
        hf_model_type: ``model_type`` of config.json.
        processor: of a model that sees images; None for one that reads text alone.

    Raises:
        ValueError: a processor and a text model's builder; no other builder helps.
    """
    try:
        name = _builder_name(tokenizer, hf_model_type, processor)
        return TokenBuilder(hf_model_type, name, f"verl's choice for model_type {hf_model_type!r} in config.json")
    except ValueError as error:
        if processor is not None:
            raise
        other = DEEPSEEK_TYPE if token_id(tokenizer, DEEPSEEK_END) is not None else None
        why = f"verl's builder for model_type {hf_model_type!r} does not fit the tokenizer: {error}"
        return TokenBuilder(other, _builder_name(tokenizer, other, processor), why)


def _builder_name(tokenizer: Any, hf_model_type: str | None, processor: Any) -> str:
    builder = create_continuous_token_builder(tokenizer, hf_model_type=hf_model_type, processor=processor)
    return type(builder).__name__
