"""All numbers of a report: what ``report.json`` holds, and what tables and pictures are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from lapo_verl.report.bootstrap import CONFIDENCE
from lapo_verl.report.comparison import Bootstrap, Change, Measured, average, change, measure, pair
from lapo_verl.report.following import Followed, followed
from lapo_verl.report.store_stats import adherence, most_changed
from lapo_verl.runs.folder import Checkpoint, Run
from lapo_verl.runs.summary import (
    accuracy_when_cut,
    summarize,
    summarize_keywords,
    summarize_lengths,
    summarize_truncation,
)
from lapo_verl.store import LengthStore, Record, StoreError


@dataclass(frozen=True)
class Options:
    """What the user chose.

    Attributes:
        bootstrap: of all intervals.
        problems: ids whose budgets and responses are shown in any case.
        top: how many of the most changed problems' budgets are shown.
        cuts: token limits under which the accuracy is also shown.
    """

    bootstrap: Bootstrap
    problems: tuple[str, ...] = ()
    top: int = 6
    cuts: tuple[int, ...] = ()


@dataclass
class Numbers:
    """The report's numbers, by benchmark and model, or by run.

    Attributes:
        models: {name to show: checkpoint}.
        base: the model that the others are compared with; None where there is none.
        benchmarks: all of them.
        common: those that the base and all who share a benchmark with it have answered; averages are over these.
        measured, changes, summaries, lengths, truncation, keywords: {benchmark: {model: ...}}.
        averages, average_changes: {model: ...}; empty where fewer than two benchmarks are common.
        cut: {benchmark: {model: {limit: Pass@1 in percent where longer responses count as wrong}}}.
        following: {benchmark: {model: one entry a budget, the model's own planning last where it was asked for}}.
        validation: {run: {benchmark: {step: ...}}}, of trainings with dumps of several steps.
        training: {run: {step: {``lapo/`` metric: value}}}.
        adherence: {run: {step: {"tokens", "relative"}}}, from the log, else from the store.
        visits: {run: [(budget shown, mean length of the correct rollouts)]}.
        budgets: {run: {problem: records}}, of the most changed and the asked for.
        left_out: what could not be used, one sentence each.
    """

    runs: Sequence[Run]
    models: dict[str, Checkpoint]
    base: str | None
    options: Options
    benchmarks: list[str] = field(default_factory=list)
    common: list[str] = field(default_factory=list)
    measured: dict[str, dict[str, Measured]] = field(default_factory=dict)
    changes: dict[str, dict[str, Change]] = field(default_factory=dict)
    averages: dict[str, Measured] = field(default_factory=dict)
    average_changes: dict[str, Change] = field(default_factory=dict)
    summaries: dict[str, dict[str, Any]] = field(default_factory=dict)
    lengths: dict[str, dict[str, Any]] = field(default_factory=dict)
    truncation: dict[str, dict[str, Any]] = field(default_factory=dict)
    keywords: dict[str, dict[str, Any]] = field(default_factory=dict)
    cut: dict[str, dict[str, dict[int, float]]] = field(default_factory=dict)
    following: dict[str, dict[str, list[Followed]]] = field(default_factory=dict)
    validation: dict[str, dict[str, dict[int, Measured]]] = field(default_factory=dict)
    training: dict[str, dict[int, dict[str, float]]] = field(default_factory=dict)
    adherence: dict[str, dict[int, dict[str, float]]] = field(default_factory=dict)
    visits: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    budgets: dict[str, dict[str, list[Record]]] = field(default_factory=dict)
    store_runs: dict[str, list[str]] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """What ``report.json`` holds."""
        return {
            "runs": [{"name": run.name, "path": str(run.path)} for run in self.runs],
            "models": list(self.models),
            "base": self.base,
            "settings": {
                "confidence": CONFIDENCE,
                "resamples": self.options.bootstrap.resamples,
                "seed": self.options.bootstrap.seed[0],
            },
            "table1": {
                benchmark: {
                    model: _row(measured, self.changes.get(benchmark, {}).get(model))
                    for model, measured in models.items()
                }
                for benchmark, models in self.measured.items()
            },
            "average": {
                "benchmarks": self.common if self.averages else [],
                "models": {
                    model: _row(measured, self.average_changes.get(model)) for model, measured in self.averages.items()
                },
            },
            "by_level": {
                benchmark: {model: summary["by_level"] for model, summary in models.items()}
                for benchmark, models in self.summaries.items()
            },
            "lengths": self.lengths,
            "truncation": self.truncation,
            "keywords": self.keywords,
            "cut": self.cut,
            "following": {
                benchmark: {model: [each.to_json() for each in budgets] for model, budgets in models.items()}
                for benchmark, models in self.following.items()
            },
            "validation": {
                run: {
                    benchmark: {step: measured.to_json() for step, measured in steps.items()}
                    for benchmark, steps in benchmarks.items()
                }
                for run, benchmarks in self.validation.items()
            },
            "training": self.training,
            "adherence": self.adherence,
            "budgets": {
                run: {problem: [asdict(record) for record in records] for problem, records in problems.items()}
                for run, problems in self.budgets.items()
            },
            "left_out": self.left_out,
        }


def compute(
    runs: Sequence[Run], models: dict[str, Checkpoint], base: str | None, options: Options, left_out: list[str]
) -> Numbers:
    """All that can be computed; what cannot goes into ``left_out``."""
    numbers = Numbers(runs, models, base, options, left_out=left_out)
    numbers.benchmarks = list(dict.fromkeys(name for model in models.values() for name in model.benchmarks))
    _put_samples(numbers)
    _put_following(numbers)
    _put_changes(numbers)
    _put_validation(numbers)
    for run in runs:
        metrics = {
            step: {name: value for name, value in values.items() if name.startswith("lapo/")}
            for step, values in run.metrics.items()
        }
        if any(metrics.values()):
            numbers.training[run.name] = {step: values for step, values in metrics.items() if values}
            numbers.adherence[run.name] = {
                step: {name: values[f"lapo/adherence_{name}"] for name in ("tokens", "relative")}
                for step, values in metrics.items()
                if {"lapo/adherence_tokens", "lapo/adherence_relative"} <= values.keys()
            }
        if run.store is not None:
            _put_store(numbers, run)
    numbers.adherence = {name: steps for name, steps in numbers.adherence.items() if steps}
    for problem in options.problems:
        in_store = any(problem in problems for problems in numbers.budgets.values())
        if not in_store and not any(model.has(problem) for model in models.values()):
            left_out.append(f"Problem {problem!r}: it is neither in the samples nor in a length store")
    return numbers


def _row(measured: Measured, change: Change | None) -> dict[str, Any]:
    return {**measured.to_json(), "change": None if change is None else change.to_json()}


def _put_samples(numbers: Numbers) -> None:
    for benchmark in numbers.benchmarks:
        models = {
            name: model.benchmarks[benchmark] for name, model in numbers.models.items() if benchmark in model.benchmarks
        }
        bootstrap = numbers.options.bootstrap.of(benchmark)
        numbers.measured[benchmark] = {name: measure(samples, bootstrap) for name, samples in models.items()}
        numbers.summaries[benchmark] = {name: summarize(samples) for name, samples in models.items()}
        numbers.lengths[benchmark] = {name: summarize_lengths(samples) for name, samples in models.items()}
        if numbers.options.cuts:
            numbers.cut[benchmark] = {
                name: {limit: accuracy_when_cut(samples, limit) for limit in numbers.options.cuts}
                for name, samples in models.items()
            }
        for all_of_them, summarized in (
            (numbers.truncation, {name: summarize_truncation(samples) for name, samples in models.items()}),
            (numbers.keywords, {name: summarize_keywords(samples) for name, samples in models.items()}),
        ):
            all_of_them[benchmark] = {name: found for name, found in summarized.items() if found is not None}
    _put_averages(numbers)


def _put_following(numbers: Numbers) -> None:
    for name, model in numbers.models.items():
        for asked, benchmarks in [*model.budgets.items(), (None, model.benchmarks)]:
            for benchmark, samples in benchmarks.items():
                if any(benchmark in of_budget for of_budget in model.budgets.values()):
                    numbers.following.setdefault(benchmark, {}).setdefault(name, []).append(followed(samples, asked))


def _put_averages(numbers: Numbers) -> None:
    answered = [name for name, model in numbers.models.items() if model.benchmarks]
    if not answered:
        return
    first = numbers.base if numbers.base in answered else answered[0]
    asked = numbers.models[first].benchmarks
    compared = {
        name: model.benchmarks for name, model in numbers.models.items() if asked.keys() & model.benchmarks.keys()
    }
    apart = [name for name in answered if name not in compared]
    if apart:
        numbers.left_out.append(f"Comparison with {first}: no benchmark in common with {', '.join(apart)}")
    numbers.common = [benchmark for benchmark in asked if all(benchmark in has for has in compared.values())]
    for benchmark in numbers.benchmarks:
        without = [name for name, has in compared.items() if benchmark not in has]
        if without and any(benchmark in has for has in compared.values()):
            numbers.left_out.append(
                f"Average over benchmarks: without {benchmark}, not answered by {', '.join(without)}"
            )
    if len(numbers.common) > 1:
        numbers.averages = {
            name: average([numbers.measured[benchmark][name] for benchmark in numbers.common]) for name in compared
        }


def _put_changes(numbers: Numbers) -> None:
    if numbers.base is None:
        return
    base = numbers.models[numbers.base].benchmarks
    for name, model in numbers.models.items():
        if name == numbers.base:
            continue
        pairs = {}
        for benchmark in (benchmark for benchmark in base if benchmark in model.benchmarks):
            paired = pair(base[benchmark], model.benchmarks[benchmark], numbers.options.bootstrap.of(benchmark))
            if paired is None:
                numbers.left_out.append(f"{name} against {numbers.base} on {benchmark}: no problem in common")
                continue
            pairs[benchmark] = paired
            numbers.changes.setdefault(benchmark, {})[name] = change([paired])
            most = max(numbers.measured[benchmark][each].problems for each in (name, numbers.base))
            if paired.problems < most:
                numbers.left_out.append(
                    f"{name} against {numbers.base} on {benchmark}: {paired.problems} problems are common, the others"
                    " count for the means and not for the change"
                )
        if name in numbers.averages and all(benchmark in pairs for benchmark in numbers.common):
            numbers.average_changes[name] = change([pairs[benchmark] for benchmark in numbers.common])


def _put_validation(numbers: Numbers) -> None:
    for run in numbers.runs:
        steps: dict[str, dict[int, Measured]] = {}
        for checkpoint in run.checkpoints:
            if checkpoint.step is None:
                continue
            for benchmark, samples in checkpoint.benchmarks.items():
                name = next((name for name, model in numbers.models.items() if model is checkpoint), None)
                measured = (
                    measure(samples, numbers.options.bootstrap.of(benchmark))
                    if name is None
                    else numbers.measured[benchmark][name]
                )
                steps.setdefault(benchmark, {})[checkpoint.step] = measured
        several = {benchmark: measured for benchmark, measured in steps.items() if len(measured) > 1}
        if several:
            numbers.validation[run.name] = several


def _put_store(numbers: Numbers, run: Run) -> None:
    assert run.store is not None
    try:
        with LengthStore.open(run.store, read_only=True) as store:
            ids = [each["problem_id"] for each in most_changed(store, numbers.options.top)]
            histories = {
                problem: store.history(problem) for problem in dict.fromkeys((*numbers.options.problems, *ids))
            }
            found = adherence(store)
            runs = [each.name for each in store.runs()]
    except StoreError as error:
        numbers.left_out.append(f"{run.name}: {error}")
        return
    budgets = {problem: records for problem, records in histories.items() if records}
    if budgets:
        numbers.budgets[run.name] = budgets
        numbers.store_runs[run.name] = runs
    if found.visits:
        numbers.visits[run.name] = found.visits
    if found.steps and not numbers.adherence.get(run.name):
        numbers.adherence[run.name] = found.steps
