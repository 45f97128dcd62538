"""The pictures of a run, as PNG files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from lapo_verl.report.bootstrap import Estimate
from lapo_verl.report.following import Followed
from lapo_verl.runs.dumps import Sample
from lapo_verl.store import Record

# Distinguishable without colour vision (Okabe and Ito); marks and hatches say the same once more.
COLOURS = ("#7f7f7f", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
MARKS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
HATCHES = ("", "//", "..", "xx", "\\\\", "--", "++")
NAME_LENGTH = 32
# Inches: of a picture, of one with two panels side by side, and of a panel among several in a row.
WIDTH, WIDTH_OF_TWO, WIDTH_OF_PANEL = 7, 9.1, 3
PANELS_A_ROW = 3
# Points, of what is smaller than the rest: page.py keeps it readable on a narrow page.
SMALL = 9

# Names come from folders and data: a $ in them is no formula.
plt.rcParams["text.parse_math"] = False
# Of a histogram of lengths, at most about as many.
LENGTH_BARS = 100


@dataclass(frozen=True)
class Trail:
    """A run's accuracy against its tokens; one point a checkpoint, in the order of training.

    Attributes:
        style: position of its colour and mark.
        points: (title, tokens, Pass@1 in percent).
    """

    style: int
    points: list[tuple[str, Estimate, Estimate]]


def draw_lengths(
    models: Mapping[str, Sequence[Sample]], path: Path, title: str = "Response lengths, no guidance"
) -> None:
    """Distribution of response lengths, correct and wrong rollouts together; one row a model, on one scale."""
    figure, rows = plt.subplots(len(models), 1, figsize=(WIDTH, 1.7 * len(models) + 0.8), sharex=True, squeeze=False)
    longest = max(sample.tokens for samples in models.values() for sample in samples) or 1
    # Whole numbers of tokens a bar: otherwise some bars hold one length more than their neighbours.
    width = max(1, longest // LENGTH_BARS)
    bins = [start - 0.5 for start in range(0, longest + width + 1, width)]
    for position, (axes, (name, samples)) in enumerate(zip(rows[:, 0], models.items(), strict=True)):
        tokens = [sample.tokens for sample in samples]
        mean = sum(tokens) / len(tokens)
        counts, _, _ = axes.hist(tokens, bins=bins, color=_colour(position))
        axes.axvline(mean, color="black", linestyle="--", linewidth=1)
        axes.set(ylabel="samples", ylim=(0, 1.3 * max(counts)))
        axes.text(0.98, 0.94, f"{_name(name)}: mean {mean:.1f} tokens", transform=axes.transAxes, ha="right", va="top")
    rows[0, 0].set(title=title)
    rows[-1, 0].set(xlabel="response tokens")
    _save(figure, path)


def draw_levels(models: Mapping[str, Mapping[str, Any]], path: Path, title: str = "Tokens by difficulty level") -> None:
    """Mean tokens of each model by difficulty level (Fig. 3).

    Args:
        models: {name: summary of ``summary.summarize``}.
    """
    # In the summaries' order, which is right for each of them.
    levels = max((list(summary["by_level"]) for summary in models.values()), key=len)
    levels += [level for summary in models.values() for level in summary["by_level"] if level not in levels]
    levels = list(dict.fromkeys(levels))
    figure, axes = plt.subplots(figsize=(WIDTH, 4))
    # Lines on top of one another stay visible: each is thinner, and its mark smaller, than the one below.
    for position, (name, summary) in enumerate(models.items()):
        places = [levels.index(level) for level in summary["by_level"]]
        tokens = [part["tokens"] for part in summary["by_level"].values()]
        size = 9 - 7 * position / max(1, len(models) - 1)
        axes.plot(places, tokens, **_line(position, name), markersize=size + 2, linewidth=size / 2)
    axes.set(xlabel="difficulty level", ylabel="mean response tokens", title=title)
    axes.set_xticks(range(len(levels)), [_name(level, 12) for level in levels])
    # Room for the marks of the highest points.
    axes.set_ylim(0, 1.05 * axes.get_ylim()[1])
    _save(figure, path, _legend_below(figure))


def draw_training(
    stages: Mapping[str, Mapping[int, Mapping[str, float]]],
    path: Path,
    consecutive: bool = True,
    styles: Mapping[str, int] | None = None,
) -> None:
    """Accuracy and tokens of the training rollouts over the steps (Fig. 5).

    Args:
        stages: {name: {step: metrics}}, in the order they were trained in.
        consecutive: each stage's steps follow those of the one before; else all begin at the same place.
        styles: {name: position of its colour}; without it, in their order.
    """
    figure, (upper, lower) = plt.subplots(2, 1, figsize=(WIDTH, 6), sharex=True)
    lengths = [max((step for step, m in steps.items() if "lapo/accuracy" in m), default=0) for steps in stages.values()]
    offsets = [0, *accumulate(lengths)] if consecutive else [0] * len(stages)
    for position, (offset, (name, steps)) in enumerate(zip(offsets, stages.items(), strict=False), start=1):
        line = _line(position if styles is None else styles[name], name)
        line |= {"markersize": 4, "markevery": max(1, len(steps) // 20)}
        upper.plot(*_curve(steps, "lapo/accuracy", offset, 100), **line)
        lower.plot(*_curve(steps, "lapo/tokens_correct", offset), **line)
        lower.plot(*_curve(steps, "lapo/budget_mean", offset), **(line | {"linestyle": ":"}))
    upper.set(ylabel="accuracy, %", title="Training rollouts")
    lower.set(xlabel="training step", ylabel="tokens")
    # Room for the legend above the lines.
    lower.set_ylim(0, 1.2 * lower.get_ylim()[1])
    _whole_steps(lower)
    upper.legend()
    solid, dotted = Line2D([], [], color="black"), Line2D([], [], color="black", linestyle=":")
    lower.legend([solid, dotted], ["correct rollouts", "budgets"], ncols=2)
    _save(figure, path)


def draw_validation(
    runs: Mapping[str, Mapping[str, Mapping[int, tuple[Estimate, Estimate]]]],
    benchmarks: Sequence[str],
    styles: Mapping[str, int],
    path: Path,
) -> None:
    """Validation accuracy and length over the training steps, with 95 % intervals (Fig. 5); one column a benchmark.

    Args:
        runs: {run: {benchmark: {step: (Pass@1 in percent, tokens)}}}.
        styles: {run: position of its colour and mark}.
    """
    columns = len(benchmarks)
    figure, grid = plt.subplots(2, columns, figsize=(_width(columns), 6), sharex="col", squeeze=False)
    for (upper, lower), benchmark in zip(grid.T, benchmarks, strict=True):
        for name, steps in ((run, parts[benchmark]) for run, parts in runs.items() if benchmark in parts):
            for axes, which in ((upper, 0), (lower, 1)):
                estimates = [pair[which] for pair in steps.values()]
                axes.errorbar(
                    list(steps),
                    [each.value for each in estimates],
                    yerr=_whiskers(estimates),
                    capsize=3,
                    **_line(styles[name], name),
                )
        upper.set(ylabel="Pass@1, %", title=_name(benchmark))
        lower.set(xlabel="training step", ylabel="mean response tokens")
        lower.set_ylim(0, 1.05 * lower.get_ylim()[1])
        _whole_steps(lower)
    _save(figure, path, _legend_below(figure))


def draw_pareto(panels: Mapping[str, Mapping[str, Trail]], path: Path) -> None:
    """Pass@1 against mean tokens with 95 % intervals; up and to the left is better.

    Args:
        panels: {title: {run or model: its trail}}.
    """
    columns = min(PANELS_A_ROW, len(panels))
    rows = -(-len(panels) // columns)
    figure, grid = plt.subplots(rows, columns, figsize=(_width(columns), 4 * rows), squeeze=False)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    for axes, (title, trails) in zip(grid.flat, panels.items(), strict=False):
        best = _frontier((tokens.value, acc.value) for trail in trails.values() for _, tokens, acc in trail.points)
        if len(best) > 1:
            axes.plot(
                *zip(*best, strict=True), color="black", linestyle=":", linewidth=1, zorder=1, label="best trade-offs"
            )
        for name, trail in trails.items():
            tokens, accuracies = [p[1] for p in trail.points], [p[2] for p in trail.points]
            axes.errorbar(
                [each.value for each in tokens],
                [each.value for each in accuracies],
                xerr=_whiskers(tokens),
                yerr=_whiskers(accuracies),
                elinewidth=0.6,
                alpha=0.8,
                markersize=7,
                **_line(trail.style, name),
            )
            if len(trail.points) > 1:
                for place in (0, -1):
                    step, x, y = trail.points[place]
                    axes.annotate(
                        _name(step),
                        (x.value, y.value),
                        xytext=(6, 6),
                        textcoords="offset points",
                        fontsize=SMALL,
                        color=_colour(trail.style),
                    )
        axes.set(xlabel="mean response tokens", ylabel="Pass@1, %", title=_name(title))
        axes.margins(0.12)
    _save(figure, path, _legend_below(figure))


def draw_following(models: Mapping[str, Sequence[Followed]], path: Path, title: str) -> None:
    """Tokens used against tokens asked for, and accuracy against tokens used, each point with its budget.

    The model's own planning is a star.

    Args:
        models: {name: one entry a budget, ``asked`` None for its own planning}.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH_OF_TWO, 4.4))
    for position, (name, budgets) in enumerate(models.items()):
        asked = [each for each in budgets if each.asked is not None]
        line = _line(position, name)
        left.plot([each.asked for each in asked], [each.tokens for each in asked], **line)
        right.plot([each.tokens for each in asked], [each.pass_at_1 for each in asked], **line)
        for each in budgets:
            if each.asked is not None:
                right.annotate(
                    f"{each.asked:.0f}",
                    (each.tokens, each.pass_at_1),
                    xytext=(6, 6),
                    textcoords="offset points",
                    fontsize=SMALL,
                    color=_colour(position),
                )
            else:
                star = {"marker": "*", "markersize": 14, "linestyle": "", "color": _colour(position)}
                right.plot([each.tokens], [each.pass_at_1], **star, label=_name(f"{name}, self"))
    edge = 1.05 * max(each.asked or 0 for budgets in models.values() for each in budgets)
    left.plot([0, edge], [0, edge], color="black", linestyle="--", linewidth=1, label="as asked")
    left.set(xlabel="tokens asked for", ylabel="mean tokens used", title="Does it keep to the budget?")
    left.set_xlim(0, edge)
    left.set_ylim(bottom=0)
    right.set(xlabel="mean tokens used", ylabel="Pass@1, %", title="What does a budget cost?")
    right.margins(0.1)
    figure.suptitle(title)
    _save(figure, path, _legend_below(figure))


