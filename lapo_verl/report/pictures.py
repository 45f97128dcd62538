"""The pictures of a run, as PNG files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from lapo_verl.report.dumps import Sample

# Distinguishable without colour vision (Okabe and Ito).
COLOURS = ("#7f7f7f", "#0072b2", "#d55e00", "#009e73", "#cc79a7")


def draw_lengths(models: Mapping[str, Sequence[Sample]], path: Path) -> None:
    """Distribution of response lengths, correct and wrong rollouts together; one row a model, on one scale."""
    figure, rows = plt.subplots(len(models), 1, figsize=(7, 1.7 * len(models) + 0.8), sharex=True, squeeze=False)
    longest = max(sample.tokens for samples in models.values() for sample in samples)
    bins = [longest * i / 50 for i in range(51)]
    for axes, colour, (name, samples) in zip(rows[:, 0], COLOURS, models.items(), strict=False):
        tokens = [sample.tokens for sample in samples]
        mean = sum(tokens) / len(tokens)
        axes.hist(tokens, bins=bins, color=colour)
        axes.axvline(mean, color="black", linestyle="--", linewidth=1)
        axes.set(ylabel="samples")
        axes.text(0.98, 0.85, f"{name}: mean {mean:.1f} tokens", transform=axes.transAxes, ha="right", va="top")
    rows[0, 0].set(title="Response lengths, no guidance")
    rows[-1, 0].set(xlabel="response tokens")
    _save(figure, path)


def draw_levels(models: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Mean tokens of each model by difficulty level (Fig. 3).

    Args:
        models: {name: summary of ``summary.summarize``}.
    """
    figure, axes = plt.subplots(figsize=(7, 4))
    # Lines that lie on one another stay visible: each is thinner, and its mark smaller, than the one below.
    for position, (colour, (name, summary)) in enumerate(zip(COLOURS, models.items(), strict=False)):
        levels = list(summary["by_level"])
        tokens = [summary["by_level"][level]["tokens"] for level in levels]
        size = max(2, 3 * (len(models) - position))
        axes.plot(levels, tokens, marker="o", color=colour, label=name, markersize=size + 2, linewidth=size / 2)
    axes.set(xlabel="difficulty level", ylabel="mean response tokens", title="Tokens by difficulty level")
    axes.set_ylim(bottom=0)
    axes.legend()
    _save(figure, path)


def draw_training(stages: Mapping[str, Mapping[int, Mapping[str, float]]], path: Path) -> None:
    """Accuracy and tokens of the training rollouts over the steps of consecutive stages (Fig. 5).

    Args:
        stages: {name: {step: metrics}}, in the order they were trained in.
    """
    figure, (upper, lower) = plt.subplots(2, 1, figsize=(7, 6), sharex=True)
    offset = 0
    for colour, (name, steps) in zip(COLOURS[1:], stages.items(), strict=False):
        trained = {step: metrics for step, metrics in steps.items() if "lapo/accuracy" in metrics}
        positions = [offset + step for step in trained]
        upper.plot(positions, [100 * m["lapo/accuracy"] for m in trained.values()], color=colour, label=name)
        shown = [(p, m["lapo/tokens_correct"]) for p, m in zip(positions, trained.values(), strict=True) if _solved(m)]
        lower.plot([p for p, _ in shown], [t for _, t in shown], color=colour, label=f"{name}: correct rollouts")
        budgets = [(p, m["lapo/budget_mean"]) for p, m in zip(positions, trained.values(), strict=True) if _solved(m)]
        lower.plot(
            [p for p, _ in budgets], [b for _, b in budgets], color=colour, linestyle=":", label=f"{name}: budgets"
        )
        offset += max(trained, default=0)
    upper.set(ylabel="accuracy, %", title="Training rollouts")
    lower.set(xlabel="step", ylabel="tokens")
    lower.set_ylim(bottom=0)
    upper.legend()
    lower.legend()
    _save(figure, path)


def _solved(metrics: Mapping[str, float]) -> bool:
    return "lapo/tokens_correct" in metrics and "lapo/budget_mean" in metrics


def _save(figure: Figure, path: Path) -> None:
    figure.tight_layout()
    figure.savefig(path, dpi=150)
    plt.close(figure)
