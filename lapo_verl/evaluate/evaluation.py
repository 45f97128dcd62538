"""Every checkpoint on every benchmark in every condition; what is answered already is kept."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from rich.console import Console

from lapo_verl import cpu
from lapo_verl.cpu import warm_python
from lapo_verl.evaluate.benchmarks import Benchmark, Question, level_of, questions, read_benchmark
from lapo_verl.evaluate.conditions import Condition, conditions_of
from lapo_verl.evaluate.judge import Judge, as_lines
from lapo_verl.evaluate.models import Model, check_reachable, resolve_model
from lapo_verl.evaluate.prompts import prompt_of
from lapo_verl.evaluate.settings import EvalError, EvalSettings
from lapo_verl.evaluate.verl_run import answer
from lapo_verl.files import settings_key, whole_file, write_whole
from lapo_verl.runs.dumps import Sample, read_samples
from lapo_verl.runs.summary import accuracy_when_cut, summarize

PLATFORMS = ("cpu", "gpu")


@dataclass(frozen=True)
class Result:
    """A checkpoint on a benchmark in a condition.

    Attributes:
        condition: empty for the plain one, ``conflict=500``, or ``budget=40``.
        summary: of ``runs.summary.summarize``, and ``cut``: {limit: Pass@1 in percent} where limits were given.
    """

    checkpoint: str
    benchmark: str
    condition: str
    problems: int
    n: int
    summary: dict[str, Any]


@dataclass(frozen=True)
class Evaluation:
    """What was measured, and the file of all samples that it was measured on."""

    samples: Path
    results: list[Result]


@dataclass(frozen=True)
class Cell:
    """A checkpoint on a benchmark in a condition: what is answered and cached as one."""

    model: Model
    benchmark: Benchmark
    condition: Condition
    n: int
    path: Path


def evaluate(
    models: Mapping[str, str | Path],
    files: Mapping[str, Path],
    settings: EvalSettings,
    output: Path,
    platform: str | None = None,
    console: Console | None = None,
) -> Evaluation:
    """Let models answer benchmarks with verl's validation; one start of verl a model.

    A model is asked with the prompt of its training, where that is noted beside its checkpoint (``lapo_prompt.json``).
    Samples are kept in ``output``, one file a model, benchmark and condition, named by a hash of model, file, settings
    and prompt. They are not drawn again; those that an older verifier of LAPO's has judged are judged again.

    ``output/samples.jsonl`` holds all of those asked for, a row a sample: ``checkpoint``, ``benchmark``, ``condition``
    (empty, ``conflict=500``, ``budget=40``), ``budget`` (tokens that the prompt asks for, or null), ``problem_id``,
    ``level`` (text or null), ``sample`` (from 0), ``prompt`` and ``response`` (text), ``ground_truth``, ``acc`` (1.0 or
    0.0), ``tokens`` (of the response), ``truncated``, ``verifier`` (the revision of LAPO's, or null).

    ``output/eval.json`` holds the settings and results.

    Args:
        models: {name: Hugging Face folder, verl's folder ``global_step_N``, or name on the hub}.
        files: {name of the benchmark: parquet or JSONL file in verl's format}.
        platform: ``cpu`` or ``gpu``; None for what this machine has.
        console: for progress; None for standard error.

    Raises:
        EvalError: a model, file or setting cannot be used, or verl failed; what was answered before is kept.
    """
    if not models or not files:
        raise EvalError("nothing to evaluate: at least one model and one benchmark file are needed")
    if platform is not None and platform not in PLATFORMS:
        raise EvalError(f"platform {platform!r}: must be one of {', '.join(PLATFORMS)}")
    console = console or Console(stderr=True)
    _check_benchmark_names(settings, list(files))
    with console.status("reading benchmarks and models"):
        benchmarks = [read_benchmark(name, Path(path), settings.verifier) for name, path in files.items()]
        resolved = [resolve_model(name, path) for name, path in models.items()]
    for model in resolved:
        if Path(models[model.name]).expanduser().is_dir():
            console.print(f"{model.name}: {model.path}", highlight=False, markup=False, soft_wrap=True)
        _check_context(model, settings)
    if settings.guidance_overrides and all(model.training is not None for model in resolved):
        raise EvalError(f"{settings.guidance_overrides[0]}: all models note their sentence; leave the argument out")
    resolved = [_with_prompt(model, settings, console) for model in resolved]
    if len({model.prompt for model in resolved}) > 1:
        console.print("the models are asked in different ways; to ask all alike: -- lapo.prompt=NAME", highlight=False)
    output, judge = output.expanduser().resolve(), Judge.of(settings)
    cells = [cell for model in resolved for cell in _cells(model, benchmarks, settings, output)]
    missing = [cell for cell in cells if not cell.path.exists()]
    platform = platform or _platform()
    with warm_python.offered() if platform == "cpu" else nullcontext():
        for model in resolved:
            if own := [cell for cell in missing if cell.model is model]:
                check_reachable(model)
                _answer(model, own, settings, platform, output / model.name, console)
            else:
                console.print(f"{model.name}: answered before, kept in {output / model.name}", highlight=False)
    with console.status("judging answers of an older verifier again"):
        judged = sum(judge.judge_again(path) for path in dict.fromkeys(cell.path for cell in cells))
    if judged:
        console.print(f"{judged} kept answers were judged again by the present verifier", highlight=False)
    with console.status("putting the samples together"):
        return _collect(cells, settings, output)


def _with_prompt(model: Model, settings: EvalSettings, console: Console) -> Model:
    """The model with the prompt that it is asked with; prints that prompt's name."""
    prompt, why = prompt_of(model, settings)
    console.print(f"{model.name}: lapo.prompt={prompt.name}, {why}", highlight=False, markup=False)
    return replace(model, prompt=prompt)


def _cells(model: Model, benchmarks: Sequence[Benchmark], settings: EvalSettings, output: Path) -> Iterator[Cell]:
    for benchmark in benchmarks:
        n = settings.n_of.get(benchmark.name, settings.n)
        for condition in conditions_of(model, settings):
            # All that the responses follow from; not the platform, the prompt limit, the verifier, nor where files are.
            made_of = {
                "model": model.fingerprint,
                "file": benchmark.sha256,
                "text": condition.user_text,
                "n": n,
                "temperature": settings.temperature,
                "top_p": settings.top_p,
                "max_tokens": settings.max_tokens,
                "seed": settings.seed,
                "overrides": settings.overrides,
            }
            if model.prompt is not None and model.prompt.template is not None:
                made_of["prompt"] = model.prompt.template
            if condition.prefill:
                made_of["prefill"] = condition.prefill
            key = settings_key(made_of)
            name = ".".join(part for part in (benchmark.name, condition.name, key, "jsonl") if part)
            yield Cell(model, benchmark, condition, n, output / model.name / name)


def _answer(
    model: Model, cells: Sequence[Cell], settings: EvalSettings, platform: str, folder: Path, console: Console
) -> None:
    """Answer what is missing of one model, and keep each cell that came out whole."""
    asked = [q for cell in cells for q in questions(cell.benchmark, cell.condition, cell.n)]
    revision = Judge.of(settings).revision
    answers = answer(model, asked, settings, platform, folder / "verl", console)
    first = 0
    lost: list[Question] = []
    for cell in cells:
        positions = range(first, first + cell.n * len(cell.benchmark.problems))
        first = positions.stop
        absent = [asked[position] for position in positions if position not in answers]
        lost += absent
        if not absent:
            rows = (_sample(model, asked[position], answers[position], revision) for position in positions)
            write_whole(cell.path, as_lines(rows))
    shutil.rmtree(folder / "verl" / "validation")
    if lost:
        raise EvalError(
            f"model {model.name}: {len(lost)} of {len(asked)} samples failed, the first in benchmark "
            f"{lost[0].benchmark}, problem {lost[0].problem_id}; {folder / 'verl' / 'verl.log'} says why. "
            "Benchmarks without a failure are kept: the same command answers the others again"
        )


def _sample(model: Model, question: Question, row: Mapping[str, Any], revision: int | None) -> dict[str, Any]:
    """A row of samples.jsonl from a row of verl's validation dump."""
    return {
        "checkpoint": model.name,
        "benchmark": question.benchmark,
        "condition": question.condition.name,
        "budget": question.condition.budget,
        "problem_id": question.problem_id,
        "level": level_of(question.row),
        "sample": question.number,
        "prompt": row["input"],
        "response": row["output"],
        "ground_truth": row["gts"],
        "acc": float(row["acc"]),
        "tokens": int(row["tokens"]),
        "truncated": bool(row["truncated"]),
        "verifier": revision,
    }


def _collect(cells: Sequence[Cell], settings: EvalSettings, output: Path) -> Evaluation:
    """Put the cells together: samples.jsonl, and eval.json as the last."""
    samples = output / "samples.jsonl"
    with whole_file(samples) as partial, partial.open("wb") as whole:
        for cell in cells:
            with cell.path.open("rb") as part:
                shutil.copyfileobj(part, whole)
    results = [
        Result(
            cell.model.name,
            cell.benchmark.name,
            cell.condition.name,
            len(cell.benchmark.problems),
            cell.n,
            _summary(read_samples(cell.path), settings.cuts),
        )
        for cell in cells
    ]
    made_with = {
        "settings": asdict(settings),
        "checkpoints": {cell.model.name: asdict(cell.model) for cell in cells},
        "benchmarks": {
            cell.benchmark.name: {
                "file": str(cell.benchmark.path.resolve()),
                "sha256": cell.benchmark.sha256,
                "problems": len(cell.benchmark.problems),
                "n": cell.n,
            }
            for cell in cells
        },
        "results": [asdict(result) for result in results],
    }
    write_whole(output / "eval.json", json.dumps(made_with, indent=2) + "\n")
    return Evaluation(samples, results)


def _summary(samples: Sequence[Sample], cuts: Sequence[int]) -> dict[str, Any]:
    cut = {"cut": {str(limit): accuracy_when_cut(samples, limit) for limit in cuts}} if cuts else {}
    return {**summarize(samples), **cut}


def _platform() -> str:
    """What this machine has."""
    if importlib.util.find_spec("verl") is None:
        raise EvalError("verl is not installed: pip install 'lapo-verl[gpu]', or make setup on a CPU")
    return "cpu" if cpu.is_chosen() or not cpu.accelerators() else "gpu"


def _check_context(model: Model, settings: EvalSettings) -> None:
    """Of a model of the hub, verl finds out."""
    prompt, response = settings.max_prompt_tokens, settings.max_tokens
    if model.context is not None and model.context < prompt + response:
        raise EvalError(
            f"model {model.name} holds {model.context} tokens, fewer than max_prompt_tokens={prompt} and "
            f"max_tokens={response} together: responses would be cut off earlier; lower one of them"
        )


def _check_benchmark_names(settings: EvalSettings, names: Sequence[str]) -> None:
    for name in settings.n_of:
        if name not in names:
            nearest = get_close_matches(name, names, n=1)
            hint = f"; did you mean {nearest[0]}?" if nearest else ""
            raise EvalError(f"n is given for the benchmark {name!r}, which is not one of {', '.join(names)}{hint}")
