"""The text of ``results.md``: every table, the goals beside what came out, and what did not come out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lapo_verl import markdown
from lapo_verl.runs.summary import level_order
from mini_paper.budgets import Budgets, budgets_table
from mini_paper.grid import BASE, BUDGET_TABLE, LENGTH_SCALE, SEEDS, TABLES, needed
from mini_paper.tables import Row, compare, level_correlation, title_of

# The text above each table.
HEADINGS = {
    "table1": "Table 1: base, accuracy alone, and the two stages",
    "table2": "Table 2: form and place of the guidance",
    "table3": "Table 3: the statistic behind the budget",
    "table4": "Table 4: an instruction that contradicts",
    "presets": "The paper's text against its published code",
    "unsolved": "A problem that its last visit did not solve: unsolved again, or its old budget",
    "share": "The sentence in every visit, or in half of them",
    "table5": "Table 5: the peers",
    "table6": "Table 6: budgets asked for against tokens used",
}
DIFFERENCES = (
    "A toy task and a Llama of under a million parameters, warmed up on traces that already know the guidance "
    "sentence; how verbose it is was chosen after pilots of the method (`recipes/toy/base.md`).",
    "A trace begins with a word for its style, which gives a training an easy handle on length.",
    "8 steps a stage, four visits of each of 64 problems (the paper: about 240 steps, three visits of 10,000); one "
    "learning rate of 2e-4 for all rows (1e-6); no KL term (1e-4).",
    "`decay` and `sigma` are scaled to the task's lengths (10 tokens, what one check takes; 100 and 120).",
    "Table 4's instruction is worded here: the paper gives its lengths and no wording. It asks for 40 and 250 tokens "
    "(500 and 3,500).",
    "One sample of each test problem and seed (four, and 32 on AIME and AMC).",
    "Table 5 is not in the paper. Each peer has its published settings. The length that it aims at is "
    f"{LENGTH_SCALE} tokens, half of the base's mean on the validation split, and was tried once. The test prompts "
    "name no budget: L1 and ThinkPrune miss the sentence of their training.",
    "The keyword groups are those of `lapo report`; this task has words for three of the paper's four behaviours.",
)


@dataclass(frozen=True)
class Goal:
    """What was to be shown, and what came out."""

    text: str
    measured: str
    reached: bool


def results_text(
    rows: Mapping[str, Mapping[str, Row]],
    tables: Mapping[str, Mapping[str, Any]],
    budgets: Budgets,
    settings: Mapping[str, Any],
    seconds: Mapping[tuple[str, str], float],
    pictures: Mapping[str, str],
) -> str:
    """``results.md``.

    Args:
        rows: {table: {row: samples}}.
        tables: {table: what ``table_json`` made of its rows}.
        budgets: Table 6, as ``followed_by`` has it.
        settings: of every training.
        seconds: {("seed1", training): what its cell took}.
        pictures: {file: what it shows}.
    """
    goals = goals_of(rows.get("table1", {}), tables.get("table1", {}), seconds)
    lines = [
        "# What the laboratory measured",
        "",
        "Written by `make paper` from the files beside it. Test problems, no guidance, T 0.6, top-p "
        "0.95. Pass@1 in percent; in brackets 95 % intervals over problems; then one value a "
        "seed. Means are over the levels that were trained on (1 to 5). Changes are paired: the same problems and "
        "seeds.",
        "",
        'Command: `make paper`, or `make paper ARGS="--tables table1 --seeds 1"` for a part. Trainings and evaluations '
        f"of what is here took {sum(seconds.values()) / 3600:.1f} h on two cores, one after the other or two at a time "
        "([README](../README.md)).",
        "",
        "Settings of every training: " + ", ".join(f"{key} {value}" for key, value in settings.items()) + ".",
    ]
    for name, table in tables.items():
        lines += ["", f"## {HEADINGS[name]}", "", results_table(table)]
        if name == "table1":
            lines += ["", *goal_lines(goals), "", *(f"![{shown}]({file})" for file, shown in pictures.items())]
        if name == "table5":
            lines += ["", "![Pass@1 against tokens](table5.png)"]
    if budgets:
        lines += ["", f"## {HEADINGS[BUDGET_TABLE]}", "", budgets_table(budgets), "", "![Budgets](table6.png)"]
    lines += ["", "## What did not come out", "", *shortcomings(goals, tables)]
    if rest := missing_cells(seconds):
        lines.append(f"- Not made yet: {'; '.join(rest)}.")
    lines += ["", "## What differs from the paper", "", *(f"- {difference}" for difference in DIFFERENCES)]
    return "\n".join(lines) + "\n"


def results_table(table: Mapping[str, Any]) -> str:
    """A Markdown table: overall, then Pass@1 / tokens by level."""
    levels = sorted({level for row in table.values() for level in row["by_level"]}, key=level_order)
    changes = max((len(row["changes"]) for row in table.values()), default=0)
    header = ["", "Pass@1", "seeds", "tokens", "seeds", *changes * ["against", "tokens, %", "Pass@1, points"]]
    header += [f"level {level}" for level in levels]
    rows = []
    for name, row in table.items():
        cells = [title_of(name)]
        for value in (row["pass@1"], row["tokens"]):
            cells.append(f"{value['mean']:.1f}{interval(*value['interval'])}")
            cells.append(" ".join(f"{seed:.1f}" for seed in value["seeds"]))
        cells += [cell for against, change in row["changes"].items() for cell in change_cells(against, change)]
        cells += [""] * 3 * (changes - len(row["changes"]))
        parts = row["by_level"]
        cells += [
            f"{parts[level]['pass@1']:.0f} / {parts[level]['tokens']:.0f}" if level in parts else "" for level in levels
        ]
        rows.append(cells)
    return markdown.table(header, rows)


def change_cells(against: str, change: Mapping[str, Any]) -> list[str]:
    """Against which row, and by how much in tokens and in Pass@1."""
    return [title_of(against), *(signed(change[key]) for key in ("tokens_percent", "pass@1_points"))]


def signed(estimate: Mapping[str, Any] | None, unit: str = "") -> str:
    """A change with its interval."""
    if estimate is None:
        return ""
    return f"{estimate['value']:+.1f}{unit}{interval(estimate['low'], estimate['high'], '+')}"


def interval(low: float | None, high: float | None, sign: str = "") -> str:
    """`` [low, high]``; nothing where there is none."""
    return "" if low is None or high is None else f" [{low:{sign}.1f}, {high:{sign}.1f}]"


def goals_of(rows: Mapping[str, Row], table: Mapping[str, Any], seconds: Mapping[tuple[str, str], float]) -> list[Goal]:
    """The goals of Table 1 and of the time, where all of its rows are there."""
    if not {BASE, "acc_only", "lapo_i"} <= set(rows):
        return []
    against_base = table["lapo_i"]["changes"].get(BASE)
    against_accuracy = compare(rows["acc_only"], rows["lapo_i"])
    if against_base is None or against_accuracy is None:
        return []
    fewer, gained = against_base["tokens_percent"], against_base["pass@1_points"]
    shorter, ahead = (against_accuracy.to_json()[key] for key in ("tokens_percent", "pass@1_points"))
    if fewer is None or shorter is None:
        return []
    correlation = level_correlation(table["lapo_i"]["by_level"])
    names = (BASE, *(training.name for training in needed("table1")))
    whole = [seed for seed in SEEDS if all((f"seed{seed}", name) in seconds for name in names)]
    slowest = max((sum(seconds[f"seed{seed}", name] for name in names) / 3600 for seed in whole), default=None)
    goals = [
        Goal("LAPO-I against base: at least 40.9 % fewer tokens", signed(fewer, " %"), fewer["value"] <= -40.9),
        Goal("LAPO-I against base: at least 2.3 points more Pass@1", signed(gained, " points"), gained["value"] >= 2.3),
        Goal("LAPO-I against Acc-Only: fewer tokens", signed(shorter, " %"), shorter["value"] < 0),
        Goal("LAPO-I against Acc-Only: equal or better Pass@1", signed(ahead, " points"), ahead["value"] >= 0),
        Goal("LAPO-I's tokens rise with the level: Spearman at least 0.9", f"{correlation:.2f}", correlation >= 0.9),
    ]
    if slowest is not None:
        goals.append(
            Goal("One seed of Table 1 in at most 2 h", f"{slowest:.1f} h, the slowest of {len(whole)}", slowest <= 2)
        )
    if not missing_cells(seconds):
        hours = sum(seconds.values()) / 3600
        goals.append(Goal("The whole grid in at most 10 h", f"{hours:.1f} h", hours <= 10))
    return goals


def goal_lines(goals: Sequence[Goal]) -> list[str]:
    """The goals beside what came out."""
    if not goals:
        return []
    rows = [(goal.text, goal.measured, "yes" if goal.reached else "no") for goal in goals]
    table = markdown.table(("goal", "measured", "reached"), rows)
    return [table, "", "Every goal was reached."] if all(goal.reached for goal in goals) else [table]


def shortcomings(goals: Sequence[Goal], tables: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Goals that were missed, and trainings that do better than LAPO-I."""
    lines = [f"- Missed: {goal.text}: {goal.measured}." for goal in goals if not goal.reached]
    # Tables 1, 4 and 6 have no further trainings.
    for name in ("table2", "table3", "presets", "unsolved", "share", "table5"):
        table = tables.get(name, {})
        for row, values in table.items():
            change = values["changes"].get("lapo_i")
            if change and beats(values, change, table["lapo_i"]):
                lines.append(
                    f"- {HEADINGS[name]}: {title_of(row)} does better than LAPO-I, with every seed: tokens "
                    f"{signed(change['tokens_percent'])} %, Pass@1 {signed(change['pass@1_points'])} points."
                )
    return lines or ["- Nothing that is measured here."]


