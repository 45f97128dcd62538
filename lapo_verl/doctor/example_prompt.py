"""One prompt as the model will see it: made by verl's own dataset and agent loop, and looked at for faults."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig
from verl.experimental.agent_loop.agent_loop import DictConfigWrap
from verl.tools.tool_registry import load_all_tools
from verl.trainer.ppo.utils import create_rl_dataset
from verl.utils.dataset.rl_dataset import get_dataset_class

from lapo_verl.config import TOOL_LOOP
from lapo_verl.doctor.diagnostic import Finding
from lapo_verl.doctor.model_check import Model
from lapo_verl.guidance.sentence import longest_guidance
from lapo_verl.guidance.think import END_THINK, THINK
from lapo_verl.hooks.agent_loop import LapoSingleTurnAgentLoop
from lapo_verl.hooks.dataset import LapoDataset

# Tokens shown on each side of the seam.
SEAM = 6


class ExampleError(ValueError):
    """No prompt can be made of a row; the message says why, and what to do."""


@dataclass(frozen=True)
class Token:
    """A token of the vocabulary, and what it reads alone."""

    id: int
    text: str


@dataclass(frozen=True)
class Example:
    """A row's prompt, token by token.

    Attributes:
        problem_id: of the row.
        budget: M(q) in tokens; None where unsolved, or where the row has none.
        guided: whether this visit is shown the guidance.
        ids: what the rollout server receives.
        start, end: ``ids[start:end]`` are there because of the guidance; empty where there is none.
        before, guidance, after: the text of the three parts.
        last_of_prompt, first_of_guidance: the tokens around the seam.
    """

    problem_id: str
    budget: float | None
    guided: bool
    ids: list[int]
    start: int
    end: int
    before: str
    guidance: str
    after: str
    last_of_prompt: list[Token]
    first_of_guidance: list[Token]


def make_example(config: DictConfig, model: Model, row: dict[str, Any], problem_id: str) -> Example:
    """The prompt of a dataset row, as ``LapoSingleTurnAgentLoop`` builds it.

    Args:
        config: resolved.
        row: as the dataset gives it: ``raw_prompt``, and ``lapo`` where it is guided.

    Raises:
        ExampleError: the chat template refuses the row, or the guidance does not fit.
    """
    lapo = row.get("lapo") or {}
    own = row[config.data.get("prompt_key", "prompt")]
    tools = tool_schemas(config, row)
    plain = prompt_ids(config, model, own, "", problem_id, tools)
    ids = prompt_ids(config, model, row["raw_prompt"], lapo.get("guidance", ""), problem_id, tools)
    start, end = changed_span(plain, ids)
    if not lapo.get("guided"):
        start = end = len(ids)
    before, guidance, after = _parts(model.tokenizer, ids, start, end)
    return Example(
        problem_id=problem_id,
        budget=lapo.get("target"),
        guided=bool(lapo.get("guided")),
        ids=ids,
        start=start,
        end=end,
        before=before,
        guidance=guidance,
        after=after,
        last_of_prompt=_tokens(model.tokenizer, ids[max(0, start - SEAM) : start]),
        first_of_guidance=_tokens(model.tokenizer, ids[start : min(end, start + SEAM)]),
    )


def prompt_ids(
    config: DictConfig,
    model: Model,
    messages: list[dict[str, Any]],
    guidance: str,
    problem_id: str,
    tools: list[dict[str, Any]] | None = None,
) -> list[int]:
    """The prompt's tokens by LAPO's agent loop, which without guidance is verl's.

    Args:
        tools: as ``tool_schemas`` gives them. All of LAPO's agent loops build their first prompt alike.

    Raises:
        ExampleError: the chat template refuses the messages, or the prompt does not fit.
    """

    dataset_cls = _dataset_class(config)

    async def build() -> list[int]:
        loop = LapoSingleTurnAgentLoop(
            trainer_config=DictConfigWrap(config),
            server_manager=None,
            tokenizer=model.tokenizer,
            processor=model.processor,
            dataset_cls=dataset_cls,
            data_config=DictConfigWrap(config.data),
            hf_model_type=model.hf_model_type,
        )
        loop.guidance, loop.problem_id = guidance, problem_id
        return await loop.ct_build_initial_tokens(messages, tools=tools)

    try:
        return asyncio.run(build())
    except ValueError as error:
        raise ExampleError(str(error)) from error
    except Exception as error:  # a template may raise anything
        raise ExampleError(
            f"problem {problem_id}: the chat template cannot write its prompt ({type(error).__name__}: {error}); "
            "change the row's messages, or choose another template with lapo.prompt"
        ) from error


def tool_schemas(config: DictConfig, row: dict[str, Any]) -> list[dict[str, Any]] | None:
    """What the row's prompt is told of tools; None where its agent loop has none."""
    rollout = config.actor_rollout_ref.rollout
    if row.get("agent_name", rollout.agent.default_agent_loop) != TOOL_LOOP:
        return None
    tools = load_all_tools(rollout.multi_turn.tool_config_path, rollout.multi_turn.function_tool_path)
    selected = (row.get("extra_info") or {}).get("tool_selection") or [tool.name for tool in tools]
    return [
        tool.tool_schema.model_dump(exclude_unset=True, exclude_none=True) for tool in tools if tool.name in selected
    ]


