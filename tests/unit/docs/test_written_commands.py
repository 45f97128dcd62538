"""What README and docs say can be typed, opened and set: commands parse, files exist, keys and metrics are known."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import typer.main

from lapo_verl.cli.main import app
from lapo_verl.config import known_keys, unknown_override
from lapo_verl.objectives import objective_class, objective_names
from lapo_verl.objectives.metrics import METRICS

ROOT = Path(__file__).resolve().parents[3]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "recipes").glob("*/README.md")),
]
every_page = pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])

FOLDERS = ("benchmarks", "docs", "hydra_configs", "lapo_verl", "recipes", "requirements", "tests")
TRAINING = ["python", "-m", "verl.trainer.main_ppo"]
# Programs of others: that they can be called like this is theirs to test.
OF_OTHERS = {"pip", "vllm", "hf", "curl", "git", "pytest", "ray", "python", "bash", "source", "export", "cp", "docker"}
SHELL_WORDS = {"for", "do", "done"}


@every_page
def test_every_command_can_be_typed(page: Path) -> None:
    for line in commands(page.read_text(encoding="utf-8")):
        words = without_environment(shlex.split(line, comments=True))
        while words and words[0] in SHELL_WORDS and words[0] != "for":
            words = words[1:]
        if words and words[0] != "for":
            check_command(words)


@every_page
def test_every_command_in_a_sentence_exists(page: Path) -> None:
    for code in inline_code(page):
        words = code.split()
        if words[:1] == ["lapo"] and len(words) > 1 and words[1][0].islower():
            check_lapo_words(words)
        elif words[:1] == ["make"] and len(words) > 1:
            check_target(words[1])


@every_page
def test_every_file_that_is_named_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = set(re.findall(rf"(?<![\w/.-])(?:{'|'.join(FOLDERS)})/[\w./-]*\w/?", text))
    missing = {name for name in named if not (ROOT / name).exists() and not is_pattern(text, name)}
    targets = {target.partition("#")[0] for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", text)}
    missing |= {target for target in targets if target and not (page.parent / target).exists()}
    assert not missing


@every_page
def test_every_key_that_is_named_exists(page: Path) -> None:
    known = set(known_keys())
    sections = {key.rsplit(".", 1)[0] for key in known} | {"lapo"}
    named = set(re.findall(r"(?<![\w./])lapo(?:\.[a-z_]+)+(?![\w(])", " ".join(all_code(page))))
    of_docs_own = {"lapo.objective.slack", "lapo.objective.my_field", "lapo.sqlite"}
    table = "lapo.prompt_templates."  # its names are the user's
    assert not {key for key in named - known - sections - of_docs_own if not key.startswith(table)}


@every_page
def test_every_metric_that_is_named_exists(page: Path) -> None:
    named = set(re.findall(r"`(lapo/[a-z_0-9]+)`", page.read_text(encoding="utf-8")))
    assert named <= set(METRICS)


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= 800


def test_the_checks_notice_what_is_wrong() -> None:
    for command in (
        "lapo evaluate",
        "lapo eval --modle base=x --data d --output o",
        "make demos",
        "python -m verl.trainer.main_ppo --config-name=lapo_discover",
        "python -m verl.trainer.main_ppo --config-name=lapo_discovery lapo.guidance.sahre=1",
        "python -m verl.trainer.main_ppo --config-name=length_control objective=kimmi",
        "python benchmarks/none.py",
        "unknown-program",
    ):
        with pytest.raises(AssertionError):
            check_command(shlex.split(command))


def commands(text: str) -> Iterator[str]:
    """The lines of all bash blocks, continued lines joined."""
    for block in re.findall(r"```bash\n(.*?)```", text, flags=re.DOTALL):
        yield from block.replace("\\\n", " ").splitlines()


def inline_code(page: Path) -> list[str]:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    return [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", text)]


def all_code(page: Path) -> list[str]:
    return [*inline_code(page), *re.findall(r"```(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)]


def without_environment(words: list[str]) -> list[str]:
    while words and re.match(r"[A-Z_]+=", words[0]):
        words = words[1:]
    return words


def check_command(words: list[str]) -> None:
    words = [words[0].removeprefix(".venv/bin/"), *words[1:]]
    if words[0] == "lapo":
        check_lapo(words)
    elif words[0] == "make":
        targets = [word for word in words[1:] if "=" not in word]
        assert targets, "make of nothing"
        for target in targets:
            check_target(target)
    elif words[:3] == TRAINING:
        check_training(words[3:])
    else:
        assert words[0] in OF_OTHERS, f"unknown program: {words[0]}"
        for word in words[1:]:
            if word.startswith(tuple(f"{folder}/" for folder in FOLDERS)) and word.endswith((".py", ".sh")):
                assert (ROOT / word).exists(), f"no such file: {word}"


def check_lapo(words: list[str]) -> None:
    """The command line parses; nothing is run."""
    with pytest.raises(SystemExit) as ended:
        parser().main(words[1:], prog_name="lapo")
    assert ended.value.code == 0, shlex.join(words)
    if words[1] == "doctor":
        check_training(words[2:])


@lru_cache
def parser() -> Any:
    """The command ``lapo`` whose commands do nothing."""
    root = typer.main.get_command(app)
    for command in leaves(root):
        command.callback = lambda **_: None
    return root


def leaves(command: Any) -> Iterator[Any]:
    for sub in getattr(command, "commands", {}).values():
        yield from leaves(sub)
    if not hasattr(command, "commands"):
        yield command


def check_lapo_words(words: list[str]) -> None:
    """``lapo NAME`` in a sentence, with or without options: the command and the options exist."""
    command = parser()
    for position, word in enumerate(words[1:], start=1):
        subs = getattr(command, "commands", None)
        if subs is None:
            break
        if not word[0].islower():
            return
        assert word in subs, f"no command: {' '.join(words[: position + 1])}"
        command = subs[word]
    options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    assert {word for word in words if word.startswith("--") and len(word) > 2} <= options | {"--help"}


def check_target(target: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^{re.escape(target)}:", makefile, flags=re.MULTILINE), f"no make target: {target}"


def check_training(arguments: list[str]) -> None:
    """Config and groups are files, and keys under ``lapo.`` are known. verl's own keys: the integration tests."""
    for argument in arguments:
        name, _, value = argument.partition("=")
        if name in ("--config-name", "-cn"):
            assert (ROOT / "hydra_configs" / f"{value}.yaml").exists(), f"no config: {value}"
        elif name in ("objective", "guidance", "preset", "platform"):
            assert (ROOT / "hydra_configs" / name / f"{value}.yaml").exists(), f"no choice: {argument}"
        else:
            message = unknown_override(argument)
            assert message is None, message
    chosen = dict(argument.split("=", 1) for argument in arguments if "=" in argument)
    if chosen.get("objective") in objective_names():
        fields = {f"lapo.objective.{name}" for name in objective_class(chosen["objective"]).__dataclass_fields__}
        assert {key for key in chosen if key.startswith("lapo.objective.")} <= fields


def is_pattern(text: str, name: str) -> bool:
    """Whether the name goes on as a pattern: ``objective/<name>.yaml``, ``docs/*.png``."""
    return bool(re.search(re.escape(name) + r"(?:/?[*<{$]|/?[\w-]*[*<{$])", text))
