"""One rollout by LAPO's agent loops, up to the tokens that the rollout server receives."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from verl.experimental.agent_loop.agent_loop import AgentLoopOutput, DictConfigWrap, ToolListWrap
from verl.tools.tool_registry import load_all_tools
from verl.workers.config import MultiTurnConfig
from verl.workers.rollout.replica import TokenOutput

from lapo_verl.hooks.agent_loop import LapoSingleTurnAgentLoop
from lapo_verl.hooks.dataset import LapoDataset
from lapo_verl.hooks.tool_agent_loop import LapoToolAgentLoop

CALCULATOR = Path(__file__).parent / "calculator.py"
ANSWER = (5, 6, 7)


class Server:
    """Takes the place of vLLM's client: keeps the prompts that it is sent, and gives its answers in their order."""

    def __init__(self, answers: Sequence[Sequence[int]]) -> None:
        self.answers = list(answers)
        self.received: list[list[int]] = []

    async def generate(self, prompt_ids: list[int], **request: Any) -> TokenOutput:
        self.received.append(list(prompt_ids))
        return TokenOutput(token_ids=list(self.answers[len(self.received) - 1]))


def rollout(
    tokenizer: Any, row: dict[str, Any], data: DictConfig, hf_model_type: str | None = None
) -> tuple[list[int], AgentLoopOutput]:
    """(the prompt's token ids as the server received them, what the agent loop made of the answer)"""
    (received,), output = _run(LapoSingleTurnAgentLoop, [ANSWER], tokenizer, row, data, hf_model_type)
    return received, output


def tool_rollout(
    tokenizer: Any, row: dict[str, Any], data: DictConfig, answers: Sequence[Sequence[int]]
) -> tuple[list[list[int]], AgentLoopOutput]:
    """(each turn's token ids as the server received them, what the agent loop made of all turns)"""
    tools = ToolListWrap(load_all_tools(None, str(CALCULATOR)))
    return _run(LapoToolAgentLoop, answers, tokenizer, row, data, "qwen3", tools=tools)


def _run(
    loop_class: Any,
    answers: Sequence[Sequence[int]],
    tokenizer: Any,
    row: dict[str, Any],
    data: DictConfig,
    hf_model_type: str | None,
    **arguments: Any,
) -> tuple[list[list[int]], AgentLoopOutput]:
    server = Server(answers)
    rollout_config = {
        "name": "vllm",
        "prompt_length": data.max_prompt_length,
        "response_length": data.max_response_length,
        "full_determinism": False,
        "multi_turn": OmegaConf.structured(MultiTurnConfig),
    }
    config = OmegaConf.create({"actor_rollout_ref": {"rollout": rollout_config}, "data": data})

    async def run() -> AgentLoopOutput:
        loop = loop_class(
            trainer_config=DictConfigWrap(config),
            server_manager=server,
            tokenizer=tokenizer,
            processor=None,
            dataset_cls=LapoDataset,
            data_config=DictConfigWrap(config.data),
            hf_model_type=hf_model_type,
            **arguments,
        )
        return await loop.run({}, **row)

    output = asyncio.run(run())
    return server.received, output
