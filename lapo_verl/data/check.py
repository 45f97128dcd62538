"""Files in verl's format looked at: can they be trained and evaluated on, and what is in them?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lapo_verl.data.rows import check_rows, read_rows
from lapo_verl.data.screen import normalized, question_of


@dataclass(frozen=True)
class FileCheck:
    """What a file holds.

    Attributes:
        path: the file.
        rows: all of them.
        problems: different problem ids.
        repeated_questions: rows that repeat the question of an earlier row of the file.
        in_earlier_files: rows that repeat a question of an earlier file.
        levels: rows of each level; a row without one counts under "none".
        data_sources: rows of each.
    """

    path: str
    rows: int
    problems: int
    repeated_questions: int
    in_earlier_files: int
    levels: dict[str, int]
    data_sources: dict[str, int]


def check_files(paths: Sequence[Path], ground_truths: bool = True) -> Iterator[FileCheck]:
    """Check every row of each file, and compare the files' questions.

    Args:
        paths: parquet or JSONL; one id must not name different problems, in one file or across files.
        ground_truths: whether LAPO's verifier has to be able to read them.

    Raises:
        DataError: as ``rows.check_rows``.
    """
    ids: dict[str, str] = {}
    earlier: set[str] = set()
    for path in paths:
        counts = check_rows(path, ground_truths, ids)
        rows = list(read_rows(path))
        questions = Counter(normalized(question_of(row)) for row in rows)
        yield FileCheck(
            str(path),
            len(rows),
            len(counts),
            len(rows) - len(questions),
            sum(count for question, count in questions.items() if question in earlier),
            level_counts((row.get("extra_info") or {}).get("level") for row in rows),
            dict(Counter(str(row["data_source"]) for row in rows).most_common()),
        )
        earlier.update(questions)


def level_counts(levels: Any) -> dict[str, int]:
    """How many of each, numbers in their order, then words, then "none".

    >>> level_counts([2, 1, None, 10, 2])
    {'1': 1, '2': 2, '10': 1, 'none': 1}
    """
    counts = Counter("none" if level is None else str(level) for level in levels)
    return {level: counts[level] for level in sorted(counts, key=_level_order)}


def _level_order(level: str) -> tuple[int, int, str]:
    return (0, int(level), "") if level.isdecimal() else (1 + (level == "none"), 0, level)
