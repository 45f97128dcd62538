"""The laboratory's result files, pictures and ``results.md``, from the cells that are kept."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from lab_cells import Cell, is_kept, read_cell, trained
from lab_grid import BASE, SEEDS, TABLES, TRAININGS, Hyperparameters
from lab_task import LEVELS
from rich.console import Console

from lapo_verl.report.bootstrap import Estimate
from lapo_verl.report.comparison import Bootstrap, change, measure, pair
from lapo_verl.report.dumps import Sample
from lapo_verl.report.pictures import draw_keywords, draw_lengths, draw_levels, draw_training, draw_validation
from lapo_verl.report.summary import level_order, summarize, summarize_keywords

RESULTS = Path(__file__).resolve().parent / "results"
BOOTSTRAP = Bootstrap(10_000, (0,))
TITLES = {BASE: "base", **{name: training.title for name, training in TRAININGS.items()}}
# What stands above each table.
HEADINGS = {
    "table1": "Table 1: base, accuracy alone, and the two stages",
    "table2": "Table 2: form and place of the guidance",
    "table3": "Table 3: the statistic behind the budget",
    "table4": "Table 4: an instruction that contradicts",
    "presets": "The paper's text against its published code",
    "unsolved": "A problem that its last visit did not solve: unsolved again, or its old budget",
    "share": "The sentence in every visit, or in half of them",
}
# Samples of one row: {seed: samples}.
Row = dict[int, list[Sample]]


def cell_path(results: Path, name: str, seed: int) -> Path:
    """Where a training's cell is kept."""
    return results / "cells" / f"seed{seed}" / f"{name}.parquet"


def write_results(hyper: Hyperparameters, keys: Mapping[Path, str], results: Path, console: Console) -> None:
    """Everything that can be written of what is kept: one JSON file a table, pictures, ``results.md``.

    Args:
        keys: {file of a cell: the key of the settings of now}; what was made with others is named and left out.
    """
    kept = sorted(results.glob("cells/seed*/*.parquet"))
    current = [path for path in kept if path in keys and is_kept(path, keys[path])]
    for path in sorted(set(kept) - set(current)):
        console.print(f"{path}: made with other settings, left out")
    if not current:
        raise SystemExit(f"{results / 'cells'}: nothing is kept there yet that was made with the settings of now")
    cells = {(path.parent.name, path.stem): read_cell(path) for path in current}
    settings = {**asdict(hyper), "seconds": round(sum(cell.seconds for cell in cells.values()))}
    tables: dict[str, dict[str, Row]] = {}
    for name in TABLES:
        rows = rows_of(name, cells)
        # A table whose rows all stand in others compares nothing yet.
        if set(rows) - {row for table in tables.values() for row in table}:
            tables[name] = rows
    whole = {name: table_json(rows) for name, rows in tables.items()}
    for name, table in whole.items():
        (results / f"{name}.json").write_text(json.dumps({**table, "settings": settings}, indent=2) + "\n")
    pictures = draw(tables["table1"], cells, results) if "table1" in tables else {}
    (results / "results.md").write_text(markdown(whole, settings, pictures))
    console.print(f"{results}: {', '.join(f'{name}.json' for name in whole)}, results.md and pictures")


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


def table_json(rows: Mapping[str, Row]) -> dict[str, Any]:
    """Of each row Pass@1 (percent) and tokens: mean, 95 % interval over problems, one value a seed; and by level.

    Means are over the levels that were trained on; ``by_level`` also has the harder ones.
    """
    first = next(iter(rows.values()))
    table = {}
    for name, row in rows.items():
        seeds = {seed: summarize(trained(samples)) for seed, samples in row.items()}
        together = measure(trained(pooled(row)), BOOTSTRAP)
        paired = pair(trained(pooled(first)), trained(pooled(row)), BOOTSTRAP)
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
            "change": change([paired]).to_json() if paired and row is not first else None,
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


def draw(table: Mapping[str, Row], cells: Mapping[tuple[str, str], Cell], results: Path) -> dict[str, str]:
    """Fig. 3, Fig. 4, Fig. 5 and the lengths of Table 1's rows: {file: what it shows}."""
    rows = {TITLES[name]: pooled(row) for name, row in table.items()}
    draw_levels({name: summarize(samples) for name, samples in rows.items()}, results / "levels.png")
    draw_lengths({name: trained(samples) for name, samples in rows.items()}, results / "lengths.png")
    keywords = {name: counts for name, samples in rows.items() if (counts := summarize_keywords(trained(samples)))}
    draw_keywords(keywords, results / "keywords.png", "Keywords by behaviour")
    pictures = {"levels.png": "Tokens by level", "lengths.png": "Lengths", "keywords.png": "Keywords"}
    stages = {name: [cell for (_, each), cell in cells.items() if each == name] for name in ("lapo_d", "lapo_i")}
    if all(stages.values()):
        draw_training({TITLES[name]: each[0].training for name, each in stages.items()}, results / "training.png")
        pictures["training.png"] = "Training rollouts of one seed"
    curves = validation_curves(cells)
    if curves:
        styles = {name: position for position, name in enumerate(curves, start=1)}
        draw_validation(curves, ["validation"], styles, results / "validation.png")
        pictures["validation.png"] = "Validation split, mean of the seeds"
    return pictures


