"""Every training command that README and docs name composes with verl's own config: no key of it is misspelled."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from lapo_verl.doctor.compose import compose_config

ROOT = Path(__file__).resolve().parents[2]
TRAINING = re.compile(r"(?:python -m verl\.trainer\.main_ppo|lapo doctor) +--config-name=(\w+)([^`\n#]*)")
# Shown for a user's own module, and a loop's variable.
NOT_OURS = ("my_rewards", "$limit")


def trainings() -> list[tuple[str, tuple[str, ...]]]:
    """(config, overrides) of every command, once each."""
    found = set()
    for page in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")):
        for config, rest in TRAINING.findall(page.read_text(encoding="utf-8").replace("\\\n", " ")):
            overrides = tuple(word for word in shlex.split(rest) if "=" in word and not word.endswith("=..."))
            if not any(name in rest for name in NOT_OURS):
                found.add((config, overrides))
    return sorted(found)


@pytest.mark.parametrize(("config", "overrides"), trainings())
def test_the_command_composes(config: str, overrides: tuple[str, ...]) -> None:
    compose_config(config, list(overrides))


def test_a_misspelled_key_of_verls_does_not_compose() -> None:
    with pytest.raises(Exception, match=r"trainer\.default_local_dri"):
        compose_config("lapo_discovery", ["trainer.default_local_dri=runs"])
