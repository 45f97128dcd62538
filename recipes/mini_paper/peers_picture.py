"""The picture of Table 5: every method's accuracy and tokens, seeds as points."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from lapo_verl.report.pictures import COLOURS
from lapo_verl.runs.summary import summarize
from mini_paper.cells import trained
from mini_paper.tables import Row, title_of

OTHERS, OURS = COLOURS[1:3]


def draw_peers(rows: Mapping[str, Row], path: Path) -> None:
    """Pass@1 against mean tokens: a small point a seed, a large one with the method's name for their mean."""
    figure, axes = plt.subplots(figsize=(9, 6))
    for name, row in rows.items():
        colour = OURS if name.startswith("lapo_") else OTHERS
        seeds = [summarize(trained(samples)) for samples in row.values()]
        points = np.array([(seed["tokens"], seed["pass@1"]) for seed in seeds])
        axes.plot(*points.T, linestyle="", marker="o", markersize=4, alpha=0.5, color=colour)
        mean = points.mean(axis=0)
        for point in points:
            axes.plot(*np.array([mean, point]).T, linewidth=0.6, alpha=0.5, color=colour)
        axes.plot(*mean, marker="D" if colour == OURS else "s", markersize=8, color=colour)
        axes.annotate(title_of(name), mean, xytext=(6, 5), textcoords="offset points", fontsize=9, color=colour)
    axes.set(xlabel="mean response tokens", ylabel="Pass@1, %", title="Table 5: small points are seeds")
    axes.margins(0.12)
    figure.tight_layout()
    figure.savefig(path, dpi=150)
    plt.close(figure)
