"""Pass@1 and tokens of a model, overall and by difficulty level (Table 1, Fig. 3)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.table import Table

from lapo_verl.report.dumps import Sample


def summarize(samples: Sequence[Sample]) -> dict[str, Any]:
    """``{"pass@1": percent, "tokens": mean, "truncated": percent, "by_level": {level: {"pass@1", "tokens"}}}``.

    Means over problems of means over samples, so a problem counts the same however many samples it has.
    """
    levels = sorted({sample.level for sample in samples if sample.level is not None})
    return {
        **_means(samples),
        "truncated": 100 * float(np.mean([sample.truncated for sample in samples])),
        "by_level": {level: _means([s for s in samples if s.level == level]) for level in levels},
    }


def comparison_table(models: Mapping[str, Mapping[str, Any]]) -> Table:
    """A table of summaries, the first model being the one that the others are compared with.

    Args:
        models: {name to show: summary}.
    """
    base = next(iter(models.values()))
    table = Table(title="Held-out problems, no guidance")
    for heading in ("", "Pass@1", "tokens", "change"):
        table.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    levels = list(base["by_level"])
    for level in levels:
        table.add_column(f"level {level}", justify="right", no_wrap=True)
    for name, summary in models.items():
        change = 100 * (summary["tokens"] / base["tokens"] - 1)
        table.add_row(
            name,
            f"{summary['pass@1']:.1f} %",
            f"{summary['tokens']:.1f}",
            "" if summary is base else f"{change:+.1f} %",
            *(f"{part['pass@1']:.0f} | {part['tokens']:.0f}" for part in summary["by_level"].values()),
        )
    table.caption = "by level: Pass@1 in % | mean response tokens" if levels else None
    return table


def _means(samples: Sequence[Sample]) -> dict[str, float]:
    by_problem: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        by_problem[sample.problem].append(sample)
    return {
        "pass@1": 100 * float(np.mean([np.mean([s.correct for s in group]) for group in by_problem.values()])),
        "tokens": float(np.mean([np.mean([s.tokens for s in group]) for group in by_problem.values()])),
    }
