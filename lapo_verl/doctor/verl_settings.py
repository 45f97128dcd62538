"""Settings of verl's that LAPO's hooks make do nothing, or that end a run long after its start: one table."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from omegaconf import DictConfig, OmegaConf

from lapo_verl.config import SINGLE_TURN_LOOP, TOOL_LOOP, LapoConfig
from lapo_verl.doctor.diagnostic import Finding
from lapo_verl.paths import hydra_configs

# The configs whose hooks a run is compared with: with LAPO's hooks, and without.
WITH_HOOKS, WITHOUT_HOOKS = "length_control", "acc_only"
# verl's keys that name a class in the place of its own.
EXTENSION_POINTS = (
    "reward.reward_manager.",
    "data.custom_cls.",
    "actor_rollout_ref.rollout.agent.",
    "trainer.checkpoint_callback_class",
    "trainer.v1.sampler.custom_sampler.",
)
# {a class or name of LAPO's: another of LAPO's that may be in its place}.
INSTEAD = {SINGLE_TURN_LOOP: TOOL_LOOP}
# What groups can be filtered by: the reward, and the numbers that LAPO's reward manager notes of each rollout.
GROUP_METRICS = ("reward", "acc", "tokens", "think_tokens", "final_turn_tokens", "truncated", "verify_timed_out")


@dataclass(frozen=True)
class Trap:
    """A setting that does not do what it says.

    Attributes:
        key: dotted. Of a mapping, every key below it that has a value.
        applies: given the key's value, the config and the node ``lapo:``, whether the setting is meant here.
        text: why, and what to do.
    """

    key: str
    applies: Callable[[Any, DictConfig, LapoConfig], bool]
    text: str
    level: Literal["error", "warning"] = "error"


def _always(value: Any, config: DictConfig, settings: LapoConfig) -> bool:
    return True


def has_hooks(config: DictConfig) -> bool:
    """Whether the run trains with LAPO's hooks; the baseline (``acc_only``) does not."""
    return "lapo" in config.data


# verl 0.9.1. A value of null or false counts as not set.
TRAPS = (
    Trap(
        "algorithm.filter_groups.enable",
        lambda value, config, settings: config.algorithm.filter_groups.metric not in GROUP_METRICS,
        f"verl would find no value of algorithm.filter_groups.metric. Set it to one of {', '.join(GROUP_METRICS)}",
    ),
    Trap(
        "algorithm.filter_groups.max_num_gen_batches",
        lambda value, config, settings: value > 0 and not has_hooks(config),
        "verl's own replay buffer does not read it, only LAPO's does. Leave it out",
    ),
    Trap(
        "reward.custom_reward_function.path",
        lambda value, config, settings: settings.verifier != "custom",
        "lapo.verifier does not name this function as the judge. Set lapo.verifier=custom to use it, or leave it out",
    ),
    Trap(
        "reward.sandbox_fusion.url",
        lambda value, config, settings: settings.verifier != "verl",
        "only verl's own score functions ask the sandbox. Set lapo.verifier=verl to use them, or leave it out",
    ),
    Trap(
        "reward.reward_kwargs",
        _always,
        "only verl's own reward managers read it, and LAPO's is in their place: it would do nothing. Leave it out",
    ),
    Trap(
        "reward.reward_manager.source",
        lambda value, config, settings: value == "register" and has_hooks(config),
        "verl's own reward managers (naive, dapo) do not count tokens, and the length reward would end in a KeyError "
        "at the first step. Leave reward.reward_manager as it is; lapo.verifier says who judges answers",
    ),
    Trap(
        "reward.reward_model.enable",
        _always,
        "LAPO rewards correctness and length, and has no place for a reward model's score. Leave it out, or write a "
        "score function that asks the model (lapo.verifier=custom)",
    ),
    Trap(
        "custom_reward_function",
        _always,
        "verl's V1 trainer does not read this old key. Write reward.custom_reward_function.path, .name",
    ),
    Trap(
        "reward_model",
        _always,
        "verl's V1 trainer does not read this old key. Its place is under reward: (reward.num_workers, "
        "reward.reward_manager, reward.reward_model)",
    ),
    Trap("sandbox_fusion", _always, "verl's V1 trainer does not read this old key. Write reward.sandbox_fusion"),
    Trap(
        "actor_rollout_ref.actor.checkpoint.async_save",
        lambda value, config, settings: config.actor_rollout_ref.actor.strategy != "megatron",
        "without Megatron, verl then never notes which checkpoint is the latest, and a resume starts at step 0 "
        "(verl's issue 7952). Set it to false",
    ),
    Trap(
        "actor_rollout_ref.rollout.layered_summon",
        lambda value, config, settings: uses_lora(config) and config.actor_rollout_ref.rollout.load_format == "dummy",
        "verl then needs the base model in vLLM before the first step, and ends there without it. Set "
        "actor_rollout_ref.rollout.load_format=safetensors",
    ),
    Trap(
        "actor_rollout_ref.rollout.load_format",
        lambda value, config, settings: (
            value == "dummy" and uses_lora(config) and not config.actor_rollout_ref.rollout.layered_summon
        ),
        "vLLM starts with random weights, and LoRA sends it adapters; verl's guide to LoRA wants "
        "actor_rollout_ref.rollout.load_format=safetensors",
        "warning",
    ),
)


