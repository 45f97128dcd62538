"""Recorded rollouts as arrays: from a length store, from verl's dumps, or from the samples of an evaluation.

verl's training dump (``trainer.rollout_data_dir``) contains texts and rewards, but neither token counts nor problem
ids. The store has these, so the rewards are made from the store, and a training dump says what they have to be.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lapo_verl.config import LENGTH_FIELDS
from lapo_verl.console import progress
from lapo_verl.runs.jsonl import DumpError, final_lines, json_lines
from lapo_verl.store import Record

# What tells groups of samples apart; a validation dump has the last one alone, a file of `lapo eval` all of them.
GROUP_KEYS = ("checkpoint", "benchmark", "condition", "problem_id")


@dataclass(frozen=True)
class Visits:
    """V visits in the order of training, each of them one group of up to N rollouts.

    Attributes:
        run: shape (V,) int64, position of the run; it never falls.
        step: shape (V,) int64.
        problem: shape (V,) int64, the number of the problem.
        valid: shape (V, N) bool, where there is a rollout.
        correct: shape (V, N) bool.
        lengths: shape (V, N) float64, tokens; NaN where unknown.
        prompt_budget: shape (V,) float64, the number of tokens that the prompt named; NaN where it named none.
        target: shape (V,) float64, the problem's target after the visit as recorded, in tokens, NaN for none; None
            where the source says nothing of targets.
        previous: shape (V,) int64, the problem's visit before this one; -1 where there is none.
        before_step: shape (V,) int64, the problem's last visit before this one's step; -1 where there is none.
        wave: shape (V,) int64, how many earlier steps of the run visited the problem.
    """

    run: NDArray[np.int64]
    step: NDArray[np.int64]
    problem: NDArray[np.int64]
    valid: NDArray[np.bool_]
    correct: NDArray[np.bool_]
    lengths: NDArray[np.float64]
    prompt_budget: NDArray[np.float64]
    target: NDArray[np.float64] | None
    previous: NDArray[np.int64]
    before_step: NDArray[np.int64]
    wave: NDArray[np.int64]


@dataclass
class _Columns:
    """Visits as they are read, one after the other."""

    problems: dict[Any, int] = field(default_factory=dict)
    places: list[tuple[int, int, int]] = field(default_factory=list)
    lengths: list[Sequence[int | None]] = field(default_factory=list)
    correct: list[Sequence[bool]] = field(default_factory=list)
    prompt_budget: list[float | None] = field(default_factory=list)
    target: list[float | None] = field(default_factory=list)

    def add(self, run: int, step: int, problem: Any, lengths: Sequence[int | None], correct: Sequence[bool]) -> None:
        self.places.append((run, step, self.problems.setdefault(problem, len(self.problems))))
        self.lengths.append(lengths)
        self.correct.append(correct)

    def visits(self) -> Visits:
        run, step, problem = np.array(self.places, dtype=np.int64).reshape(-1, 3).T
        sizes = np.fromiter(map(len, self.lengths), dtype=np.int64)
        valid = np.arange(sizes.max(initial=0)) < sizes[:, None]
        lengths, correct = np.full(valid.shape, np.nan), np.zeros(valid.shape, dtype=bool)
        lengths[valid] = np.array(list(chain.from_iterable(self.lengths)), dtype=np.float64)
        correct[valid] = np.fromiter(chain.from_iterable(self.correct), dtype=bool)
        return Visits(
            run=run,
            step=step,
            problem=problem,
            valid=valid,
            correct=correct,
            lengths=lengths,
            prompt_budget=np.array(self.prompt_budget or [None] * len(sizes), dtype=np.float64),
            target=np.array(self.target, dtype=np.float64) if self.target else None,
            **_chains(run, step, problem),
        )


def _chains(
    run: NDArray[np.int64], step: NDArray[np.int64], problem: NDArray[np.int64]
) -> dict[str, NDArray[np.int64]]:
    """``previous``, ``before_step`` and ``wave`` of ``Visits``, each of shape (V,)."""
    # In the order of problems, then back in that of visits.
    order = np.argsort(problem, kind="stable")
    first_of_problem, first_of_run, first_of_step = (
        np.logical_or.reduce([np.diff(column[order], prepend=-1) != 0 for column in columns])
        for columns in ((problem,), (problem, run), (problem, run, step))
    )
    places = np.arange(len(order))
    step_start, run_start = (
        np.maximum.accumulate(np.where(first, places, 0)) for first in (first_of_step, first_of_run)
    )
    steps = np.cumsum(first_of_step)
    chains = {
        "previous": np.where(first_of_problem, -1, order[places - 1]),
        "before_step": np.where(first_of_problem[step_start], -1, order[step_start - 1]),
        "wave": steps - steps[run_start],
    }
    back = np.argsort(order)
    return {name: column[back] for name, column in chains.items()}


def visits_of(records: Iterable[Record], runs: Sequence[str]) -> Visits:
    """The visits that a length store has recorded; ``records`` in the order of training, ``runs`` the runs' names."""
    columns, numbers = _Columns(), {name: number for number, name in enumerate(runs)}
    for record in records:
        columns.add(numbers[record.run], record.step, record.problem_id, record.lengths, record.correct)
        columns.prompt_budget.append(record.prompt_budget)
        columns.target.append(record.target)
    return columns.visits()


