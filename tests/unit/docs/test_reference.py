"""The reference pages: they are what ``make reference`` writes, and they have every key, metric, command and option."""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
import typer.main

from lapo_verl.cli.main import app
from lapo_verl.config import known_keys
from lapo_verl.hooks.step import Rollout, Step, step_metrics
from lapo_verl.objectives import checked_rewards, objective, objective_names
from lapo_verl.objectives.metrics import METRICS
from lapo_verl.report.sections import SHOWN_METRICS

ROOT = Path(__file__).resolve().parents[3]
REFERENCE = ROOT / "docs" / "reference"


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_reference", REFERENCE / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclass looks there for itself
    spec.loader.exec_module(module)
    return module


def page(name: str) -> str:
    return (REFERENCE / name).read_text(encoding="utf-8")


def test_the_pages_are_what_their_sources_say(generate: ModuleType) -> None:
    stale = [path.name for path, text in generate.pages().items() if page(path.name) != text]
    assert not stale, f"run make reference: {', '.join(stale)}"


def test_the_page_of_keys_has_every_key_and_no_other() -> None:
    written = set(re.findall(r"^\| `(lapo\.[\w.]+)` \|", page("configuration.md"), flags=re.MULTILINE))
    sections = {"lapo.objective", "lapo.guidance", "lapo.length"}  # their keys have rows of their own
    named_in_the_text = {"lapo.objective.name", "lapo.objective.path"}
    assert written == set(known_keys()) - sections - named_in_the_text
    assert all(f"`{key}`" in page("configuration.md") for key in named_in_the_text)


def test_every_config_and_every_choice_of_a_group_is_named() -> None:
    text = page("configuration.md")
    for path in (ROOT / "hydra_configs").glob("*.yaml"):
        assert f"`{path.stem}`" in text or path.stem in ("lapo_base", "lapo_hooks")
    for folder in ("guidance", "preset", "platform"):
        for path in (ROOT / "hydra_configs" / folder).glob("*.yaml"):
            assert f"| `{folder}` | {path.stem} |" in text
    assert re.findall(r"^### `(\w+)`", text, flags=re.MULTILINE) == objective_names()


def test_the_page_of_commands_has_every_option_and_no_other(generate: ModuleType) -> None:
    text = page("commands.md")
    commands = dict(generate.leaves(typer.main.get_command(app), "lapo"))
    assert re.findall(r"^## `(.+)`", text, flags=re.MULTILINE) == list(commands)
    for name, command in commands.items():
        section = text.split(f"## `{name}`\n")[1].split("\n## ")[0]
        written = {
            spelled for row in re.findall(r"^\| `(-.+?)` \|", section, re.MULTILINE) for spelled in row.split(" / ")
        }
        options = [parameter for parameter in command.params if parameter.param_type_name == "option"]
        assert written == {name for option in options for name in (*option.opts, *option.secondary_opts)}


def test_the_table_has_every_metric_that_is_logged_and_no_other() -> None:
    hook = (ROOT / "lapo_verl" / "hooks" / "replay_buffer.py").read_text(encoding="utf-8")
    of_the_hook = {node.value for node in ast.walk(ast.parse(hook)) if is_metric(node)}
    assert logged() | of_the_hook == set(METRICS)
    assert set(SHOWN_METRICS) <= set(METRICS)


def test_a_metric_names_the_objectives_that_log_it() -> None:
    common = {name for name, metric in METRICS.items() if not metric.objectives}
    for name in objective_names():
        own = {metric for metric, about in METRICS.items() if name in about.objectives}
        assert logged_by(name) - common == own


def test_a_key_without_a_comment_is_an_error(generate: ModuleType, tmp_path: Path) -> None:
    config = tmp_path / "objective" / "mine.yaml"
    config.parent.mkdir()
    config.write_text("# Mine.\nname: mine\n\n# Tokens.\nlow: 1\nhigh: 2\n")
    assert [(key.name, key.comment) for key in generate.keys(config)] == [
        ("name", "Mine."),
        ("low", "Tokens."),
        ("high", "Tokens."),
    ]
    config.write_text("# Mine.\nname: mine\n\nlow: 1\n")
    with pytest.raises(generate.UndocumentedError, match=r"mine\.yaml: the key low has no comment above it"):
        generate.keys(config)


def is_metric(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("lapo/")


def logged() -> set[str]:
    return {metric for name in objective_names() for metric in logged_by(name)}


def logged_by(name: str) -> set[str]:
    """What a step logs in which everything occurs: right and wrong, guided and not, known and unknown problems."""
    scorer = objective(name)
    age = 1 if scorer.starts_from_targets else None
    groups = [("a", 500.0, 500.0, age), ("b", 500.0, None, age), ("c", None, None, None)]
    step = Step(
        [
            Rollout(
                *(group, group, target, correct, tokens),
                guided=budget is not None,
                prompt_budget=budget,
                budget_age=budget_age,
            )
            for group, target, budget, budget_age in groups
            for correct, tokens in ((True, 400), (True, 900), (False, 700))
        ],
        response_limit=4096,
    )
    rewards = checked_rewards(scorer, step.groups, None)
    targets = {"a": 500.0, "b": 500.0, "c": None}
    after = {"a": 450.0, "b": 500.0, "c": 600.0} if scorer.keeps_targets else dict.fromkeys("abc")
    return set(step_metrics(step, scorer, rewards, None, targets, after))
