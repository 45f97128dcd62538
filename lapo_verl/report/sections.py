"""The report's sections: each makes its tables and pictures of the numbers, or says why there are none."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lapo_verl.objectives.metrics import METRICS
from lapo_verl.report import pictures
from lapo_verl.report.bootstrap import Estimate
from lapo_verl.report.comparison import Change, Measured
from lapo_verl.report.examples import choose_examples
from lapo_verl.report.following import CELLS
from lapo_verl.report.numbers import Numbers
from lapo_verl.report.page import Picture, Section, Table, Text
from lapo_verl.report.pictures import Trail
from lapo_verl.runs.keywords import GROUPS
from lapo_verl.runs.summary import right_and_wrong

# The rows of the training's table.
SHOWN_METRICS = (
    "lapo/accuracy",
    "lapo/tokens_correct",
    "lapo/tokens_wrong",
    "lapo/length_reward",
    "lapo/in_band_share",
    "lapo/solved_share",
    "lapo/no_signal_share",
    "lapo/budget_mean",
    "lapo/budget_change",
    "lapo/adherence_tokens",
    "lapo/adherence_relative",
    "lapo/truncated_share",
    "lapo/verify_timeouts_total",
    "lapo/hook_seconds_total",
)


def make_sections(numbers: Numbers, folder: Path, progress: Callable[[str], object]) -> list[Section]:
    """All sections that have something to show; writes their pictures into ``folder``."""
    makers = (
        ("Result", _result),
        ("Pass@1 and tokens", _table1),
        ("Truncation", _truncation),
        ("Accuracy against tokens", _pareto),
        ("Budgets asked for", _following),
        ("Accuracy under a cut", _cut),
        ("By difficulty level", _levels),
        ("Response lengths", _lengths),
        ("Over training steps", _steps),
        ("Adherence to budgets", _adherence),
        ("Budgets over time", _budgets),
        ("Keywords by behaviour", _keywords),
        ("Example responses", _examples),
    )
    sections = []
    for title, make in makers:
        progress(title)
        parts = list(make(numbers, folder))
        if parts:
            sections.append(Section(title, parts))
    sections.append(
        Section(
            "Left out",
            [Text(numbers.left_out or ["Nothing: the report uses all that the runs contain."])],
        )
    )
    return sections


def table1(numbers: Numbers, brief: bool = False) -> Table:
    """Table 1, with changes where there is a base; ``brief`` is for a terminal of 80 columns."""
    header = ["benchmark", "model", "Pass@1, %", "tokens", "right / wrong"]
    compares = numbers.base is not None and len(numbers.models) > 1
    if compares:
        header += ["change in tokens, %", "change in Pass@1, points"]
    header += ["truncated, %", "problems / samples"]
    rows = []
    for benchmark, models, changes in _by_benchmark(numbers):
        for name, measured in models.items():
            lengths = right_and_wrong({"tokens_right": measured.tokens_right, "tokens_wrong": measured.tokens_wrong})
            row = [benchmark, name, _estimate(measured.pass_at_1), _estimate(measured.tokens), lengths]
            if compares:
                change = changes.get(name)
                none = "base" if name == numbers.base else "-"
                row += [
                    none if change is None else _estimate(change.tokens, sign=True),
                    none if change is None else _estimate(change.pass_at_1, sign=True),
                ]
            rows.append([*row, _number(measured.truncated), f"{measured.problems:,} / {measured.samples:,}"])
    if brief:
        kept = header.index("truncated, %")
        rows = [
            [cell.partition(" (")[0] if column > 1 else cell for column, cell in enumerate(row[:kept])] for row in rows
        ]
        return Table("Means over problems; the report has their intervals.", header[:kept], rows, numbers_from=2)
    against = f", and the change against {numbers.base} on the problems that both answered" if compares else ""
    caption = (
        "Pass@1 (mean over problems of the share of correct samples) and mean response tokens of each model, with 95 %"
        f" bootstrap intervals over problems{against}; right / wrong: mean tokens of right and of wrong answers."
    )
    return Table(caption, header, rows, numbers_from=2)


def _result(numbers: Numbers, folder: Path) -> Iterator[Text]:
    sentences = []
    for benchmark, _, changes in _by_benchmark(numbers):
        if numbers.averages and benchmark in numbers.common:
            continue
        for name, change in changes.items():
            if change.tokens is None:
                continue
            tokens = _estimate(change.tokens, sign=True, unit=" %")
            points = _estimate(change.pass_at_1, sign=True, unit=" points")
            sentences.append(
                f"{name} against {numbers.base}, {benchmark}: tokens {tokens}, Pass@1 {points}. {_verdict(change)}"
            )
    if sentences:
        yield Text(sentences)


def _table1(numbers: Numbers, folder: Path) -> Iterator[Table]:
    if numbers.measured:
        yield table1(numbers)
    else:
        numbers.left_out.append("Everything about accuracy and response lengths: no run has validation samples")


def _truncation(numbers: Numbers, folder: Path) -> Iterator[Table]:
    others = ("accuracy_others", "tokens_others", "tokens_others_right", "tokens_others_wrong")
    columns = ("truncated", "accuracy_truncated", *others)
    rows = [
        [benchmark, name, *(_number(found[column]) for column in columns)]
        for benchmark, models in numbers.truncation.items()
        for name, found in models.items()
    ]
    if rows:
        yield Table(
            "Samples that were cut off at the response limit: their share and accuracy, and accuracy and tokens of the "
            "others; where much is cut off, a shorter mean may only mean fewer cut-off samples.",
            [
                *("benchmark", "model", "truncated, %", "accuracy of these, %", "accuracy of others, %"),
                *("tokens of others", "of their right answers", "of their wrong answers"),
            ],
            rows,
            numbers_from=2,
        )
    elif numbers.measured:
        numbers.left_out.append("Truncation: no samples say whether they were cut off")


def _pareto(numbers: Numbers, folder: Path) -> Iterator[Picture]:
    panels: dict[str, dict[str, Trail]] = {}
    for benchmark, models, _ in _by_benchmark(numbers):
        trails = {}
        for run, position in _styles(numbers).items():
            steps = numbers.validation.get(run, {}).get(benchmark)
            if steps is not None:
                points = [(f"step {step}", m.tokens, m.pass_at_1) for step, m in steps.items()]
                trails[run] = Trail(position, points)
        for position, (name, measured) in enumerate(models.items()):
            if numbers.models[name].run not in trails:
                trails[name] = Trail(position, [(name, measured.tokens, measured.pass_at_1)])
        panels[benchmark] = trails
    if panels:
        path = folder / "pareto.png"
        pictures.draw_pareto(panels, path)
        yield Picture(
            path,
            "Pass@1 against mean response tokens of all checkpoints, with 95 % intervals; the upper left is best.",
        )


def _following(numbers: Numbers, folder: Path) -> Iterator[Table | Picture]:
    for benchmark, models in numbers.following.items():
        yield Table(
            f"{benchmark}: tokens asked for, in the words of the training, and tokens used; self: the model planned "
            "its own length. Error: mean distance of a response's length from the budget; within 10 %: share of the "
            "responses. Right / wrong: mean tokens of right and of wrong answers.",
            ["model", *CELLS],
            [[name, *each.cells()] for name, budgets in models.items() for each in budgets],
        )
        path = folder / f"following_{_slug(benchmark, list(numbers.following))}.png"
        pictures.draw_following(models, path, f"Budgets asked for: {benchmark}")
        yield Picture(
            path,
            f"{benchmark}: left, mean response tokens against the budget asked for (dashed: as asked); right, Pass@1 "
            "against the tokens used; a number is the budget, a star the model's own planning.",
        )
        by_level = [
            [name, level, *of_level.cells()]
            for name, budgets in models.items()
            for each in budgets
            for level, of_level in each.by_level.items()
        ]
        if by_level:
            yield Table(
                f"{benchmark}: the same by difficulty level.", ["model", "level", *CELLS], by_level, numbers_from=2
            )


def _cut(numbers: Numbers, folder: Path) -> Iterator[Table]:
    limits = numbers.options.cuts
    rows = [
        [benchmark, name, *(_number(found[limit]) for limit in limits)]
        for benchmark, models in numbers.cut.items()
        for name, found in models.items()
    ]
    if rows:
        yield Table(
            "Pass@1 in % if responses were cut at so many tokens: a longer one counts as wrong.",
            ["benchmark", "model", *(f"{limit:,} tokens" for limit in limits)],
            rows,
            numbers_from=2,
        )


def _levels(numbers: Numbers, folder: Path) -> Iterator[Table | Picture]:
    any_level = False
    for benchmark, summaries in numbers.summaries.items():
        levelled = {name: summary for name, summary in summaries.items() if summary["by_level"]}
        if not levelled:
            continue
        any_level = True
        levels = list(dict.fromkeys(level for summary in levelled.values() for level in summary["by_level"]))
        cells = {name: summary["by_level"] for name, summary in levelled.items()}
        yield Table(
            f"{benchmark}: Pass@1 in % | mean response tokens (of right / of wrong answers) by difficulty level; in "
            "square brackets the number of problems.",
            ["model", *(f"level {level}" for level in levels)],
            [[name, *(_level_cell(parts.get(level)) for level in levels)] for name, parts in cells.items()],
        )
        path = folder / f"levels_{_slug(benchmark, numbers)}.png"
        pictures.draw_levels(levelled, path, f"Tokens by difficulty level: {benchmark}")
        yield Picture(path, f"{benchmark}: mean response tokens by difficulty level; harder problems should get more.")
    if numbers.measured and not any_level:
        numbers.left_out.append("By difficulty level: no sample names a level")


def _lengths(numbers: Numbers, folder: Path) -> Iterator[Table | Picture]:
    for benchmark, models in numbers.lengths.items():
        columns = list(next(iter(models.values())))
        yield Table(
            f"{benchmark}: response tokens over all samples: mean, mean of right and of wrong answers, percentiles and "
            "the longest.",
            ["model", *columns],
            [[name, *(_number(found[column]) for column in columns)] for name, found in models.items()],
        )
        path = folder / f"lengths_{_slug(benchmark, numbers)}.png"
        samples = {name: numbers.models[name].benchmarks[benchmark] for name in models}
        pictures.draw_lengths(samples, path, f"Response lengths: {benchmark}")
        yield Picture(path, f"{benchmark}: distribution of the response tokens of all samples; dashed: the mean.")


def _steps(numbers: Numbers, folder: Path) -> Iterator[Table | Picture]:
    styles = _styles(numbers)
    if numbers.validation:
        curves = {
            run: {
                benchmark: {step: (m.pass_at_1, m.tokens) for step, m in steps.items()}
                for benchmark, steps in benchmarks.items()
            }
            for run, benchmarks in numbers.validation.items()
        }
        shown = list(dict.fromkeys(name for benchmarks in curves.values() for name in benchmarks))
        path = folder / "validation_steps.png"
        pictures.draw_validation(curves, shown, styles, path)
        yield Picture(
            path, "Pass@1 and mean tokens of the validation samples over the training steps, with 95 % intervals."
        )
    else:
        numbers.left_out.append("Validation over training steps: no run has dumps of several steps")
    if not numbers.training:
        numbers.left_out.append("Training over steps: no run has a log (metrics*.jsonl) with lapo/ metrics")
        return
    path = folder / "training.png"
    pictures.draw_training(numbers.training, path, consecutive=False, styles=styles)
    yield Picture(
        path, "Accuracy of the training rollouts, tokens of the correct ones and budgets (dotted) over the steps."
    )
    yield Table(
        "Training metrics: mean over the first and over the last tenth of each run's steps.",
        ["metric", "unit", "healthy", *(f"{run}, {part}" for run in numbers.training for part in ("first", "last"))],
        [
            [
                metric,
                METRICS[metric].unit,
                METRICS[metric].healthy,
                *(cell for steps in numbers.training.values() for cell in _ends(steps, metric)),
            ]
            for metric in SHOWN_METRICS
            if any(metric in values for steps in numbers.training.values() for values in steps.values())
        ],
        numbers_from=3,
    )


def _adherence(numbers: Numbers, folder: Path) -> Iterator[Table | Picture]:
    if not numbers.adherence:
        numbers.left_out.append("Adherence: no run's log or store has budgets that prompts showed (stage 2)")
        return
    rows = []
    for run, steps in numbers.adherence.items():
        rows.append(
            [
                run,
                *(
                    cell
                    for name in ("tokens", "relative")
                    for cell in _ends(steps, name, 100 if name == "relative" else 1)
                ),
            ]
        )
    yield Table(
        "Distance |length - budget| of the correct training rollouts from the budget that they were shown: mean over "
        "the first and the last tenth of the steps; it should fall.",
        ["run", "tokens, first", "tokens, last", "% of the budget, first", "% of the budget, last"],
        rows,
    )
    path = folder / "adherence.png"
    pictures.draw_adherence(numbers.adherence, numbers.visits, _styles(numbers), path)
    beside = " Right: visits of the last quarter of the steps, from the length store." if numbers.visits else ""
    yield Picture(
        path,
        f"Mean distance of the correct training rollouts from the budget that they were shown, over steps.{beside}",
    )


def _budgets(numbers: Numbers, folder: Path) -> Iterator[Table | Picture]:
    if not numbers.budgets:
        numbers.left_out.append("Budgets over time: no run has a length store with records")
    for run, problems in numbers.budgets.items():
        path = folder / f"budgets_{_slug(run, [each.name for each in numbers.runs])}.png"
        pictures.draw_budgets(problems, numbers.store_runs[run], path, f"Budgets over time: {run}")
        yield Picture(
            path,
            f"{run}: budget M(q) of the problems whose budget changed most, and of those asked for, with the tokens of "
            "their correct training rollouts.",
        )
        rows = []
        for problem, visits in problems.items():
            # A later stage's store has the earlier one's visits as well, which have a table of their own.
            records = [record for record in visits if record.run == numbers.store_runs[run][-1]]
            known = [record.target for record in records if record.target is not None]
            first, last = (known[0], known[-1]) if known else (None, None)
            change = None if first is None or last is None else last - first
            rows.append([problem, str(len(records)), _number(first), _number(last), _number(change, sign=True)])
        yield Table(
            f"{run}: first and last known budget of these problems, of this run's visits.",
            ["problem", "visits", "first budget, tokens", "last budget, tokens", "change, tokens"],
            rows,
        )


def _keywords(numbers: Numbers, folder: Path) -> Iterator[Table | Picture | Text]:
    shown = {benchmark: models for benchmark, models in numbers.keywords.items() if models}
    if numbers.measured and not shown:
        numbers.left_out.append("Keywords by behaviour: no sample has a response text")
    for benchmark, models in shown.items():
        yield Table(
            f"{benchmark}: keywords by behaviour, per response | per 1,000 tokens.",
            ["model", *GROUPS],
            [
                [
                    name,
                    *(
                        f"{counts[group]['per_response']:.2f} | {counts[group]['per_1000_tokens']:.2f}"
                        for group in GROUPS
                    ),
                ]
                for name, counts in models.items()
            ],
        )
        path = folder / f"keywords_{_slug(benchmark, numbers)}.png"
        pictures.draw_keywords(models, path, f"Keywords by behaviour: {benchmark}")
        yield Picture(
            path, f"{benchmark}: how often keywords of each behaviour occur, per response and per 1,000 tokens."
        )
    if shown:
        yield Text([f"Keywords of {group}: {', '.join(terms)}." for group, terms in GROUPS.items()])


def _examples(numbers: Numbers, folder: Path) -> Iterator[Any]:
    yield from choose_examples(numbers)


def _by_benchmark(numbers: Numbers) -> Iterator[tuple[str, Mapping[str, Measured], Mapping[str, Change]]]:
    for benchmark, models in numbers.measured.items():
        yield benchmark, models, numbers.changes.get(benchmark, {})
    if numbers.averages:
        yield _average(numbers), numbers.averages, numbers.average_changes


def _average(numbers: Numbers) -> str:
    return f"average of {len(numbers.common)} benchmarks"


def _styles(numbers: Numbers) -> dict[str, int]:
    """{run: position of its colour and mark}: those of its last model in the tables, or free ones."""
    last = {checkpoint.run: position for position, checkpoint in enumerate(numbers.models.values())}
    free = iter(range(len(numbers.models), len(numbers.models) + len(numbers.runs)))
    return {run.name: last[run.name] if run.name in last else next(free) for run in numbers.runs}


def _verdict(change: Change) -> str:
    assert change.tokens is not None
    lengths, accuracy = _direction(change.tokens), _direction(change.pass_at_1)
    if lengths is None or accuracy is None:
        return "One problem is too few to say."
    shorter = {-1: "Shorter", 0: "No clear change in length", 1: "Longer"}[lengths]
    return f"{shorter}, {({-1: 'less accurate', 0: 'no clear change in accuracy', 1: 'more accurate'})[accuracy]}."


def _direction(estimate: Estimate) -> int | None:
    """-1 or 1 where the whole interval is below or above 0, else 0; None without an interval."""
    if estimate.low is None or estimate.high is None:
        return None
    return -1 if estimate.high < 0 else 1 if estimate.low > 0 else 0


def _level_cell(part: Mapping[str, Any] | None) -> str:
    if part is None:
        return "-"
    return f"{part['pass@1']:.1f} | {_number(part['tokens'])} ({right_and_wrong(part)}) [{part['problems']}]"


def _ends(steps: Mapping[int, Mapping[str, float]], name: str, factor: float = 1) -> tuple[str, str]:
    """The means over the first and over the last tenth of the steps."""
    values = [factor * metrics[name] for metrics in steps.values() if name in metrics]
    if not values:
        return "-", "-"
    tenth = -(-len(values) // 10)
    return f"{sum(values[:tenth]) / tenth:.3g}", f"{sum(values[-tenth:]) / tenth:.3g}"


def _estimate(estimate: Estimate | None, sign: bool = False, unit: str = "") -> str:
    """``86.6 (83.1 to 89.9)``."""
    if estimate is None:
        return "-"
    value = _number(estimate.value, sign) + unit
    if estimate.low is None or estimate.high is None:
        return value
    return f"{value} ({_number(estimate.low, sign)} to {_number(estimate.high, sign)})"


def _number(value: float | None, sign: bool = False) -> str:
    """With one decimal, or none from a thousand on."""
    if value is None:
        return "-"
    return f"{value:{'+' if sign else ''}{',.0f' if abs(value) >= 1000 else '.1f'}}"


def _slug(name: str, among: Numbers | list[str]) -> str:
    """A file name for ``name``, different from those of the others."""
    names = among.benchmarks if isinstance(among, Numbers) else among
    plain = ["".join(char if char.isascii() and char.isalnum() else "_" for char in each)[:60] for each in names]
    position = names.index(name)
    return plain[position] if plain.count(plain[position]) == 1 else f"{plain[position]}_{position}"
