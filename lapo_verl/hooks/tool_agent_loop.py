"""verl's tool agent loop with guidance: several turns, between which tools answer, and one budget for all of them."""

from __future__ import annotations

from typing import Any

from verl.experimental.agent_loop.agent_loop import AgentLoopOutput, register
from verl.experimental.agent_loop.tool_agent_loop import AgentState, ToolAgentLoop

from lapo_verl.config import TOOL_LOOP
from lapo_verl.hooks.agent_loop import GuidedLoop
from lapo_verl.hooks.turns import FIELD, generated_turns


@register(TOOL_LOOP)
class LapoToolAgentLoop(GuidedLoop, ToolAgentLoop):  # type: ignore[misc]
    """The guidance ends the first turn's prompt, and stays in what the later turns go on from."""

    # A tool's answer did not fit into the response, and verl ended the rollout. Its last turn then ends as any other.
    cut_off: bool = False

    async def run(self, sampling_params: dict[str, Any], priority: int = 0, **kwargs: Any) -> AgentLoopOutput:
        """verl's rollout, which also says where its turns are (``hooks.turns``)."""
        output: AgentLoopOutput = await super().run(sampling_params, priority=priority, **kwargs)
        output.extra_fields[FIELD] = {"turns": generated_turns(output.response_mask), "cut_off": self.cut_off}
        return output

    async def _handle_processing_tools_state(self, agent_data: Any) -> AgentState:
        state: AgentState = await super()._handle_processing_tools_state(agent_data)
        self.cut_off = state == AgentState.TERMINATED
        return state

    async def _call_tool(self, *args: Any) -> tuple[Any, float, dict[str, Any]]:
        """verl's answer of a tool. One half of a surrogate pair, which a model can write in JSON, is no text for it.

        No tokenizer takes it, and the whole group would be lost.
        """
        response, reward, metrics = await super()._call_tool(*args)
        if response.text:
            response.text = response.text.encode("utf-8", "replace").decode("utf-8")
        return response, reward, metrics