def validation_curves(
    cells: Mapping[tuple[str, str], Cell],
) -> dict[str, dict[str, dict[int, tuple[Estimate, Estimate]]]]:
    """Pass@1 (percent) and tokens over the steps, mean of the seeds: Acc-Only, and both stages."""
    curves = {}
    for title, stages in {TITLES["acc_only"]: ["acc_only"], "LAPO-D, then LAPO-I": ["lapo_d", "lapo_i"]}.items():
        points: dict[int, list[tuple[float, float]]] = {}
        for seed in sorted({seed for seed, _ in cells}):
            done = 0
            for cell in (cells[seed, name] for name in stages if (seed, name) in cells):
                for step, means in cell.validation.items():
                    points.setdefault(done + step, []).append(means)
                done += max(cell.validation, default=0)
        if points:
            means = {step: np.mean(points[step], axis=0) for step in sorted(points)}
            curves[title] = {
                "validation": {
                    step: (Estimate(float(accuracy), None, None), Estimate(float(tokens), None, None))
                    for step, (accuracy, tokens) in means.items()
                }
            }
    return curves


def markdown(tables: Mapping[str, Mapping[str, Any]], settings: Mapping[str, Any], pictures: Mapping[str, str]) -> str:
    """``results.md``: every table with intervals and seeds, and the goals beside what came out."""
    lines = [
        "# What the laboratory measured",
        "",
        "Written by `recipes/mini_paper/paper.py` from the files beside it. Test problems, no guidance, T 0.6, top-p "
        "0.95, four samples a problem. Pass@1 in percent; in brackets the 95 % interval over problems; then one value "
        "a seed. Means are over the levels that were trained on.",
        "",
        'Command: `make paper`, or `make paper ARGS="--tables table1 --seeds 1"` for a part. Trainings and evaluations '
        f"of what is here took {settings['seconds'] / 3600:.1f} h on two cores. What differs from the paper, and what "
        "did not come out as there: [README.md](../README.md).",
        "",
        "Settings of every training: "
        + ", ".join(f"{key} {value}" for key, value in settings.items() if key != "seconds")
        + ".",
    ]
    for name, table in tables.items():
        lines += ["", f"## {HEADINGS[name]}", "", *table_lines(table)]
        if name == "table1":
            lines += ["", *goal_lines(table), "", *(f"![{shown}]({file})" for file, shown in pictures.items())]
    return "\n".join(lines) + "\n"


def table_lines(table: Mapping[str, Any]) -> list[str]:
    """A Markdown table: overall, then Pass@1 / tokens by level."""
    levels = sorted({level for row in table.values() for level in row["by_level"]}, key=level_order)
    header = ["", "Pass@1", "seeds", "tokens", "seeds", "change", *(f"level {level}" for level in levels)]
    lines = ["| " + " | ".join(header) + " |", "| " + " | ".join(["---"] * len(header)) + " |"]
    for name, row in table.items():
        training, _, condition = name.partition(" ")
        title = f"{TITLES[training]}{', ' + condition if condition else ''}"
        cells = [title]
        for value in (row["pass@1"], row["tokens"]):
            low, high = value["interval"]
            interval = "" if low is None else f" [{low:.1f}, {high:.1f}]"
            cells.append(f"{value['mean']:.1f}{interval}")
            cells.append(" ".join(f"{seed:.1f}" for seed in value["seeds"]))
        tokens = row["change"] and row["change"]["tokens_percent"]
        cells.append(f"{tokens['value']:+.1f} %" if tokens else "")
        parts = row["by_level"]
        cells += [
            f"{parts[level]['pass@1']:.0f} / {parts[level]['tokens']:.0f}" if level in parts else "" for level in levels
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def goal_lines(table: Mapping[str, Any]) -> list[str]:
    """The goals of Table 1 beside what came out, where all of its rows are there."""
    if not {BASE, "acc_only", "lapo_i"} <= set(table):
        return []
    base, accuracy, lapo = (table[name] for name in (BASE, "acc_only", "lapo_i"))
    fewer = 100 * (1 - lapo["tokens"]["mean"] / base["tokens"]["mean"])
    points = lapo["pass@1"]["mean"] - base["pass@1"]["mean"]
    against = 100 * (1 - lapo["tokens"]["mean"] / accuracy["tokens"]["mean"])
    ahead = lapo["pass@1"]["mean"] - accuracy["pass@1"]["mean"]
    correlation = level_correlation(lapo["by_level"])
    seeds = len(lapo["seeds"])
    goals = {
        "LAPO-I against base: at least 40.9 % fewer tokens": (f"{fewer:.1f} %", fewer >= 40.9),
        "LAPO-I against base: at least 2.3 points more Pass@1": (f"{points:+.1f}", points >= 2.3),
        "LAPO-I against Acc-Only: fewer tokens": (f"{against:.1f} %", against > 0),
        "LAPO-I against Acc-Only: equal or better Pass@1": (f"{ahead:+.1f} points", ahead >= 0),
        "LAPO-I's tokens rise with the level: Spearman at least 0.9": (f"{correlation:.2f}", correlation >= 0.9),
    }
    return [
        f"| goal | measured ({seeds} seed{'s' if seeds > 1 else ''}) | reached |",
        "| --- | --- | --- |",
        *(f"| {goal} | {measured} | {'yes' if reached else 'no'} |" for goal, (measured, reached) in goals.items()),
    ]