def _dataset_class(config: DictConfig) -> Any:
    try:
        return get_dataset_class(config.data)
    except Exception as error:  # a file of the user's own may raise anything
        own = config.data.custom_cls
        raise ExampleError(
            f"data.custom_cls.path={own.path}, data.custom_cls.name={own.name}: verl cannot load this dataset class "
            f"({type(error).__name__}: {error})"
        ) from error


def load_dataset(config: DictConfig, model: Model, is_training: bool) -> Any:
    """The dataset that verl makes of the training or the validation files, length filter included.

    Raises:
        ExampleError: the files cannot be read, the dataset refuses them, or they hold what the model cannot take.
    """
    key, data = "train" if is_training else "val", config.data.copy()
    if data.get("filter_overlong_prompts_workers") == 1:
        data.filter_overlong_prompts_workers = None  # in this process: to start one worker takes seconds
    try:
        dataset = create_rl_dataset(
            data[f"{key}_files"],
            data,
            model.tokenizer,
            model.processor,
            is_train=is_training,
            max_samples=config.data.get(f"{key}_max_samples", -1),
        )
    except ValueError as error:
        raise ExampleError(str(error)) from error
    except Exception as error:  # a dataset of the user's own may raise anything
        raise ExampleError(f"data.{key}_files: verl's dataset fails ({type(error).__name__}: {error})") from error
    if model.processor is None:
        _refuse_media(config, f"data.{key}_files", dataset)
    return dataset


def _refuse_media(config: DictConfig, files: str, dataset: Any) -> None:
    """verl hands a row's images, videos and sounds to the model's processor; a text model has none."""
    frame = dataset.dataframe
    for kind in ("image", "video", "audio"):
        column = config.data.get(f"{kind}_key", f"{kind}s")
        rows = [bool(cell) for cell in frame[column]] if column in frame.column_names else []
        if any(rows):
            raise ExampleError(
                f"{files}: {sum(rows)} of {len(rows)} rows have a value in the column {column!r} (first: row "
                f"{rows.index(True)}), and the model has no processor for it; choose a model that has one, or remove "
                "the column"
            )


def guidance_room(dataset: Any) -> int:
    """Tokens that a dataset's length filter keeps for the longest guidance."""
    if not (isinstance(dataset, LapoDataset) and dataset.is_guided):
        return 0
    return longest_guidance(dataset.lapo.guidance, dataset.response_limit, dataset.tokenizer)