def draw_keywords(models: Mapping[str, Mapping[str, Mapping[str, float]]], path: Path, title: str) -> None:
    """Keyword groups by behaviour (Fig. 4), per response and per 1,000 tokens.

    Args:
        models: {name: result of ``summary.summarize_keywords``}.
    """
    groups = list(next(iter(models.values())))
    figure, panels = plt.subplots(1, 2, figsize=(WIDTH_OF_TWO, 4.2))
    width = 0.8 / len(models)
    for axes, unit, what in zip(
        panels, ("per_response", "per_1000_tokens"), ("per response", "per 1,000 tokens"), strict=True
    ):
        for position, (name, counts) in enumerate(models.items()):
            axes.bar(
                [place + width * (position - (len(models) - 1) / 2) for place in range(len(groups))],
                [counts[group][unit] for group in groups],
                width=width,
                color=_colour(position),
                hatch=HATCHES[position % len(HATCHES)],
                edgecolor="white",
                label=_name(name),
            )
        axes.set_xticks(
            range(len(groups)), [group.replace(" and ", "\nand ").replace(" ", "\n", 1) for group in groups]
        )
        axes.tick_params(axis="x", labelsize=SMALL)
        axes.set(ylabel=f"keywords {what}", title=what.capitalize())
    figure.suptitle(title)
    _save(figure, path, _legend_below(figure))


