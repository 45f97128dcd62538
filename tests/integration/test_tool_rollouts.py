"""Rollouts with tools: what the server is sent at each turn, and what of the answer is judged and counted."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf
from rollout_server import tool_rollout
from test_prompts import CHATS, SENTENCES, data_config
from test_reward_manager import Judge
from tiny_models import QWEN3, TEMPLATES
from transformers import AutoTokenizer
from verl.experimental.agent_loop.agent_loop import AgentLoopOutput, AgentLoopWorker

from lapo_verl.config import LENGTH_FIELDS
from lapo_verl.hooks.dataset import LapoDataset
from lapo_verl.hooks.reward_manager import LapoRewardManager
from lapo_verl.hooks.turns import generated_turns

TEMPLATE = (TEMPLATES / "qwen3_tools.jinja").read_text()
END = "<|im_end|>"


def call(name: str, **arguments: Any) -> str:
    return f"<tool_call>{json.dumps({'name': name, 'arguments': arguments})}</tool_call>{END}"


def told(answer: str) -> str:
    """What verl puts between two turns."""
    return f"\n<|im_start|>user\n<tool_response>\n{answer}\n</tool_response>{END}\n<|im_start|>assistant\n"


class Case:
    """One guided problem whose answer is 7, and what a model says about it, turn by turn."""

    def __init__(self, folder: Path, **data: Any) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(QWEN3.save(folder / "model", weights=False))
        self.data: DictConfig = data_config(folder, CHATS["one turn"])
        self.data.apply_chat_template_kwargs = {"chat_template": TEMPLATE}
        self.data = OmegaConf.merge(self.data, data)

    def __call__(self, *turns: str) -> tuple[list[list[int]], AgentLoopOutput]:
        self.answers = [self.tokenizer.encode(turn, add_special_tokens=False) for turn in turns]
        row = LapoDataset(self.data.train_files, self.tokenizer, self.data)[0]
        return tool_rollout(self.tokenizer, row, self.data, self.answers)

    def judge(self, output: AgentLoopOutput) -> dict[str, Any]:
        """What the reward manager says, by verl's own way to it."""
        config = {"lapo": self.data.lapo, "data": self.data, "reward": {}}
        hook = LapoRewardManager(OmegaConf.create(config), self.tokenizer, None)
        worker = AgentLoopWorker.__new__(AgentLoopWorker)
        worker.reward_loop_worker_handles, worker.processor = [Judge(hook)], None
        output.mm_processor_kwargs = {}
        row = {"data_source": "test", "reward_model": {"ground_truth": "7"}, "extra_info": {"problem_id": "p"}}
        hook.loop.run_until_complete(worker._compute_score([output], row))
        info: dict[str, Any] = output.extra_fields["reward_extra_info"]
        return info


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case(tmp_path)


def test_the_guidance_stays_in_every_turns_prompt(case: Case) -> None:
    """Token by token, at the server: the first prompt ends with the budget, and each later one goes on from it."""
    received, output = case(call("calculator", a=3, b=4), call("calculator", a=1, b=7), "\\boxed{7}" + END)
    first, second, third = received
    start = case.tokenizer.apply_chat_template(
        CHATS["one turn"],
        chat_template=TEMPLATE,
        tools=[{"function": {"name": name}} for name in ("calculator", "echo")],
        tokenize=False,
        add_generation_prompt=True,
    )
    assert "Tools: calculator echo" in start
    assert case.tokenizer.decode(first) == start + "<think> " + SENTENCES["exact"]
    for before, after, answer, said in ((first, second, case.answers[0], 12), (second, third, case.answers[1], 7)):
        assert after[: len(before) + len(answer)] == [*before, *answer]
        assert case.tokenizer.decode(after[len(before) + len(answer) :]) == told(f"\\boxed{{{said}}}")
    assert output.prompt_ids == first
    assert [*first, *output.response_ids] == [*third, *case.answers[2]]


def test_what_the_model_wrote_is_counted_and_nothing_else(case: Case) -> None:
    thought = "<think>3 + 4</think>" + call("calculator", a=3, b=4)
    _, output = case(thought, "<think>so 7</think>\\boxed{7}" + END)
    info = case.judge(output)
    first, last = map(len, case.answers)
    tools = len(output.response_ids) - first - last
    assert tools > 10 and output.response_mask == [1] * first + [0] * tools + [1] * last
    close = case.tokenizer.convert_tokens_to_ids("</think>")
    think_tokens = sum(answer.index(close) + 1 for answer in case.answers)
    assert {name: info[name] for name in LENGTH_FIELDS.values()} == {
        "tokens": first + last,
        "think_tokens": think_tokens,
        "final_turn_tokens": last,
    }
    assert info["acc"] == 1.0 and info["truncated"] == 0.0


def test_a_tools_answer_is_not_the_models(case: Case) -> None:
    _, output = case(call("calculator", a=1, b=7), "as the tool says" + END)
    assert "\\boxed{7}" in case.tokenizer.decode(output.response_ids)
    assert case.judge(output)["acc"] == 0.0


def test_a_rollout_without_a_call_is_one_turn(case: Case) -> None:
    received, output = case("\\boxed{7}" + END)
    info = case.judge(output)
    assert len(received) == 1 and info["acc"] == 1.0
    assert info["tokens"] == info["final_turn_tokens"] == len(output.response_ids)


def test_an_answer_that_does_not_fit_cuts_the_rollout_off(case: Case) -> None:
    """verl ends it after the call, whose last token is the end token: it looks like any other that came to its end."""
    question = call("echo", text="3 + 4 = 7")
    limit = len(case.tokenizer.encode(question)) + 5
    case.data.max_response_length = limit
    received, output = case(question, "never asked for")
    assert len(received) == 1 and len(output.response_ids) == limit - 5
    info = case.judge(output)
    assert (info["truncated"], info["acc"]) == (1.0, 0.0)


@pytest.mark.parametrize(
    "turn",
    [
        call("echo", text="\ud800"),
        call("\udfff"),
        call("echo"),
        call("calculator", a="x" * 5000, b={}),
        "<tool_call>" + "[" * 5000 + "</tool_call>" + END,
        '<tool_call>{"name": 7, "arguments": null}</tool_call>' + END,
        '<tool_call>{"name": "echo", "arguments": [1]}</tool_call>' + END,
        "<tool_call></tool_call>" + END,
    ],
)
def test_no_call_of_a_models_breaks_a_rollout(tmp_path: Path, turn: str) -> None:
    case = Case(tmp_path, max_response_length=20000)
    received, output = case(turn, "\\boxed{7}" + END)
    assert len(received) in (1, 2)
    info = case.judge(output)
    assert info["acc"] == float(len(received) == 2)
    assert info["tokens"] == sum(map(len, case.answers[: len(received)]))


@given(st.lists(st.integers(0, 1)))
def test_turns_are_the_runs_of_generated_tokens(mask: list[int]) -> None:
    turns = generated_turns(mask)
    rebuilt = [0] * len(mask)
    for start, end in turns:
        assert start < end
        rebuilt[start:end] = [1] * (end - start)
    assert rebuilt == mask
    assert all(a_end < b_start for (_, a_end), (b_start, _) in pairwise(turns))
