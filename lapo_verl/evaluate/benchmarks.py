"""Benchmark files, the conditions their problems are answered in, and the one data file that verl reads."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lapo_verl.data.rows import DataError, check_rows, read_rows, row_problem_id
from lapo_verl.evaluate.conditions import Condition
from lapo_verl.evaluate.settings import EvalError, check_name
from lapo_verl.guidance.sentence import with_sentence


@dataclass(frozen=True)
class Benchmark:
    """The problems of one file.

    Attributes:
        sha256: of the file's content.
        problems: {problem id: the file's row}; exact duplicates count once.
    """

    name: str
    path: Path
    sha256: str
    problems: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Question:
    """One sample to be drawn: the row of verl's data file.

    Attributes:
        number: from 0 among the samples of the problem.
    """

    benchmark: str
    condition: Condition
    problem_id: str
    number: int
    row: dict[str, Any]


def read_benchmark(name: str, path: Path, verifier: str) -> Benchmark:
    """Read and check a parquet or JSONL file in verl's format (``prompt``, ``data_source``, ``reward_model``).

    Args:
        verifier: ``lapo.verifier``; only LAPO's own has to be able to read the ground truths.

    Raises:
        EvalError: the name or the file cannot be used; the message names file, row and column.
    """
    check_name("benchmark", name)
    path = path.expanduser()
    try:
        check_rows(path, ground_truths=verifier == "lapo")
        problems = {row_problem_id(row): row for row in read_rows(path)}
        return Benchmark(name, path, hashlib.sha256(path.read_bytes()).hexdigest(), problems)
    except (DataError, OSError) as error:
        raise EvalError(str(error)) from error


def questions(benchmark: Benchmark, condition: Condition, n: int) -> Iterator[Question]:
    """Every problem of a benchmark ``n`` times."""
    for problem_id, row in benchmark.problems.items():
        for number in range(n):
            yield Question(benchmark.name, condition, problem_id, number, row)


def write_questions(asked: Sequence[Question], path: Path) -> None:
    """verl's data file: a row a sample, whose ``extra_info.problem_id`` is its position in ``asked``.

    A row a sample, and not verl's ``val_kwargs.n``: benchmarks may differ in n, and verl would bootstrap metrics that
    nobody reads for every problem (0.12 s a problem for n = 4, 0.93 s for n = 32).

    Raises:
        EvalError: a prompt that the condition's text cannot be put into, or files that do not fit together.
    """
    rows: list[dict[str, Any]] = [
        {
            "prompt": _prompt(question),
            "data_source": str(question.row["data_source"]),
            "reward_model": {"ground_truth": _ground_truth(question.row), "style": "rule"},
            "extra_info": {**_extra_info(question.row), "index": position, "problem_id": str(position)},
            # LAPO's agent loop puts it behind the generation prompt, as in training.
            "lapo": {"guidance": question.condition.prefill, "problem_id": question.problem_id},
        }
        for position, question in enumerate(asked)
    ]
    try:
        pq.write_table(pa.Table.from_pylist(rows), path)
    except pa.ArrowException as error:
        names = ", ".join(sorted({question.benchmark for question in asked}))
        raise EvalError(f"{names} cannot be put into one file ({error}); give each a command of its own") from error


def level_of(row: dict[str, Any]) -> str | None:
    """The row's difficulty level, as text."""
    level = (row.get("extra_info") or {}).get("level")
    return None if level is None else str(level)


def _prompt(question: Question) -> list[dict[str, Any]]:
    messages = [dict(message) for message in question.row["prompt"]]
    if not question.condition.user_text:
        return messages
    try:
        return with_sentence(messages, question.condition.user_text)
    except ValueError as error:
        raise EvalError(
            f"benchmark {question.benchmark}, problem {question.problem_id}: the prompt has no user turn in plain text "
            f"to put {question.condition.user_text!r} behind"
        ) from error


def _ground_truth(row: dict[str, Any]) -> Any:
    """As text, since files with numbers and files with text go into one; lists and dicts as they are."""
    truth = row["reward_model"]["ground_truth"]
    return truth if isinstance(truth, list | dict) else str(truth)


def _extra_info(row: dict[str, Any]) -> dict[str, Any]:
    info = {key: value for key, value in (row.get("extra_info") or {}).items() if value is not None}
    # Numbers in one file, text in another.
    return info if "level" not in info else {**info, "level": str(info["level"])}
