"""Every objective has a config of its defaults and a row in the docs."""

import dataclasses
import re
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from lapo_verl.objectives import objective, objective_class, objective_names
from lapo_verl.paths import hydra_configs

CONFIGS = {path.stem: path for path in (Path(hydra_configs()) / "objective").glob("*.yaml")}
# It names no objective: the user's own comes from the command line.
USERS_OWN = "custom"


def test_every_objective_has_a_config_and_no_config_lacks_its_objective() -> None:
    names = set(objective_names())
    assert set(CONFIGS) == names | {USERS_OWN}


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


def rows() -> dict[str, list[str]]:
    """The cells of the docs' table of objectives, by name."""
    text = (Path(hydra_configs()).parent / "docs" / "objectives.md").read_text()
    table = text.partition("| Name | Needs |")[2].partition("\n\n")[0]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in table.split("\n")[2:]]
    return {row[0].strip("`"): row[1:] for row in cells}


def test_every_objective_has_a_row_in_the_docs() -> None:
    assert sorted(rows()) == objective_names()
    assert all(len(row) == 4 and all(row[1:]) for row in rows().values())


@pytest.mark.parametrize("name", objective_names())
def test_the_docs_say_what_it_needs(name: str) -> None:
    scorer = objective(name)
    needs = {
        "wrong lengths": scorer.needs_wrong_lengths,
        "targets": scorer.keeps_targets,
        "memory": scorer.keeps_memory,
        "prompt": scorer.names_budget,
    }
    assert rows()[name][0] == ", ".join(need for need, wanted in needs.items() if wanted)
