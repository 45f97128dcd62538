"""The laboratory's tables: rows of samples, and the numbers that are shown of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lapo_verl.report.comparison import Bootstrap, Change, change, measure, pair
from lapo_verl.runs.dumps import Sample
from lapo_verl.runs.summary import level_order, summarize
from mini_paper.cells import Cell, trained
from mini_paper.grid import BASE, SEEDS, TABLES, TRAININGS
from toy.task import LEVELS

BOOTSTRAP = Bootstrap(10_000, (0,))
# Samples of one row: {seed: samples}.
Row = dict[int, list[Sample]]


def title_of(row: str) -> str:
    """As the tables call it: ``lapo_i conflict=40`` is a training in a condition of Table 4."""
    name, _, condition = row.partition(" ")
    title = "base" if name == BASE else TRAININGS[name].title
    return f"{title}, {condition}" if condition else title


def rows_of(table: str, cells: Mapping[tuple[str, str], Cell]) -> dict[str, Row]:
    """{row: {seed: samples}} of what is kept; a condition of Table 4 is a row of its own, and only there."""
    rows: dict[str, Row] = {}
    for name in TABLES[table]:
        for seed in SEEDS:
            cell = cells.get((f"seed{seed}", name))
            for sample in cell.samples if cell else ():
                if sample.checkpoint is None or table == "table4":
                    row = rows.setdefault(" ".join(filter(None, (name, sample.checkpoint))), {})
                    row.setdefault(seed, []).append(sample)
    return rows


def compared_with(row: str, rows: Sequence[str]) -> str | None:
    """The row that a row's change is against: itself without its condition, the paper's preset, or the first one."""
    name, _, condition = row.partition(" ")
    against = name if condition else name.replace("reference_", "lapo_")
    if against == row:
        against = rows[0]
    return against if against in rows and against != row else None


def compare(first: Row, second: Row) -> Change | None:
    """What the second changes, on the seeds and problems that both have; None where there are none."""
    seeds = [seed for seed in first if seed in second]
    parts = [trained(pooled({seed: row[seed] for seed in seeds})) for row in (first, second)]
    paired = pair(*parts, BOOTSTRAP)
    return change([paired]) if paired else None


def table_json(rows: Mapping[str, Row]) -> dict[str, Any]:
    """Of each row Pass@1 (percent) and tokens: mean, 95 % interval over problems, one value a seed; and by level.

    Means are over the levels that were trained on; ``by_level`` also has the harder ones.
    """
    table = {}
    for name, row in rows.items():
        seeds = {seed: summarize(trained(samples)) for seed, samples in row.items()}
        together = measure(trained(pooled(row)), BOOTSTRAP)
        against = compared_with(name, list(rows))
        found = compare(rows[against], row) if against else None
        table[name] = {
            "pass@1": {
                "mean": together.pass_at_1.value,
                "interval": [together.pass_at_1.low, together.pass_at_1.high],
                "seeds": [summary["pass@1"] for summary in seeds.values()],
            },
            "tokens": {
                "mean": together.tokens.value,
                "interval": [together.tokens.low, together.tokens.high],
                "seeds": [summary["tokens"] for summary in seeds.values()],
            },
            "truncated": together.truncated,
            "change": {"against": against, **found.to_json()} if found else None,
            "by_level": summarize(pooled(row))["by_level"],
            "seeds": list(row),
        }
    return table


def pooled(row: Row) -> list[Sample]:
    """The samples of all seeds: each problem's mean is then over seeds and samples."""
    return [sample for samples in row.values() for sample in samples]


def level_correlation(by_level: Mapping[str, Mapping[str, float]]) -> float:
    """Spearman's rank correlation of level and mean tokens, over the levels that were trained on."""
    levels = sorted((level for level in by_level if level in {str(each) for each in LEVELS}), key=level_order)
    tokens = np.argsort(np.argsort([by_level[level]["tokens"] for level in levels]))
    # Rounded, as 0.9 would come out a bit below itself.
    return round(float(np.corrcoef(np.arange(len(levels)), tokens)[0, 1]), 9)
