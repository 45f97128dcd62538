"""What a length store knows: totals, the problems whose targets changed most, and an export of every record."""

from __future__ import annotations

import csv
import heapq
import json
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from rich.table import Table

from lapo_verl.store import LengthStore, Record

ROWS_AT_ONCE = 10_000
VISITS_SHOWN = 2_000
# Below the tables of a store.
COPY_HINT = "To copy a store, take the snapshot in a checkpoint: global_step_N/lapo_store.sqlite."
SCHEMA = pa.schema(
    [
        ("problem_id", pa.string()),
        ("run", pa.string()),
        ("step", pa.int64()),
        ("lengths", pa.list_(pa.int64())),
        ("correct", pa.list_(pa.bool_())),
        ("prompt_budget", pa.float64()),
        ("target", pa.float64()),
        ("filtered", pa.bool_()),
    ]
)


def most_changed(store: LengthStore, count: int) -> list[dict[str, Any]]:
    """The problems whose target has moved furthest since it was first known: id, first and last target in tokens."""
    first: dict[str, float] = {}
    last: dict[str, float] = {}
    for record in store.records():
        if record.target is not None:
            first.setdefault(record.problem_id, record.target)
            last[record.problem_id] = record.target
    moved = heapq.nlargest(count, last, key=lambda problem: abs(last[problem] - first[problem]))
    return [{"problem_id": problem, "first": first[problem], "last": last[problem]} for problem in moved]


@dataclass(frozen=True)
class Adherence:
    """How far the correct rollouts were from the budget that their prompt named, in the last run that names one.

    Attributes:
        steps: {step: {"tokens": mean |len - n|, "relative": mean |len - n| / n}}, over correct rollouts.
        visits: (prompt budget, mean length of the correct rollouts) in tokens, of visits in the last quarter of the
            steps, at most ``VISITS_SHOWN``, the latest.
    """

    steps: dict[int, dict[str, float]]
    visits: list[tuple[float, float]]


def adherence(store: LengthStore) -> Adherence:
    """Read off every record that names a budget; the metrics ``lapo/adherence_*`` say the same of those trained on."""
    last = {run.name: run.last_step or 0 for run in store.runs()}
    run: str | None = None
    sums: dict[int, list[float]] = {}
    visits: deque[tuple[float, float]] = deque(maxlen=VISITS_SHOWN)
    for record in store.records():
        budget, lengths = record.prompt_budget, record.correct_lengths
        if not budget or not lengths:
            continue
        if record.run != run:  # a later one
            run = record.run
            sums.clear()
            visits.clear()
        away = sum(abs(length - budget) for length in lengths)
        total = sums.setdefault(record.step, [0.0, 0.0, 0.0])
        for position, value in enumerate((away, away / budget, len(lengths))):
            total[position] += value
        if record.step > 0.75 * last[record.run]:
            visits.append((budget, sum(lengths) / len(lengths)))
    steps = {step: {"tokens": far / n, "relative": relative / n} for step, (far, relative, n) in sums.items()}
    return Adherence(steps, list(visits))


def tables(totals: dict[str, Any], changed: list[dict[str, Any]]) -> Iterator[Table]:
    """``LengthStore.totals`` and ``most_changed`` for the terminal."""
    overview = Table("length store", "", show_header=True)
    for key in ("problems", "solved", "unsolved", "visits", "filtered"):
        overview.add_row(key, f"{totals[key]:,}")
    for run, steps in totals["steps"].items():
        overview.add_row(f"steps of {run}", f"{steps:,}")
    for percentile, tokens in totals["budget_percentiles"].items():
        overview.add_row(f"target, percentile {percentile}", f"{tokens:.1f} tokens")
    yield overview
    if changed:
        table = Table("problem", "first target", "last target", "change", title="most changed, tokens")
        for row in changed:
            change = row["last"] - row["first"]
            table.add_row(row["problem_id"], f"{row['first']:.1f}", f"{row['last']:.1f}", f"{change:+.1f}")
        yield table


def export(store: LengthStore, path: Path) -> int:
    """Write every record to a .parquet, .csv or .jsonl file, by its ending; returns how many there were.

    Raises:
        ValueError: another ending.
    """
    writers: dict[str, Callable[[Iterator[Record], Path], int]] = {
        ".parquet": _write_parquet,
        ".csv": _write_csv,
        ".jsonl": _write_jsonl,
    }
    if path.suffix not in writers:
        raise ValueError(f"{path}: must end in {', '.join(writers)}")
    return writers[path.suffix](store.records(), path)


def _write_parquet(records: Iterator[Record], path: Path) -> int:
    count = 0
    with pq.ParquetWriter(path, SCHEMA) as writer:
        batch: list[dict[str, Any]] = []
        for record in records:
            batch.append(asdict(record))
            count += 1
            if len(batch) == ROWS_AT_ONCE:
                writer.write_table(pa.Table.from_pylist(batch, SCHEMA))
                batch.clear()
        writer.write_table(pa.Table.from_pylist(batch, SCHEMA))
    return count


def _write_csv(records: Iterator[Record], path: Path) -> int:
    count = 0
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Record)])
        writer.writeheader()
        for record in records:
            lengths = " ".join("?" if length is None else str(length) for length in record.lengths)
            correct = " ".join(str(int(right)) for right in record.correct)
            writer.writerow({**asdict(record), "lengths": lengths, "correct": correct})
            count += 1
    return count


def _write_jsonl(records: Iterator[Record], path: Path) -> int:
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for record in records:
            file.write(json.dumps(asdict(record)) + "\n")
            count += 1
    return count
