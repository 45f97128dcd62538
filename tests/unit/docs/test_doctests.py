"""The examples in the docstrings of the public packages run, and every public function and class has one."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PACKAGES = ("lapo_verl.objectives", "lapo_verl.store", "lapo_verl.verify", "lapo_verl.guidance")
MODULES = [
    module.name
    for package in (*PACKAGES, "lapo_verl.data")
    for module in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}.")
]
UTILITIES = ("lapo_verl.markdown",)
API = (ROOT / "docs" / "reference" / "api.md").read_text(encoding="utf-8")
# (package, name) of everything on the API page.
PUBLIC = [(name.rpartition(".")[0], name.rpartition(".")[2]) for name in re.findall(r"^::: (\S+)$", API, re.MULTILINE)]


@pytest.mark.parametrize("name", [*PACKAGES, *MODULES, *UTILITIES])
def test_the_examples_run(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


@pytest.mark.parametrize(("package", "name"), PUBLIC)
def test_what_is_public_is_exported_and_has_an_example(package: str, name: str) -> None:
    module = importlib.import_module(package)
    assert name in module.__all__
    if not issubclass_of_exception(getattr(module, name)):
        assert ">>> " in (inspect.getdoc(getattr(module, name)) or "")


def test_the_page_has_all_that_the_packages_export_for_users() -> None:
    # What the hooks call between them, and aliases of types; not for users.
    internal = {"checked_memory", "checked_rewards", "checked_targets", "default_objective", "float32_scores"}
    internal |= {"has_signal", "means", "objective_class", "check_scope", "Memory", "Statistic", "Form"}
    internal |= {"DEFAULT_TIMEOUT_S", "REVISION"}
    exported = {(package, name) for package in PACKAGES for name in importlib.import_module(package).__all__}
    assert {name for name in exported if name[1] not in internal} == set(PUBLIC)


def issubclass_of_exception(value: object) -> bool:
    return inspect.isclass(value) and issubclass(value, Exception)
