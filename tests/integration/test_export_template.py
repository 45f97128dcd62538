"""The exported template over every template of the tests: its tokens are those that training's agent loop sends."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from prompt_cases import PROMPT_CASES, PromptCase
from rollout_server import rollout
from tiny_models import TINY_MODELS, TinyModel
from transformers import AutoTokenizer

from lapo_verl.doctor.tokenizer_repair import repair_tokenizer
from lapo_verl.export.errors import ExportError
from lapo_verl.export.seam import Chat, add_budget
from lapo_verl.guidance.config import GuidanceConfig
from lapo_verl.guidance.sentence import guidance_sentence, with_sentence
from lapo_verl.paths import hydra_configs

USER = {"role": "user", "content": "What is 3 + 4? "}
SYSTEM = {"role": "system", "content": "Be brief."}
MORE = [USER, {"role": "assistant", "content": "<think>\n3 + 4 is 7</think>\n\n\\boxed{7}"}, USER]
CHATS = {"one turn": [USER], "system": [SYSTEM, USER], "several turns": MORE, "system, several turns": [SYSTEM, *MORE]}
GUIDANCE = {
    "exact": GuidanceConfig(),
    "range": GuidanceConfig(form="range"),
    "outside": GuidanceConfig(place="outside"),
    "rounded, own text": GuidanceConfig(text="Think for {budget:,} tokens.", rounding=50),
    "multiple lines": GuidanceConfig(text='\n{budget} tokens \U0001f600 "quoted" {{x}} %}} \\ é\n'),
}
PAPER = OmegaConf.load(hydra_configs() / "lapo_base.yaml").lapo.prompt_templates.paper

Make = Callable[[Path], tuple[Any, str]]


def of_case(case: PromptCase) -> Make:
    return lambda folder: (case.tokenizer(), case.template)


def of_model(model: TinyModel) -> Make:
    def make(folder: Path) -> tuple[Any, str]:
        path = model.save(folder / "model", weights=False)
        if model.name == "r1_distill_llama":  # transformers 5 loses its spaces
            path = repair_tokenizer(str(path), folder / "repaired")
        tokenizer = AutoTokenizer.from_pretrained(path)
        return tokenizer, tokenizer.chat_template

    return make


MAKERS = {
    **{f"case {case.name}": of_case(case) for case in PROMPT_CASES},
    **{f"model {model.name}": of_model(model) for model in TINY_MODELS},
}


def training_ids(own: Chat, messages: list[dict[str, str]], guidance: GuidanceConfig, budget: float) -> list[int]:
    """What verl's agent loop, as LAPO changes it, sends to the rollout server."""
    sentence = guidance_sentence(guidance, budget, (budget, budget), 4096)
    appended = sentence
    if guidance.place == "outside":
        messages, appended = with_sentence(messages, sentence), ""
    data = OmegaConf.create(
        {
            "max_prompt_length": 4096,
            "max_response_length": 4096,
            "apply_chat_template_kwargs": {"chat_template": own.template},
        }
    )
    row = {"raw_prompt": messages, "lapo": {"guidance": appended, "problem_id": "p"}}
    return rollout(own.tokenizer, row, data)[0]


@pytest.mark.parametrize("form", GUIDANCE)
@pytest.mark.parametrize("name", [*MAKERS, "paper"])
def test_the_ids_are_those_of_training(name: str, form: str, tmp_path: Path) -> None:
    tokenizer, template = MAKERS["model qwen3" if name == "paper" else name](tmp_path)
    own = Chat(tokenizer, PAPER if name == "paper" else template)
    exported = add_budget(own, GUIDANCE[form])
    for chat, messages in CHATS.items():
        if name == "paper" and messages != [USER]:
            continue  # the paper's prompt is a question's
        for budget in (1, 40, 75, 512, 4096):
            assert exported.ids(messages, token_budget=budget) == training_ids(own, messages, GUIDANCE[form], budget), (
                chat
            )
        assert exported.ids(messages) == training_ids(own, messages, GuidanceConfig(form="implicit"), 1)
        for wrong in (0, -40, "40", 1.5, True):
            with pytest.raises(Exception, match="token_budget must be a whole number"):
                exported.text(messages, token_budget=wrong)
        done = [*messages, {"role": "assistant", "content": "\\boxed{7}"}]
        assert exported.text(done, add_generation_prompt=False, token_budget=40) == own.text(
            done, add_generation_prompt=False
        )


def test_thinking_switched_off_is_refused_with_a_budget_and_is_the_models_own_without() -> None:
    case = next(case for case in PROMPT_CASES if case.name == "qwen3")
    own = Chat(case.tokenizer(), case.template)
    exported = add_budget(own, GuidanceConfig())
    with pytest.raises(Exception, match="needs an open think block, and enable_thinking=false leaves none"):
        exported.text([USER], enable_thinking=False, token_budget=40)
    assert exported.text([USER], enable_thinking=False) == own.text([USER], enable_thinking=False)
    # Beside the think block there is a place.
    outside = add_budget(own, GuidanceConfig(place="outside"))
    assert "with 40 tokens." in outside.text([USER], enable_thinking=False, token_budget=40)


def test_a_template_that_closes_the_think_block_is_refused() -> None:
    case = next(case for case in PROMPT_CASES if case.name == "qwen3")
    closing = case.template.replace("enable_thinking is defined and enable_thinking is false", "not enable_thinking")
    with pytest.raises(ExportError, match="the chat template closes the think block"):
        add_budget(Chat(case.tokenizer(), closing), GuidanceConfig())


def test_a_tokenizer_that_joins_the_sentence_to_the_prompt_is_refused() -> None:
    case = next(case for case in PROMPT_CASES if case.name == "plain")
    tokenizer = case.tokenizer()
    tokenizer.add_tokens([":now"])
    with pytest.raises(ExportError, match="with token_budget=1 a server would not see the training's tokens"):
        add_budget(Chat(tokenizer, case.template), GuidanceConfig(text="now {budget}"))


def test_an_export_is_not_exported_again() -> None:
    case = PROMPT_CASES[0]
    exported = add_budget(Chat(case.tokenizer(), case.template), GuidanceConfig())
    with pytest.raises(ExportError, match="has an argument token_budget already"):
        add_budget(exported, GuidanceConfig())