def changed_span(plain: list[int], guided: list[int]) -> tuple[int, int]:
    """The part of ``guided``, as (start, end), that is not in ``plain``.

    >>> changed_span([1, 2, 9], [1, 2, 5, 6, 9])
    (2, 4)
    """
    start = 0
    while start < min(len(plain), len(guided)) and plain[start] == guided[start]:
        start += 1
    kept = 0
    while kept < min(len(plain), len(guided)) - start and plain[-1 - kept] == guided[-1 - kept]:
        kept += 1
    return start, len(guided) - kept


def row_findings(config: DictConfig, model: Model, row: dict[str, Any], example: Example) -> Iterator[Finding]:
    """What is wrong with the way from a row to its prompt.

    Args:
        config: resolved.
        row: as the dataset gives it; ``example`` is its prompt.
    """
    yield from _unknown_tokens(model, example)
    yield from _template_findings(config, model, row, example)


def _template_findings(config: DictConfig, model: Model, row: dict[str, Any], example: Example) -> Iterator[Finding]:
    """What the chat template makes of a row that it should not."""
    messages = row["raw_prompt"]
    content = messages[-1]["content"]
    if messages[-1]["role"] != "user" or not isinstance(content, str):
        return
    kwargs = config.data.apply_chat_template_kwargs
    text: str = model.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, **kwargs)
    appended = bool((row.get("lapo") or {}).get("guidance"))
    yield from _length_findings(config, model, text)
    _, found, turn = text.rpartition(content.strip())
    if not found:
        lost = "the last user turn and the guidance in it" if example.guided and not appended else "the last user turn"
        yield Finding(
            "error",
            f"the chat template drops {lost}: {content.strip()[-60:]!r} is not in the prompt; choose another with "
            "lapo.prompt",
        )
    elif turn.rstrip().endswith(END_THINK):  # with guidance behind it, the agent loop has refused it before
        yield Finding(
            "warning",
            f"the chat template closes the think block ({turn[-40:]!r}): the model would not think. Turn thinking "
            "on with +data.apply_chat_template_kwargs.enable_thinking=true",
        )
    elif (turn + (example.guidance if appended else "")).count(THINK) > 1:
        yield Finding(
            "error",
            f"the think block is opened twice: {(turn + example.guidance)[-80:]!r}. Take {THINK} out of the chat "
            "template's or the guidance's text (lapo.guidance.text), or set lapo.guidance.place=outside",
        )


def _length_findings(config: DictConfig, model: Model, text: str) -> Iterator[Finding]:
    tokens, limit = len(model.tokenizer.encode(text, add_special_tokens=False)), int(config.data.max_prompt_length)
    if tokens > limit:
        yield Finding(
            "warning",
            f"the prompt shown here has {tokens} tokens, more than data.max_prompt_length={limit}: verl cuts its "
            "beginning off. Raise the limit, or leave such rows out with data.filter_overlong_prompts=true",
        )


def _unknown_tokens(model: Model, example: Example) -> Iterator[Finding]:
    """A vocabulary that cannot write the guidance."""
    unknown = model.tokenizer.unk_token_id
    shown = example.ids[example.start : example.end]
    if unknown is not None and unknown in shown:
        yield Finding(
            "error",
            f"the tokenizer has no tokens for {shown.count(unknown)} parts of the guidance, which becomes "
            f"{example.guidance!r}; write lapo.guidance.text with words that it knows",
        )


def _parts(tokenizer: Any, ids: list[int], start: int, end: int) -> tuple[str, str, str]:
    """The text of the ids before ``start``, up to ``end``, and after it."""
    whole, before, middle = (_decode(tokenizer, part) for part in (ids, ids[:start], ids[:end]))
    # Some decoders drop a space at the beginning, so parts are cut from the whole where that is possible.
    if whole.startswith(middle) and middle.startswith(before):
        return before, middle[len(before) :], whole[len(middle) :]
    return before, _decode(tokenizer, ids[start:end]), _decode(tokenizer, ids[end:])


def _tokens(tokenizer: Any, ids: list[int]) -> list[Token]:
    return [Token(token, _decode(tokenizer, [token])) for token in ids]


def _decode(tokenizer: Any, ids: list[int]) -> str:
    text: str = tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    return text
