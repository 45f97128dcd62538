"""One rollout by LAPO's agent loop, up to the tokens that the rollout server receives."""

from __future__ import annotations

import asyncio
from typing import Any

from omegaconf import DictConfig, OmegaConf
from verl.experimental.agent_loop.agent_loop import AgentLoopOutput, DictConfigWrap
from verl.workers.rollout.replica import TokenOutput

from lapo_verl.hooks.agent_loop import LapoSingleTurnAgentLoop
from lapo_verl.hooks.dataset import LapoDataset


class Server:
    """Takes the place of vLLM's client: keeps the prompt that it is sent, and answers three tokens."""

    def __init__(self) -> None:
        self.received: list[int] = []

    async def generate(self, prompt_ids: list[int], **request: Any) -> TokenOutput:
        self.received = list(prompt_ids)
        return TokenOutput(token_ids=[5, 6, 7])


def rollout(
    tokenizer: Any, row: dict[str, Any], data: DictConfig, hf_model_type: str | None = None
) -> tuple[list[int], AgentLoopOutput]:
    """(the prompt's token ids as the server received them, what the agent loop made of the answer)"""

    server = Server()
    lengths = {"prompt_length": data.max_prompt_length, "response_length": data.max_response_length}
    config = OmegaConf.create({"actor_rollout_ref": {"rollout": {"name": "vllm", **lengths}}, "data": data})

    async def run() -> AgentLoopOutput:
        loop = LapoSingleTurnAgentLoop(
            trainer_config=DictConfigWrap(config),
            server_manager=server,
            tokenizer=tokenizer,
            processor=None,
            dataset_cls=LapoDataset,
            data_config=DictConfigWrap(config.data),
            hf_model_type=hf_model_type,
        )
        return await loop.run({}, **row)

    output = asyncio.run(run())
    return server.received, output
