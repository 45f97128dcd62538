"""What verl writes while it trains or evaluates: dumps of samples, and the file logger's metrics."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lapo_verl.runs.jsonl import DumpError, final_lines, json_lines
from lapo_verl.runs.keywords import count_keywords

# The benchmark of a sample whose row names none: verl's validation dumps do not.
UNNAMED_BENCHMARK = "validation"


@dataclass(frozen=True, slots=True)
class Sample:
    """One rollout of a validation or an evaluation. Its text stays in the file, see ``read_text``.

    Attributes:
        problem: its problem id; a hash of the prompt where the row names none.
        level: difficulty level as the data names it; None where it names none.
        correct: c_i.
        tokens: response tokens.
        truncated: cut off at the response limit; None where the row does not say.
        benchmark: which set the problem is of.
        checkpoint: which model answered, and in which condition where ``lapo eval`` names one, budgets apart; None
            where the row does not say.
        keywords: counts of ``keywords.GROUPS`` in the response; None where the row has no response.
        offset: byte at which its line starts.
        budget: tokens that its prompt asked for (``lapo eval --budget``); None where it did not.
    """

    problem: str
    level: str | None
    correct: bool
    tokens: int
    truncated: bool | None = None
    benchmark: str = UNNAMED_BENCHMARK
    checkpoint: str | None = field(default=None, compare=False)
    keywords: tuple[int, ...] | None = field(default=None, compare=False)
    offset: int = field(default=0, compare=False)
    budget: float | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Text:
    """The texts of a sample's row, for people to read."""

    prompt: str
    response: str
    ground_truth: str


def read_samples(
    path: Path, left_out: list[str] | None = None, progress: Callable[[int], object] | None = None
) -> list[Sample]:
    """The samples of a dump of ``trainer.validation_data_dir`` written with LAPO's reward manager, or of ``lapo eval``.

    Of a session's several outputs the last one is the sample.

    Args:
        left_out: where to say what was left out; without it, only a last line that was cut off is, and all else is an
            error.
        progress: called with the number of bytes read since the last call.

    Raises:
        DumpError: no such file or no samples; without ``left_out`` also a line that is not JSON or lacks a field.
    """
    lost: Counter[str] = Counter()
    first_lost: dict[str, int] = {}
    samples = []
    rows = 0
    for number, offset, row in final_lines(json_lines(path, left_out, left_out is not None, progress)):
        rows += 1
        try:
            samples.append(_sample(row, offset))
        except _UnusableRowError as error:
            if left_out is None:
                raise DumpError(
                    f"{path}, line {number}: {error}; was it written with LAPO's reward manager?"
                ) from error
            lost[str(error)] += 1
            first_lost.setdefault(str(error), number)
    if left_out is not None:
        left_out += [
            f"{path}: {count} of {rows} rows, the first in line {first_lost[reason]}: {reason}"
            for reason, count in lost.items()
        ]
    if not samples:
        why = f": {lost.most_common(1)[0][0]}" if lost else ""
        raise DumpError(f"{path}: has no samples{why}")
    return samples


def read_text(path: Path, offset: int) -> Text:
    """Prompt, response and ground truth of the row that starts at ``offset``, as the file has them."""
    with path.open("rb") as file:
        file.seek(offset)
        row = json.loads(file.readline())
    return Text(
        *(
            value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            for value in (_first(row, "input", "prompt"), _first(row, *_RESPONSE), _first(row, "gts", "ground_truth"))
        )
    )


def read_metrics(paths: Iterable[Path], left_out: list[str] | None = None) -> dict[int, dict[str, float]]:
    """{step: metrics} from verl's file logger; of several logs (a resumed run) the later one wins.

    Args:
        left_out: where to say what was left out; without it, what is not a metrics row is an error.

    Raises:
        DumpError: no such file; a line that is not a metrics row, except a last one that was cut off when the run died.
    """
    steps: dict[int, dict[str, float]] = {}
    for path in paths:
        strange: list[int] = []
        for number, _, row in json_lines(path, left_out, left_out is not None):
            if not is_metrics_row(row):
                if left_out is None:
                    raise DumpError(f"{path}, line {number}: no row of verl's file logger")
                strange.append(number)
                continue
            # Whether a metric is a number is verl's user's business: some log texts.
            numbers = {name: float(value) for name, value in row["data"].items() if _is_number(value)}
            steps.setdefault(int(row["step"]), {}).update(numbers)
        if strange and left_out is not None:
            left_out.append(f"{path}: {len(strange)} rows that are not of verl's file logger, first line {strange[0]}")
    return dict(sorted(steps.items()))


def is_metrics_row(row: Any) -> bool:
    """Whether a JSONL row is one of verl's file logger."""
    return isinstance(row, dict) and _is_number(row.get("step")) and isinstance(row.get("data"), dict)


def first_row(path: Path) -> Any:
    """The first row of a JSONL file; None where it has none that can be read."""
    try:
        with path.open("rb") as file:
            return json.loads(file.readline())
    except (OSError, ValueError):
        return None


class _UnusableRowError(ValueError):
    """A row that makes no sample; the message says why."""


_RESPONSE = ("output", "response")


def _sample(row: Any, offset: int) -> Sample:
    if not isinstance(row, dict):
        raise _UnusableRowError("is not an object")
    problem, prompt = row.get("problem_id"), _first(row, "input", "prompt")
    if problem is None and prompt is not None:
        problem = hashlib.sha256(json.dumps(prompt).encode()).hexdigest()[:16]
    if problem is None:
        raise _UnusableRowError("no field 'problem_id'")
    acc, tokens = _number("acc", _first(row, "acc", "score")), _number("tokens", row.get("tokens"))
    truncated, response, benchmark = row.get("truncated"), _first(row, *_RESPONSE), _first(row, *_BENCHMARK)
    budget = None if row.get("budget") is None else _number("budget", row["budget"])
    # A condition is a model of its own: lapo eval's conflicting instructions (Table 4). A budget is none.
    names = ("checkpoint", "condition") if budget is None else ("checkpoint",)
    checkpoint = " ".join(str(row[name]) for name in names if row.get(name) not in (None, ""))
    level = row.get("level")
    return Sample(
        problem=str(problem),
        level=None if level in (None, "") else str(level),
        correct=acc > 0.5,
        tokens=int(tokens),
        truncated=bool(truncated) if _is_number(truncated) else None,
        benchmark=UNNAMED_BENCHMARK if benchmark in (None, "") else str(benchmark),
        checkpoint=checkpoint or None,
        budget=budget,
        keywords=count_keywords(response) if isinstance(response, str) else None,
        offset=offset,
    )


_BENCHMARK = ("benchmark", "data_source")


def _first(row: dict[str, Any], *names: str) -> Any:
    """The value of the first of these fields that has one."""
    return next((row[name] for name in names if row.get(name) is not None), None)


def _number(name: str, value: Any) -> float:
    if value is None:
        raise _UnusableRowError(f"no field {name!r}")
    if not _is_number(value) or value < 0:
        raise _UnusableRowError(f"field {name!r} is not a number >= 0")
    return float(value)


def _is_number(value: Any) -> bool:
    # Neither NaN nor infinite, nor more than numpy's integers hold.
    return isinstance(value, (int, float)) and -(2**63) < value < 2**63
