"""Token by token: what verl's dataset and agent loop hand to the rollout server, for every template, form and place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from omegaconf import DictConfig, OmegaConf
from prompt_cases import PROMPT_CASES, PromptCase
from rollout_server import rollout

from lapo_verl.data.rows import DataError
from lapo_verl.hooks.dataset import LapoDataset
from lapo_verl.objectives import objective
from lapo_verl.store import GroupRecord, LengthStore

QUESTION = "What is 3 + 4?"
CHATS = {
    "one turn": [{"role": "user", "content": QUESTION}],
    "several turns": [
        {"role": "user", "content": "What is 1 + 1?"},
        {"role": "assistant", "content": "<think>\n1 + 1 is 2</think>\n\n\\boxed{2}"},
        {"role": "user", "content": QUESTION},
    ],
}
# Correct lengths of the problem's visit: median 250, band 190 to 310.
LENGTHS = (100, 200, 300, 400)
SENTENCES = {
    "exact": "I will answer the question with 250 tokens.",
    "range": "I will answer the question with 190 to 310 tokens.",
    "implicit": "",
}
PAPER_PROMPT = (
    "You are a helpful assistant. A conversation between User and Assistant. The user asks a question, and the "
    "Assistant solves it. The Assistant first thinks about the reasoning process in the mind and then provides the "
    "user with the answer. The reasoning process is enclosed within <think> and </think> tags, respectively, i.e., "
    "<think> reasoning process here </think> answer here. User: What is 3 + 4? Please think step by step and output "
    "the final answer within \\boxed{}. Assistant: <think>"
)


def visit(correct: tuple[int, ...], n: int = 8) -> GroupRecord:
    """``n`` rollouts of the problem p, the correct ones of these lengths first."""
    lengths = (*correct, *[4000] * (n - len(correct)))
    return GroupRecord("p", lengths, tuple(place < len(correct) for place in range(n)))


def data_config(folder: Path, messages: list[dict[str, str]], **lapo: Any) -> DictConfig:
    """verl's ``data:`` node as LAPO's configs make it, for one training problem that the store has seen."""
    row = {
        "prompt": messages,
        "data_source": "test",
        "reward_model": {"ground_truth": "7"},
        "extra_info": {"index": 0, "problem_id": "p"},
    }
    for name in ("train", "val"):
        pq.write_table(pa.Table.from_pylist([row]), folder / f"{name}.parquet")
    if not (folder / "store.sqlite").exists():
        with LengthStore.open(folder / "store.sqlite") as store:
            store.record_step("discovery", 1, [visit(LENGTHS)], objective("discovery"))
    base = OmegaConf.load(Path(__file__).parents[2] / "hydra_configs" / "lapo_base.yaml")
    base.lapo.objective = {"name": "internalization"}
    base.lapo.store = str(folder / "store.sqlite")
    base.lapo = OmegaConf.merge(base.lapo, lapo)
    base.data.lapo = base.lapo
    base.data.train_files = str(folder / "train.parquet")
    base.data.val_files = str(folder / "val.parquet")
    base.data.cache_dir = str(folder / "cache")
    # verl's filter starts a process; tests of it turn it on.
    base.data.filter_overlong_prompts = False
    config: DictConfig = OmegaConf.create(OmegaConf.to_container(base.data, resolve=True))
    return config


def template_ids(tokenizer: Any, messages: list[dict[str, str]]) -> list[int]:
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return list(tokenizer.encode(text, add_special_tokens=False))


@pytest.mark.parametrize("chat", CHATS)
@pytest.mark.parametrize("place", ["inside", "outside"])
@pytest.mark.parametrize("form", SENTENCES)
@pytest.mark.parametrize("case", PROMPT_CASES, ids=lambda case: case.name)
def test_the_server_receives_the_templates_tokens_and_the_guidances(
    case: PromptCase, form: str, place: str, chat: str, tmp_path: Path
) -> None:
    tokenizer, messages, sentence = case.tokenizer(), CHATS[chat], SENTENCES[form]
    data = data_config(tmp_path, messages, guidance={"form": form, "place": place})
    received, output = rollout(tokenizer, LapoDataset(data.train_files, tokenizer, data)[0], data)

    if place == "inside":
        appended = tokenizer.encode(case.seam + sentence, add_special_tokens=False) if sentence else []
        expected = template_ids(tokenizer, messages) + appended
    else:
        guided = messages[-1]["content"] + (f" {sentence}" if sentence else "")
        expected = template_ids(tokenizer, [*messages[:-1], {"role": "user", "content": guided}])
    assert received == expected
    assert tokenizer.decode(received).count(sentence or "I will") == bool(sentence)
    # The guidance is no part of what is trained on and counted.
    assert output.prompt_ids == received
    assert (output.response_ids, output.response_mask) == ([5, 6, 7], [1, 1, 1])


@pytest.mark.parametrize("case", PROMPT_CASES, ids=lambda case: case.name)
def test_validation_is_guided_only_where_asked_for(case: PromptCase, tmp_path: Path) -> None:
    tokenizer, messages = case.tokenizer(), CHATS["one turn"]
    for validation, guided in ((False, False), (True, True)):
        data = data_config(tmp_path, messages, guidance={"validation": validation})
        received, _ = rollout(tokenizer, LapoDataset(data.val_files, tokenizer, data)[0], data)
        assert (received != template_ids(tokenizer, messages)) == guided
        assert tokenizer.decode(received).endswith(SENTENCES["exact"]) == guided


@pytest.mark.parametrize("case", PROMPT_CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("instructed", [False, True], ids=["question", "question with the instruction"])
def test_the_papers_prompt_is_its_text_for_any_model(case: PromptCase, instructed: bool, tmp_path: Path) -> None:
    tokenizer = case.tokenizer()
    instruction = " Please think step by step and output the final answer within \\boxed{}."
    messages = [{"role": "user", "content": QUESTION + (instruction if instructed else "")}]
    data = data_config(tmp_path, messages, prompt="paper")
    for files, guidance in ((data.val_files, ""), (data.train_files, f" {SENTENCES['exact']}")):
        received, _ = rollout(tokenizer, LapoDataset(files, tokenizer, data)[0], data)
        assert tokenizer.decode(received).encode() == (PAPER_PROMPT + guidance).encode()
        assert received == tokenizer.encode(PAPER_PROMPT, add_special_tokens=False) + (
            tokenizer.encode(guidance, add_special_tokens=False) if guidance else []
        )


def test_a_template_that_closes_the_think_block_is_refused(tmp_path: Path) -> None:
    tokenizer = next(case for case in PROMPT_CASES if case.name == "qwen3").tokenizer()
    data = data_config(tmp_path, CHATS["one turn"])
    data.apply_chat_template_kwargs.enable_thinking = False
    with pytest.raises(ValueError, match="enable_thinking=true"):
        rollout(tokenizer, LapoDataset(data.train_files, tokenizer, data)[0], data)


def test_the_length_filter_leaves_room_for_the_longest_sentence(tmp_path: Path) -> None:
    case = PROMPT_CASES[0]
    tokenizer, messages = case.tokenizer(), CHATS["one turn"]
    prompt = len(template_ids(tokenizer, messages))
    longest = max(
        len(tokenizer.encode(f"<think>\nI will answer the question with {n} tokens.", add_special_tokens=False))
        for n in range(1, 4097)
    )
    for limit, kept in ((prompt + longest, 1), (prompt + longest - 1, 0)):
        data = data_config(tmp_path, messages)
        data.max_prompt_length = limit
        data.filter_overlong_prompts = True
        assert len(LapoDataset(data.train_files, tokenizer, data)) == kept
    # Validation prompts have no sentence to make room for.
    assert len(LapoDataset(data.val_files, tokenizer, data)) == 1


def test_without_the_filter_a_row_that_would_not_fit_is_named(tmp_path: Path) -> None:
    tokenizer = PROMPT_CASES[0].tokenizer()
    data = data_config(tmp_path, CHATS["one turn"])
    data.max_prompt_length = 20
    with pytest.raises(
        DataError, match=r"train\.parquet, row 0 \(problem p\).*data\.max_prompt_length=20\. Raise it by"
    ):
        LapoDataset(data.train_files, tokenizer, data)


def test_a_share_of_the_visits_is_guided_and_a_resume_repeats_them(tmp_path: Path) -> None:
    tokenizer = PROMPT_CASES[0].tokenizer()
    data = data_config(tmp_path, CHATS["one turn"], guidance={"share": 0.5})
    dataset = LapoDataset(data.train_files, tokenizer, data)
    shown = []
    for step in range(1, 61):
        row = dataset[0]
        assert row["lapo"]["target"] == 250
        assert bool(row["lapo"]["guidance"]) == row["lapo"]["guided"]
        shown.append(row["lapo"]["guided"])
        with LengthStore.open(data.lapo.store) as store:
            store.record_step("internalization", step, [visit(())], objective("internalization"))
    assert 15 < sum(shown) < 45
    with LengthStore.open(data.lapo.store) as store:
        store.rewind("internalization", 20)
    assert LapoDataset(data.train_files, tokenizer, data)[0]["lapo"]["guided"] == shown[20]
