"""With which prompt a model is asked: that of its training, unless the user says otherwise."""

from __future__ import annotations

from omegaconf import OmegaConf

from lapo_verl.evaluate.models import Model
from lapo_verl.evaluate.settings import EvalSettings
from lapo_verl.paths import hydra_configs
from lapo_verl.runs.prompt_note import FILE, PromptNote

DEFAULT = "model"


def prompt_of(model: Model, settings: EvalSettings) -> tuple[PromptNote, str]:
    """(the prompt that a model is asked with, why it is that one)."""
    if settings.prompt is not None:
        return PromptNote(settings.prompt, known_template(settings.prompt)), "as given"
    if model.prompt is not None:
        return model.prompt, f"as in its training ({FILE})"
    return PromptNote(DEFAULT, None), f"its own chat template: there is no {FILE} of a training beside it"


def prompt_keys(model: Model) -> dict[str, object]:
    """verl's keys that ask a model with its ``prompt``; the template too, where the configs have another or none."""
    prompt = model.prompt
    if prompt is None or prompt.template is None:
        return {}
    keys: dict[str, object] = {"lapo.prompt": prompt.name}
    if prompt.template != known_template(prompt.name):
        keys[f"++lapo.prompt_templates.{prompt.name}"] = prompt.template
    return keys


def known_template(name: str) -> str | None:
    """The chat template under a name of ``lapo.prompt`` in LAPO's configs; None for the model's own, and for others."""
    table = OmegaConf.load(hydra_configs() / "lapo_base.yaml").lapo.prompt_templates
    text = table.get(name)
    return None if text is None else str(text)
