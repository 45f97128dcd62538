"""The configs as verl's own command composes them, from another folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import verl
from omegaconf import OmegaConf
from verl.trainer.ppo.utils import need_critic, need_reference_policy
from verl.utils.config import validate_config

from lapo_verl.config import LapoConfig
from lapo_verl.cpu import WARM_PYTHON
from lapo_verl.doctor.compose import compose_config
from lapo_verl.doctor.environment import package_findings
from lapo_verl.doctor.verl_settings import leaves, setting_findings
from lapo_verl.objectives import objective, objective_names

ROOT = Path(__file__).resolve().parents[2]
OBJECTIVES = {"lapo_discovery": "discovery", "lapo_internalization": "internalization", "acc_only": "accuracy"}
CONFIGS = tuple(OBJECTIVES)


def compose(
    folder: Path, *arguments: str, python: str | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """verl's command with Hydra's ``--cfg job``: prints the composed config and trains nothing."""
    return subprocess.run(
        [python or os.environ[WARM_PYTHON], "-m", "verl.trainer.main_ppo", "--cfg", "job", *arguments],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("name", CONFIGS)
def test_each_config_composes_from_any_folder(name: str, tmp_path: Path) -> None:
    done = compose(tmp_path, f"--config-name={name}")
    assert done.returncode == 0, done.stderr
    config = OmegaConf.create(done.stdout)
    assert config.algorithm.adv_estimator == "grpo"
    assert config.reward.reward_manager.module.path == "pkg://lapo_verl.hooks.reward_manager"
    assert config.actor_rollout_ref.rollout.agent.default_agent_loop == "lapo_single_turn"
    has_hooks = OmegaConf.select(config, "trainer.v1.sampler.custom_sampler.path") is not None
    assert has_hooks == ("lapo" in config.data) == (name != "acc_only")
    assert config.lapo.objective.name == OBJECTIVES[name]


def test_the_papers_settings_are_the_defaults(tmp_path: Path) -> None:
    config = OmegaConf.create(compose(tmp_path, "--config-name=lapo_discovery").stdout)
    assert (config.data.train_batch_size, config.actor_rollout_ref.rollout.n) == (128, 8)
    assert (config.data.max_prompt_length, config.data.max_response_length) == (1024, 4096)
    assert config.actor_rollout_ref.rollout.temperature == 1.0
    assert float(config.actor_rollout_ref.actor.optim.lr) == 1e-6
    assert float(config.actor_rollout_ref.actor.kl_loss_coef) == 1e-4
    assert config.actor_rollout_ref.actor.kl_loss_type == "low_var_kl"
    assert config.trainer.total_epochs == 3
    validation = config.actor_rollout_ref.rollout.val_kwargs
    assert (validation.temperature, validation.top_p, validation.do_sample) == (0.6, 0.95, True)


def test_what_the_report_reads_goes_to_the_runs_folder_by_default(tmp_path: Path) -> None:
    config = OmegaConf.create(compose(tmp_path, "--config-name=acc_only", "trainer.default_local_dir=runs/a").stdout)
    trainer = config.trainer
    assert trainer.validation_data_dir == "runs/a/validation"
    assert "file" in trainer.logger
    assert trainer.test_freq > 0 and trainer.save_freq > 0
    assert "hf_model" in config.actor_rollout_ref.actor.checkpoint.save_contents


def test_platform_and_preset_are_config_groups(tmp_path: Path) -> None:
    done = compose(
        tmp_path, "--config-name=lapo_internalization", "platform=cpu", "preset=reference", VERL_PLATFORM="cpu"
    )
    config = OmegaConf.create(done.stdout)
    assert config.trainer.device == "cpu"
    assert config.lapo.objective.beta == 0.8
    assert config.data.max_response_length == 2048


@pytest.mark.parametrize(
    ("name", "key", "paper", "reference", "mine"),
    [
        ("lapo_discovery", "lapo.objective.degenerate_band", "in_range", "zero", "in_range"),
        ("lapo_discovery", "data.max_response_length", 4096, 4096, 1024),
        ("lapo_internalization", "lapo.objective.beta", 0.7, 0.8, 0.5),
        ("lapo_internalization", "data.max_response_length", 4096, 2048, 1024),
    ],
)
def test_a_preset_sets_numbers_that_the_command_line_may_overrule(
    name: str, key: str, paper: Any, reference: Any, mine: Any
) -> None:
    def value(*arguments: str) -> Any:
        return OmegaConf.select(compose_config(name, arguments), key)

    assert (value(), value("preset=paper"), value("preset=reference")) == (paper, paper, reference)
    assert value("preset=reference", f"{key}={mine}") == value(f"{key}={mine}", "preset=reference") == mine


@pytest.mark.parametrize("name", ["discovery", "internalization"])
def test_a_preset_changes_what_it_names_and_nothing_else(name: str) -> None:
    def values(preset: str) -> dict[str, Any]:
        config = compose_config(f"lapo_{name}", [f"preset={preset}", "actor_rollout_ref.model.path=x"])
        return leaves("", OmegaConf.to_container(config, resolve=False))

    paper, reference = values("paper"), values("reference")
    changed = {key for key in paper.keys() | reference.keys() if paper.get(key) != reference.get(key)}
    file = OmegaConf.load(ROOT / "hydra_configs" / "preset" / "values" / f"reference_{name}.yaml")
    assert changed == leaves("", file).keys()


ENGINES = {
    "megatron": ("model_engine=megatron", "actor_rollout_ref.actor.megatron.tensor_model_parallel_size=2"),
    "sglang": ("actor_rollout_ref.rollout.name=sglang",),
    "lora": ("actor_rollout_ref.model.lora_rank=8", "actor_rollout_ref.rollout.load_format=safetensors"),
}


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("engine", ENGINES)
def test_other_engines_compose_and_pass_verls_own_check(engine: str, name: str) -> None:
    changes = (*ENGINES[engine], "actor_rollout_ref.model.path=x", "trainer.n_gpus_per_node=4")
    config = compose_config(name, changes)
    validate_config(config, use_reference_policy=need_reference_policy(config), use_critic=need_critic(config))
    # The hooks are the same ones, and the doctor knows of nothing in the way but packages that are not here.
    assert config.actor_rollout_ref.rollout.agent.default_agent_loop == "lapo_single_turn"
    assert list(setting_findings(config, LapoConfig.parse(config.lapo))) == []
    missing = [
        finding.text for finding in package_findings(config, lambda module: module not in ("megatron", "sglang"))
    ]
    assert [engine in text for text in missing] == ([] if engine == "lora" else [True])


def test_a_mistyped_lapo_key_names_the_nearest_right_one(tmp_path: Path) -> None:
    done = compose(tmp_path, "--config-name=lapo_discovery", "lapo.guidance.shar=0.5")
    assert done.returncode == 1
    assert "unknown key lapo.guidance.shar: did you mean lapo.guidance.share?" in done.stderr


# --- objectives ---


def test_any_objective_by_its_name(tmp_path: Path) -> None:
    arguments = ("--config-name=length_control", "objective=kimi", "lapo.objective.weight=0.3")
    done = compose(tmp_path, *arguments)
    assert done.returncode == 0, done.stderr
    config = OmegaConf.create(done.stdout)
    assert config.lapo.objective == {"name": "kimi", "weight": 0.3}
    assert config.trainer.experiment_name == "kimi"
    assert config.data.lapo.objective == config.lapo.objective


@pytest.mark.parametrize("name", objective_names())
def test_each_objective_composes_to_itself(name: str) -> None:
    config = compose_config("length_control", [f"objective={name}"])
    for node in (config.lapo, config.data.lapo, config.trainer.v1.sampler.sampler_kwargs.lapo):
        assert LapoConfig.parse(node).objective == objective(name)


@pytest.mark.parametrize("config", ["lapo_discovery", "lapo_internalization", "length_control"])
@pytest.mark.parametrize("preset", ["paper", "reference"])
def test_an_objective_brings_no_field_of_another(config: str, preset: str) -> None:
    arguments = ["objective=hapo", "actor_rollout_ref.model.path=x"]
    if config != "length_control":
        arguments.append(f"preset={preset}")
    assert compose_config(config, arguments).lapo.objective == {"name": "hapo", "weight": 1.0}


@pytest.mark.parametrize(
    ("arguments", "mode", "place", "text"),
    [
        (["objective=l1"], "exact", "outside", " Think for {budget} tokens."),
        (["objective=l1", "guidance=l1_max"], "max", "outside", " Think for maximum {budget} tokens."),
        (["objective=truncation"], None, "outside", " Answer within {budget} tokens."),
        (["objective=l1", "lapo.guidance.place=inside"], "exact", "inside", " Think for {budget} tokens."),
        (["objective=kimi"], None, "inside", None),
    ],
)
def test_an_objective_may_have_words_of_its_own_for_its_budget(
    arguments: list[str], mode: str | None, place: str, text: str | None
) -> None:
    lapo = compose_config("length_control", arguments).lapo
    assert (lapo.objective.get("mode"), lapo.guidance.place, lapo.guidance.text) == (mode, place, text)
    assert LapoConfig.parse(lapo).guidance.text == text


def test_only_objectives_that_tell_a_budget_have_words_for_it() -> None:
    for path in (ROOT / "hydra_configs" / "guidance").glob("*.yaml"):
        assert objective(path.stem.removesuffix("_max")).names_budget


MINE = """
from dataclasses import dataclass

