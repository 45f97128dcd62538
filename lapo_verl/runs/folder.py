"""The contents of a run's folder: samples of its checkpoints, training logs, the length store."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lapo_verl.runs.dumps import Sample, first_row, is_metrics_row, read_metrics, read_samples
from lapo_verl.runs.jsonl import DumpError
from lapo_verl.store import LengthStore, StoreError

STORE_PLACES = ("lapo_store.sqlite", "checkpoints/lapo_store.sqlite")
WHAT_A_RUN_IS = (
    "a training's folder (validation/*.jsonl, metrics*.jsonl, lapo_store.sqlite here or in checkpoints/), "
    "a folder that lapo eval made (samples.jsonl), or one JSONL dump"
)


class RunError(ValueError):
    """The runs cannot be used as asked; the message names what is wrong and what to do."""


@dataclass(frozen=True)
class Checkpoint:
    """The samples of one model.

    Attributes:
        run: name of the run that it is of.
        title: how it is told from the run's others: ``step 12``, or what ``lapo eval`` calls it.
        step: of the training; None in an evaluation.
        budgets: {tokens that the prompts asked for: {benchmark: samples}}; the samples are not in ``benchmarks``.
        dump: the file of its samples.
        benchmarks: {benchmark: samples}.
    """

    run: str
    title: str
    step: int | None
    dump: Path
    benchmarks: dict[str, list[Sample]]
    budgets: dict[float, dict[str, list[Sample]]] = field(default_factory=dict)

    def has(self, problem: str) -> bool:
        """Whether there are samples of this problem."""
        return any(sample.problem == problem for samples in self.benchmarks.values() for sample in samples)


@dataclass
class Run:
    """One training or evaluation.

    Attributes:
        checkpoints: in the order of training, or of the file.
        metrics: {step: metrics} of the log; empty where there is none.
        store: path of a length store that can be opened, or None.
    """

    name: str
    path: Path
    checkpoints: list[Checkpoint] = field(default_factory=list)
    metrics: dict[int, dict[str, float]] = field(default_factory=dict)
    store: Path | None = None

    @property
    def shown(self) -> list[Checkpoint]:
        """The checkpoints for the tables: of a training the first and the last, of an evaluation all."""
        if len(self.checkpoints) > 2 and self.checkpoints[0].step is not None:
            return [self.checkpoints[0], self.checkpoints[-1]]
        return self.checkpoints

    @property
    def empty(self) -> bool:
        return not (self.checkpoints or self.metrics or self.store)


def named_paths(arguments: Sequence[str]) -> dict[str, Path]:
    """{name: path} from ``NAME=PATH`` or ``PATH``, which is named after its folder or file.

    Raises:
        RunError: two runs of one name.
    """
    named: dict[str, Path] = {}
    for argument in arguments:
        name, path = _split(argument)
        if name in named:
            raise RunError(f"two runs are called {name!r}: {named[name]} and {path}; name them, as in NAME={path}")
        named[name] = path
    return named


def dumps_of(path: Path) -> list[Path]:
    """The JSONL files of samples that belong to a run."""
    if path.is_file():
        return [] if path in (*_logs_of(path), *_stores_of(path)) else [path]
    if (samples := path / "samples.jsonl").is_file():
        return [samples]
    steps = [
        file for folder in (path / "validation", path) for file in folder.glob("*.jsonl") if _step(file) is not None
    ]
    return sorted(steps, key=lambda file: _step(file) or 0)


def read_run(name: str, path: Path, left_out: list[str], progress: Callable[[int], object] | None = None) -> Run:
    """Everything in a run that can be used; ``left_out`` names the rest."""
    run = Run(name, path)
    if not path.exists():
        left_out.append(f"{name}: there is no {path}")
        return run
    for dump in dumps_of(path):
        try:
            run.checkpoints += _checkpoints(run, dump, left_out, progress)
        except DumpError as error:
            left_out.append(f"{name}: {error}")
    try:
        run.metrics = read_metrics(_logs_of(path), left_out)
    except DumpError as error:
        left_out.append(f"{name}: {error}")
    for store in _stores_of(path)[:1]:
        try:
            LengthStore.open(store, read_only=True).close()
            run.store = store
        except StoreError as error:
            left_out.append(f"{name}: {error}")
    if run.empty:
        left_out.append(f"{name}: nothing to use in {path}; a run is {WHAT_A_RUN_IS}{_hint(path)}")
    return run


def labels(runs: Sequence[Run]) -> dict[str, Checkpoint]:
    """{name to show: checkpoint} of all that the tables show.

    A run's only checkpoint has the run's name; in an evaluation alone that the user gave no name, it has its own.

    Raises:
        RunError: two of one name.
    """
    named: dict[str, Checkpoint] = {}
    for run in runs:
        for checkpoint in run.shown:
            alone, named_by_user = len(run.shown) == 1, run.name != _name_of(run.path)
            if len(runs) == 1 and checkpoint.step is None and not (alone and named_by_user):
                label = checkpoint.title
            else:
                label = run.name if alone else f"{run.name} {checkpoint.title}"
            if label in named:
                raise RunError(f"two models are called {label!r}, of {named[label].dump} and of {checkpoint.dump}")
            named[label] = checkpoint
    return named


def find_base(wanted: str | None, runs: Sequence[Run], models: dict[str, Checkpoint]) -> str | None:
    """The label of the base: the first model of the run, or the model, that is called ``wanted``, else the first run's.

    None where that run has no samples.

    Raises:
        RunError: nothing is called ``wanted``.
    """
    if wanted in models:
        return wanted
    name = runs[0].name if wanted is None else wanted
    if name not in [run.name for run in runs]:
        known = ", ".join([*(run.name for run in runs), *models])
        raise RunError(f"--base {wanted}: no run or model is called that; there are {known}")
    return next((label for label, checkpoint in models.items() if checkpoint.run == name), None)


def _split(argument: str) -> tuple[str, Path]:
    name, equals, path = argument.partition("=")
    if equals and name and "/" not in name and not Path(argument).exists():
        return name, Path(path)
    path_alone = Path(argument)
    return _name_of(path_alone), path_alone


def _name_of(path: Path) -> str:
    """What a run is called that the user gives no name."""
    return path.stem if path.suffix == ".jsonl" else path.resolve().name


def _logs_of(path: Path) -> list[Path]:
    logs = sorted(path.glob("metrics*.jsonl")) if path.is_dir() else [path]
    return [log for log in logs if is_metrics_row(first_row(log))]


def _stores_of(path: Path) -> list[Path]:
    places = [path] if path.suffix == ".sqlite" else [path / place for place in STORE_PLACES]
    return [place for place in places if place.is_file()]


def _step(file: Path) -> int | None:
    return int(file.stem) if file.stem.isdecimal() else None


def _checkpoints(
    run: Run, dump: Path, left_out: list[str], progress: Callable[[int], object] | None
) -> list[Checkpoint]:
    parts: dict[str | None, dict[float | None, dict[str, list[Sample]]]] = defaultdict(dict)
    for sample in read_samples(dump, left_out, progress):
        asked = parts[sample.checkpoint].setdefault(sample.budget, {})
        asked.setdefault(sample.benchmark, []).append(sample)
    step = _step(dump)
    return [
        Checkpoint(
            run.name,
            title or (run.name if step is None else f"step {step}"),
            step if title is None else None,
            dump,
            asked.get(None, {}),
            {budget: benchmarks for budget, benchmarks in sorted(asked.items(), key=_budget) if budget is not None},
        )
        for title, asked in parts.items()
    ]


def _budget(item: tuple[float | None, object]) -> float:
    return item[0] or 0


def _hint(path: Path) -> str:
    """What to do, for someone who gave the folder of several runs."""
    inside = sorted(child for child in path.iterdir() if child.is_dir()) if path.is_dir() else []
    runs = [str(child) for child in inside if dumps_of(child) or _logs_of(child) or _stores_of(child)]
    return f"; give its subfolders instead: {' '.join(runs)}" if runs else ""
