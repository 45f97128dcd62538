"""verl's agent loop hook: the guidance sentence becomes the end of the prompt, inside the think block.

verl has no prefill of the assistant's turn. The tokens appended here belong to the prompt: they are not trained on
and not counted in |r_i|. Without guidance this is verl's own loop, which starts with more models (``token_builder``).
"""

from __future__ import annotations

from typing import Any

from verl.experimental.agent_loop.agent_loop import AgentLoopOutput, register
from verl.experimental.agent_loop.single_turn_agent_loop import SingleTurnAgentLoop

from lapo_verl import cpu
from lapo_verl.config import SINGLE_TURN_LOOP
from lapo_verl.guidance.prefill import append_guidance
from lapo_verl.hooks.token_builder import choose_builder

# Every process that makes agent loops imports this module, and few others do.
if cpu.is_chosen():
    from lapo_verl.cpu import verl_patches

    verl_patches.registered_classes_are_called()


class GuidedLoop:
    """What LAPO adds to an agent loop of verl's: the prompt's end, and a token builder that fits."""

    guidance: str = ""
    problem_id: str | None = None
    # Of verl's loops.
    tokenizer: Any
    rollout_config: Any
    apply_chat_template_kwargs: dict[str, Any]
    prompt_length: int

    def __init__(self, *, tokenizer: Any, processor: Any, hf_model_type: str | None = None, **kwargs: Any) -> None:
        fitting = choose_builder(tokenizer, hf_model_type, processor).hf_model_type
        super().__init__(tokenizer=tokenizer, processor=processor, hf_model_type=fitting, **kwargs)  # type: ignore[call-arg]

    async def run(self, sampling_params: dict[str, Any], priority: int = 0, **kwargs: Any) -> AgentLoopOutput:
        """One rollout. verl makes an agent loop for each, so ``self`` may hold its row's guidance."""
        lapo = kwargs.get("lapo") or {}
        self.guidance = lapo.get("guidance", "")
        self.problem_id = lapo.get("problem_id")
        if self.rollout_config.name == "vllm":
            # verl takes the tokens; vLLM would turn each of them into text as well, a third of its server's time.
            sampling_params = {**sampling_params, "detokenize": False}
        return await super().run(sampling_params, priority=priority, **kwargs)  # type: ignore[misc]

    async def ct_build_initial_tokens(self, messages: list[dict[str, Any]], **kwargs: Any) -> list[int]:
        """verl's prompt tokens, then the guidance's.

        Raises:
            ValueError: the prompt no longer fits ``data.max_prompt_length``.
        """
        prompt_ids: list[int] = await super().ct_build_initial_tokens(messages, **kwargs)  # type: ignore[misc]
        if not self.guidance:
            return prompt_ids
        template = self.apply_chat_template_kwargs.get("chat_template")
        guided = append_guidance(prompt_ids, self.guidance, self.tokenizer, template)
        if len(guided) > self.prompt_length:
            raise ValueError(
                f"problem {self.problem_id}: the prompt has {len(guided)} tokens with its guidance sentence, more than "
                f"data.max_prompt_length={self.prompt_length}; raise the limit by {len(guided) - self.prompt_length}"
            )
        return guided


@register(SINGLE_TURN_LOOP)
class LapoSingleTurnAgentLoop(GuidedLoop, SingleTurnAgentLoop):  # type: ignore[misc]
    """One turn."""
