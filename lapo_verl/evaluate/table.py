"""The table of an evaluation (Tables 1 and 4)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from rich.table import Table

from lapo_verl.evaluate.evaluation import Result
from lapo_verl.runs.summary import mean_of_all, right_and_wrong

MEASURES = ("pass@1", "tokens", "tokens_right", "tokens_wrong", "truncated")


def results_table(results: Sequence[Result]) -> Table:
    """A row a benchmark, condition and checkpoint; with several, tokens are compared with the first checkpoint's."""
    cuts = list(results[0].summary.get("cut", {}))
    rows = [*results, *averages(results)]
    compares = len({row.checkpoint for row in rows}) > 1
    caption = ["tokens: mean of the responses, and of right and of wrong ones"]
    caption += ["change: of the tokens"] if compares else []
    caption += ["cut: Pass@1 where a longer response counts as wrong"] if cuts else []
    table = Table(title="Evaluation", caption="; ".join(caption))
    # Names may take several lines, and a condition may not: its number says which one it is.
    table.add_column("benchmark", overflow="fold")
    table.add_column("condition", no_wrap=True)
    table.add_column("checkpoint", overflow="fold")
    numbers = ["problems", "n", "Pass@1", "tokens", "right / wrong", *(["change"] if compares else []), "truncated"]
    for heading in (*numbers, *(f"cut {limit}" for limit in cuts)):
        table.add_column(heading, justify="right", no_wrap=True)
    conditions = list(dict.fromkeys(row.condition for row in rows))
    benchmarks = list(dict.fromkeys(row.benchmark for row in rows))
    for condition, benchmark in itertools.product(conditions, benchmarks):
        together = [row for row in rows if (row.benchmark, row.condition) == (benchmark, condition)]
        for row in together:
            tokens = row.summary["tokens"]
            change = tokens / together[0].summary["tokens"] - 1
            table.add_row(
                benchmark,
                condition,
                row.checkpoint,
                str(row.problems),
                str(row.n or ""),
                f"{row.summary['pass@1']:.1f} %",
                f"{tokens:.1f}",
                right_and_wrong(row.summary),
                *(["" if row is together[0] else f"{change:+.1%}"] if compares else []),
                f"{row.summary['truncated']:.1f} %",
                *(f"{row.summary['cut'][limit]:.1f} %" for limit in cuts),
            )
        if compares:
            table.add_section()
    return table


def averages(results: Sequence[Result]) -> Iterator[Result]:
    """Means over the benchmarks, each counting the same, where there are several; ``n`` is 0."""
    for checkpoint, condition in dict.fromkeys((row.checkpoint, row.condition) for row in results):
        together = [row for row in results if (row.checkpoint, row.condition) == (checkpoint, condition)]
        if len(together) > 1:
            means: dict[str, Any] = {name: mean_of_all([row.summary[name] for row in together]) for name in MEASURES}
            cuts = [row.summary.get("cut", {}) for row in together]
            means["cut"] = {limit: mean_of_all([cut[limit] for cut in cuts]) for limit in cuts[0]}
            yield Result(checkpoint, "average", condition, sum(row.problems for row in together), 0, means)
