"""What is kept of a training: its test samples without their texts, and its curves, in one small file.

The files are committed, weights and texts are not: a grid of many hours is then made in several sittings, also on
several machines, and a training whose file is there is not repeated.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lapo_verl.files import whole_file
from lapo_verl.runs.dumps import Sample, read_metrics, read_samples
from lapo_verl.runs.stage import Stage
from toy.task import LEVELS

# Of the training log.
CURVES = (
    "lapo/accuracy",
    "lapo/tokens_correct",
    "lapo/budget_mean",
    "lapo/adherence_tokens",
    "lapo/unguided_adherence_tokens",
    "critic/score/mean",
    "response_length/mean",
)
_ABOUT = b"lapo"


@dataclass(frozen=True)
class Cell:
    """One training of one seed.

    Attributes:
        key: a hash of all that the samples follow from.
        seconds: of the training and the evaluation, start-up included; of one that was cut short, the last part.
        samples: of the test split; ``checkpoint`` names the condition of Table 4, ``budget`` that of Table 6;
            None for the plain one.
        validation: {step: (Pass@1 in percent, mean tokens)} on the validation split while it was trained, levels 1-5.
        training: {step: metrics}.
    """

    key: str
    seconds: float
    samples: list[Sample]
    validation: Mapping[int, tuple[float, float]]
    training: Mapping[int, Mapping[str, float]]


def make_cell(key: str, name: str, samples: Path, evaluation_seconds: float, stage: Stage | None) -> Cell:
    """The cell of an evaluation's ``samples.jsonl`` and of the stage that trained the model."""
    read = [
        Sample(
            problem=sample.problem,
            level=sample.level,
            correct=sample.correct,
            tokens=sample.tokens,
            truncated=sample.truncated,
            checkpoint=(sample.checkpoint or name).removeprefix(name).strip() or None,
            keywords=sample.keywords,
            budget=sample.budget,
        )
        for sample in read_samples(samples)
    ]
    if stage is None:
        return Cell(key, evaluation_seconds, read, {}, {})
    steps = sorted(int(path.stem) for path in (stage.folder / "validation").glob("*.jsonl"))
    return Cell(
        key,
        stage.seconds + evaluation_seconds,
        read,
        {step: _means(read_samples(stage.validation(step))) for step in steps},
        {
            step: {name: values[name] for name in CURVES if name in values}
            for step, values in read_metrics(stage.metrics_files()).items()
        },
    )


def trained(samples: Sequence[Sample]) -> list[Sample]:
    """Those of the levels that were trained on."""
    levels = {str(level) for level in LEVELS}
    return [sample for sample in samples if sample.level in levels]


def write_cell(cell: Cell, path: Path) -> None:
    """Renamed into place, so that a file that is there is whole."""
    columns = {
        "problem": [sample.problem for sample in cell.samples],
        "level": [sample.level for sample in cell.samples],
        "correct": [sample.correct for sample in cell.samples],
        "tokens": [sample.tokens for sample in cell.samples],
        "truncated": [sample.truncated for sample in cell.samples],
        "condition": [sample.checkpoint for sample in cell.samples],
        "keywords": [sample.keywords for sample in cell.samples],
        "budget": pa.array([sample.budget for sample in cell.samples], pa.float64()),
    }
    about = {"key": cell.key, "seconds": cell.seconds, "validation": cell.validation, "training": cell.training}
    table = pa.table(columns).replace_schema_metadata({_ABOUT: json.dumps(about)})
    with whole_file(path) as partial:
        pq.write_table(table, partial, compression="zstd")


def read_cell(path: Path) -> Cell:
    """A cell as ``write_cell`` wrote it."""
    table = pq.read_table(path)
    about = _about(table.schema)
    samples = [
        Sample(
            problem=row["problem"],
            level=row["level"],
            correct=row["correct"],
            tokens=row["tokens"],
            truncated=row["truncated"],
            checkpoint=row["condition"],
            keywords=None if row["keywords"] is None else tuple(row["keywords"]),
            budget=row["budget"],
        )
        for row in table.to_pylist()
    ]
    return Cell(
        about["key"],
        about["seconds"],
        samples,
        {int(step): tuple(means) for step, means in about["validation"].items()},
        {int(step): metrics for step, metrics in about["training"].items()},
    )


def is_kept(path: Path, key: str) -> bool:
    """Whether the file is there and was made with just these settings."""
    return path.exists() and bool(_about(pq.read_schema(path))["key"] == key)


def _about(schema: pa.Schema) -> dict[str, Any]:
    about: dict[str, Any] = json.loads((schema.metadata or {})[_ABOUT])
    return about


def _means(samples: Sequence[Sample]) -> tuple[float, float]:
    chosen = trained(samples)
    return 100 * float(np.mean([s.correct for s in chosen])), float(np.mean([s.tokens for s in chosen]))