def draw_adherence(
    over_steps: Mapping[str, Mapping[int, Mapping[str, float]]],
    visits: Mapping[str, Sequence[tuple[float, float]]],
    styles: Mapping[str, int],
    path: Path,
) -> None:
    """How closely the rollouts keep to the budgets that they are shown.

    Args:
        over_steps: {run: {step: {"tokens": mean |len - n|}}}.
        visits: {run: [(budget shown, mean length of the correct rollouts)]}, from the store; may be empty.
        styles: {run: position of its colour and mark}.
    """
    columns, width = (2, WIDTH_OF_TWO) if visits else (1, WIDTH)
    figure, panels = plt.subplots(1, columns, figsize=(width, 4.4), squeeze=False)
    left = panels[0, 0]
    for name, steps in over_steps.items():
        left.plot(list(steps), [values["tokens"] for values in steps.values()], **_line(styles[name], name))
    left.set(xlabel="training step", ylabel="mean |length - budget|, tokens", title="Distance from the budget")
    left.set_ylim(bottom=0)
    _whole_steps(left)
    left.legend()
    if visits:
        right = panels[0, 1]
        for name, points in visits.items():
            right.plot(
                *zip(*points, strict=True), **{**_line(styles[name], name), "linestyle": ""}, alpha=0.5, markersize=5
            )
        edge = 1.05 * max(max(point) for points in visits.values() for point in points)
        right.plot([0, edge], [0, edge], color="black", linestyle="--", linewidth=1, label="length = budget")
        right.set(xlabel="budget shown, tokens", ylabel="mean length of the correct rollouts, tokens")
        right.set(title="Visits of the last quarter of the steps", xlim=(0, edge), ylim=(0, edge))
        right.legend()
    _save(figure, path)


