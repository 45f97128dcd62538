"""``lapo report``: reads runs, and writes the HTML page, the pictures, the Markdown and the JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from lapo_verl.report.numbers import Numbers, Options, compute
from lapo_verl.report.page import Section, Text, to_html, to_markdown
from lapo_verl.report.sections import make_sections
from lapo_verl.runs.folder import Run, RunError, dumps_of, find_base, labels, read_run

TITLE = "LAPO report"


def make_report(
    paths: Mapping[str, Path], output: Path, base: str | None, options: Options, console: Console
) -> Numbers:
    """Write ``report.html``, ``report.md``, ``report.json`` and the PNGs into ``output``; what is there is replaced.

    Args:
        paths: {name of the run: its folder or file}.
        base: name of the run or model that the others are compared with; None is the first run.
        console: where the progress is shown.

    Raises:
        RunError: nothing in the runs can be used, or nothing is called ``base``.
        OSError: a file cannot be read or written.
    """
    left_out: list[str] = []
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as progress:
        size = sum(dump.stat().st_size for path in paths.values() if path.exists() for dump in dumps_of(path))
        bar = progress.add_task("reading samples", total=size or None)
        runs = [
            read_run(name, path, left_out, lambda count: progress.advance(bar, count)) for name, path in paths.items()
        ]
        if all(run.empty for run in runs):
            raise RunError(f"nothing to report on: {'; '.join(left_out)}")
        models = labels(runs)
        chosen = find_base(base, runs, models)
        if chosen is None and len(models) > 1:
            wanted = base or runs[0].name
            left_out.append(f"Changes against a base: {wanted} has no samples; choose another with --base")
        progress.update(bar, description="computing intervals", total=None)
        numbers = compute(runs, models, chosen, options, left_out)
        output.mkdir(parents=True, exist_ok=True)
        sections = make_sections(numbers, output, lambda title: progress.update(bar, description=f"drawing: {title}"))
    sections.append(_about(runs, numbers))
    _write(output / "report.html", to_html(TITLE, sections))
    _write(output / "report.md", to_markdown(TITLE, sections))
    _write(output / "report.json", json.dumps(numbers.to_json(), indent=1, allow_nan=False) + "\n")
    return numbers


def _about(runs: list[Run], numbers: Numbers) -> Section:
    bootstrap = numbers.options.bootstrap
    return Section(
        "About this report",
        [
            Text(
                [
                    *(f"{run.name}: {run.path}" for run in runs),
                    f"Base: {numbers.base or 'none'}.",
                    f"Intervals: percentile bootstrap over problems, {bootstrap.resamples:,} resamples, seed "
                    f"{bootstrap.seed[0]}; changes are paired, averages resample inside each benchmark.",
                ]
            )
        ],
    )


def _write(path: Path, text: str) -> None:
    # A model's text may hold half a surrogate pair, which has no UTF-8.
    path.write_text(text, encoding="utf-8", errors="replace")
