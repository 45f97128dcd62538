"""The command that ``lapo eval`` starts, as verl's own config code reads it."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf
from verl.trainer.ppo.utils import need_critic, need_reference_policy
from verl.utils.config import validate_config
from verl.utils.dataset.rl_dataset import RLHFDataset, get_dataset_class

from lapo_verl.doctor.compose import compose_config
from lapo_verl.evaluate import EvalError, EvalSettings
from lapo_verl.evaluate.models import Model
from lapo_verl.evaluate.verl_run import verl_command
from lapo_verl.runs.prompt_note import PromptNote

MODEL = Model("base", "owner/model", "hub:owner/model")


def composed(folder: Path, platform: str, settings: EvalSettings) -> DictConfig:
    command = verl_command(MODEL, folder / "questions.parquet", settings, platform, folder)
    environment = {key: value for key, value in os.environ.items() if key != "VERL_PLATFORM"}
    if platform == "cpu":
        environment["VERL_PLATFORM"] = "cpu"
    done = subprocess.run([*command, "--cfg", "job", "--resolve"], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return OmegaConf.create(done.stdout)


@pytest.mark.parametrize("platform", ["cpu", "gpu"])
def test_verl_takes_the_papers_settings(tmp_path: Path, platform: str) -> None:
    # What Hydra would read otherwise.
    folder = tmp_path / "a b, c='d' [e] {f}"
    folder.mkdir()
    config = composed(folder, platform, EvalSettings(max_prompt_tokens=2048, overrides=("lapo.verify_timeout=5",)))
    assert config.data.val_files == str(folder / "questions.parquet")
    assert config.trainer.validation_data_dir == str(folder / "validation")
    validation = config.actor_rollout_ref.rollout.val_kwargs
    assert (validation.n, validation.temperature, validation.top_p) == (1, 0.6, 0.95)
    assert (config.data.max_prompt_length, config.data.max_response_length) == (2048, 32768)
    assert config.actor_rollout_ref.rollout.max_model_len == 2048 + 32768
    assert config.lapo.verify_timeout == 5
    assert config.trainer.val_only and config.trainer.val_before_train
    assert config.trainer.n_gpus_per_node == 1
    assert get_dataset_class(config.data) is RLHFDataset, "verl's own dataset: no guidance"
    assert not need_reference_policy(config), "nothing is loaded that validation does not use"
    validate_config(config, use_reference_policy=False, use_critic=need_critic(config))


@pytest.mark.parametrize("override", ["data.val_files=x", "++trainer.val_only=false", "platform=gpu"])
def test_what_the_evaluation_sets_is_not_overridden(tmp_path: Path, override: str) -> None:
    with pytest.raises(EvalError, match=r"lapo eval sets .* itself"):
        verl_command(MODEL, tmp_path / "q.parquet", EvalSettings(overrides=(override,)), "cpu", tmp_path)


@pytest.mark.parametrize(
    "template", ["a 'quote', \\boxed{} and \\n\n{{ messages[0].content }} {% if x %}=[1,2]{% endif %}"]
)
def test_the_template_of_a_training_reaches_verl_as_it_was(tmp_path: Path, template: str) -> None:
    model = replace(MODEL, prompt=PromptNote("mine", template))
    command = verl_command(model, tmp_path / "questions.parquet", EvalSettings(), "cpu", tmp_path)
    config = compose_config("acc_only", command[command.index("--config-name=acc_only") + 1 :])
    assert config.data.apply_chat_template_kwargs.chat_template == template
