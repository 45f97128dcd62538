"""The toy's tokenizer: one token a letter, a digit, a symbol or a word."""

from __future__ import annotations

import string

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from toy.task import LETTERS, STYLES

END, PAD, USER, ASSISTANT, UNKNOWN = "<|end|>", "<|pad|>", "<|user|>", "<|assistant|>", "<|unk|>"
# Part of the response's text: the verifier has to see them, so decoding must not skip them.
THINK, END_THINK, BOX = "<think>", "</think>", "\\boxed{"

SYMBOLS = "*=;:?,.} "
# With the space in front, as in the texts; a letter may follow a digit or a word.
TRACE_WORDS = (" check", " given", " wait", " ok", " no", " alternatively", " so")
GUIDANCE_WORDS = (" I", " will", " answer", " the", " question", " with", " to", " tokens")

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|assistant|><think>' if message.role == 'assistant' else '<|user|>' }}{{ message.content }}<|end|>"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|><think>{% endif %}"
)


def build_tokenizer() -> PreTrainedTokenizerFast:
    """The tokenizer; text outside its vocabulary becomes ``<|unk|>``, one a word or symbol."""
    specials = [PAD, END, UNKNOWN, USER, ASSISTANT]
    letters = (*LETTERS, *(" " + letter for letter in LETTERS))
    words = (*letters, *TRACE_WORDS, *STYLES, *GUIDANCE_WORDS)
    entries = [*specials, THINK, END_THINK, BOX, *string.digits, *SYMBOLS, *words]
    vocabulary = {word: index for index, word in enumerate(entries)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    # A word with the space in front of it, or one character.
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r" ?[A-Za-z]+|[\s\S]"), behavior="isolated")
    # Without a decoder, tokens would be joined by spaces.
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in specials])
    marks = (THINK, END_THINK, BOX)
    tokenizer.add_tokens([AddedToken(text, special=False, normalized=False) for text in marks])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=PAD,
        unk_token=UNKNOWN,
        additional_special_tokens=[USER, ASSISTANT],
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
        model_max_length=1024,
    )


def prompt_text(tokenizer: PreTrainedTokenizerFast, question: str) -> str:
    """The prompt up to and with ``<think>``, as the chat template gives it."""
    messages = [{"role": "user", "content": question}]
    return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
