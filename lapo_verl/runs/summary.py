"""Pass@1, tokens, lengths and keywords of one model on one benchmark, overall and by difficulty level."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from rich.table import Table

from lapo_verl.runs.dumps import Sample
from lapo_verl.runs.keywords import GROUPS

LENGTH_PERCENTILES = (10, 50, 90, 99)


def problem_means(samples: Iterable[Sample]) -> dict[str, tuple[float, float]]:
    """{problem: (share of its samples that are correct in percent, their mean response tokens)}."""
    return {
        problem: (100 * float(np.mean([s.correct for s in group])), float(np.mean([s.tokens for s in group])))
        for problem, group in _by_problem(samples).items()
    }


def truncated_percent(samples: Sequence[Sample]) -> float | None:
    """Share of the samples that were cut off, in percent; None where a sample does not say."""
    flags = [sample.truncated for sample in samples if sample.truncated is not None]
    return 100 * float(np.mean(flags)) if flags and len(flags) == len(samples) else None


def tokens_of(samples: Iterable[Sample], correct: bool) -> float | None:
    """Mean tokens of the right samples, or of the wrong ones; each counts the same. None where there are none."""
    tokens = [sample.tokens for sample in samples if sample.correct == correct]
    return float(np.mean(tokens)) if tokens else None


def accuracy_when_cut(samples: Iterable[Sample], limit: int) -> float:
    """Pass@1 in percent were each response cut at ``limit`` tokens: one that is longer has not answered by then."""
    cut = [replace(sample, correct=sample.correct and sample.tokens <= limit) for sample in samples]
    return float(_means(cut)["pass@1"])


def summarize(samples: Sequence[Sample]) -> dict[str, Any]:
    """``{"pass@1": percent, "tokens": mean, "tokens_right", "tokens_wrong", "truncated": percent, "by_level"}``.

    Means over problems of means over samples, so a problem counts the same however many samples it has; of
    ``tokens_right`` and ``tokens_wrong``, means over samples. Each level of ``by_level`` has all but ``truncated``, and
    its number of ``problems``.
    """
    parts: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        if sample.level is not None:
            parts[sample.level].append(sample)
    return {
        **_means(samples),
        "truncated": truncated_percent(samples),
        "by_level": {
            level: {**_means(parts[level]), "problems": len({s.problem for s in parts[level]})}
            for level in sorted(parts, key=level_order)
        },
    }


def level_order(level: str) -> tuple[float, str]:
    """Sorts levels that are numbers as numbers, and others behind them by name."""
    try:
        return float(level), level
    except ValueError:
        return float("inf"), level


def summarize_lengths(samples: Sequence[Sample]) -> dict[str, float | None]:
    """Mean response tokens of all samples, of the right and of the wrong ones; percentiles and maximum of all.

    The mean of right or of wrong samples is None where there are none.
    """
    tokens = [sample.tokens for sample in samples]
    percentiles = np.percentile(tokens, LENGTH_PERCENTILES).tolist()
    return {
        "mean": float(np.mean(tokens)),
        "right": tokens_of(samples, True),
        "wrong": tokens_of(samples, False),
        **{f"p{name}": value for name, value in zip(LENGTH_PERCENTILES, percentiles, strict=True)},
        "max": float(max(tokens)),
    }


def summarize_truncation(samples: Sequence[Sample]) -> dict[str, float | None] | None:
    """Of samples that were cut off: their share and accuracy in percent; of the others, accuracy and mean tokens.

    The tokens of the others are also given for their right and their wrong answers apart.

    None where a sample does not say, or a whole value where it has no samples.
    """
    share = truncated_percent(samples)
    if share is None:
        return None
    cut, whole = [s for s in samples if s.truncated], [s for s in samples if not s.truncated]
    return {
        "truncated": share,
        "accuracy_truncated": 100 * float(np.mean([s.correct for s in cut])) if cut else None,
        "accuracy_others": 100 * float(np.mean([s.correct for s in whole])) if whole else None,
        "tokens_others": float(np.mean([s.tokens for s in whole])) if whole else None,
        "tokens_others_right": tokens_of(whole, True),
        "tokens_others_wrong": tokens_of(whole, False),
    }


def summarize_keywords(samples: Sequence[Sample]) -> dict[str, dict[str, float]] | None:
    """{group of ``keywords.GROUPS``: {"per_response": count, "per_1000_tokens": count}}; None without responses.

    Means over problems of means over samples, as for tokens.
    """
    counted = [sample for sample in samples if sample.keywords is not None]
    if not counted:
        return None
    groups = _by_problem(counted).values()
    tokens = float(np.mean([np.mean([s.tokens for s in group]) for group in groups]))
    counts = np.mean([np.mean([s.keywords or () for s in group], axis=0) for group in groups], axis=0)
    return {
        name: {"per_response": float(count), "per_1000_tokens": 1000 * float(count) / tokens if tokens else 0.0}
        for name, count in zip(GROUPS, counts, strict=True)
    }


def comparison_table(models: Mapping[str, Mapping[str, Any]]) -> Table:
    """A table of summaries, the first model being the one that the others are compared with.

    Args:
        models: {name to show: summary}.
    """
    base = next(iter(models.values()))
    table = Table(title="Held-out problems, no guidance")
    for heading in ("", "Pass@1", "tokens", "right / wrong", "change"):
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
            right_and_wrong(summary),
            "" if summary is base else f"{change:+.1f} %",
            *(f"{part['pass@1']:.0f} | {part['tokens']:.0f}" for part in summary["by_level"].values()),
        )
    by_level = "; by level: Pass@1 in % | mean response tokens" if levels else ""
    table.caption = f"right / wrong: mean tokens of right and of wrong answers{by_level}"
    return table


def mean_of_all(values: Sequence[float | None]) -> float | None:
    """The mean; None where one is None: a mean over the others would be of other benchmarks."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if len(known) == len(values) else None


def right_and_wrong(summary: Mapping[str, Any]) -> str:
    """The cell of a table with the mean tokens of right and of wrong answers."""
    return " / ".join(
        "-" if value is None else f"{value:.0f}" for value in (summary["tokens_right"], summary["tokens_wrong"])
    )


def _by_problem(samples: Iterable[Sample]) -> dict[str, list[Sample]]:
    groups: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        groups[sample.problem].append(sample)
    return groups


def _means(samples: Sequence[Sample]) -> dict[str, Any]:
    accuracies, tokens = zip(*problem_means(samples).values(), strict=True)
    return {
        "pass@1": float(np.mean(accuracies)),
        "tokens": float(np.mean(tokens)),
        "tokens_right": tokens_of(samples, True),
        "tokens_wrong": tokens_of(samples, False),
    }