def beats(row: Mapping[str, Any], change: Mapping[str, Any], against: Mapping[str, Any]) -> bool:
    """Fewer tokens at no less Pass@1, as far as the 95 % intervals tell, and fewer with each of two seeds or more.

    The intervals are over problems: what one seed has and another one not does not show in them.
    """
    tokens, points = change["tokens_percent"], change["pass@1_points"]
    if tokens is None or tokens["high"] is None or points["high"] is None:
        return False
    theirs = dict(zip(against["seeds"], against["tokens"]["seeds"], strict=True))
    ours = dict(zip(row["seeds"], row["tokens"]["seeds"], strict=True))
    common = [seed for seed in ours if seed in theirs]
    fewer = len(common) > 1 and all(ours[seed] < theirs[seed] for seed in common)
    return bool(fewer and tokens["high"] < 0 and points["high"] >= 0)


def missing_cells(kept: Mapping[tuple[str, str], float]) -> list[str]:
    """What the grid has and is not made yet: ``range (seed 1)``."""
    names = dict.fromkeys(name for table in TABLES.values() for name in table)
    return [
        f"{title_of(name)} (seed {', '.join(str(seed) for seed in seeds)})"
        for name in names
        if (seeds := [seed for seed in SEEDS if (f"seed{seed}", name) not in kept])
    ]
