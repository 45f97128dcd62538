from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from lapo_verl.config import ConfigError, LapoConfig, check_overrides, known_keys
from lapo_verl.objectives import objective

CONFIGS = Path(__file__).parents[2] / "hydra_configs"
DISCOVERY = {"objective": {"name": "discovery"}}


def test_an_objective_is_its_name_and_its_fields() -> None:
    node = OmegaConf.create({"objective": {"name": "internalization", "beta": 0.8}, "store": "a/b.sqlite"})
    config = LapoConfig.parse(node)
    assert config.objective == objective("internalization", beta=0.8)
    assert config.store == Path("a/b.sqlite")


def test_prompt_templates_are_the_users_to_add() -> None:
    config = LapoConfig.parse({**DISCOVERY, "prompt": "mine", "prompt_templates": {"mine": "{{ x }}"}})
    assert config.prompt == "mine"
    check_overrides(["+lapo.prompt_templates.mine='{{ x }}'"])


def test_every_key_of_the_base_config_is_known_and_every_known_key_is_there() -> None:
    base = OmegaConf.load(CONFIGS / "lapo_base.yaml").lapo
    given = {f"lapo.{key}" for key in base} | {"lapo.objective"}
    sections = [key for key in base if OmegaConf.is_dict(base._get_node(key)) and key != "prompt_templates"]
    given |= {f"lapo.{key}.{name}" for key in sections for name in base[key]}
    assert given == {key for key in known_keys() if not key.startswith("lapo.objective.")}


def test_the_base_config_has_the_defaults_of_the_code() -> None:
    base: Any = OmegaConf.to_container(OmegaConf.load(CONFIGS / "lapo_base.yaml").lapo, resolve=False)
    by_file = LapoConfig.parse({**base, **DISCOVERY, "store": "lapo_store.sqlite", "prompt_templates": {}})
    assert by_file == LapoConfig.parse(DISCOVERY)


def test_the_reference_preset_has_values_that_the_objective_takes() -> None:
    for path in (CONFIGS / "preset" / "values").glob("*.yaml"):
        values: Any = OmegaConf.to_container(OmegaConf.load(path).lapo.objective)
        name = path.stem.partition("_")[2]
        assert objective(name, **values) != objective(name)


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({**DISCOVERY, "stor": "x"}, r"lapo\.stor: did you mean lapo\.store\?"),
        ({**DISCOVERY, "alpha": 1}, r"did you mean lapo\.objective\.alpha\?"),
        ({**DISCOVERY, "discovery": {"alpha": 1}}, r"unknown key lapo\.discovery"),
        ({"objective": {"name": "discovery", "alhpa": 1}}, r"no field 'alhpa': did you mean alpha\?"),
        ({"objective": {"name": "discovery", "beta": 1}}, r"objective discovery has no field 'beta'"),
        (
            {"objective": {"name": "discovery", "alpha": -1}},
            r"lapo\.objective: .*: alpha must be >= 0",
        ),
        ({"objective": {"name": "discovery", "low": 80}}, r"low must not be above high"),
        ({"objective": {"name": "discvery"}}, r"unknown objective 'discvery': did you mean discovery\?"),
        ({"objective": {"name": None, "path": None}}, r"lapo\.objective\.name is not set"),
        ({}, r"lapo\.objective\.name is not set"),
        ({"objective": {"name": "Mine", "path": "pkg://no.such"}}, r"pkg://no\.such cannot be imported"),
        ({**DISCOVERY, "guidance": {"form": "x"}}, r"lapo\.guidance\.form.*'x'"),
        ({**DISCOVERY, "guidance": {"form": "range", "low": 80}}, r"lapo\.guidance\.low"),
        ({**DISCOVERY, "guidance": "exact"}, r"lapo\.guidance must be a mapping"),
        ({**DISCOVERY, "answer_forms": ["bxed"]}, r"lapo\.answer_forms.*'bxed'"),
        ({**DISCOVERY, "answer_forms": []}, r"lapo\.answer_forms"),
        ({**DISCOVERY, "verifier": "mine"}, r"lapo\.verifier"),
        ({**DISCOVERY, "verify_timeout": 0}, r"lapo\.verify_timeout"),
        ({**DISCOVERY, "prompt": "mine", "prompt_templates": {"model": None}}, r"lapo\.prompt .*'mine'"),
        ({**DISCOVERY, "length": {"scope": "thoughts"}}, r"lapo\.length\.scope.*'thoughts'"),
        ({**DISCOVERY, "guidance": {"share": 0}}, r"lapo\.guidance\.share"),
        ({**DISCOVERY, "guidance": {"share": 1.5}}, r"lapo\.guidance\.share must be in \(0, 1\]"),
        ({**DISCOVERY, "guidance": {"validation": "yes"}}, r"lapo\.guidance\.validation"),
        ({**DISCOVERY, "max_unknown_share": 2}, r"lapo\.max_unknown_share"),
    ],
)
def test_bad_values_are_named(node: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LapoConfig.parse(node)


def test_mistyped_override_names_the_nearest_key() -> None:
    check_overrides(
        ["lapo.objective.alpha=1", "data.train_batch_size=4", "--config-name=lapo_discovery", "lapo.store=x"]
    )
    with pytest.raises(ConfigError, match=r"lapo\.discovery\.decay: did you mean lapo\.objective\.decay\?"):
        check_overrides(["+lapo.discovery.decay=3"])
    with pytest.raises(ConfigError, match=r"did you mean lapo\.guidance\.share\?"):
        check_overrides(["lapo.guidance.shar=0.5"])
