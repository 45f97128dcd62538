"""What a tokenizer knows of think blocks, and how much of a response is thought."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

THINK, END_THINK = "<think>", "</think>"


def thinks(tokenizer: Any, template: str | None = None) -> bool:
    """Whether the model has think blocks: a token for their opening, or a chat template that names it."""
    return token_id(tokenizer, THINK) is not None or THINK in template_text(tokenizer, template)


def template_text(tokenizer: Any, template: str | None = None) -> str:
    """The chat template in use: ``template`` where given, else the tokenizer's; "" where there is none."""
    if template is not None:
        return template
    own = tokenizer.chat_template
    if isinstance(own, dict):
        own = own.get("default")
    return own or ""


def token_id(tokenizer: Any, text: str) -> int | None:
    """The id of the one token that is ``text``; None where the vocabulary has none."""
    found = tokenizer.convert_tokens_to_ids(text)
    if found is None or tokenizer.convert_ids_to_tokens(found) != text:
        return None
    return int(found)


def think_length(response_ids: Sequence[int], tokenizer: Any) -> int:
    """Tokens up to and with the first ``</think>``; all of them where the block is never closed.

    Where ``</think>`` is no token of its own, it is the first position at which the decoded text holds it.
    """
    end = token_id(tokenizer, END_THINK)
    if end is not None and end in response_ids:
        return response_ids.index(end) + 1

    def closed(length: int) -> bool:
        return END_THINK in tokenizer.decode(response_ids[:length], skip_special_tokens=False)

    if not closed(len(response_ids)):
        return len(response_ids)
    short, long = 0, len(response_ids)
    while long - short > 1:
        middle = (short + long) // 2
        short, long = (short, middle) if closed(middle) else (middle, long)
    return long