def dump_files(source: Path) -> list[Path]:
    """The file ``source``, or the ``{step}.jsonl`` of the folder ``source`` in the order of their steps.

    Raises:
        DumpError: a folder without such files.
    """
    if not source.is_dir():
        return [source]
    files = sorted((path for path in source.glob("*.jsonl") if path.stem.isdigit()), key=lambda path: int(path.stem))
    if not files:
        raise DumpError(f"{source}: contains no <step>.jsonl; give the folder of verl's dumps, a .jsonl, or a store")
    return files


def is_training_dump(path: Path) -> bool:
    """Whether a dump is one of training, which has rewards and no token counts, by its first row.

    Raises:
        DumpError: the file has no row, or its first is neither a dump's nor a sample's.
    """
    for number, _, row in json_lines(path):
        if isinstance(row, dict) and "tokens" in row:
            return False
        if isinstance(row, dict) and {"score", "step", "uid"} <= row.keys():
            return True
        raise DumpError(
            f"{path}, line {number}: neither a row of verl's dumps nor a sample of an evaluation; it must have the "
            "fields problem_id, acc and tokens, or score, step and uid"
        )
    raise DumpError(f"{path}: has no rows")


def read_sample_visits(files: Sequence[Path], notes: list[str]) -> Visits:
    """Visits from validation dumps or an evaluation's samples: the samples of one problem at one step are a group.

    Args:
        notes: gets a sentence for each line that was left out.

    Raises:
        DumpError: a row lacks a field, or contains a value that cannot be.
    """
    groups: dict[tuple[int, tuple[str, ...]], list[tuple[int, bool]]] = {}
    for path in progress(files, "reading samples", len(files)):
        for number, row in _objects(path, notes):
            step, problem, correct, tokens = _sample(path, number, row)
            groups.setdefault((step, problem), []).append((tokens, correct))
    columns = _Columns()
    for (step, problem), rollouts in sorted(groups.items(), key=lambda item: item[0][0]):
        lengths, correct_ones = zip(*rollouts, strict=True)
        columns.add(0, step, problem, lengths, correct_ones)
    return columns.visits()


def read_scores(files: Sequence[Path], notes: list[str]) -> dict[int, list[tuple[float, ...]]]:
    """The rewards that verl trained on, from its training dumps: {step: rewards of each group}.

    Raises:
        DumpError: a row lacks a field.
    """
    steps: dict[int, dict[str, list[float]]] = {}
    for path in progress(files, "reading rollouts", len(files)):
        for number, row in _objects(path, notes):
            try:
                group = str(row["uid"]).rsplit("_", 2)[0]
                steps.setdefault(int(row["step"]), {}).setdefault(group, []).append(float(row["score"]))
            except (KeyError, TypeError, ValueError) as error:
                raise DumpError(f"{path}, line {number}: not a row of verl's training dump: {error!r}") from error
    return {step: [tuple(scores) for scores in groups.values()] for step, groups in sorted(steps.items())}


def _objects(path: Path, notes: list[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line number and row of a dump's final outputs."""
    for number, _, row in final_lines(json_lines(path, notes)):
        if not isinstance(row, dict):
            raise DumpError(f"{path}, line {number}: must be an object, got {row!r:.40}")
        yield number, row


def _sample(path: Path, number: int, row: dict[str, Any]) -> tuple[int, tuple[str, ...], bool, int]:
    """Step, problem, c_i and |r_i| of a row, in tokens as the run counted them."""
    try:
        problem = tuple(str(row[key]) for key in GROUP_KEYS if key in row)
        length = row[LENGTH_FIELDS[row.get("length_scope", "response")]]
        problem_id, correct, tokens, step = row["problem_id"], row["acc"], length, row.get("step") or 0
    except KeyError as error:
        raise DumpError(
            f"{path}, line {number}: no field {error}; was it written with LAPO's reward manager?"
        ) from error
    if not problem_id or correct not in (0, 1) or not _is_count(tokens) or not _is_count(step):
        raise DumpError(
            f"{path}, line {number}: problem_id must be a text, acc 0 or 1, tokens and step whole numbers; got "
            f"problem_id={problem_id!r:.40}, acc={correct!r:.40}, tokens={tokens!r:.40}, step={step!r:.40}"
        )
    return int(step), problem, bool(correct), int(tokens)


def _is_count(value: Any) -> bool:
    return isinstance(value, int | float) and value >= 0 and float(value).is_integer()
