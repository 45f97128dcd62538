"""The laboratory's result files, pictures and ``results.md``, from the cells that are kept."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
from rich.console import Console

from lapo_verl.files import write_whole
from lapo_verl.report.bootstrap import Estimate
from lapo_verl.report.pictures import draw_keywords, draw_lengths, draw_levels, draw_training, draw_validation
from lapo_verl.runs.summary import summarize, summarize_keywords
from mini_paper.budgets import budgets_json, draw_budgets, followed_by
from mini_paper.cells import Cell, is_kept, read_cell, trained
from mini_paper.grid import BUDGET_TABLE, TABLES, Hyperparameters
from mini_paper.peers_picture import draw_peers
from mini_paper.results_text import results_text
from mini_paper.tables import Row, pooled, rows_of, table_json, title_of

RESULTS = Path(__file__).resolve().parent / "results"


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
    for name in (name for name in TABLES if name != BUDGET_TABLE):
        rows = rows_of(name, cells)
        # A table whose rows are all in other tables compares nothing yet.
        if set(rows) - {row for table in tables.values() for row in table}:
            tables[name] = rows
    whole = {name: table_json(name, rows) for name, rows in tables.items()}
    budgets = followed_by(cells)
    files = {**whole, **({BUDGET_TABLE: budgets_json(budgets)} if budgets else {})}
    for name, table in files.items():
        write_whole(results / f"{name}.json", json.dumps({**table, "settings": settings}, indent=2) + "\n")
    pictures = draw(tables["table1"], cells, results) if "table1" in tables else {}
    if "table5" in tables:
        draw_peers(tables["table5"], results / "table5.png")
    if budgets:
        draw_budgets(budgets, results / "table6.png")
    seconds = {place: cell.seconds for place, cell in cells.items()}
    write_whole(results / "results.md", results_text(tables, whole, budgets, asdict(hyper), seconds, pictures))
    console.print(f"{results}: {', '.join(f'{name}.json' for name in files)}, results.md and pictures")


def draw(table: Mapping[str, Row], cells: Mapping[tuple[str, str], Cell], results: Path) -> dict[str, str]:
    """Fig. 3, Fig. 4, Fig. 5 and the lengths of Table 1's rows: {file: what it shows}."""
    rows = {title_of(name): pooled(row) for name, row in table.items()}
    draw_levels({name: summarize(samples) for name, samples in rows.items()}, results / "levels.png")
    draw_lengths({name: trained(samples) for name, samples in rows.items()}, results / "lengths.png")
    keywords = {name: counts for name, samples in rows.items() if (counts := summarize_keywords(trained(samples)))}
    draw_keywords(keywords, results / "keywords.png", "Keywords by behaviour")
    pictures = {"levels.png": "Tokens by level", "lengths.png": "Lengths", "keywords.png": "Keywords"}
    stages = {name: [cell for (_, each), cell in cells.items() if each == name] for name in ("lapo_d", "lapo_i")}
    if all(stages.values()):
        draw_training({title_of(name): each[0].training for name, each in stages.items()}, results / "training.png")
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
    for title, stages in {title_of("acc_only"): ["acc_only"], "LAPO-D, then LAPO-I": ["lapo_d", "lapo_i"]}.items():
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
