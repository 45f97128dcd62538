"""Measures the toy's base model by plain torch, and prints whether the task has the properties (a) to (e).

    PYTHONPATH=recipes python -m toy.measure --model outputs/toy/base_model --data outputs/toy

Validation and training problems only; the test split is not opened. Prints Markdown tables, as ``base.md`` has them.

(a) a further check helps on hard problems and is waste on easy ones;
(b) hardly any response is truncated, and a shorter response is not likelier to be right;
(c) no policy can be right on more than a bounded share of the problems, and the shortest response is not the best;
(d) the lengths of a problem's correct responses are skewed to the right;
(e) a few problems of the training split have no correct response among the first eight.
"""

from __future__ import annotations

import argparse
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from rich.progress import track
from transformers import AutoTokenizer, LlamaForCausalLM

from lapo_verl import markdown
from toy.llama import Rollout, by_level, sample
from toy.task import (
    LETTERS,
    PASS_OPENER,
    RESPONSE_LIMIT,
    SHORTEST,
    answer_of,
    best_accuracy,
    boxed_answer,
    fork_letters,
    needed_tokens,
    read_trace,
)

BUDGETS = (35, 50, 65, 80, 110, 160)
KEYWORDS = {
    "verification": ("wait", "check"),
    "exploration": ("alternatively",),
    "context": ("given",),
    "conclusion": ("so",),
}


def is_correct(response: str, truth: str) -> bool:
    """Whether the box holds the ground truth."""
    return boxed_answer(response) == truth


def load_rows(path: Path, levels: Sequence[int] | None = None, per_level: int | None = None) -> list[dict[str, Any]]:
    """The rows of a data file; only some levels, and only so many of each, where given."""
    taken: dict[int, int] = defaultdict(int)
    rows = []
    for row in pq.read_table(path).to_pylist():
        level = row["extra_info"]["level"]
        if levels is None or level in levels:
            taken[level] += 1
            if per_level is None or taken[level] <= per_level:
                rows.append(row)
    return rows


def groups(rollouts: Sequence[Rollout]) -> list[list[Rollout]]:
    """The rollouts of each problem."""
    found: dict[str, list[Rollout]] = defaultdict(list)
    for rollout in rollouts:
        found[rollout.problem_id].append(rollout)
    return list(found.values())


def skewness(values: Sequence[float]) -> float:
    """The third standardized moment; nan where all values are one."""
    data = np.asarray(values, dtype=float)
    spread = data.std()
    return float(((data - data.mean()) ** 3).mean() / spread**3) if spread > 0 else float("nan")


def length_correlation(group: Sequence[Rollout]) -> float:
    """Between length and correctness of one problem's responses; nan where all are right or all are wrong."""
    correct = np.array([r.correct for r in group], dtype=float)
    lengths = np.array([r.tokens for r in group], dtype=float)
    if correct.std() == 0 or lengths.std() == 0:
        return float("nan")
    return float(np.corrcoef(correct, lengths)[0, 1])


