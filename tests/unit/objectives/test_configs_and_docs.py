"""Every objective has a config of its defaults and a row in the docs."""

import dataclasses
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from lapo_verl.objectives import objective, objective_class, objective_names
from lapo_verl.paths import hydra_configs

CONFIGS = {path.stem: path for path in (Path(hydra_configs()) / "objective").glob("*.yaml")}
# It names no objective: the user's own comes from the command line.
USERS_OWN = "custom"
# Their configs come with the configuration that reads them.
TO_COME = {"accuracy", "discovery", "internalization"}


def test_every_objective_has_a_config_and_no_config_lacks_its_objective() -> None:
    names = set(objective_names())
    assert names - TO_COME <= set(CONFIGS) <= names | {USERS_OWN}


@pytest.mark.parametrize("name", sorted(set(CONFIGS) - {USERS_OWN}))
def test_its_values_are_the_dataclasss_defaults(name: str) -> None:
    text = CONFIGS[name].read_text()
    assert text.startswith("# @package lapo.objective\n\n# ") and f"lapo_verl/objectives/{name}.py" in text
    values = OmegaConf.to_container(OmegaConf.create(text))
    assert isinstance(values, dict) and values.pop("name") == name
    fields = dataclasses.asdict(objective(name))
    assert list(values) == list(fields) and values == fields
    assert objective(name, **values) == objective(name)


@pytest.mark.parametrize("name", sorted(set(CONFIGS) - {USERS_OWN}))
def test_every_field_has_a_comment(name: str) -> None:
    blocks = CONFIGS[name].read_text().strip().split("\n\n")[1:]
    assert all(block.startswith("# ") for block in blocks)
    for field in dataclasses.fields(objective_class(name)):
        assert sum(f"\n{field.name}:" in block for block in blocks) == 1
