"""An export of the shared training's checkpoint behind ``vllm serve``, asked through the official client."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import openai
import pyarrow.parquet as pq
import pytest
from transformers import AutoTokenizer
from verl_runs import RUN_LIMIT, Inputs, Run

from lapo_verl.data.rows import read_rows, row_problem_id
from lapo_verl.guidance.prefill import append_guidance
from lapo_verl.guidance.text import guidance_text, shown_tokens
from lapo_verl.runs import verl_process

BUDGET = 40


class Served(NamedTuple):
    """A server of the exported folder, and the checkpoint that it was made of."""

    client: openai.OpenAI
    folder: Path
    checkpoint: Path
    messages: list[dict[str, str]]

    def ask(self, messages: list[dict[str, str]] | None = None, stream: bool = False, **arguments: Any) -> Any:
        """One greedy answer of at most 8 tokens; ``arguments`` are the chat template's."""
        return self.client.chat.completions.create(
            model="lapo",
            messages=self.messages if messages is None else messages,
            max_tokens=8,
            temperature=0,
            stream=stream,
            extra_body={"chat_template_kwargs": arguments, "return_token_ids": True},
        )

    def training_ids(self, budget: int | None) -> list[int]:
        """What training sends to its rollout server: the chat template's tokens, then the sentence's."""
        tokenizer = AutoTokenizer.from_pretrained(self.checkpoint)
        text = tokenizer.apply_chat_template(self.messages, tokenize=False, add_generation_prompt=True)
        ids = tokenizer.encode(text, add_special_tokens=False)
        sentence = "" if budget is None else guidance_text("exact", budget=budget)
        return append_guidance(ids, sentence, tokenizer) if sentence else list(ids)


@pytest.fixture(scope="module")
def served(internalization: Run, inputs: Inputs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    checkpoint = internalization.weights(4)
    folder = tmp_path_factory.mktemp("served") / "lapo"
    command = [sys.executable, "-m", "lapo_verl.cli.main", "export", str(checkpoint.parents[1]), "-o", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    port = free_port()
    # As `vllm serve`, whose command asks for the version of a package that the CPU build has under another name.
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder)]
    command += [
        "--served-model-name",
        "lapo",
        "--port",
        str(port),
        "--max-model-len",
        "256",
        "--reasoning-parser",
        "deepseek_r1",
        "--enforce-eager",
        "--dtype",
        "float32",
    ]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "VLLM_TARGET_DEVICE": "cpu", "VLLM_CPU_KVCACHE_SPACE": "1"}
    environment.pop("VERL_PLATFORM", None)
    with verl_process.running(command, folder.with_name("vllm.log"), environment) as process:
        wait_for(port, process, folder.with_name("vllm.log"))
        client = openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none", max_retries=0)
        yield Served(client, folder, checkpoint, pq.read_table(inputs.heldout).to_pylist()[0]["prompt"])


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


def wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + RUN_LIMIT
    while time.monotonic() < deadline:
        assert process.poll() is None, verl_process.last_lines(log)
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
            return
        except (urllib.error.URLError, TimeoutError):
            time.sleep(0.5)
    pytest.fail(f"vLLM did not answer in {RUN_LIMIT} s: {verl_process.last_lines(log)}")


@pytest.mark.parametrize("budget", [None, BUDGET])
def test_the_server_sees_the_trainings_prompt(served: Served, budget: int | None) -> None:
    answer = served.ask(**({} if budget is None else {"token_budget": budget}))
    assert answer.prompt_token_ids == served.training_ids(budget)
    # Eight tokens are thoughts, though neither <think> nor the sentence is in the response.
    message = answer.choices[0].message
    assert message.reasoning and message.content is None


def test_these_are_the_prompts_that_the_training_sent(served: Served, internalization: Run, inputs: Inputs) -> None:
    sent = {tuple(ids) for ids in internalization.server_prompts()}
    budgets = {row["lapo"]["problem_id"]: row["lapo"]["target"] for row in internalization.recorded()}
    guided = [row for row in read_rows(inputs.train) if budgets.get(row_problem_id(row)) is not None]
    assert len(guided) > 3
    for row in guided[:4]:
        answer = served.ask(row["prompt"], token_budget=shown_tokens(budgets[row_problem_id(row)]))
        assert tuple(answer.prompt_token_ids) in sent


def test_streamed_answers_are_the_same(served: Served) -> None:
    whole = served.ask(token_budget=BUDGET)
    pieces = list(served.ask(token_budget=BUDGET, stream=True))
    assert next(ids for piece in pieces if (ids := getattr(piece, "prompt_token_ids", None))) == whole.prompt_token_ids
    streamed = "".join(getattr(piece.choices[0].delta, "reasoning", None) or "" for piece in pieces if piece.choices)
    assert streamed == whole.choices[0].message.reasoning


@pytest.mark.parametrize("budget", [0, -40, "40", 1.5])
def test_a_budget_that_is_none_is_the_callers_error(served: Served, budget: object) -> None:
    with pytest.raises(openai.BadRequestError, match="token_budget must be a whole number of tokens from 1 on"):
        served.ask(token_budget=budget)
