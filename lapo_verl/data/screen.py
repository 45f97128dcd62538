"""What does not stay in a problem set, and why: each step gives back what stays and counts what goes."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from lapo_verl.console import progress
from lapo_verl.data.problems import INSTRUCTION, Problem, SourceError
from lapo_verl.data.rows import read_rows
from lapo_verl.verify import check_ground_truth, is_correct
from lapo_verl.verify.truth import unboxed

_LAYOUT: Final = re.compile(
    r"\\(?:left|right|displaystyle|textstyle|quad|qquad)(?![a-z])|(?<!\\)\\[,;:!> ()\[\]]|[\s$~{}]"
)
_FRACTION: Final = re.compile(r"\\[dtc]frac(?![a-z])")


@dataclass
class LeftOut:
    """Rows that are left out, counted by reason."""

    counts: dict[str, int] = field(default_factory=dict)
    first: dict[str, str] = field(default_factory=dict)  # of each reason: place and detail

    def add(self, reason: str, example: str) -> None:
        """Count one more row that is left out for this reason."""
        self.counts[reason] = self.counts.get(reason, 0) + 1
        self.first.setdefault(reason, example)

    def update(self, other: LeftOut) -> None:
        """Add all counts of ``other``."""
        for reason, count in other.counts.items():
            self.counts[reason] = self.counts.get(reason, 0) + count
            self.first.setdefault(reason, other.first[reason])

    def lines(self) -> list[str]:
        """One line a reason: count, reason, and the first row."""
        return [f"{count} x {reason} (first: {self.first[reason]})" for reason, count in self.counts.items()]


def with_readable_truths(problems: Sequence[Problem], left_out: LeftOut) -> list[Problem]:
    """Those whose ground truth LAPO's verifier can compare an answer with."""
    truths = list(dict.fromkeys(problem.ground_truth for problem in problems))
    complaints = {truth: _complaint(truth) for truth in progress(truths, "reading the ground truths", len(truths))}
    kept = []
    for problem in problems:
        complaint = complaints[problem.ground_truth]
        if complaint is None:
            kept.append(problem)
        else:
            left_out.add(complaint.split(": ", 1)[0], f"{problem.where}: {problem.ground_truth[:60]!r}")
    return kept


def _complaint(truth: str) -> str | None:
    try:
        check_ground_truth(truth)
    except ValueError as error:
        return str(error)
    return None


def without_repeats(problems: Iterable[Problem], left_out: LeftOut) -> list[Problem]:
    """The first of those whose question is the same text; none of those whose ground truths contradict each other."""
    same: dict[str, list[Problem]] = {}
    for problem in problems:
        same.setdefault(normalized(problem.question), []).append(problem)
    kept = []
    for first, *others in same.values():
        other = next((problem for problem in others if not _same_truth(first.ground_truth, problem.ground_truth)), None)
        if other is None:
            kept.append(first)
            for problem in others:
                left_out.add("the same question again", f"{problem.where}, as {first.where}")
        else:
            example = f"{first.where}: {first.ground_truth!r}; {other.where}: {other.ground_truth!r}"
            for _ in (first, *others):
                left_out.add("the same question with different ground truths", example)
    return kept


def _same_truth(one: str, other: str) -> bool:
    return one == other or is_correct(f"\\boxed{{{unboxed(one)}}}", other)


def without_overlap(problems: Iterable[Problem], elsewhere: Mapping[str, str], left_out: LeftOut) -> list[Problem]:
    """The problems whose question occurs nowhere else: {normalized question: where, as the reason}."""
    kept = []
    for problem in problems:
        reason = elsewhere.get(normalized(problem.question))
        if reason is None:
            kept.append(problem)
        else:
            left_out.add(reason, problem.where)
    return kept


def check_ids(problems: Iterable[Problem]) -> None:
    """Raise SourceError where two problems have one id and are not the same."""
    seen: dict[str, Problem] = {}
    for problem in problems:
        first = seen.setdefault(problem.problem_id, problem)
        if (first.question, first.ground_truth) != (problem.question, problem.ground_truth):
            raise SourceError(f"{problem.where}: has the id {problem.problem_id!r} of another problem, {first.where}")


def normalized(question: str) -> str:
    """A question's text without what does not change its meaning: case, white space, math delimiters, braces, spacing
    commands, the kind of fraction, punctuation at the end. A question in other words stays another question.

    >>> normalized("What is $ \\\\dfrac{1}{2} $?") == normalized("what is \\\\frac{1}{2}")
    True
    """
    text = _FRACTION.sub(r"\\frac", unicodedata.normalize("NFKC", question).casefold())
    return _LAYOUT.sub("", text).rstrip(".,;:?!")


def question_of(row: Mapping[str, Any]) -> str:
    """The question of a row in verl's format: its last user message without the instruction."""
    users = [message for message in row["prompt"] if message["role"] == "user"]
    content = str((users or row["prompt"])[-1].get("content") or "").strip()
    return content.removesuffix(INSTRUCTION).strip()


def questions_of_files(paths: Iterable[Path]) -> dict[str, str]:
    """{normalized question: "also in FILE"} of files in verl's format. Raises ``DataError`` as ``read_rows``."""
    questions: dict[str, str] = {}
    for path in paths:
        for row in read_rows(path, ("prompt",)):
            questions.setdefault(normalized(question_of(row)), f"also in {path}")
    return questions
