"""LAPO's configs are found by verl's command, and by no other program that uses Hydra."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

APP = """
import sys

import hydra


@hydra.main(version_base=None, config_path=None)
def main(config):
    print(config, "lapo_verl" in sys.modules)


main()
"""


def python(*arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *map(str, arguments), f"hydra.run.dir={folder}/hydra"]
    return subprocess.run(command, cwd=folder, env={**os.environ}, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("argument", "shown"),
    [
        # A program's own key of that name is its business.
        ("+lapo.gamma=1", "{'lapo': {'gamma': 1}} False"),
        # And so are keys that are called as our config groups.
        ("+platform=gpu", "{'platform': 'gpu'} False"),
        ("+preset=reference", "{'preset': 'reference'} False"),
        ("--config-name=lapo_discovery", "Cannot find primary config 'lapo_discovery'"),
    ],
)
def test_another_program_of_hydras_sees_nothing_of_us(argument: str, shown: str, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    done = python("app.py", argument, folder=tmp_path)
    assert shown in done.stdout + done.stderr
    assert "lapo: error" not in done.stderr


@pytest.mark.parametrize("option", ["--config-path", "--config-dir"])
def test_a_config_of_the_users_own_builds_on_ours(option: str, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        "defaults: [lapo_discovery, _self_]\nlapo: {objective: {alpha: 0.5}}\n"
        "hydra: {searchpath: ['pkg://verl.trainer.config']}\n"
    )
    command = ("-m", "verl.trainer.main_ppo", f"{option}={tmp_path}", "--config-name=mine", "--cfg", "job")
    done = python(*command, "platform=gpu", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert OmegaConf.create(done.stdout).lapo.objective.alpha == 0.5
