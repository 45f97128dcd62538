"""Problem sets in verl's format: one parquet row a problem, with prompt, ground truth and a problem id."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

INSTRUCTION = "Please think step by step and output the final answer within \\boxed{}."
_FINAL_ANSWER = re.compile(r"####\s*(.+?)\s*$")


class SourceError(ValueError):
    """A source file that cannot be prepared; the message names the file and the line."""


@dataclass(frozen=True)
class Problem:
    """One problem of a source: its id, its question, and its final answer."""

    problem_id: str
    question: str
    ground_truth: str


def read_gsm8k(source: str, split: str = "train") -> list[Problem]:
    """GSM8K's problems from a local JSONL file, or from the hub where ``source`` is a dataset's name.

    Raises:
        SourceError: no such file, a line that is no JSON object, lacks ``question`` or ``answer``, or whose answer
            does not end in ``#### <number>``.
    """
    problems = [
        Problem(
            f"gsm8k/{split}/{index}", _text(row, "question", where), _final_answer(_text(row, "answer", where), where)
        )
        for index, (where, row) in enumerate(_rows(source, split))
    ]
    if not problems:
        raise SourceError(f"{source}: has no problems")
    return problems


def write_problems(problems: Sequence[Problem], data_source: str, split: str, path: Path) -> None:
    """Write verl's columns: prompt, data_source, reward_model.ground_truth, extra_info."""
    rows = [
        {
            "prompt": [{"role": "user", "content": f"{problem.question} {INSTRUCTION}"}],
            "data_source": data_source,
            "reward_model": {"style": "rule", "ground_truth": problem.ground_truth},
            "extra_info": {"index": index, "split": split, "problem_id": problem.problem_id},
        }
        for index, problem in enumerate(problems)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    # Renamed into place, so that a file that is there is whole.
    partial = path.with_name(path.name + ".partial")
    pq.write_table(pa.Table.from_pylist(rows), partial)
    os.replace(partial, path)


def _rows(source: str, split: str) -> Iterator[tuple[str, Any]]:
    path = Path(source).expanduser()
    if path.is_file():
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                where = f"{path}, line {number}"
                if not line.strip():
                    continue
                try:
                    yield where, json.loads(line)
                except json.JSONDecodeError as error:
                    raise SourceError(f"{where}: not JSON: {error}") from error
        return
    if path.suffix or path.is_absolute() or source.count("/") != 1:
        raise SourceError(f"{source}: no such file (a dataset of the hub is named owner/name)")
    from datasets import load_dataset

    try:
        rows = load_dataset(source, "main", split=split)
    except (OSError, ValueError) as error:
        raise SourceError(f"{source}: neither a local file nor to be had from the hub: {error}") from error
    yield from ((f"{source}, row {number}", row) for number, row in enumerate(rows))


def _text(row: Any, key: str, where: str) -> str:
    value = row.get(key) if isinstance(row, dict) else None
    if not isinstance(value, str) or not value.strip():
        raise SourceError(f"{where}: {key!r} is missing or empty")
    return value


def _final_answer(answer: str, where: str) -> str:
    found = _FINAL_ANSWER.search(answer)
    if found is None:
        raise SourceError(f"{where}: the answer does not end in '#### <number>'")
    return found.group(1).replace(",", "")
