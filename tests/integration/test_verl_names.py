"""docs/verl.md lists every name of verl, TransferQueue and vLLM that the package imports, and each is there."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest

import lapo_verl

PACKAGE = Path(lapo_verl.__file__).parent
DOCUMENT = PACKAGE.parent / "docs" / "verl.md"
THEIRS = ("verl", "transfer_queue", "vllm")


def imported() -> dict[str, set[str]]:
    """{name: the files that import it}."""
    found: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            else:
                continue
            for name in names:
                if name.split(".")[0] in THEIRS:
                    found.setdefault(name, set()).add(str(path.relative_to(PACKAGE)))
    return found


def documented() -> dict[str, set[str]]:
    """{name: files}, of the rows of the document's tables."""
    rows = re.findall(r"^\| `([\w.]+)` \| (.+?) \|", DOCUMENT.read_text(), re.M)
    return {name: set(re.findall(r"`([\w/.]+)`", files)) for name, files in rows}


def test_the_document_lists_what_the_package_imports() -> None:
    assert documented() == imported()


def test_only_one_file_touches_the_queue() -> None:
    assert {name.split(".")[0]: files for name, files in imported().items() if name.startswith("transfer_queue")} == {
        "transfer_queue": {"hooks/replay_buffer.py"}
    }


@pytest.mark.parametrize("name", sorted(documented()))
def test_the_name_is_there(name: str) -> None:
    module, _, attribute = name.rpartition(".")
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        assert error.name == name or error.name == module, error
        assert hasattr(importlib.import_module(module), attribute)


def test_what_the_cpu_platform_replaces_is_there() -> None:
    rows = re.findall(r"^\| `([\w.]+)` \| `cpu/\w+\.py` \| `(\w+)`:", DOCUMENT.read_text(), re.M)
    assert len(rows) == 5
    for module, function in rows:
        assert callable(getattr(importlib.import_module(module), function)), f"{module}.{function}"
