from pathlib import Path

import pytest
from omegaconf import OmegaConf

from lapo_verl.config import LapoConfig, ConfigError, check_overrides, known_keys


def test_null_means_what_compat_says() -> None:
    node = OmegaConf.create({"stage": "internalization", "compat": "reference", "internalization": {"sigma": None}})
    settings = LapoConfig.parse(node)
    assert settings.internalization.beta == 0.8
    assert settings.internalization.sigma == 120
    assert settings.discovery.degenerate_band == "zero"


def test_given_values_win_over_the_preset() -> None:
    settings = LapoConfig.parse(
        {"stage": "discovery", "compat": "reference", "discovery": {"degenerate_band": "in_range"}}
    )
    assert settings.discovery.degenerate_band == "in_range"
    assert LapoConfig.parse({"stage": "discovery", "store": "a/b.sqlite"}).store == Path("a/b.sqlite")


def test_one_key_sets_what_budgets_are_made_of_in_both_stages() -> None:
    settings = LapoConfig.parse({"stage": "discovery", "guidance": {"statistic": "mean"}})
    assert (settings.discovery.statistic, settings.internalization.statistic) == ("mean", "mean")
    settings = LapoConfig.parse(
        {"stage": "discovery", "guidance": {"statistic": "mean"}, "discovery": {"statistic": "minimum"}}
    )
    assert (settings.discovery.statistic, settings.internalization.statistic) == ("minimum", "mean")


def test_prompt_templates_are_the_users_to_add() -> None:
    settings = LapoConfig.parse({"stage": "discovery", "prompt": "mine", "prompt_templates": {"mine": "{{ x }}"}})
    assert settings.prompt == "mine"
    check_overrides(["+lapo.prompt_templates.mine='{{ x }}'"])


def test_every_key_of_the_base_config_is_known_and_every_known_key_is_there() -> None:
    base = OmegaConf.load(Path(__file__).parents[3] / "hydra_configs" / "lapo_base.yaml").lapo
    given = {f"lapo.{key}" for key in base}
    sections = [key for key in base if OmegaConf.is_dict(base._get_node(key)) and key != "prompt_templates"]
    given |= {f"lapo.{key}.{name}" for key in sections for name in base[key]}
    assert given == set(known_keys())


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({"stage": "discovery", "stor": "x"}, r"lapo\.stor: did you mean lapo\.store\?"),
        ({"stage": "discovery", "discovery": {"alhpa": 1}}, r"did you mean lapo\.discovery\.alpha\?"),
        ({"stage": "discovery", "alpha": 1}, r"did you mean lapo\.discovery\.alpha\?"),
        ({"stage": "discovery", "discovery": {"alpha": -1}}, r"lapo\.discovery\.alpha must be >= 0, got -1"),
        ({"stage": "discovery", "discovery": {"low": 80}}, r"lapo\.discovery\.low"),
        ({"stage": "discovery", "guidance": {"form": "x"}}, r"lapo\.guidance\.form.*'x'"),
        ({"stage": "discovery", "compat": "papr"}, r"lapo\.compat"),
        ({"stage": "stage1"}, r"lapo\.stage"),
        ({"stage": "discovery", "poll_interval": 0}, r"lapo\.poll_interval"),
        ({"stage": "discovery", "answer_forms": ["bxed"]}, r"lapo\.answer_forms.*'bxed'"),
        ({"stage": "discovery", "answer_forms": []}, r"lapo\.answer_forms"),
        ({"stage": "discovery", "verifier": "mine"}, r"lapo\.verifier"),
        ({"stage": "discovery", "prompt": "mine", "prompt_templates": {"model": None}}, r"lapo\.prompt .*'mine'"),
        ({"stage": "discovery", "length": {"scope": "thoughts"}}, r"lapo\.length\.scope.*'thoughts'"),
        ({"stage": "discovery", "guidance": {"share": 0}}, r"lapo\.guidance\.share"),
        ({"stage": "discovery", "guidance": {"share": 1.5}}, r"lapo\.guidance\.share must be in \(0, 1\]"),
        ({"stage": "discovery", "guidance": {"validation": "yes"}}, r"lapo\.guidance\.validation"),
    ],
)
def test_bad_values_are_named(node: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LapoConfig.parse(node)


def test_mistyped_override_names_the_nearest_key() -> None:
    check_overrides(
        ["lapo.discovery.alpha=1", "data.train_batch_size=4", "--config-name=lapo_discovery", "lapo.store=x"]
    )
    with pytest.raises(ConfigError, match=r"did you mean lapo\.discovery\.decay\?"):
        check_overrides(["+lapo.discovery.decai=3"])
