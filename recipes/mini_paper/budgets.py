"""Table 6: tokens that the prompt asks for against tokens used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lapo_verl.report.following import CELLS, Followed, followed
from lapo_verl.report.pictures import draw_following
from mini_paper.cells import Cell, trained
from mini_paper.grid import BUDGET_TABLE, SEEDS, TABLES
from mini_paper.tables import title_of


def followed_by(cells: Mapping[tuple[str, str], Cell]) -> dict[str, list[tuple[Followed, dict[int, float]]]]:
    """{training: one entry a budget, the model's own planning last}: all seeds together, and {seed: mean tokens}.

    The samples are those of the levels that were trained on.
    """
    table: dict[str, list[tuple[Followed, dict[int, float]]]] = {}
    for name in TABLES[BUDGET_TABLE]:
        kept = {seed: cells[key].samples for seed in SEEDS if (key := (f"seed{seed}", name)) in cells}
        plain = {seed: trained([s for s in samples if s.checkpoint is None]) for seed, samples in kept.items()}
        budgets = {sample.budget for samples in plain.values() for sample in samples}
        if budgets <= {None}:
            continue
        for asked in sorted(budgets, key=lambda budget: (budget is None, budget)):
            parts = {seed: [s for s in samples if s.budget == asked] for seed, samples in plain.items()}
            together = followed([sample for part in parts.values() for sample in part], asked)
            seeds = {seed: followed(part, asked).tokens for seed, part in parts.items() if part}
            table.setdefault(name, []).append((together, seeds))
    return table


def budgets_json(table: Mapping[str, Sequence[tuple[Followed, Mapping[int, float]]]]) -> dict[str, Any]:
    """{training: one entry a budget}, as ``Followed`` has it, with ``seeds``: {seed: mean tokens}."""
    return {name: [{**each.to_json(), "seeds": seeds} for each, seeds in rows] for name, rows in table.items()}


def budget_lines(table: Mapping[str, Sequence[tuple[Followed, Mapping[int, float]]]]) -> list[str]:
    """A Markdown table: one line a training and budget."""
    header = ["", *CELLS, "tokens by seed"]
    lines = ["| " + " | ".join(header) + " |", "| " + " | ".join(["---"] * len(header)) + " |"]
    for name, rows in table.items():
        for each, seeds in rows:
            cells = [title_of(name), *each.cells(), " ".join(f"{tokens:.1f}" for tokens in seeds.values())]
            lines.append("| " + " | ".join(cells) + " |")
    return lines


def draw_budgets(table: Mapping[str, Sequence[tuple[Followed, Mapping[int, float]]]], path: Path) -> None:
    """Tokens used against tokens asked for, and accuracy against tokens used."""
    draw_following(
        {title_of(name): [each for each, _ in rows] for name, rows in table.items()}, path, "Budgets asked for"
    )