def table(title: str, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A Markdown table; floats with one decimal."""

    def cell(value: Any) -> str:
        return f"{value:.1f}" if isinstance(value, float) else str(value)

    return f"### {title}\n\n{markdown.table(header, [[cell(value) for value in row] for row in rows])}\n"


def level_rows(rollouts: Sequence[Rollout]) -> list[list[Any]]:
    """Pass@1, the best that can be had, lengths, truncation, skewness and the correlation of length and correctness."""
    rows = []
    for level, chosen in by_level(rollouts).items():
        lengths = np.array([r.tokens for r in chosen], dtype=float)
        problems = groups(chosen)
        skews = [skewness([r.tokens for r in g if r.correct]) for g in problems if sum(r.correct for r in g) >= 8]
        correlations = [length_correlation(g) for g in problems]
        found = [value for value in correlations if not np.isnan(value)]
        rows.append(
            [
                level,
                100 * float(np.mean([r.correct for r in chosen])),
                100 * float(np.mean([best_accuracy(g[0].problem_id) for g in problems])),
                float(lengths.mean()),
                *(int(value) for value in np.percentile(lengths, [10, 50, 90, 99])),
                100 * float(np.mean([r.truncated for r in chosen])),
                f"{np.nanmean(skews):.2f}" if skews else "-",
                f"{np.mean(found):+.2f}" if len(found) >= 5 else "-",
            ]
        )
    return rows


def check_rows(rollouts: Sequence[Rollout], truths: dict[str, str]) -> list[list[Any]]:
    """Per level what checks do.

    Columns: checks a response, those that go to a fork for the first time; the share of the responses that their first
    digits make right, that end right, that checks made right, that checks made wrong; whose box is not the sum of
    their digits; that are no trace of the kind that traces have.
    """
    rows = []
    for level, chosen in by_level(rollouts).items():
        read = [(r, read_trace(r.text), fork_letters(r.problem_id)) for r in chosen]
        found = [(r, steps, forks) for r, steps, forks in read if steps]
        checks = [sum(step.checks for step in steps) for _, steps, _ in found]
        needed = [
            sum(step.checks > 0 for letter, step in zip(LETTERS, steps, strict=True) if letter in forks)
            for _, steps, forks in found
        ]
        first = np.array([answer_of([step.first for step in steps]) == truths[r.problem_id] for r, steps, _ in found])
        last = np.array([answer_of([step.last for step in steps]) == truths[r.problem_id] for r, steps, _ in found])
        box = [boxed_answer(r.text) != answer_of([step.last for step in steps]) for r, steps, _ in found]
        parts = (first, last, ~first & last, first & ~last, box)
        rows.append(
            [
                level,
                f"{np.mean(checks):.2f}",
                f"{np.mean(needed):.2f}",
                *(100 * float(np.mean(part)) for part in parts),
                100 * (1 - len(found) / len(chosen)),
            ]
        )
    return rows


def coverage_rows(rollouts: Sequence[Rollout]) -> list[list[Any]]:
    """Per level the share of right responses by the forks that were checked, and by the passes that followed."""
    rows = []
    for level, chosen in by_level(rollouts).items():
        bins: dict[str, list[bool]] = defaultdict(list)
        for r in chosen:
            steps = dict(zip(LETTERS, read_trace(r.text), strict=False))
            forks = fork_letters(r.problem_id)
            if not steps:
                continue
            checked = sum(steps[letter].checks > 0 for letter in forks)
            bins["all" if checked == len(forks) else "none" if checked == 0 else "some"].append(r.correct)
            if checked == len(forks):
                passes = r.text.count(PASS_OPENER)
                bins["no pass" if passes == 0 else "1-3" if passes < 4 else "4+"].append(r.correct)
        names = ("none", "some", "all", "no pass", "1-3", "4+")
        cells = [f"{100 * np.mean(bins[name]):.0f} ({len(bins[name])})" if bins[name] else "-" for name in names]
        rows.append([level, *cells])
    return rows


def budget_rows(by_budget: dict[str, list[Rollout]]) -> list[list[Any]]:
    """Accuracy / tokens per level under each budget."""

    def cell(chosen: Sequence[Rollout]) -> str:
        return f"{100 * np.mean([r.correct for r in chosen]):.0f} / {np.mean([r.tokens for r in chosen]):.0f}"

    cells = {budget: by_level(rollouts) for budget, rollouts in by_budget.items()}
    levels = list(next(iter(cells.values())))
    return [[level, *(cell(of_level[level]) for of_level in cells.values())] for level in levels]


def keyword_rows(rollouts: Sequence[Rollout]) -> list[list[Any]]:
    """Mean count a response of each group of words."""
    rows = []
    for level, chosen in by_level(rollouts).items():
        words = [re.findall("[a-z]+", r.text) for r in chosen]
        rows.append(
            [level, *(f"{np.mean([sum(w in group for w in ws) for ws in words]):.2f}" for group in KEYWORDS.values())]
        )
    return rows


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("outputs/toy/base_model"))
    parser.add_argument("--data", type=Path, default=Path("outputs/toy"), help="folder of the splits")
    parser.add_argument("--per-level", type=int, default=40, help="validation problems of each level")
    parser.add_argument("--train-per-level", type=int, default=128, help="training problems of each level, for (e)")
    parser.add_argument("--n", type=int, default=8, help="responses to a validation problem at T = 1.0")
    parser.add_argument("--budget-n", type=int, default=2, help="responses to a validation problem under each budget")
    parser.add_argument("--threads", type=int, help="CPU threads of torch; all cores where not given")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)

    tokenizer = AutoTokenizer.from_pretrained(arguments.model)
    model = LlamaForCausalLM.from_pretrained(arguments.model).eval()
    validation = load_rows(arguments.data / "validation.parquet", per_level=arguments.per_level)
    training = load_rows(arguments.data / "train.parquet", per_level=arguments.train_per_level)
    truths = {row["extra_info"]["problem_id"]: row["reward_model"]["ground_truth"] for row in validation + training}

    def draw(
        rows: Sequence[dict[str, Any]],
        n: int,
        temperature: float,
        top_p: float,
        budget: int | None = None,
    ) -> list[Rollout]:
        return sample(
            model,
            tokenizer,
            rows,
            is_correct,
            RESPONSE_LIMIT,
            n,
            None if budget is None else [float(budget)] * len(rows),
            temperature,
            top_p,
            rows_per_batch=16,
        )

    hot = draw(validation, arguments.n, 1.0, 1.0)
    cool = draw(validation, 8, 0.6, 0.95)
    header = ["level", "Pass@1 %", "best %", "tokens", "p10", "p50", "p90", "p99", "cut %", "skew", "corr"]
    print(table("Validation, T = 1.0", header, level_rows(hot)))
    print(table("Validation, T = 0.6, top-p 0.95", header, level_rows(cool)))
    columns = ["level", "checks", "of a fork, first", "first digits right %", "right %", "repaired %", "spoilt %"]
    print(
        table("(a) What checks do, T = 1.0", [*columns, "box is not the sum %", "no trace %"], check_rows(hot, truths))
    )
    columns = ["level", "no fork", "some", "all", "all, no pass", "all, 1 to 3 passes", "all, 4 or more"]
    print(table("(a) Right % (responses) by the forks that were checked, T = 1.0", columns, coverage_rows(hot)))

    first_rollouts = draw(training, 8, 1.0, 1.0)
    rows = []
    for level, chosen in by_level(first_rollouts).items():
        problems = groups(chosen)
        rows.append(
            [
                level,
                len(problems),
                100 * float(np.mean([r.correct for r in chosen])),
                float(np.mean([r.tokens for r in chosen])),
                100 * float(np.mean([not any(r.correct for r in g) for g in problems])),
            ]
        )
    columns = ["level", "problems", "Pass@1 %", "tokens", "unsolved %"]
    print(table("(e) Training problems, the first eight responses, T = 1.0", columns, rows))

    levels = sorted({row["extra_info"]["level"] for row in validation})
    needed = [[level, SHORTEST, needed_tokens(level)] for level in levels]
    print(table("(c) Tokens of the shortest responses", ["level", "no check", "every fork checked once"], needed))

    by_budget = {
        str(budget): draw(validation, arguments.budget_n, 0.6, 0.95, budget=budget)
        for budget in track(BUDGETS, "budgets", transient=True)
    }
    print(table("Accuracy / tokens under a budget in the prompt", ["level", *by_budget], budget_rows(by_budget)))
    columns = ["level", *KEYWORDS]
    print(table("Keywords a response, T = 0.6", columns, keyword_rows(cool)))


if __name__ == "__main__":
    main()
