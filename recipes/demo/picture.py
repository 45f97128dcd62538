"""The demo's picture: tokens of an answer before and after LAPO, level by level, and how many answers are right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from lapo_verl.runs.dumps import Sample
from toy.task import best_accuracy

# Of Okabe and Ito: told apart without colour vision, and in grey. Marks say the same once more.
BEFORE, BETWEEN, AFTER = "#D55E00", "#56B4E9", "#0072B2"
STYLES = {
    "base": {"color": BEFORE, "marker": "o", "linestyle": "-", "linewidth": 3, "markersize": 9},
    "lapo_d": {"color": BETWEEN, "marker": "D", "linestyle": "--", "linewidth": 1.5, "markersize": 6},
    "lapo_i": {"color": AFTER, "marker": "s", "linestyle": "-", "linewidth": 3, "markersize": 9},
}
NAMES = {"base": "before", "lapo_d": "after Discovery", "lapo_i": "after Internalization"}


def draw(summaries: Mapping[str, Mapping[str, Any]], samples: Sequence[Sample], path: Path) -> None:
    """Tokens by level on the left, accuracy by level on the right.

    Args:
        summaries: of ``base``, ``lapo_d`` and ``lapo_i``, as ``summary.summarize`` makes them.
        samples: any model's, for the problems: they bound what can be right.
    """
    base, after = summaries["base"], summaries["lapo_i"]
    levels = list(base["by_level"])
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.6), width_ratios=(3, 2))
    for axes, key in ((left, "tokens"), (right, "pass@1")):
        for name, style in STYLES.items():
            values = [summaries[name]["by_level"][level][key] for level in levels]
            axes.plot(range(len(levels)), values, label=NAMES[name], **style)
        axes.set_xticks(range(len(levels)), levels)
        axes.set_xlabel("difficulty of the problem (1: easy)")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", alpha=0.3)
    _arrows(
        left, [part["tokens"] for part in base["by_level"].values()], [p["tokens"] for p in after["by_level"].values()]
    )
    left.set(ylabel="tokens of an answer", xlim=(-0.3, len(levels) - 0.4))
    left.set_ylim(0, 1.25 * max(part["tokens"] for part in base["by_level"].values()))
    left.set_title(tokens_title(base, after), loc="left", fontweight="bold")
    best = [100 * float(np.mean([best_accuracy(problem) for problem in _problems(samples, level)])) for level in levels]
    right.hlines(
        best, np.arange(len(levels)) - 0.3, np.arange(len(levels)) + 0.3, "black", label="best possible, on average"
    )
    right.set(ylabel="right answers, %", ylim=(0, 105))
    right.set_title(
        f"{base['pass@1']:.0f} % right before, {after['pass@1']:.0f} % after", loc="left", fontweight="bold"
    )
    handles, labels = right.get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=len(labels), frameon=False)
    figure.tight_layout(rect=(0, 0.08, 1, 1))
    figure.savefig(path, dpi=150)
    plt.close(figure)


def tokens_title(base: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    change = 100 * (after["tokens"] / base["tokens"] - 1)
    tokens = [part["tokens"] for part in after["by_level"].values()]
    harder = ", more for harder problems" if tokens == sorted(tokens) and tokens[0] < tokens[-1] else ""
    return f"{abs(change):.0f} % {'fewer' if change < 0 else 'more'} tokens{harder}"


def _arrows(axes: Axes, before: Sequence[float], after: Sequence[float]) -> None:
    """From each level's length before to that after, with the change in percent."""
    for place, (start, end) in enumerate(zip(before, after, strict=True)):
        axes.annotate(
            "",
            (place, end),
            (place, start),
            arrowprops={"arrowstyle": "-|>", "color": "#999999", "shrinkA": 8, "shrinkB": 8},
            zorder=1,
        )
        axes.text(place + 0.07, (start + end) / 2, f"{100 * (end / start - 1):+.0f} %", color="#444444", va="center")


def _problems(samples: Sequence[Sample], level: str) -> set[str]:
    return {sample.problem for sample in samples if sample.level == level}
