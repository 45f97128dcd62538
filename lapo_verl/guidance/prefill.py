"""Where the guidance meets the prompt: inside the think block, token by token."""

from __future__ import annotations

import re
from typing import Any

from lapo_verl.guidance.think import END_THINK, THINK, template_text, thinks

# How a template writes the block's opening: a file has the newline itself, a jinja string its escape.
_OPENS_WITH_NEWLINE = re.compile(rf"{THINK}(\\n|\n)")
# Tokens that the end of a prompt is read from.
_TAIL = 16


def append_guidance(prompt_ids: list[int], guidance: str, tokenizer: Any, template: str | None = None) -> list[int]:
    """The prompt's token ids with the guidance's after them; the prompt's own never change.

    Args:
        prompt_ids: the chat template's tokens, generation prompt included.
        guidance: the sentence, with the space that joins it to ``<think>``.
        template: the chat template where it is not the tokenizer's own.

    Raises:
        ValueError: the template has closed the think block already.
    """
    text = guidance_with_seam(prompt_ids, guidance, tokenizer, template)
    return list(prompt_ids) + list(tokenizer.encode(text, add_special_tokens=False))


def guidance_with_seam(prompt_ids: list[int], guidance: str, tokenizer: Any, template: str | None = None) -> str:
    """The text that is appended: the sentence, after an opening of the think block where the template has none.

    A model without think blocks gets the sentence as the beginning of its turn.

    Raises:
        ValueError: the template has closed the think block already.
    """
    tail = tokenizer.decode(prompt_ids[-_TAIL:], skip_special_tokens=False)
    if tail.rstrip().endswith(END_THINK):
        raise ValueError(
            f"the prompt ends in {tail[-40:]!r}: the chat template closes the think block, so the model would not "
            "think. Turn thinking on (+data.apply_chat_template_kwargs.enable_thinking=true), or set "
            "lapo.guidance.place=outside"
        )
    if not tail.rstrip().endswith(THINK) and thinks(tokenizer, template):
        return opening(tokenizer, template) + guidance.lstrip()
    # After a line's end a space would be a token that the model never saw there.
    return guidance.lstrip() if tail[-1:].isspace() else guidance


def opening(tokenizer: Any, template: str | None = None) -> str:
    """``<think>`` and what the chat template puts behind it: a line's end, or the paper's space."""
    return f"{THINK}\n" if _OPENS_WITH_NEWLINE.search(template_text(tokenizer, template)) else f"{THINK} "
