"""Which trainings made a model, out of the notes beside its weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from lapo_verl.export.lineage import lineage_of
from lapo_verl.runs.training_note import KEYS, TrainingNote


def noted(folder: Path, model: str) -> Path:
    folder.mkdir(parents=True)
    TrainingNote(model, ("math.parquet",), None, dict.fromkeys(KEYS)).write(folder)
    return folder


def test_the_base_model_is_where_the_first_training_began(tmp_path: Path) -> None:
    first = noted(tmp_path / "one", "owner/base")
    assert lineage_of(noted(tmp_path / "two", str(first))).base_model == "owner/base"
    assert lineage_of(noted(tmp_path / "three", str(tmp_path))).base_model is None


@pytest.mark.timeout(10)
def test_notes_that_lead_in_a_circle_name_no_base_model(tmp_path: Path) -> None:
    first = noted(tmp_path / "one", str(tmp_path / "two"))
    noted(tmp_path / "two", str(first))
    assert lineage_of(first).base_model is None
