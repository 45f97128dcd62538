"""The picture of Table 5: every method's accuracy and tokens, seeds as points."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from lapo_verl.report.pictures import COLOURS
from lapo_verl.runs.summary import summarize
from mini_paper.cells import trained
from mini_paper.tables import Row, title_of

OTHERS, OURS = COLOURS[1:3]
# A method this much longer than the shortest one is in the crowd, whose names get a column beside it.
CROWD = 1.05


def draw_peers(rows: Mapping[str, Row], path: Path) -> None:
    """Pass@1 against mean tokens: a small point a seed, a large one with the method's name for their mean."""
    figure, axes = plt.subplots(figsize=(9, 6))
    means = {}
    for name, row in rows.items():
        colour = _colour(name)
        seeds = [summarize(trained(samples)) for samples in row.values()]
        points = np.array([(seed["tokens"], seed["pass@1"]) for seed in seeds])
        means[name] = mean = points.mean(axis=0)
        axes.plot(*points.T, linestyle="", marker="o", markersize=4, alpha=0.5, color=colour)
        for point in points:
            axes.plot(*np.array([mean, point]).T, linewidth=0.6, alpha=0.5, color=colour)
        axes.plot(*mean, marker="D" if colour == OURS else "s", markersize=7, color=colour)
    axes.set(xlabel="mean response tokens", ylabel="Pass@1, %", title="Table 5: small points are seeds")
    axes.margins(0.08)
    _name(axes, means)
    figure.tight_layout()
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _name(axes: Axes, means: Mapping[str, NDArray[np.float64]]) -> None:
    """Each method's name beside its mean; the crowd's in a column on the left, a line's height apart."""
    low, high = axes.get_ylim()
    shortest = min(tokens for tokens, _ in means.values())
    crowd = sorted((name for name in means if means[name][0] <= CROWD * shortest), key=lambda name: means[name][1])
    heights = np.array([means[name][1] for name in crowd])
    line = (high - low) / 24
    # The least that keeps the order: each at its own height, or one line above the one below it.
    steps = line * np.arange(len(crowd))
    spread = np.maximum.accumulate(heights - steps) + steps
    spread -= (spread - heights).mean()
    axes.set_xlim(left=0)
    for name, height in zip(crowd, spread, strict=True):
        axes.annotate(
            title_of(name),
            means[name],
            xytext=(0.85 * shortest, height),
            ha="right",
            va="center",
            fontsize=9,
            color=_colour(name),
            arrowprops={"arrowstyle": "-", "linewidth": 0.6, "color": _colour(name), "relpos": (1, 0.5)},
        )
    for name in means.keys() - {*crowd}:
        # Without what is in brackets, and a line above: it would touch the points of its neighbours.
        name_alone = title_of(name).partition(" (")[0]
        axes.annotate(
            name_alone, means[name], xytext=(7, 9), textcoords="offset points", fontsize=9, color=_colour(name)
        )


def _colour(name: str) -> str:
    return OURS if name.startswith("lapo_") else OTHERS
