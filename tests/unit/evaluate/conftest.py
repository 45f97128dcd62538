from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from eval_inputs import STAND_IN, problem, write_rows
from rich.console import Console

from lapo_verl.cpu import WARM_PYTHON
from lapo_verl.evaluate import verl_run
from lapo_verl.evaluate.models import Model


@pytest.fixture
def sums(tmp_path: Path) -> Path:
    rows = [problem(f"1 + {i}", str(1 + i), problem_id=f"s{i}", level=i) for i in range(3)]
    return write_rows(tmp_path / "sums.jsonl", rows)


@pytest.fixture
def products(tmp_path: Path) -> Path:
    """Numbers as truths, no levels."""
    return write_rows(tmp_path / "products.jsonl", [problem(f"2 * {i}", 2 * i, problem_id=f"p{i}") for i in range(2)])


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=200)


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[], list[str]]:
    """Puts the stand-in in verl's place; gives, when called, a line a start: model and number of questions."""

    def command(model: Model, data: Path, settings: Any, platform: str, folder: Path) -> list[str]:
        return [sys.executable, "-c", STAND_IN, model.path, str(data), str(folder), "10"]

    notes = tmp_path / "starts.txt"
    notes.touch()
    monkeypatch.setenv("STAND_IN_STARTS", str(notes))
    # The stand-in needs no Python that has verl imported.
    monkeypatch.setenv(WARM_PYTHON, "offered")
    monkeypatch.setattr(verl_run, "verl_command", command)
    monkeypatch.setattr(verl_run, "_LOOK_INTERVAL", 0.05)
    return lambda: notes.read_text().splitlines()
