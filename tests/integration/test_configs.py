"""The configs as verl's own command composes them, from another folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import verl
from omegaconf import OmegaConf
from verl.trainer.ppo.utils import need_critic, need_reference_policy
from verl.utils.config import validate_config

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ("lapo_discovery", "lapo_internalization", "acc_only")


def compose(
    folder: Path, *arguments: str, python: str = sys.executable, **environment: str
) -> subprocess.CompletedProcess[str]:
    """verl's command with Hydra's ``--cfg job``: prints the composed config and trains nothing."""
    return subprocess.run(
        [python, "-m", "verl.trainer.main_ppo", "--cfg", "job", *arguments],
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
    assert has_hooks == (name != "acc_only")


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
    assert config.lapo.compat == "reference"


def test_a_mistyped_lapo_key_names_the_nearest_right_one(tmp_path: Path) -> None:
    done = compose(tmp_path, "--config-name=lapo_discovery", "lapo.discovery.alhpa=0.5")
    assert done.returncode == 1
    assert "unknown key lapo.discovery.alhpa: did you mean lapo.discovery.alpha?" in done.stderr


@pytest.mark.parametrize("recipe", ["r1_distill_qwen_1.5b", "deepscaler_1.5b", "cpu_demo", "smollm2_gsm8k"])
@pytest.mark.parametrize("name", CONFIGS)
def test_recipes_resolve(recipe: str, name: str, tmp_path: Path) -> None:
    """Each recipe's script, up to where it would start to train: Hydra prints the config that it asks for."""
    done = subprocess.run(
        ["bash", str(ROOT / "recipes" / recipe / "run_stage.sh"), name, "--cfg", "job"],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    config = OmegaConf.create(done.stdout)
    assert config.lapo.stage == {"lapo_discovery": "discovery", "lapo_internalization": "internalization"}.get(
        name, name
    )
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
    assert (site / "lapo_verl" / "recipes" / "cpu_demo" / "base_model" / "model.safetensors").is_file()
    assert not (site / "lapo_verl" / "recipes" / "mini_paper").exists()
    assert wheel.stat().st_size < 3e6
    assert (site / "lapo_verl" / "py.typed").is_file()
    entry_points = next(site.glob("lapo_verl-*.dist-info")).joinpath("entry_points.txt").read_text()
    assert "lapo = lapo_verl.plugin" in entry_points
    assert "lapo_verl_cpu = lapo_verl.cpu.vllm_plugin:register" in entry_points
    done = compose(tmp_path, "--config-name=lapo_discovery", python=str(python))
    assert done.returncode == 0, done.stderr
    assert OmegaConf.create(done.stdout).lapo.stage == "discovery"