def setting_findings(config: DictConfig, settings: LapoConfig) -> Iterator[Finding]:
    """One finding for each setting of ``TRAPS`` that is made, and for each hook of LAPO's that is replaced."""
    trapped = set()
    for trap in TRAPS:
        node = OmegaConf.select(config, trap.key)
        for key, value in leaves(trap.key, node).items():
            if _is_set(value) and trap.applies(value, config, settings):
                trapped.add(key)
                shown = str(value).lower() if isinstance(value, bool) else value
                yield Finding(trap.level, f"{key}={shown}: {trap.text}")
    yield from _replaced_hooks(config, trapped)
    yield from _values_of_hydra(config)


def uses_lora(config: DictConfig) -> bool:
    """Whether adapters are trained in the place of the model's weights."""
    model = config.actor_rollout_ref.model
    return int(model.lora_rank) > 0 or model.lora_adapter_path is not None


def hooks(config_name: str) -> dict[str, str]:
    """{key: LAPO's class} of verl's extension points, as a config of LAPO's sets them."""
    found = {}
    for key, value in _set_by(config_name).items():
        if isinstance(value, str) and key.startswith(EXTENSION_POINTS):
            found[key] = value
    return found


def leaves(prefix: str, node: Any) -> dict[str, Any]:
    """{dotted key: value} of everything in ``node`` that is no mapping."""
    if not isinstance(node, Mapping | DictConfig):
        return {prefix: node}
    dotted = f"{prefix}." if prefix else ""
    return {key: value for name, child in node.items() for key, value in leaves(f"{dotted}{name}", child).items()}


def _values_of_hydra(config: DictConfig) -> Iterator[Finding]:
    """verl hands the config to its task runner as it was written, and Hydra has no values in that process."""
    plain = OmegaConf.to_container(config, resolve=False)
    for key, value in leaves("", plain).items():
        if not key.startswith("hydra.") and "${hydra:" in str(value):
            yield Finding(
                "error",
                f"{key}={value}: verl resolves this in another process than its command, where ${{hydra:...}} has "
                "no value. Write the value itself, or name another key: ${lapo.objective.name}",
            )


def _replaced_hooks(config: DictConfig, trapped: Collection[str]) -> Iterator[Finding]:
    """verl works as well with other classes in the place of LAPO's, and LAPO's then do nothing.

    Args:
        trapped: keys that the table has named already.
    """
    expected = hooks(WITH_HOOKS if has_hooks(config) else WITHOUT_HOOKS)
    for point in EXTENSION_POINTS:
        replaced = {
            key: OmegaConf.select(config, key)
            for key, value in expected.items()
            if key.startswith(point) and OmegaConf.select(config, key) not in (value, INSTEAD.get(value))
        }
        if replaced and not replaced.keys() & set(trapped):
            found = ", ".join(f"{key}={value}" for key, value in replaced.items())
            text = (
                f"{found} replaces LAPO's {', '.join(expected[key] for key in replaced)}; unless it is built "
                "on that one, this part of LAPO is missing. Leave the key as it is"
            )
            yield Finding("warning", text)


def _set_by(name: str) -> dict[str, Any]:
    """{dotted key: value} of a config of LAPO's and of those in its defaults list; verl's own are left out."""
    path = hydra_configs() / f"{name}.yaml"
    if not path.exists():
        return {}
    node = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    assert isinstance(node, dict)
    values: dict[str, Any] = {}
    for entry in node.pop("defaults", []):
        if isinstance(entry, str) and entry != "_self_":
            values |= _set_by(entry)
    return values | leaves("", node)  # LAPO's configs list _self_ last


def _is_set(value: Any) -> bool:
    return value is not None and value is not False