def _run_begins(runs: Sequence[str], records: Sequence[Record]) -> dict[str, int]:
    """{run: steps that are shown of all runs before it}."""
    begins, total = {}, 0
    for run in runs:
        begins[run] = total
        total += max((record.step for record in records if record.run == run), default=0)
    return begins


def draw_budgets(problems: Mapping[str, Sequence[Record]], runs: Sequence[str], path: Path, title: str) -> None:
    """Each problem's budget and correct rollouts over its visits; one panel a problem.

    Args:
        problems: {problem id: its records, oldest first}.
        runs: that the store recorded, in the order of training; the steps of one follow those of the one before.
    """
    begins = _run_begins(runs, [record for records in problems.values() for record in records])
    columns = min(PANELS_A_ROW, len(problems))
    rows = -(-len(problems) // columns)
    figure, grid = plt.subplots(rows, columns, figsize=(_width(columns), 2.4 * rows + 0.8), sharex=True, squeeze=False)
    for axes in grid.flat[len(problems) :]:
        axes.set_visible(False)
    for axes, (problem, records) in zip(grid.flat, problems.items(), strict=False):
        places = [begins[record.run] + record.step for record in records]
        dots = [(place, length) for place, r in zip(places, records, strict=True) for length in r.correct_lengths]
        axes.plot([x for x, _ in dots], [y for _, y in dots], ".", color=COLOURS[0], alpha=0.6, label="correct rollout")
        budgets = [np.nan if record.target is None else record.target for record in records]
        axes.step(
            places, budgets, where="post", marker="s", markersize=4, color=COLOURS[1], label="budget after the visit"
        )
        for run, begin in begins.items():
            if begin:
                axes.axvline(begin + 0.5, color="black", linestyle=":", linewidth=1, label=f"{run} begins")
        axes.set_title(_name(problem, 28), fontsize=SMALL)
        axes.set_ylim(bottom=0)
        _whole_steps(axes)
    for axes in grid[:, 0]:
        axes.set_ylabel("tokens")
    for position in range(max(0, len(problems) - columns), len(problems)):
        grid.flat[position].set_xlabel("training step")
        grid.flat[position].tick_params(labelbottom=True)
    figure.suptitle(title)
    _save(figure, path, _legend_below(figure))


def _width(columns: int) -> float:
    """Inches of a picture with so many panels in a row."""
    return max(WIDTH, WIDTH_OF_PANEL * columns)


def _colour(position: int) -> str:
    return COLOURS[position % len(COLOURS)]


def _line(position: int, name: str) -> dict[str, Any]:
    return {
        "color": _colour(position),
        "marker": MARKS[position % len(MARKS)],
        "linestyle": "-",
        "label": _name(name),
    }


def _name(text: str, length: int = NAME_LENGTH) -> str:
    """A name that a picture can show: short, printable, and not one that legends leave out (``_x``)."""
    shown = "".join(char if char.isprintable() else "?" for char in text)
    shown = shown if len(shown) <= length else f"{shown[: length - 1]}…"
    return f" {shown}" if shown.startswith("_") else shown


def _curve(
    steps: Mapping[int, Mapping[str, float]], metric: str, offset: int, factor: float = 1
) -> tuple[list[int], list[float]]:
    shown = {step: metrics[metric] for step, metrics in steps.items() if metric in metrics}
    return [offset + step for step in shown], [factor * value for value in shown.values()]


def _whiskers(estimates: Sequence[Estimate]) -> np.ndarray[Any, Any]:
    """How far the intervals reach below and above the values, shape (2, n); 0 where there is none."""
    return np.array(
        [
            [0 if e.low is None else max(0, e.value - e.low) for e in estimates],
            [0 if e.high is None else max(0, e.high - e.value) for e in estimates],
        ]
    )


def _frontier(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points to which no other is better in one way and no worse in the other, by rising tokens."""
    best: list[tuple[float, float]] = []
    for tokens, accuracy in sorted(points, key=lambda point: (point[0], -point[1])):
        if not best or accuracy > best[-1][1]:
            best.append((tokens, accuracy))
    return best


def _legend_below(figure: Figure) -> float:
    """One legend for all panels, below them, where it hides nothing; returns the share of the height that it takes."""
    handles: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    width, height = figure.get_size_inches()
    columns = max(1, min(len(handles), int(width / (0.6 + 0.085 * max(map(len, handles))))))
    figure.legend(handles.values(), handles.keys(), loc="lower center", ncols=columns, fontsize=SMALL)
    return float((0.15 + 0.2 * -(-len(handles) // columns)) / height)


def _whole_steps(axes: Axes) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _save(figure: Figure, path: Path, bottom: float = 0) -> None:
    figure.tight_layout(rect=(0, bottom, 1, 1))
    figure.savefig(path, dpi=150)
    plt.close(figure)
