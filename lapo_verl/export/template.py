"""The exported chat template: the model's own, and one optional argument, ``token_budget``.

Without the argument the prompt is exactly the model's own. With it, the sentence of the training goes where the
training had it: behind the generation prompt, inside the think block, or at the end of the user's last turn.
"""

from __future__ import annotations

import json
import string
from collections.abc import Iterator, Sequence
from typing import Literal

ARGUMENT = "token_budget"
_ASKED = f"{ARGUMENT} is defined and {ARGUMENT} is not none"
_ABOUT = f"""{{#
  The model's own chat template with one more argument: {ARGUMENT}, a whole number of tokens that the response should
  have. Without it the prompt is the model's own. Written by lapo export.
#}}
"""
_IS_WHOLE = (
    f"{ARGUMENT} is not string and {ARGUMENT} is number and {ARGUMENT} is not boolean and {ARGUMENT} % 1 == 0 "
    f"and {ARGUMENT} >= 1"
)


def budget_template(
    own: str, sentence: str, place: Literal["inside", "outside"], rounding: int, closed_by: Sequence[tuple[str, bool]]
) -> str:
    """The template of a model that was trained with a sentence.

    Args:
        own: the chat template of the training, Jinja.
        sentence: of the training, with {budget}, {low} or {high}; for ``place=inside`` as it follows the generation
            prompt, see ``seam.sentence_behind``.
        place, rounding: of ``lapo.guidance``.
        closed_by: (argument of the template, value) of those with which the sentence has no place.
    """
    inside = place == "inside"
    lines = [
        _ABOUT + "{%- set lapo_sentence = '' %}",
        f"{{%- if {_ASKED} %}}",
        f"{{%- if not ({_IS_WHOLE}) %}}",
        _raises(f"{ARGUMENT} must be a whole number of tokens from 1 on, got ", f" ~ {ARGUMENT} | tojson"),
        "{%- endif %}",
        *_refusals(closed_by),
        "{%- if add_generation_prompt %}",
        f"{{%- set lapo_tokens = {_rounded(rounding)} %}}",
        f"{{%- set lapo_sentence = {_expression(sentence)} %}}",
        *([] if inside else _LAST_USER_TURN),
        "{%- endif %}",
        "{%- endif %}",
    ]
    # The newline behind the last block is trimmed, so the model's own template begins at a line's beginning, as ever.
    before = "\n".join(lines) + "\n"
    if not inside:
        return before + own
    # Jinja drops a newline at a template's end, which is no end here.
    return before + own.removesuffix("\n") + "{{ lapo_sentence }}"


def template_without_budget(own: str, why: str) -> str:
    """The template of a model that was trained without a sentence: the model's own, which refuses ``token_budget``."""
    lines = [_ABOUT + f"{{%- if {_ASKED} %}}", _raises(f"{ARGUMENT} cannot be used: {why}"), "{%- endif %}"]
    return "\n".join(lines) + "\n" + own


def _rounded(rounding: int) -> str:
    """``guidance.text.shown_tokens`` of a whole number, in Jinja."""
    if rounding == 1:
        return f"{ARGUMENT} | int"
    return f"[(2 * ({ARGUMENT} | int) + {rounding}) // {2 * rounding}, 1] | max * {rounding}"


def _expression(sentence: str) -> str:
    """The sentence as a Jinja expression; {budget}, {low} and {high} are all the number that was asked for."""
    parts: list[str] = []
    for text, name, form, conversion in string.Formatter().parse(sentence):
        if text:
            parts.append(_quoted(text))
        if name is not None:
            written = "{" + (f"!{conversion}" if conversion else "") + (f":{form}" if form else "") + "}"
            parts.append("lapo_tokens" if written == "{}" else f"{_quoted(written)}.format(lapo_tokens)")
    return " ~ ".join(parts)


def _refusals(closed_by: Sequence[tuple[str, bool]]) -> Iterator[str]:
    for argument, value in closed_by:
        yield f"{{%- if {argument} is defined and {'' if value else 'not '}{argument} %}}"
        shown = "true" if value else "false"
        yield _raises(f"{ARGUMENT} needs an open think block, and {argument}={shown} leaves none; drop one of them")
        yield "{%- endif %}"


def _raises(message: str, rest: str = "") -> str:
    return f"{{{{- raise_exception({_quoted(message)}{rest}) }}}}"


def _quoted(text: str) -> str:
    """A Jinja string literal: its escapes are Python's, of which JSON's are a part, pairs of surrogates apart."""
    return json.dumps(text, ensure_ascii=False)


# As ``with_sentence`` does it.
_LAST_USER_TURN = [
    "{%- set lapo_turn = namespace(index=none) %}",
    "{%- for message in messages %}",
    "{%- if message['role'] == 'user' %}{%- set lapo_turn.index = loop.index0 %}{%- endif %}",
    "{%- endfor %}",
    "{%- if lapo_turn.index is none or messages[lapo_turn.index]['content'] is not string %}",
    _raises(f"{ARGUMENT} needs a conversation with a user's turn of text"),
    "{%- endif %}",
    "{%- set lapo_said = messages[lapo_turn.index] %}",
    "{%- set lapo_said = dict(lapo_said, content=lapo_said['content'] ~ lapo_sentence) %}",
    "{%- set messages = messages[:lapo_turn.index] + [lapo_said] + messages[lapo_turn.index + 1:] %}",
]
