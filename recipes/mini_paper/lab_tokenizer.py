"""The laboratory's tokenizer: one token a letter, a digit, a symbol or a word."""

from __future__ import annotations

from lab_task import LETTERS, STYLES
from toy import tokenizer as toy_tokenizer
from transformers import PreTrainedTokenizerFast

SYMBOLS = "*=;:?,.} "
# With the space in front, as in the texts; a letter may follow a digit or a word.
WORDS = (" check", " given", " wait", " ok", " no", " alternatively", " so")


def build_tokenizer() -> PreTrainedTokenizerFast:
    """The tokenizer; text outside its vocabulary becomes ``<|unk|>``, one a word or symbol."""
    letters = (*LETTERS, *(" " + letter for letter in LETTERS))
    return toy_tokenizer.build_tokenizer(SYMBOLS, (*letters, *WORDS, *STYLES))
