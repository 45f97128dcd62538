"""The toy's tokenizer: what the RL stages and the verifier take for granted."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("transformers")

from transformers import AutoTokenizer, PreTrainedTokenizerFast

from lapo_verl.guidance import guidance_text
from toy.task import PROMPT_LIMIT
from toy.tokenizer import END, PAD, build_tokenizer, prompt_text

QUESTION = "a3*4=2;b72*3=6;c5*7=5;d4*2=8;e96*3=8;f1*5=5?"
TRACE = " steady:a303 b7 check7*3=1,6 no alternatively232c5 given5*7=5,5 ok28d4 wait:a03 so57"
RESPONSE = TRACE + "</think>\\boxed{57}"


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return build_tokenizer()


def encode(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    return list(tokenizer.encode(text, add_special_tokens=False))


def test_decoding_gives_the_response_back_without_the_end_token(tokenizer: PreTrainedTokenizerFast) -> None:
    tokens = encode(tokenizer, RESPONSE + END)
    assert tokens[-1] == tokenizer.eos_token_id
    assert tokenizer.decode(tokens, skip_special_tokens=True) == RESPONSE
    assert tokenizer.unk_token_id not in tokens


def test_saved_and_loaded_by_auto_tokenizer_it_is_the_same(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    messages = [{"role": "user", "content": QUESTION}]
    for text in (RESPONSE + END, prompt_text(tokenizer, QUESTION)):
        assert loaded.encode(text) == encode(tokenizer, text)
        assert loaded.decode(encode(loaded, text)) == text
    assert loaded.get_vocab() == tokenizer.get_vocab()
    assert (loaded.eos_token, loaded.pad_token) == (END, PAD)
    prompt = loaded.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert prompt == f"<|user|>{QUESTION}<|end|><|assistant|><think>"


@pytest.mark.parametrize("form", ["exact", "range"])
def test_guidance_alone_has_the_tokens_that_it_has_in_the_prompt(tokenizer: PreTrainedTokenizerFast, form: str) -> None:
    prompt = prompt_text(tokenizer, QUESTION)
    guidance = guidance_text(form, budget=37.0, low=30.0, high=45.0)
    tokens = encode(tokenizer, guidance)
    assert encode(tokenizer, prompt + guidance) == encode(tokenizer, prompt) + tokens
    assert tokenizer.unk_token_id not in tokens
    assert len(tokens) <= 16


def test_a_guided_prompt_fits_the_prompt_limit(tokenizer: PreTrainedTokenizerFast) -> None:
    # Six forks are the longest question.
    prompt = prompt_text(tokenizer, ";".join(f"{letter}72*3=6" for letter in "abcdef") + "?")
    guidance = guidance_text("range", budget=320.0, low=320.0, high=320.0)
    assert len(encode(tokenizer, prompt + guidance)) <= PROMPT_LIMIT
