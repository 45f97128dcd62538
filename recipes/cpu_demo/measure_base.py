"""Measures the base model on the held-out problems, by plain torch: accuracy, lengths, guidance followed.

    PYTHONPATH=.. python measure_base.py --model outputs/demo/base_model --data outputs/demo/heldout.parquet

What the demo needs of its base: right often but not always, lengths of one problem that differ widely,
hardly any response truncated, and lengths that follow a budget where one is shown.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from rich.console import Console
from rich.table import Table
from task import boxed_answer
from toy.llama import Rollout, by_level, sample
from transformers import AutoTokenizer, LlamaForCausalLM
from warmup import RESPONSE_LIMIT


def load_problems(path: Path) -> list[dict[str, Any]]:
    """The rows of one of the demo's data files."""
    return list(pq.read_table(path).to_pylist())


def is_correct(response: str, truth: str) -> bool:
    """Whether the box holds the ground truth."""
    return boxed_answer(response) == truth


def table_of(title: str, rollouts: Sequence[Rollout]) -> Table:
    """Accuracy and lengths by level; with budgets, also how well the lengths follow them.

    ``sd`` is the mean standard deviation of the lengths of one problem, ``cut`` the share of truncated responses.
    """
    guided = rollouts[0].budget is not None
    table = Table(title=title)
    columns = ["level", "Pass@1 %", "tokens", "p10", "median", "p90", "sd", "cut %"]
    for name in columns + (["budget", "|error|", "corr."] if guided else []):
        table.add_column(name, justify="right")
    for level, group in by_level(rollouts).items():
        lengths = np.array([r.tokens for r in group], dtype=float)
        low, median, high = np.percentile(lengths, [10, 50, 90])
        problems = [[r.tokens for r in group if r.problem_id == name] for name in {r.problem_id for r in group}]
        cells = [
            100 * np.mean([r.correct for r in group]),
            lengths.mean(),
            low,
            median,
            high,
            np.mean([np.std(problem) for problem in problems]),
            100 * np.mean([r.truncated for r in group]),
        ]
        if guided:
            budgets = np.array([r.budget for r in group], dtype=float)
            cells += [budgets.mean(), np.abs(lengths - budgets).mean()]
        texts = [f"{cell:.1f}" for cell in cells]
        if guided:
            texts.append(f"{np.corrcoef(budgets, lengths)[0, 1]:.2f}")
        table.add_row(level, *texts)
    return table


def draw_budgets(rows: Sequence[dict[str, Any]], rollouts: Sequence[Rollout], seed: int = 0) -> list[float]:
    """A budget for each row: the length of a rollout of its level, drawn at random."""
    rng = np.random.default_rng(seed)
    lengths = {level: [r.tokens for r in group] for level, group in by_level(rollouts).items() if level != "all"}
    return [float(rng.choice(lengths[str(row["extra_info"]["level"])])) for row in rows]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("outputs/demo/base_model"))
    parser.add_argument("--data", type=Path, default=Path("outputs/demo/heldout.parquet"))
    parser.add_argument("--n", type=int, default=4, help="responses a problem")
    parser.add_argument("--limit", type=int, default=RESPONSE_LIMIT, help="response limit in tokens")
    parser.add_argument("--threads", type=int, help="CPU threads of torch; all cores where not given")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)

    console = Console()
    tokenizer = AutoTokenizer.from_pretrained(arguments.model)
    model = LlamaForCausalLM.from_pretrained(arguments.model).eval()
    rows = load_problems(arguments.data)
    options = {"n": arguments.n, "limit": arguments.limit}

    console.print(
        table_of("T = 1.0", sample(model, tokenizer, rows, is_correct, temperature=1.0, top_p=1.0, **options))
    )
    unguided = sample(model, tokenizer, rows, is_correct, **options)
    console.print(table_of("T = 0.6, top-p 0.95", unguided))
    budgets = draw_budgets(rows, unguided)
    guided = sample(model, tokenizer, rows, is_correct, budgets=budgets, **options)
    console.print(table_of("T = 0.6, top-p 0.95, guidance with a length of the same level", guided))


if __name__ == "__main__":
    main()
