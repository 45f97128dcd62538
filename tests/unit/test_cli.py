"""The command ``lapo`` itself, and ``make`` before it installs anything."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lapo_verl import __version__
from lapo_verl.cli.main import app
from lapo_verl.cli.recipe import recipe_names
from lapo_verl.paths import recipes

ROOT = Path(__file__).resolve().parents[2]


def lapo(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(map(str, arguments)))
    return result.exit_code, result.output


def test_version() -> None:
    assert lapo("--version") == (0, f"lapo-verl {__version__}\n")


@pytest.mark.parametrize(("arguments", "code"), [(["--help"], 0), ([], 1)])
def test_the_demo_without_torch_says_what_it_needs(arguments: list[str], code: int) -> None:
    without = (
        "import sys; sys.modules['torch'] = sys.modules['vllm'] = None\n"
        "import importlib.util as util; find = util.find_spec\n"
        "util.find_spec = lambda name, *rest: None if name in ('torch', 'vllm') else find(name, *rest)\n"
        f"from lapo_verl.cli.main import app; app({['demo', *arguments]!r})"
    )
    done = subprocess.run([sys.executable, "-c", without], capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    if code:
        assert "not installed here: torch, vllm. In a checkout, `make demo`" in done.stderr
    else:
        assert "--fast" in done.stdout


@pytest.mark.parametrize(
    "command",
    ["demo", "recipe demo", "report runs", "export run", "eval --model a=b", "data gsm8k", "data math500"],
)
def test_a_file_in_the_place_of_an_output_folder_is_named(command: str, tmp_path: Path) -> None:
    file = tmp_path / "results"
    file.write_text("kept")
    code, output = lapo(*command.split(), "--output", file)
    assert code == 2
    assert "--output" in output
    assert "is a file" in " ".join(output.split())
    assert file.read_text() == "kept"


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_is_copied_with_those_that_its_script_runs(name: str, tmp_path: Path) -> None:
    code, output = lapo("recipe", name, "-o", tmp_path)
    assert code == 0, output
    for source in (recipes() / name).glob("*.*"):
        assert (tmp_path / name / source.name).read_bytes() == source.read_bytes()
    for script in tmp_path.glob("*/*.sh"):
        runs = [word.strip('"') for word in script.read_text().split() if "/../" in word]
        assert all((tmp_path / word.split("/../")[1]).is_file() for word in runs)
    again, output = lapo("recipe", name, "-o", tmp_path)
    assert again == 1
    assert "exists already, and nothing was copied" in output


def test_an_unknown_recipe_is_named_with_those_that_there_are(tmp_path: Path) -> None:
    code, output = lapo("recipe", "r1", "-o", tmp_path)
    assert code == 1
    assert "no recipe is called 'r1'; there are deepscaler_1.5b, demo" in output
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("version", ["3.13", "3.10"])
def test_make_says_which_python_it_needs(version: str, tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\necho {version}\n")
    python.chmod(0o755)
    command = ["make", "--file", str(ROOT / "Makefile"), "setup", f"PYTHON={python}"]
    (tmp_path / "requirements").mkdir()
    for needed in ("requirements/cpu.txt", "pyproject.toml"):
        (tmp_path / needed).touch()
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode != 0
    assert f"make needs Python 3.11 or 3.12, and {python} is {version}." in done.stderr
    assert not (tmp_path / ".venv").exists()


def test_a_recipe_brings_along_what_it_runs_and_imports(tmp_path: Path) -> None:
    code, output = lapo("recipe", "mini_paper", "-o", tmp_path)
    assert code == 0, output
    assert sorted(folder.name for folder in tmp_path.iterdir()) == ["demo", "mini_paper", "toy"]
