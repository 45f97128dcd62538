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
    """{row: {seed: samples}} of what is kept, without a budget in the prompt.

    A condition of Table 4 is a row of its own, and only there.
    """
    rows: dict[str, Row] = {}
    for name in TABLES[table]:
        for seed in SEEDS:
            cell = cells.get((f"seed{seed}", name))
            for sample in cell.samples if cell else ():
                if sample.budget is None and (sample.checkpoint is None or table == "table4"):
                    row = rows.setdefault(" ".join(filter(None, (name, sample.checkpoint))), {})
                    row.setdefault(seed, []).append(sample)
    return rows


def compared_with(table: str, row: str, rows: Sequence[str]) -> list[str]:
    """The rows that a row's changes are against.

    Itself without its condition, the paper's preset, or the first row; in Table 5 also LAPO-I.
    """
    name, _, condition = row.partition(" ")
    own = name if condition else name.replace("reference_", "lapo_")
    against = [own if own != row else rows[0], *(["lapo_i"] if table == "table5" else [])]
    return [each for each in against if each in rows and each != row]


def compare(first: Row, second: Row) -> Change | None:
    """What the second changes, on the seeds and problems that both have; None where there are none."""
    seeds = [seed for seed in first if seed in second]
    parts = [trained(pooled({seed: row[seed] for seed in seeds})) for row in (first, second)]
    paired = pair(*parts, BOOTSTRAP)
    return change([paired]) if paired else None


def table_json(title: str, rows: Mapping[str, Row]) -> dict[str, Any]:
    """Of each row Pass@1 (percent) and tokens: mean, 95 % interval over problems, one value a seed; and by level.

    Means are over the levels that were trained on; ``by_level`` also has the harder ones.
    """
    table = {}
    for name, row in rows.items():
        seeds = {seed: summarize(trained(samples)) for seed, samples in row.items()}
        together = measure(trained(pooled(row)), BOOTSTRAP)
        changes = {against: compare(rows[against], row) for against in compared_with(title, name, list(rows))}
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
            "changes": {against: found.to_json() for against, found in changes.items() if found},
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
