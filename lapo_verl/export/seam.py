"""Where the sentence meets the model's own prompt, found out with a few conversations and checked on them.

The training appends the sentence's tokens to the prompt's; a server tokenizes the whole text. Both must give the same.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jinja2
from jinja2 import meta

from lapo_verl.export.errors import ExportError
from lapo_verl.export.template import ARGUMENT, budget_template
from lapo_verl.guidance.config import GuidanceConfig
from lapo_verl.guidance.prefill import append_guidance, guidance_with_seam
from lapo_verl.guidance.sentence import requested_sentence, with_sentence
from lapo_verl.guidance.text import DEFAULT_TEXTS
from lapo_verl.guidance.think import END_THINK, THINK

# One digit to six, and the two sides of a rounding.
BUDGETS = (1, 9, 40, 99, 150, 512, 4096, 32768, 131072)
_ASK, _ANSWER = "What is 3 + 4?", f"{THINK}\n3 + 4 is 7.\n{END_THINK}\n\n\\boxed{{7}}"
_TURN = [{"role": "user", "content": _ASK}]
_SYSTEM = [{"role": "system", "content": "You are a careful mathematician."}]
_MORE = [{"role": "assistant", "content": _ANSWER}, {"role": "user", "content": "And doubled?\n"}]
CONVERSATIONS: Sequence[list[dict[str, Any]]] = (_TURN, _SYSTEM + _TURN, _TURN + _MORE, _SYSTEM + _TURN + _MORE)
# A block for training masks, which jinja2 does not know by itself.
_GENERATION = re.compile(r"\{%[-+]?\s*(end)?generation\s*[-+]?%\}")


@dataclass(frozen=True)
class Chat:
    """A tokenizer with the chat template of the training: how conversations become token ids."""

    tokenizer: Any
    template: str

    def text(self, messages: list[dict[str, Any]], add_generation_prompt: bool = True, **arguments: Any) -> str:
        """The rendered conversation. A template may raise anything."""
        text: str = self.tokenizer.apply_chat_template(
            messages,
            chat_template=self.template,
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
            **arguments,
        )
        return text

    def ids(self, messages: list[dict[str, Any]], **arguments: Any) -> list[int]:
        """The prompt's tokens, as a server makes them: the whole text at once, and no special tokens beside it."""
        return list(self.tokenizer.encode(self.text(messages, **arguments), add_special_tokens=False))

    def known(self) -> list[list[dict[str, Any]]]:
        """The conversations that the template takes: some refuse a system message.

        Raises:
            ExportError: it does not even take a user's turn.
        """
        taken = []
        for messages in CONVERSATIONS:
            try:
                self.text(messages)
            except Exception as error:  # a template may raise anything
                if messages is _TURN:
                    raise ExportError(
                        f"the chat template cannot write a user's turn ({type(error).__name__}: {error})"
                    ) from error
                continue
            taken.append(messages)
        return taken


def add_budget(chat: Chat, guidance: GuidanceConfig) -> Chat:
    """The chat with the argument ``token_budget``; made of what training does, and checked against it.

    Raises:
        ExportError: the template closes the think block, has such an argument already, or would give other tokens than
            the training.
    """
    if ARGUMENT in _arguments(chat.template):
        raise ExportError(
            f"the chat template has an argument {ARGUMENT} already; export the training's checkpoint, not an export"
        )
    sentence = DEFAULT_TEXTS[guidance.form] if guidance.text is None else guidance.text
    closed_by: list[tuple[str, bool]] = []
    if guidance.place == "inside":
        closed_by = _closed_by(chat, sentence)
        sentence = sentence_behind(chat, sentence)
    template = budget_template(chat.template, sentence, guidance.place, guidance.rounding, closed_by)
    with_budget = Chat(chat.tokenizer, template)
    check_same_ids(chat, with_budget, guidance)
    return with_budget


