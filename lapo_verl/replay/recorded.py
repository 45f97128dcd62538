"""Recorded rollouts as columns: from a length store, from verl's dumps, or from the samples of an evaluation.

verl's training dump (``trainer.rollout_data_dir``) holds texts and rewards, but neither token counts nor problem ids.
The store holds these: the lengths of the correct rollouts and the group's size are all that a reward needs, for a wrong
rollout earns 0 in both stages. So the rewards come from the store, and a training dump says what they have to be.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lapo_verl.console import progress
from lapo_verl.runs.jsonl import DumpError, final_lines, json_lines
from lapo_verl.store import Record
from lapo_verl.store.records import STAGES, stage_number

# What tells groups of samples apart; a validation dump has the last one alone, a file of `lapo eval` all of them.
GROUP_KEYS = ("checkpoint", "benchmark", "condition", "problem_id")


@dataclass(frozen=True)
class Visits:
    """V visits in the order of training, each of them one group of rollouts.

    Attributes:
        problem: shape (V,) int64, the number of the problem.
        stage: shape (V,) int64, position in STAGES.
        step: shape (V,) int64.
        n: shape (V,) int64, number of rollouts.
        correct: shape (V,) int64, how many of them are correct.
        lengths: shape (sum of ``correct``,) float64, tokens of the correct ones, visit after visit.
        shown: shape (V,) float64, the budget as the prompt showed it, in tokens; NaN where it showed none.
        recorded: shape (V,) float64, the budget after the visit, in tokens, NaN where unsolved; None where the source
            says nothing of budgets.
        previous: shape (V,) int64, the problem's visit before this one; -1 where there is none.
        before_step: shape (V,) int64, the problem's last visit before this one's step; -1 where there is none.
    """

    problem: NDArray[np.int64]
    stage: NDArray[np.int64]
    step: NDArray[np.int64]
    n: NDArray[np.int64]
    correct: NDArray[np.int64]
    lengths: NDArray[np.float64]
    shown: NDArray[np.float64]
    recorded: NDArray[np.float64] | None
    previous: NDArray[np.int64]
    before_step: NDArray[np.int64]


@dataclass
class _Columns:
    """Visits as they are read, one after the other."""

    problems: dict[Any, int] = field(default_factory=dict)
    problem: list[int] = field(default_factory=list)
    stage: list[int] = field(default_factory=list)
    step: list[int] = field(default_factory=list)
    n: list[int] = field(default_factory=list)
    lengths: list[tuple[int, ...]] = field(default_factory=list)
    shown: list[float | None] = field(default_factory=list)
    recorded: list[float | None] = field(default_factory=list)

    def add(
        self,
        problem: Any,
        stage: int,
        step: int,
        n: int,
        lengths: tuple[int, ...],
        shown: float | None = None,
        recorded: float | None = None,
    ) -> None:
        self.problem.append(self.problems.setdefault(problem, len(self.problems)))
        self.stage.append(stage)
        self.step.append(step)
        self.n.append(n)
        self.lengths.append(lengths)
        self.shown.append(shown)
        self.recorded.append(recorded)

    def visits(self, with_budgets: bool) -> Visits:
        last: dict[int, int] = {}
        previous: list[int] = []
        before_step: list[int] = []
        for visit, problem in enumerate(self.problem):
            earlier = last.get(problem, -1)
            step = (self.stage[visit], self.step[visit])
            is_again = earlier >= 0 and (self.stage[earlier], self.step[earlier]) == step
            previous.append(earlier)
            before_step.append(before_step[earlier] if is_again else earlier)
            last[problem] = visit
        return Visits(
            problem=np.array(self.problem, dtype=np.int64),
            stage=np.array(self.stage, dtype=np.int64),
            step=np.array(self.step, dtype=np.int64),
            n=np.array(self.n, dtype=np.int64),
            correct=np.array([len(lengths) for lengths in self.lengths], dtype=np.int64),
            lengths=np.fromiter(chain.from_iterable(self.lengths), dtype=np.float64),
            shown=np.array(self.shown, dtype=np.float64),
            recorded=np.array(self.recorded, dtype=np.float64) if with_budgets else None,
            previous=np.array(previous, dtype=np.int64),
            before_step=np.array(before_step, dtype=np.int64),
        )


def visits_of(records: Iterable[Record]) -> Visits:
    """The visits that a length store has recorded; ``records`` in the order of training."""
    columns = _Columns()
    for record in records:
        columns.add(
            record.problem_id,
            stage_number(record.stage),
            record.step,
            record.n,
            record.correct_lengths,
            record.budget_shown,
            record.budget_after,
        )
    return columns.visits(with_budgets=True)


def dump_files(source: Path) -> list[Path]:
    """The file ``source``, or the ``{step}.jsonl`` of the folder ``source`` in the order of their steps.

    Raises:
        DumpError: a folder without such files.
    """
    if not source.is_dir():
        return [source]
    files = sorted((path for path in source.glob("*.jsonl") if path.stem.isdigit()), key=lambda path: int(path.stem))
    if not files:
        raise DumpError(f"{source}: holds no <step>.jsonl; give the folder of verl's dumps, a .jsonl, or a store")
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


def read_sample_visits(files: Sequence[Path], stage: str, notes: list[str]) -> Visits:
    """Visits from validation dumps or an evaluation's samples: the samples of one problem at one step are a group.

    Args:
        stage: whose rewards they shall be given.
        notes: gets a sentence for each line that was left out.

    Raises:
        DumpError: a row lacks a field, or holds a value that cannot be.
    """
    groups: dict[tuple[int, tuple[str, ...]], list[tuple[bool, int]]] = {}
    for path in progress(files, "reading samples", len(files)):
        for number, row in _objects(path, notes):
            step, problem, correct, tokens = _sample(path, number, row)
            groups.setdefault((step, problem), []).append((correct, tokens))
    columns = _Columns()
    for (step, problem), rollouts in sorted(groups.items(), key=lambda item: item[0][0]):
        right = tuple(tokens for correct, tokens in rollouts if correct)
        columns.add(problem, stage_number(stage), step, len(rollouts), right)
    return columns.visits(with_budgets=False)


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
        length = row["think_tokens"] if row.get("length_scope") == "think" else row["tokens"]
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


def measured_visits(visits: Visits, stage: str | None, steps: Iterable[int] | None = None) -> NDArray[np.bool_]:
    """Which visits are of ``stage`` and of ``steps``, shape (V,); None stands for all."""
    chosen = np.ones(len(visits.n), dtype=bool) if stage is None else visits.stage == stage_number(stage)
    return chosen if steps is None else chosen & np.isin(visits.step, list(steps))


def stages_of(visits: Visits) -> list[str]:
    """The stages that there are visits of, in the order of training."""
    return [STAGES[number] for number in np.unique(visits.stage)]
