"""Table 6: tokens that the prompt asks for against tokens used."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lapo_verl import markdown
from lapo_verl.report.following import CELLS, Followed, followed
from lapo_verl.report.pictures import draw_following
from mini_paper.cells import Cell, trained
from mini_paper.grid import BUDGET_TABLE, SEEDS, TABLES
from mini_paper.tables import title_of

# {training: one entry a budget, the model's own planning last}: all seeds together, and {seed: mean tokens}.
Budgets = dict[str, list[tuple[Followed, dict[int, float]]]]


def followed_by(cells: Mapping[tuple[str, str], Cell]) -> Budgets:
    """How each model followed its budgets, on the levels that were trained on."""
    table: Budgets = {}
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


def budgets_json(table: Budgets) -> dict[str, Any]:
    """{training: one entry a budget}, as ``Followed`` has it, with ``seeds``: {seed: mean tokens}."""
    return {name: [{**each.to_json(), "seeds": seeds} for each, seeds in rows] for name, rows in table.items()}


def budgets_table(table: Budgets) -> str:
    """In Markdown: one line a training and budget."""
    return markdown.table(
        ["", *CELLS, "tokens by seed"],
        [
            [title_of(name), *each.cells(), " ".join(f"{tokens:.1f}" for tokens in seeds.values())]
            for name, rows in table.items()
            for each, seeds in rows
        ],
    )


def draw_budgets(table: Budgets, path: Path) -> None:
    """Tokens used against tokens asked for, and accuracy against tokens used."""
    draw_following(
        {title_of(name): [each for each, _ in rows] for name, rows in table.items()}, path, "Budgets asked for"
    )
