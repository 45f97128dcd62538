"""Settings of LAPO's that do nothing in this run, and checkpoints that would be missed."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from omegaconf import DictConfig, OmegaConf

from lapo_verl.config import LapoConfig
from lapo_verl.doctor.diagnostic import Finding
from lapo_verl.doctor.verl_settings import leaves
from lapo_verl.paths import hydra_configs

# What the baseline reads of the node `lapo:`; it trains without LAPO's hooks.
ACC_ONLY_KEYS = ("lapo.stage", "lapo.verifier", "lapo.verify_timeout", "lapo.answer_forms", "lapo.prompt")
SENTENCE_KEYS = tuple(
    f"lapo.guidance.{key}" for key in ("place", "text", "rounding", "unsolved", "share", "validation")
)


def config_warnings(config: DictConfig, settings: LapoConfig, resumes: bool) -> Iterator[Finding]:
    """One warning for each reason why keys of the node ``lapo:`` do nothing.

    Args:
        resumes: whether verl would go on from a checkpoint.
    """
    keys = set_keys(config.lapo)
    for is_ignored, reason in _without_effect(settings, resumes):
        ignored = sorted(key for key in keys if is_ignored(key))
        if ignored:
            yield _warning(f"{', '.join(ignored)}: set, and without effect: {reason}. Leave it out")
            keys.difference_update(ignored)


def set_keys(node: DictConfig) -> set[str]:
    """The dotted keys of a composed node ``lapo:`` whose values are not the defaults of ``lapo_base.yaml``."""
    base = OmegaConf.load(hydra_configs() / "lapo_base.yaml").lapo
    defaults = leaves("lapo", OmegaConf.to_container(base, resolve=False))
    return {
        key
        for key, value in leaves("lapo", OmegaConf.to_container(node, resolve=False)).items()
        if key not in defaults or defaults[key] != value
    } - {"lapo.stage"}


def _without_effect(settings: LapoConfig, resumes: bool) -> Iterator[tuple[Callable[[str], bool], str]]:
    """(which keys, why they have no effect), the reasons that say most first."""
    stage = settings.stage
    if stage == "acc_only":
        yield (
            lambda key: key not in ACC_ONLY_KEYS and not key.startswith("lapo.prompt_templates."),
            "lapo.stage=acc_only rewards correctness alone, without a store, a length reward and guidance",
        )
    if stage == "discovery":
        yield (
            lambda key: key.startswith("lapo.internalization.") or key in ("lapo.init_from", "lapo.max_unknown_share"),
            "it belongs to stage 2, and this is stage 1",
        )
        yield (
            lambda key: key.startswith("lapo.guidance.") and key != "lapo.guidance.statistic",
            "Discovery shows no guidance",
        )
    if stage == "internalization":
        # The band is recorded in stage 2 as well: the form `range` names it.
        yield (
            lambda key: key.startswith("lapo.discovery.") and key not in ("lapo.discovery.low", "lapo.discovery.high"),
            "it belongs to stage 1, and this is stage 2",
        )
        if settings.guidance.form == "implicit":
            yield SENTENCE_KEYS.__contains__, "lapo.guidance.form=implicit shows no sentence"
        if resumes:
            yield (
                ("lapo.init_from", "lapo.max_unknown_share").__contains__,
                "the run resumes from a checkpoint of trainer.default_local_dir, with that checkpoint's store",
            )
    if settings.statistic != settings.guidance.statistic:
        yield "lapo.guidance.statistic".__eq__, f"lapo.{stage}.statistic={settings.statistic} goes before it"
    if settings.verifier != "lapo":
        yield (
            ("lapo.verify_timeout", "lapo.answer_forms").__contains__,
            f"lapo.verifier={settings.verifier} decides by itself",
        )
    yield (
        lambda key: key.startswith("lapo.prompt_templates.") and key != f"lapo.prompt_templates.{settings.prompt}",
        f"lapo.prompt={settings.prompt} names another template",
    )


def saving_warnings(config: DictConfig, settings: LapoConfig) -> Iterator[Finding]:
    """Where the weights, or what stage 2 starts from, would not be saved."""
    if int(config.trainer.save_freq) <= 0:
        yield _warning(
            f"trainer.save_freq={config.trainer.save_freq}: verl never writes a checkpoint, and the weights are lost "
            "when it ends; set it to a number of steps, e.g. trainer.save_freq=20"
        )
    saved = OmegaConf.select(config, "actor_rollout_ref.actor.checkpoint.save_contents") or []
    if settings.stage == "discovery" and "hf_model" not in saved:
        yield _warning(
            "actor_rollout_ref.actor.checkpoint.save_contents lacks hf_model: stage 2 starts from weights in Hugging "
            "Face format, which you would have to make with python -m verl.model_merger; add hf_model to the list"
        )


def _warning(text: str) -> Finding:
    return Finding("warning", text)
