"""The exported chat template, rendered as transformers and vLLM render templates."""

from __future__ import annotations

import json
from typing import Any

import jinja2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2.sandbox import ImmutableSandboxedEnvironment

from lapo_verl.export.template import budget_template, template_without_budget
from lapo_verl.guidance.text import guidance_text

OWN = (
    "  {%- for message in messages %}\n[{{ message['role'] }}] {{ message['content'] }}\n{% endfor %}\n"
    "{% if add_generation_prompt %}\n[assistant]\n  {% endif %}\n"
)
# What Jinja trims, strips or drops at the ends of a template, and what keeps it from that.
PIECES = (" ", "\t", "\n", "a", "{# c #}", "{#- c -#}", "{% set x = 1 %}", "{{ 2 }}")
ASK = [{"role": "user", "content": "1 + 1?"}]
SENTENCE = "I will answer the question with {budget} tokens."


def render(template: str, messages: list[dict[str, Any]] = ASK, add_generation_prompt: bool = True, **kw: Any) -> str:
    def refuse(message: str) -> None:
        raise jinja2.TemplateError(message)

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.globals["raise_exception"] = refuse
    environment.filters["tojson"] = json.dumps
    return environment.from_string(template).render(
        messages=messages, add_generation_prompt=add_generation_prompt, **kw
    )


def inside(own: str = OWN, sentence: str = SENTENCE, rounding: int = 1) -> str:
    return budget_template(own, sentence, "inside", rounding, [])


@given(
    st.lists(st.sampled_from(PIECES), max_size=8),
    st.lists(st.sampled_from(PIECES), max_size=8),
    st.booleans(),
    st.sampled_from(["inside", "outside"]),
)
def test_without_a_budget_the_prompt_is_the_models_own(
    before: list[str], after: list[str], generation: bool, place: Any
) -> None:
    own = "".join([*before, OWN, *after])
    expected = render(own, add_generation_prompt=generation)
    template = budget_template(own, SENTENCE, place, 1, [("enable_thinking", False)])
    for given_budget in ({}, {"token_budget": None}):
        assert render(template, add_generation_prompt=generation, **given_budget) == expected
    assert render(template_without_budget(own, "why"), add_generation_prompt=generation) == expected


@given(st.integers(1, 200_000), st.integers(1, 1000), st.booleans())
def test_the_sentence_is_the_trainings(budget: int, rounding: int, as_float: bool) -> None:
    shown = render(inside(rounding=rounding), token_budget=float(budget) if as_float else budget)
    assert shown == render(OWN) + guidance_text("exact", budget=budget, rounding=rounding).lstrip()


@given(st.text(max_size=20), st.integers(1, 9999))
def test_a_text_of_the_users_own(words: str, budget: int) -> None:
    text = words.replace("{", "{{").replace("}", "}}") + "{budget:,} in {low} to {high!s}"
    shown = render(inside(sentence=text), token_budget=budget)
    assert shown == render(OWN) + text.format(budget=budget, low=budget, high=budget)


@pytest.mark.parametrize(
    "budget", [0, -1, 1.5, "40", "", True, False, float("nan"), float("inf"), [40], {"tokens": 40}]
)
@pytest.mark.parametrize("place", ["inside", "outside"])
def test_what_is_no_whole_number_is_refused(budget: object, place: Any) -> None:
    template = budget_template(OWN, SENTENCE, place, 1, [])
    with pytest.raises(jinja2.TemplateError, match="token_budget must be a whole number of tokens from 1 on, got "):
        render(template, token_budget=budget)


def test_the_message_tells_text_from_a_number() -> None:
    with pytest.raises(jinja2.TemplateError, match='got "40"'):
        render(inside(), token_budget="40")


def test_without_a_generation_prompt_there_is_no_place_for_the_sentence() -> None:
    for place in ("inside", "outside"):
        template = budget_template(OWN, SENTENCE, place, 1, [])
        assert render(template, add_generation_prompt=False, token_budget=40) == render(
            OWN, add_generation_prompt=False
        )


def test_outside_is_the_end_of_the_last_users_turn() -> None:
    template = budget_template(OWN, " Use {budget} tokens.", "outside", 1, [])
    turns = [*ASK, {"role": "assistant", "content": "2"}, {"role": "user", "content": "And 2 + 2?"}]
    guided = [*turns[:-1], {"role": "user", "content": "And 2 + 2? Use 40 tokens."}]
    assert render(template, turns, token_budget=40) == render(OWN, guided)
    assert turns[-1]["content"] == "And 2 + 2?"
    for no_text in ([{"role": "system", "content": "x"}], [{"role": "user", "content": [{"type": "text"}]}]):
        with pytest.raises(jinja2.TemplateError, match="needs a conversation with a user's turn of text"):
            render(template, no_text, token_budget=40)


def test_an_argument_that_closes_the_think_block_is_refused() -> None:
    template = budget_template(OWN, SENTENCE, "inside", 1, [("enable_thinking", False), ("short", True)])
    for wrong, text in (({"enable_thinking": False}, "enable_thinking=false"), ({"short": True}, "short=true")):
        with pytest.raises(jinja2.TemplateError, match=f"needs an open think block, and {text} leaves none"):
            render(template, token_budget=40, **wrong)
        assert render(template, **wrong) == render(OWN)
    assert render(template, token_budget=40, enable_thinking=True, short=False).endswith("with 40 tokens.")


def test_a_model_without_a_sentence_says_so() -> None:
    with pytest.raises(jinja2.TemplateError, match="token_budget cannot be used: trained without"):
        render(template_without_budget(OWN, "trained without"), token_budget=40)
