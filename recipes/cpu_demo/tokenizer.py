"""The demo's own tokenizer: one token a digit, a symbol or a word, and a chat template with a think block."""

from __future__ import annotations

from toy import tokenizer as toy_tokenizer
from toy.tokenizer import END, PAD, prompt_text
from transformers import PreTrainedTokenizerFast

__all__ = ["END", "PAD", "build_tokenizer", "prompt_text"]

SYMBOLS = "+-=,.:?} "
# With the space in front where they stand after one, as in the texts themselves.
TRACE_WORDS = ("wait", " wait", " ok", " check", " again", " let", " me")


def build_tokenizer() -> PreTrainedTokenizerFast:
    """The tokenizer; text outside its vocabulary becomes ``<|unk|>``, one a word or symbol."""
    return toy_tokenizer.build_tokenizer(SYMBOLS, TRACE_WORDS)
