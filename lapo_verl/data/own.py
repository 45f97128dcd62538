"""A problem set of the user's own: which columns hold question and answer, and what a row of them says.

Known are tables (GSM8K's and DeepScaleR's question and answer, MATH's problem and solution, Alpaca's instruction, input
and output) and conversations (OpenAI's messages, ShareGPT's). Columns are found whatever the case of their names.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from lapo_verl.data.answers import answer_in
from lapo_verl.data.missing import is_missing
from lapo_verl.data.problems import Problem, Row, SourceError, UnusableRow
from lapo_verl.data.sources import hashed_id

# The first one that a file has is taken.
QUESTIONS: Final = ("question", "problem", "instruction", "messages", "conversations", "prompt")
ANSWERS: Final = ("answer", "solution", "output", "completion", "response")
_ROLES: Final = {
    **dict.fromkeys(("user", "human"), "user"),
    **dict.fromkeys(("assistant", "gpt", "model"), "assistant"),
    "system": "system",
}
_LEVEL: Final = re.compile(r"(?:Level )?([0-9]+)")


@dataclass(frozen=True)
class Columns:
    """Where the parts of a problem are.

    Attributes:
        question: a text, or the turns of a conversation.
        answer: the final answer, or a text that ends in it; None where it is the assistant's turn.
        input: what belongs behind the question.
    """

    question: str
    answer: str | None
    input: str | None = None
    level: str | None = None
    id: str | None = None

    def __str__(self) -> str:
        question = f"{self.question!r} and {self.input!r}" if self.input else repr(self.question)
        answer = "the assistant's turn" if self.answer is None else repr(self.answer)
        return f"question from {question}, answer from {answer}" + (
            f", level from {self.level!r}" if self.level else ""
        )


@dataclass(frozen=True)
class OwnProblem:
    """A problem, and what its row has beside it.

    Attributes:
        boxed: whether a box marks the answer.
        system: whether a system turn was left out.
    """

    problem: Problem
    boxed: bool
    system: bool


def with_plain_names(rows: Sequence[Row]) -> list[Row]:
    """The rows with the names of their columns in lower case, without the space around them, and with conversations
    that are given as JSON text, as a table has to, read.

    Raises:
        SourceError: two columns of a row have one name then.
    """
    plain = []
    for row in rows:
        values = {name.strip().casefold(): _turns(value) for name, value in row.values.items()}
        if len(values) < len(row.values):
            raise SourceError(f"{row.where}: two columns differ in case only: {', '.join(row.values)}")
        plain.append(dataclasses.replace(row, values=values))
    return plain


def _turns(value: Any) -> Any:
    if not isinstance(value, str) or not value.lstrip().startswith("[{"):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value  # a text that only begins like one


def find_columns(
    origin: str,
    rows: Sequence[Row],
    question: str | None = None,
    answer: str | None = None,
    level: str | None = None,
    identifier: str | None = None,
) -> Columns:
    """The columns of a file (rows as ``with_plain_names`` gives them): those that are named, else known ones.

    Raises:
        SourceError: a named column is missing, or no known one is there.
    """
    present = list(dict.fromkeys(name for row in rows for name in row.values))
    if {"prompt", "reward_model"} <= set(present):
        raise SourceError(f"{origin}: is in verl's format already; `lapo data check` looks at it")

    def named(column: str | None, known: Sequence[str]) -> str | None:
        if column is None:
            return next((name for name in known if name in present), None)
        if column.strip().casefold() not in present:
            raise SourceError(f"{origin}: column {column!r} is missing; it has: {', '.join(present)}")
        return column.strip().casefold()

    asked = named(question, QUESTIONS)
    if asked is None:
        raise SourceError(
            f"{origin}: found no column with questions; its columns are: {', '.join(present)}; name one with "
            f"--prompt-column (recognized names: {', '.join(QUESTIONS)})"
        )
    is_talk = any(isinstance(row.values.get(asked), list) for row in rows)
    answered = named(answer, [name for name in ANSWERS if name != asked])
    if answered is None and not is_talk:
        raise SourceError(
            f"{origin}: found no column with answers; its columns are: {', '.join(present)}; name one with "
            f"--answer-column (recognized names: {', '.join(ANSWERS)})"
        )
    more = "input" if asked == "instruction" and question is None and "input" in present else None
    return Columns(asked, answered, more, named(level, ("level",)), named(identifier, ()))


def is_empty(row: Row, columns: Columns) -> bool:
    """Whether a row asks nothing."""
    cell = row.values.get(columns.question)
    return is_missing(cell) or cell == []


def own_problem(row: Row, columns: Columns, name: str) -> OwnProblem:
    """What a row asks, and the final answer in what it answers; empty where that is missing.

    Args:
        row: none that ``is_empty``.
        name: the ``data_source``.

    Raises:
        UnusableRow: the row is not a problem.
        SourceError: as ``Row.answer`` and ``Row.identifier``.
    """
    cell, system, reply = row.values.get(columns.question), False, ""
    if isinstance(cell, list):
        question, system, reply = _conversation(cell)
    elif isinstance(cell, str):
        question = cell.strip()
    else:
        raise UnusableRow("the question is not a text", repr(cell))
    if columns.input and not is_missing(row.values.get(columns.input)):
        question = f"{question}\n\n{row.text(columns.input)}"
    text = reply if columns.answer is None else row.answer(columns.answer)
    truth, boxed = answer_in(text) if text else ("", False)
    identifier = f"{name}/{row.identifier(columns.id)}" if columns.id else hashed_id(name, question, truth)
    return OwnProblem(Problem(identifier, question, truth, name, _level(row, columns.level), row.where), boxed, system)


def _conversation(turns: list[Any]) -> tuple[str, bool, str]:
    """(the question, whether there is a system turn, the assistant's last words, empty where it said nothing)"""
    said: dict[str, list[str]] = {"system": [], "user": [], "assistant": []}
    for turn in turns:
        if not isinstance(turn, dict):
            raise UnusableRow("a turn of the conversation is not an object", repr(turn))
        role = turn.get("role", turn.get("from"))
        if str(role).casefold() not in _ROLES:
            raise UnusableRow("a turn of the conversation is neither the user's nor the assistant's", repr(role))
        said[_ROLES[str(role).casefold()]].append(_content(turn.get("content", turn.get("value"))))
    if len(said["user"]) != 1 or not said["user"][0]:
        raise UnusableRow("the conversation must have exactly one question", f"{len(said['user'])} turns of the user")
    return said["user"][0], bool(said["system"]), (said["assistant"] or [""])[-1]


def _content(content: Any) -> str:
    """A turn's text, which may be given in parts."""
    parts = content if isinstance(content, list) else [content]
    texts: list[Any] = [part.get("text") if isinstance(part, dict) else part for part in parts]
    if not all(isinstance(text, str) for text in texts):
        raise UnusableRow("a turn of the conversation contains more than text", repr(content))
    return "\n".join(texts).strip()


def _level(row: Row, column: str | None) -> int | str | None:
    """A whole number where the level is one, also for "Level 3"; None where it is missing, also for "Level ?"."""
    if column is None or is_missing(row.values.get(column)) or row.values[column] == "Level ?":
        return None
    text = row.identifier(column)
    found = _LEVEL.fullmatch(text)
    return int(found[1]) if found else text
