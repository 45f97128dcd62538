"""A row of a source as it was read, and the problem that it becomes."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from lapo_verl.data.missing import is_missing

# The paper's, behind each question.
INSTRUCTION: Final = "Please think step by step and output the final answer within \\boxed{}."
_LEVEL: Final = re.compile(r"(?:Level )?([0-9]+)")


class SourceError(ValueError):
    """A source that cannot be prepared; the message names the file, the row and the column."""


class UnusableRow(ValueError):
    """A row that is no problem: the reason, the same words for all rows of the kind, and what it is in this one."""

    def __init__(self, reason: str, shown: str) -> None:
        super().__init__(f"{reason}: {shown}")
        self.reason, self.shown = reason, shown if len(shown) <= 80 else shown[:77] + "..."


@dataclass(frozen=True)
class Problem:
    """One problem.

    Attributes:
        problem_id: the same in every copy of the source.
        question: without the instruction.
        ground_truth: empty where the source has none.
        data_source: the source's name on the hub; validation metrics are grouped by it.
        level: of difficulty, None where the source has none.
        where: the place in the source, for messages.
    """

    problem_id: str
    question: str
    ground_truth: str
    data_source: str
    level: int | str | None = None
    where: str = ""


@dataclass(frozen=True)
class Row:
    """One row of a source's split. Its methods raise ``SourceError`` if a column is missing or of another kind."""

    values: Mapping[str, Any]
    index: int  # from 0, in its file or split
    split: str
    where: str  # file and line, or file and row

    def get(self, column: str) -> Any:
        """The column's value; the column must exist."""
        if column not in self.values:
            raise SourceError(f"{self.where}: column {column!r} is missing; the row has: {', '.join(self.values)}")
        return self.values[column]

    def text(self, column: str) -> str:
        """The column's text without the space around it; it may not be empty."""
        value = self.get(column)
        if not isinstance(value, str):
            raise SourceError(f"{self.where}: column {column!r} must be a text, not {_shown(value)}")
        if not value.strip():
            raise SourceError(f"{self.where}: column {column!r} is empty")
        return value.strip()

    def identifier(self, column: str) -> str:
        """A text or a whole number that names the row."""
        value = self.get(column)
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else self.text(column)

    def answer(self, column: str) -> str:
        """A final answer, as text or number; empty where the row has none."""
        value = self.values.get(column)
        if is_missing(value):
            return ""
        if isinstance(value, str):
            return value.strip()
        if isinstance(value, int | Decimal) and not isinstance(value, bool):
            return str(value)
        if isinstance(value, float) and math.isfinite(value):
            return str(int(value)) if value == int(value) else str(value)
        raise SourceError(f"{self.where}: column {column!r} must be a text or a number, not {_shown(value)}")

    def answers(self, column: str) -> str:
        """A list of final answers, joined by commas; empty where the row has none."""
        value = self.values.get(column)
        if value is None:
            return ""
        if not isinstance(value, list) or not all(isinstance(answer, str) for answer in value):
            raise SourceError(f"{self.where}: column {column!r} must be a list of texts, not {_shown(value)}")
        return ", ".join(answer.strip() for answer in value)

    def level(self, column: str) -> int | None:
        """A level as 3, "3" or "Level 3"; None for MATH's "Level ?"."""
        value = self.get(column)
        if value == "Level ?":
            return None
        found = _LEVEL.fullmatch(str(value))
        if found is None:
            raise SourceError(f"{self.where}: column {column!r} must be a level such as 3 or 'Level 3', got {value!r}")
        return int(found.group(1))


def _shown(value: Any) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 60 else text[:57] + '...'}"
