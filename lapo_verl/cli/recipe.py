"""``lapo recipe``: a recipe's folder out of the installed package, to run and to change."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from lapo_verl.paths import recipes


class RecipeError(ValueError):
    """The recipe cannot be copied; the message says why and what to do."""


def recipe_names() -> list[str]:
    """The recipes that this installation has."""
    return sorted(folder.name for folder in recipes().iterdir() if (folder / "README.md").is_file())


def copy_recipe(name: str, output: Path) -> list[Path]:
    """Copy a recipe to ``output``, and beside it what it runs or imports.

    Returns:
        The new folders, each named after its recipe.

    Raises:
        RecipeError: no such recipe, or a folder of that name exists in ``output``.
    """
    if name not in recipe_names():
        raise RecipeError(f"no recipe is called {name!r}; there are {', '.join(recipe_names())}")
    copies = {other: output / other for other in (name, *_run_by(name))}
    for copy in copies.values():
        if copy.exists():
            raise RecipeError(f"{copy} exists already, and nothing was copied; give another --output")
    for other, copy in copies.items():
        shutil.copytree(recipes() / other, copy, ignore=shutil.ignore_patterns("__pycache__"))
    return list(copies.values())


def _run_by(name: str) -> list[str]:
    """The recipes whose scripts this one runs, as in ``../demo/run_stage.sh``, and what recipes share (``toy``)."""
    shell = [script.read_text(encoding="utf-8") for script in (recipes() / name).glob("*.sh")]
    python = [script.read_text(encoding="utf-8") for script in (recipes() / name).glob("*.py")]
    others = {other for script in shell for other in re.findall(r"\.\./([\w.]+)/\w+\.sh", script)}
    others |= {other for script in python for other in re.findall(r'"([\w.]+)" / "\w+\.sh"', script)}
    if any("from toy" in script for script in python):
        others.add("toy")
    return sorted(others - {name})
