"""What verl would ignore or break on under LAPO's hooks: one error or warning each, before Ray starts."""

from __future__ import annotations

import copy
import functools
import json
from pathlib import Path

import pytest
import yaml
from omegaconf import DictConfig, OmegaConf

from lapo_verl.config import LapoConfig
from lapo_verl.doctor import preflight
from lapo_verl.doctor.compose import compose_config
from lapo_verl.doctor.custom_code import custom_code_findings, score_function_findings
from lapo_verl.doctor.diagnostic import Finding
from lapo_verl.doctor.verl_settings import TRAPS, WITH_HOOKS, WITHOUT_HOOKS, hooks, leaves, setting_findings
from lapo_verl.paths import hydra_configs

CONFIGS = ("lapo_discovery", "lapo_internalization", "length_control", "acc_only")
# length_control trains nothing until it is told what.
CHOICE = {"length_control": ["objective=kimi"]}
# (key of the table, overrides that make the setting, a word of what to do)
TRAPPED = [
    (
        "algorithm.filter_groups.enable",
        ["algorithm.filter_groups.enable=true", "algorithm.filter_groups.metric=seq_reward"],
        "Set it to one of reward, acc",
    ),
    ("reward.custom_reward_function.path", ["reward.custom_reward_function.path=x.py"], "lapo.verifier=custom"),
    ("reward.sandbox_fusion.url", ["reward.sandbox_fusion.url=http://x"], "lapo.verifier=verl"),
    (
        "reward.reward_kwargs.overlong_buffer_cfg.enable",
        ["+reward.reward_kwargs.overlong_buffer_cfg.enable=true"],
        "Leave it out",
    ),
    ("reward.reward_manager.source", ["reward.reward_manager.source=register"], "lapo.verifier"),
    ("reward.reward_model.enable", ["reward.reward_model.enable=true"], "lapo.verifier=custom"),
    ("custom_reward_function.path", ["custom_reward_function.path=x.py"], "reward.custom_reward_function"),
    ("reward_model.reward_manager", ["reward_model.reward_manager=dapo"], "reward.reward_manager"),
    ("sandbox_fusion.url", ["sandbox_fusion.url=http://x"], "reward.sandbox_fusion"),
    (
        "actor_rollout_ref.actor.checkpoint.async_save",
        ["actor_rollout_ref.actor.checkpoint.async_save=true"],
        "Set it to false",
    ),
    (
        "actor_rollout_ref.rollout.layered_summon",
        ["actor_rollout_ref.rollout.layered_summon=true", "actor_rollout_ref.model.lora_rank=8"],
        "load_format=safetensors",
    ),
    ("actor_rollout_ref.rollout.load_format", ["actor_rollout_ref.model.lora_rank=8"], "load_format=safetensors"),
]
# It does nothing without LAPO's hooks.
BASELINES = "algorithm.filter_groups.max_num_gen_batches"


composed = functools.cache(compose_config)  # composing takes seconds


def with_overrides(config: str, *overrides: str) -> DictConfig:
    """As composed with them: groups by Hydra, keys by OmegaConf."""
    groups = [override for override in overrides if override.startswith(("preset=", "platform=", "objective="))]
    result = copy.deepcopy(composed(config, tuple(groups)))
    keys = [override.lstrip("+") for override in overrides if override not in groups]
    for key, value in (override.split("=", 1) for override in keys):
        OmegaConf.update(result, key, yaml.safe_load(value), force_add=True)
    return result


def found(config: str, *overrides: str) -> list[Finding]:
    changed = with_overrides(config, *overrides)
    return list(setting_findings(changed, LapoConfig.parse(changed.lapo)))


def test_every_entry_of_the_table_is_tried() -> None:
    tried = {key for key, _, _ in TRAPPED}
    tried.add(BASELINES)
    assert all(any(key == trap.key or key.startswith(f"{trap.key}.") for key in tried) for trap in TRAPS)


@pytest.mark.parametrize(("key", "overrides", "remedy"), TRAPPED, ids=[key for key, _, _ in TRAPPED])
def test_a_setting_that_does_nothing_is_named(key: str, overrides: list[str], remedy: str) -> None:
    (finding,) = found("lapo_discovery", *overrides)
    assert finding.text.startswith(f"{key}=")
    assert remedy in finding.text


def test_a_setting_that_does_nothing_in_the_baseline_is_named() -> None:
    (finding,) = found("acc_only", f"{BASELINES}=3")
    assert finding.text.startswith(f"{BASELINES}=3: verl's own replay buffer does not read it")
    assert found("lapo_discovery", f"{BASELINES}=3") == []


@pytest.mark.parametrize(
    ("config", "overrides"),
    [
        *((config, CHOICE.get(config, [])) for config in CONFIGS),
        *((config, ["preset=reference", "platform=cpu"]) for config in ("lapo_discovery", "lapo_internalization")),
        ("length_control", ["objective=kimi", "platform=cpu"]),
        ("acc_only", ["platform=cpu"]),
        ("lapo_discovery", ["lapo.verifier=custom", "reward.custom_reward_function.path=x.py"]),
        ("lapo_discovery", ["lapo.verifier=verl", "reward.sandbox_fusion.url=http://x"]),
        (
            "lapo_discovery",
            ["actor_rollout_ref.model.lora_rank=8", "actor_rollout_ref.rollout.load_format=safetensors"],
        ),
        (
            "lapo_discovery",
            ["actor_rollout_ref.actor.strategy=megatron", "actor_rollout_ref.actor.checkpoint.async_save=true"],
        ),
        ("acc_only", ["algorithm.filter_groups.enable=true"]),
        ("lapo_discovery", ["algorithm.filter_groups.enable=true"]),
        ("lapo_discovery", ["trainer.v1.sampler.sync_refill_failed_groups=true"]),
    ],
)
def test_a_setting_that_works_is_not(config: str, overrides: list[str]) -> None:
    assert found(config, *overrides) == []


