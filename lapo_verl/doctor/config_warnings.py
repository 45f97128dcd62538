"""Settings of LAPO's that do nothing in this run, and checkpoints that would be missed."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from omegaconf import DictConfig, OmegaConf

from lapo_verl.config import LapoConfig
from lapo_verl.doctor.diagnostic import Finding
from lapo_verl.doctor.verl_settings import has_hooks, leaves
from lapo_verl.guidance.sentence import shows_band
from lapo_verl.paths import hydra_configs

# What a run without LAPO's hooks reads of the node `lapo:`.
BASELINE_KEYS = ("lapo.verifier", "lapo.verify_timeout", "lapo.answer_forms", "lapo.prompt")
BAND_KEYS = ("lapo.guidance.low", "lapo.guidance.high")


def config_warnings(config: DictConfig, settings: LapoConfig, resumes: bool) -> Iterator[Finding]:
    """One warning for each reason why keys of the node ``lapo:`` do nothing.

    Args:
        resumes: whether verl would go on from a checkpoint.
    """
    keys = set_keys(config.lapo)
    for is_ignored, reason in _without_effect(settings, has_hooks(config), resumes):
        ignored = sorted(key for key in keys if is_ignored(key))
        if ignored:
            yield _warning(f"{', '.join(ignored)}: set, and without effect: {reason}. Leave it out")
            keys.difference_update(ignored)


def set_keys(node: DictConfig) -> set[str]:
    """The dotted keys of a composed node ``lapo:`` whose values are not the defaults of ``lapo_base.yaml``.

    Those of ``lapo.objective`` are left out: an objective refuses what it does not read.
    """
    base = OmegaConf.load(hydra_configs() / "lapo_base.yaml").lapo
    defaults = leaves("lapo", OmegaConf.to_container(base, resolve=False))
    return {
        key
        for key, value in leaves("lapo", OmegaConf.to_container(node, resolve=False)).items()
        if (key not in defaults or defaults[key] != value) and not key.startswith("lapo.objective.")
    }


def _without_effect(settings: LapoConfig, hooks: bool, resumes: bool) -> Iterator[tuple[Callable[[str], bool], str]]:
    """(which keys, why they have no effect), the reasons that say most first."""
    objective, guidance = settings.objective, settings.guidance
    start_keys = ("lapo.init_from", "lapo.max_unknown_share")
    if not hooks:
        yield (
            lambda key: key not in BASELINE_KEYS and not key.startswith("lapo.prompt_templates."),
            "the baseline rewards correctness alone, without a store, a length reward and guidance",
        )
    if not objective.keeps_targets:
        yield start_keys.__contains__, f"the objective {objective.name} uses nothing of an earlier run"
    elif settings.init_from is None and not objective.starts_from_targets:
        yield "lapo.max_unknown_share".__eq__, "lapo.init_from is not set, so the run starts with an empty store"
    elif resumes:
        yield (
            start_keys.__contains__,
            "the run resumes from a checkpoint of trainer.default_local_dir, with that checkpoint's store",
        )
    if not objective.names_budget:
        yield (
            lambda key: key.startswith("lapo.guidance."),
            f"the objective {objective.name} shows no guidance",
        )
    if guidance.form == "implicit":
        yield (
            lambda key: key.startswith("lapo.guidance.") and key != "lapo.guidance.form",
            "lapo.guidance.form=implicit shows no sentence",
        )
    elif not shows_band(guidance):
        yield BAND_KEYS.__contains__, "the sentence names no band"
    if settings.verifier != "lapo":
        yield (
            ("lapo.verify_timeout", "lapo.answer_forms").__contains__,
            f"lapo.verifier={settings.verifier} decides by itself",
        )
    yield (
        lambda key: key.startswith("lapo.prompt_templates.") and key != f"lapo.prompt_templates.{settings.prompt}",
        f"lapo.prompt={settings.prompt} names another template",
    )


def saving_warnings(config: DictConfig) -> Iterator[Finding]:
    """Where the weights, or what stage 2 starts from, would not be saved."""
    if int(config.trainer.save_freq) <= 0:
        yield _warning(
            f"trainer.save_freq={config.trainer.save_freq}: verl never writes a checkpoint, and the weights are lost "
            "when it ends; set it to a number of steps, e.g. trainer.save_freq=20"
        )
    saved = OmegaConf.select(config, "actor_rollout_ref.actor.checkpoint.save_contents") or []
    if "hf_model" not in saved:
        yield _warning(
            "actor_rollout_ref.actor.checkpoint.save_contents lacks hf_model: the next stage and lapo eval start from "
            "weights in Hugging Face format, which you would have to make with python -m verl.model_merger; add "
            "hf_model to the list"
        )


def _warning(text: str) -> Finding:
    return Finding("warning", text)