def sentence_behind(chat: Chat, sentence: str, **arguments: Any) -> str:
    """The sentence as training puts it behind the generation prompt, an opening of the think block included.

    Raises:
        ExportError: the template closes the think block, or the prompts of several conversations end differently.
    """
    try:
        ids = [chat.ids(messages, **arguments) for messages in chat.known()]
        found = {guidance_with_seam(each, sentence, chat.tokenizer, chat.template) for each in ids}
    except ValueError as error:
        raise ExportError(f"no budget can be asked for: {error}") from error
    if len(found) > 1:
        raise ExportError(f"the prompts of several conversations need several beginnings of the sentence: {found}")
    return found.pop()


def check_same_ids(own: Chat, exported: Chat, guidance: GuidanceConfig) -> None:
    """ExportError unless the exported template gives the training's tokens, and without a budget its own text."""
    for messages in own.known():
        for add_generation_prompt in (True, False):
            before, after = (chat.text(messages, add_generation_prompt) for chat in (own, exported))
            if before != after:
                raise ExportError(f"without {ARGUMENT} the exported template gives {after!r}, its own is {before!r}")
        for budget in BUDGETS:
            trained = training_ids(own, messages, guidance, budget)
            served = exported.ids(messages, **{ARGUMENT: budget})
            if trained != served:
                raise ExportError(
                    f"with {ARGUMENT}={budget} a server would not see the training's tokens: "
                    f"{_last_tokens(own, served)} in place of {_last_tokens(own, trained)}. The tokenizer "
                    "joins the sentence to the text before it; give lapo.guidance.text another beginning, or set "
                    "lapo.guidance.place=outside, and train again"
                )


def training_ids(own: Chat, messages: list[dict[str, Any]], guidance: GuidanceConfig, budget: int) -> list[int]:
    """The prompt that training shows for a budget in tokens, as the agent loop builds it."""
    sentence = requested_sentence(guidance, budget)
    if guidance.place == "outside":
        return own.ids(with_sentence(messages, sentence))
    return append_guidance(own.ids(messages), sentence, own.tokenizer, own.template)


def _closed_by(chat: Chat, sentence: str) -> list[tuple[str, bool]]:
    """(argument of the template, value) of those that close the think block, or end the prompt otherwise."""
    usual = sentence_behind(chat, sentence)
    return [
        (argument, value)
        for argument in sorted(_arguments(chat.template))
        for value in (True, False)
        if _renders(chat, {argument: value}) and _behind(chat, sentence, {argument: value}) != usual
    ]


def _renders(chat: Chat, arguments: dict[str, bool]) -> bool:
    """Whether the template takes these values; what is no switch, such as the tools, it mostly does not."""
    try:
        chat.text(_TURN, **arguments)
    except Exception:  # noqa: BLE001 - a template may raise anything
        return False
    return True


def _behind(chat: Chat, sentence: str, arguments: dict[str, bool]) -> str | None:
    try:
        return sentence_behind(chat, sentence, **arguments)
    except ExportError:
        return None


def _arguments(template: str) -> set[str]:
    """The names that a template reads and does not make itself, those that every one is given apart.

    Raises:
        ExportError: it is no Jinja.
    """
    environment = jinja2.Environment(extensions=["jinja2.ext.loopcontrols"])
    try:
        found = meta.find_undeclared_variables(environment.parse(_GENERATION.sub("", template)))
    except jinja2.TemplateError as error:
        raise ExportError(f"the chat template cannot be read: {error}") from error
    return set(found) - _EVERYWHERE


_EVERYWHERE = {"messages", "add_generation_prompt", "tools", "documents", "raise_exception", "strftime_now"} | {
    f"{name}_token" for name in ("bos", "eos", "pad", "unk", "sep", "cls", "mask")
}


def _last_tokens(chat: Chat, ids: list[int]) -> list[str]:
    """The last tokens, each as text."""
    return [chat.tokenizer.decode([token]) for token in ids[-16:]]