def test_a_value_of_hydras_is_named() -> None:
    """verl's task runner resolves the config, and has no Hydra."""
    (finding,) = found("lapo_discovery", "global_profiler.save_path=${hydra:runtime.cwd}")
    assert finding.level == "error"
    assert finding.text.startswith(
        "global_profiler.save_path=${hydra:runtime.cwd}: verl resolves this in another process"
    )


def test_preflight_and_doctor_read_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    for check in (preflight.check_verl_settings, preflight.check_custom_code, preflight.check_ignored_keys):
        assert check in preflight.CHECKS
    run = preflight.Run(with_overrides("lapo_discovery", "reward.reward_model.enable=true"))
    assert [finding.level for finding in preflight.check_verl_settings(run)] == ["error"]


# --- hooks ---


def test_every_config_file_that_sets_a_hook_is_compared() -> None:
    """Whatever names a class of LAPO's in a config, with two exceptions.

    verl's config does not show Hydra's callback, and the CPU's checkpoint engine is the platform's, not a hook.
    """
    exceptions = ("hydra.", "actor_rollout_ref.rollout.checkpoint_engine.")
    compared = {key for config in (WITH_HOOKS, WITHOUT_HOOKS) for key in hooks(config)}
    for path in hydra_configs().rglob("*.yaml"):
        values = leaves("", OmegaConf.to_container(OmegaConf.load(path), resolve=False))
        named = {key for key, value in values.items() if "lapo_verl" in str(value) and not key.startswith(exceptions)}
        assert named <= compared, path


@pytest.mark.parametrize("config", CONFIGS)
def test_each_replaced_hook_is_a_warning(config: str) -> None:
    assert "reward.reward_manager.name" in hooks(config)
    for key, expected in hooks(config).items():
        (finding,) = found(config, *CHOICE.get(config, []), f"{key}=other")
        assert finding.level == "warning"
        assert f"{key}=other replaces LAPO's {expected}" in finding.text


# --- functions and classes of the user's own ---

MODULE = "def score(*args, **kwargs):\n    return 1.0\n\nclass Rows: ...\n"
NAMES = [
    ("reward.custom_reward_function.path", "reward.custom_reward_function.name"),
    ("data.custom_cls.path", "data.custom_cls.name"),
    ("trainer.v1.sampler.custom_sampler.path", "trainer.v1.sampler.custom_sampler.name"),
    ("reward.reward_manager.module.path", "reward.reward_manager.name"),
]


def code(*overrides: str) -> list[str]:
    return [finding.text for finding in custom_code_findings(with_overrides("lapo_discovery", *overrides))]


@pytest.mark.parametrize(("path_key", "name_key"), NAMES)
def test_custom_code_that_is_not_there(
    path_key: str, name_key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(MODULE)
    Path("broken.py").write_text("import no_such_package\n")
    assert code(f"{path_key}=mine.py", f"{name_key}=score") == []
    assert code(f"{path_key}=file://mine.py", f"{name_key}=score") == []
    (message,) = code(f"{path_key}=gone.py", f"{name_key}=score")
    assert message.startswith(f"{path_key}=gone.py: no such file")
    (message,) = code(f"{path_key}=broken.py", f"{name_key}=score")
    assert message.startswith(f"{path_key}=broken.py: cannot be loaded (ModuleNotFoundError")
    (message,) = code(f"{path_key}=pkg://no.such.module", f"{name_key}=score")
    assert message.startswith(f"{path_key}=pkg://no.such.module: cannot be loaded")
    (message,) = code(f"{path_key}=mine.py", f"{name_key}=scores")
    assert message == f"{name_key}=scores: mine.py has no function or class of that name; did you mean score?"


def test_a_callback_that_is_not_there() -> None:
    (message,) = code("trainer.checkpoint_callback_class=no_such_package.Callback")
    assert "trainer.checkpoint_callback_class" in message and "cannot be loaded" in message


def test_verls_score_functions_know_the_data_source(tmp_path: Path) -> None:
    def write(*sources: str) -> Path:
        row = {"prompt": [{"role": "user", "content": "3+4?"}], "reward_model": {"ground_truth": "7"}}
        path = tmp_path / "rows.jsonl"
        path.write_text("".join(json.dumps({**row, "data_source": source}) + "\n" for source in sources))
        return path

    assert list(score_function_findings([write("openai/gsm8k", "math_dapo", "HuggingFaceH4/MATH-500")])) == []
    (finding,) = score_function_findings([write("openai/gsm8k", "mine", "mine")])
    assert finding.level == "error"
    assert "row 1: data_source 'mine'" in finding.text and "lapo.verifier=lapo" in finding.text
