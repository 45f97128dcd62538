"""Every training command that README and docs name composes with verl's own config: no key of it is misspelled."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser

from lapo_verl.doctor.compose import compose_config

ROOT = Path(__file__).resolve().parents[2]
TRAINING = re.compile(r"(?:python -m verl\.trainer\.main_ppo|lapo doctor) +--config-name=(\w+)([^`\n#]*)")
# Shown for a user's own module, and a loop's variable.
NOT_OURS = ("my_rewards", "$limit")


def trainings() -> list[tuple[str, tuple[str, ...]]]:
    """(config, overrides) of every command, once each; of every job of a sweep."""
    found = set()
    for page in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")):
        for config, rest in TRAINING.findall(page.read_text(encoding="utf-8").replace("\\\n", " ")):
            overrides = tuple(word for word in shlex.split(rest) if "=" in word and not word.endswith("=..."))
            if not any(name in rest for name in NOT_OURS):
                found |= {(config, job) for job in (jobs(overrides) if "--multirun" in rest else [overrides])}
    return sorted(found)


def jobs(overrides: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The overrides of each job, as Hydra's sweeper takes them apart."""
    (batch,) = BasicSweeper.split_arguments(OverridesParser.create().parse_overrides(list(overrides)), None)
    return [tuple(job) for job in batch]


@pytest.mark.parametrize(("config", "overrides"), trainings())
def test_the_command_composes(config: str, overrides: tuple[str, ...]) -> None:
    compose_config(config, list(overrides))


def test_a_misspelled_key_of_verls_does_not_compose() -> None:
    with pytest.raises(Exception, match=r"trainer\.default_local_dri"):
        compose_config("lapo_discovery", ["trainer.default_local_dri=runs"])
