"""Rollouts with tools: that they have some, that their calls are read, and that the chat template takes an answer."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from omegaconf import DictConfig
from verl.experimental.agent_loop.tool_parser import ToolParser
from verl.tools.tool_registry import load_all_tools
from verl.utils.tokenizer.continuous_token_wiring import create_continuous_token_builder

from lapo_verl.config import SINGLE_TURN_LOOP, TOOL_LOOP, LapoConfig
from lapo_verl.doctor.diagnostic import Finding
from lapo_verl.doctor.model_check import Model
from lapo_verl.hooks.token_builder import choose_builder

KEYS = tuple(f"actor_rollout_ref.rollout.multi_turn.{name}" for name in ("tool_config_path", "function_tool_path"))
ONE_TURN = (SINGLE_TURN_LOOP, "single_turn_agent")
# What verl's tool loop adds to a rollout when a tool has answered.
ASKED = (
    {"role": "user", "content": "3 + 4?"},
    {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"type": "function", "function": {"name": "add", "arguments": {"a": 3, "b": 4}}}],
    },
)
ANSWER = {"role": "tool", "content": "7"}


class ToolError(ValueError):
    """Rollouts with tools would fail; the message says why and what to do."""


def tool_findings(
    config: DictConfig, settings: LapoConfig, loops: Collection[str], model: Callable[[], Model]
) -> Iterator[Finding]:
    """What is wrong with the tools of a run.

    Args:
        loops: the agent loops of its rows.
        model: loads it; asked only where rows use tools.

    Raises:
        ToolError: the rollouts would fail.
    """
    multi_turn = config.actor_rollout_ref.rollout.multi_turn
    paths = [multi_turn.tool_config_path, multi_turn.function_tool_path]
    named = [f"{key}={path}" for key, path in zip(KEYS, paths, strict=True) if path is not None]
    if all(loop in ONE_TURN for loop in loops):
        if named:
            yield Finding(
                "error",
                f"{', '.join(named)}: no row uses tools, the agent loop is {', '.join(sorted(loops))}. Set "
                f"actor_rollout_ref.rollout.agent.default_agent_loop={TOOL_LOOP}, or write {TOOL_LOOP} in the column "
                "agent_name of the rows that use them, or leave the tools out",
            )
        if settings.length.scope == "final_turn":
            yield Finding(
                "warning",
                "lapo.length.scope=final_turn, and each rollout has one turn: every response counts in full, as with "
                "lapo.length.scope=response",
            )
    if TOOL_LOOP not in loops:
        return
    if not named:
        yield Finding("error", f"rows use the agent loop {TOOL_LOOP}, and there are no tools: set {' or '.join(KEYS)}")
        return
    _check_rollouts(paths, str(multi_turn.format), named, config, model())


def _check_rollouts(
    paths: Sequence[str | None], call_format: str, named: Sequence[str], config: DictConfig, model: Model
) -> None:
    """Raises ToolError where verl cannot load tools, read calls, or tell the model an answer."""
    tool_config_path, function_tool_path = paths
    try:
        tools = load_all_tools(tool_config_path, function_tool_path)
    except Exception as error:  # a file of the user's own may raise anything
        raise ToolError(f"{', '.join(named)}: verl cannot load the tools ({type(error).__name__}: {error})") from error
    if not tools:
        raise ToolError(f"{', '.join(named)}: there is no tool in it")
    try:
        ToolParser.get_tool_parser(call_format, model.tokenizer)
    except Exception as error:  # a parser of the user's own may raise anything
        raise ToolError(
            f"actor_rollout_ref.rollout.multi_turn.format={call_format}: verl cannot read such tool calls "
            f"({type(error).__name__}: {error}); it knows {', '.join(sorted(ToolParser._registry))}"
        ) from error
    try:
        answer_tokens(config, model)
    except Exception as error:  # a template may raise anything
        raise ToolError(
            f"the chat template cannot write a tool's answer ({type(error).__name__}: {error}): the agent loop "
            f"{TOOL_LOOP} needs one that takes messages of the role 'tool'. Choose another with lapo.prompt"
        ) from error


def answer_tokens(config: DictConfig, model: Model) -> list[int]:
    """The tokens that a rollout goes on with after a tool's answer, by the token builder of LAPO's agent loops."""
    chosen = choose_builder(model.tokenizer, model.hf_model_type, model.processor)
    builder: Any = create_continuous_token_builder(
        model.tokenizer,
        hf_model_type=chosen.hf_model_type,
        processor=model.processor,
        chat_template_kwargs=config.data.get("apply_chat_template_kwargs", {}),
    )
    asked = [dict(message) for message in ASKED]
    tokens: list[int] = builder.merge_context_tokens(asked, [*asked, dict(ANSWER)], []).token_ids
    return tokens
