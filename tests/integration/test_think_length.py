"""How many tokens of a response are thought, with real tokenizers that have a token for </think> or have none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prompt_cases import PROMPT_CASES

from lapo_verl.guidance.think import END_THINK, think_length, thinks

TOKENIZERS = {case.name: case.tokenizer() for case in PROMPT_CASES}
TEXT = st.text(alphabet="abc <>/\n", max_size=60)


@pytest.mark.parametrize("name", TOKENIZERS)
@given(before=TEXT, after=TEXT)
def test_tokens_up_to_and_with_the_first_end(name: str, before: str, after: str) -> None:
    tokenizer = TOKENIZERS[name]
    ids = tokenizer.encode(before + END_THINK + after, add_special_tokens=False)
    length = think_length(ids, tokenizer)
    assert END_THINK in tokenizer.decode(ids[:length])
    assert END_THINK not in tokenizer.decode(ids[: length - 1])


@pytest.mark.parametrize("name", TOKENIZERS)
def test_a_block_that_is_never_closed_is_all_thought(name: str) -> None:
    tokenizer = TOKENIZERS[name]
    ids = tokenizer.encode("so 3 + 4 = 7, </thin", add_special_tokens=False)
    assert think_length(ids, tokenizer) == len(ids)
    assert think_length([], tokenizer) == 0


def test_which_models_have_think_blocks() -> None:
    assert {name for name, tokenizer in TOKENIZERS.items() if thinks(tokenizer)} == {
        "r1_distill_qwen",
        "qwen3",
        "llama3",
    }
    assert thinks(TOKENIZERS["plain"], "{{ messages }} Assistant: <think>")