from lapo_verl.objectives import Objective


@dataclass(frozen=True)
class MyObjective(Objective):
    my_field: int = 1

    def rewards(self, groups, memory=None):
        return groups.masked(groups.correct * float(self.my_field))
"""


def own(*arguments: str) -> list[str]:
    named = ["lapo.objective.path=pkg://my_objective", "lapo.objective.name=MyObjective"]
    return ["--config-name=length_control", *named, *arguments]


def test_an_objective_of_the_users_own(tmp_path: Path) -> None:
    (tmp_path / "my_objective.py").write_text(MINE)
    done = compose(tmp_path, *own("lapo.objective.my_field=3"), PYTHONPATH=str(tmp_path))
    assert done.returncode == 0, done.stderr
    config = OmegaConf.create(done.stdout)
    assert config.lapo.objective == {"path": "pkg://my_objective", "name": "MyObjective", "my_field": 3}
    assert config.trainer.experiment_name == "MyObjective"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (own("lapo.objective.path=pkg://no_such"), "the module of pkg://no_such cannot be imported"),
        (own("lapo.objective.path=my_objective.py"), "must be pkg://my_package.my_module, got 'my_objective.py'"),
        (
            own("lapo.objective.name=MyObjectiv"),
            "module my_objective has no objective 'MyObjectiv': did you mean MyObjective?",
        ),
        (own("lapo.objective.my_feild=3"), "MyObjective has no field 'my_feild': did you mean my_field?"),
        (own("lapo.objective.my_field=much"), "objective MyObjective: my_field"),
        (
            ["--config-name=lapo_discovery", "lapo.objective.alhpa=0.5"],
            "objective discovery has no field 'alhpa': did you mean alpha?",
        ),
        (
            ["--config-name=length_control", "objective=kimi", "lapo.objective.wieght=0.4"],
            "objective kimi has no field 'wieght': did you mean weight?",
        ),
        (["--config-name=length_control"], "lapo.objective.name is not set: choose one with objective=NAME"),
    ],
)
def test_an_objective_that_cannot_be_ends_the_command_in_one_line(
    arguments: list[str], message: str, tmp_path: Path
) -> None:
    """The first of the checks is of the config itself, so neither data nor a model are needed to come to it."""
    (tmp_path / "my_objective.py").write_text(MINE)
    command = [os.environ[WARM_PYTHON], "-m", "verl.trainer.main_ppo", *arguments, "platform=cpu"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "VERL_PLATFORM": "cpu"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("lapo: error:")]
    assert f"lapo.objective: {message}" in line or message in line
    assert "Traceback" not in done.stderr and "ray init kwargs" not in done.stdout


def test_a_config_of_the_users_own_takes_the_preset_too(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("defaults: [lapo_discovery, _self_]\nlapo: {objective: {alpha: 0.5}}\n")
    done = compose(tmp_path, f"--config-dir={tmp_path}", "--config-name=mine", "preset=reference")
    assert done.returncode == 0, done.stderr
    node = OmegaConf.create(done.stdout).lapo.objective
    assert (node.alpha, node.degenerate_band) == (0.5, "zero")


@pytest.mark.parametrize("recipe", ["r1_distill_qwen_1.5b", "deepscaler_1.5b", "demo", "smollm2_gsm8k"])
@pytest.mark.parametrize("name", CONFIGS)
def test_recipes_resolve(recipe: str, name: str, tmp_path: Path) -> None:
    """Each recipe's script, up to where it would start to train: Hydra prints the config that it asks for."""
    done = subprocess.run(
        ["bash", str(ROOT / "recipes" / recipe / "run_stage.sh"), name, "--cfg", "job"],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{Path(os.environ[WARM_PYTHON]).parent}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    config = OmegaConf.create(done.stdout)
    assert config.lapo.objective.name == OBJECTIVES[name]
    if recipe.endswith("1.5b"):
        assert config.trainer.logger == ["console", "file", "wandb"]
        assert config.trainer.n_gpus_per_node == 4
        if name == "lapo_internalization":
            assert config.lapo.init_from == f"outputs/{recipe}/lapo_discovery"
        else:
            assert re.search(r"1\.5B", config.actor_rollout_ref.model.path)
    # What verl itself checks before it starts.
    validate_config(config, use_reference_policy=need_reference_policy(config), use_critic=need_critic(config))


def test_the_wheel_brings_the_configs_and_both_entry_points(tmp_path: Path) -> None:
    """Built, installed into an empty environment that does not see the checkout, and resolved from another folder."""
    wheels, environment = tmp_path / "wheels", tmp_path / "env"
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(wheels), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = wheels.glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    python = environment / "bin" / "python"
    subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--no-deps", str(wheel)], check=True, capture_output=True
    )
    (site,) = environment.glob("lib/python*/site-packages")
    # verl and the rest, but not the checkout: the .pth file of its editable install is not followed from here.
    (site / "dependencies.pth").write_text(f"{Path(verl.__file__).parents[1]}\n")

    show = "from lapo_verl.paths import hydra_configs, recipes; print(hydra_configs(), recipes())"
    folders = subprocess.run([python, "-c", show], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert all(Path(folder).is_relative_to(site) for folder in folders.split())
    # The demo trains from its weights; the laboratory needs a checkout.
    assert (site / "lapo_verl" / "recipes" / "toy" / "base_model" / "model.safetensors").is_file()
    assert not (site / "lapo_verl" / "recipes" / "mini_paper").exists()
    assert wheel.stat().st_size < 3e6
    assert (site / "lapo_verl" / "py.typed").is_file()
    entry_points = next(site.glob("lapo_verl-*.dist-info")).joinpath("entry_points.txt").read_text()
    assert "lapo = lapo_verl.plugin" in entry_points
    assert "lapo_verl_cpu = lapo_verl.cpu.vllm_plugin:register" in entry_points
    done = compose(tmp_path, "--config-name=lapo_discovery", python=str(python))
    assert done.returncode == 0, done.stderr
    assert OmegaConf.create(done.stdout).lapo.objective.name == "discovery"
