"""JSONL files as runs leave them behind: read line by line, with the last line cut off where a run died."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

PROGRESS_BYTES = 1_000_000


class DumpError(ValueError):
    """A dump or log that cannot be read; the message names the file and the line."""


class Line(NamedTuple):
    """One row: its line number from 1, the byte at which the line starts, and what it holds."""

    number: int
    offset: int
    row: Any


def json_lines(
    path: Path,
    notes: list[str] | None = None,
    skip_broken: bool = False,
    progress: Callable[[int], object] | None = None,
) -> Iterator[Line]:
    """The rows of a JSONL file; empty lines, and a last line that was cut off when the run died, are left out.

    Args:
        notes: gets a sentence where a line that is not empty was left out.
        skip_broken: leave out every line that is not JSON.
        progress: called with the number of bytes read since the last call.

    Raises:
        DumpError: the file cannot be read; without ``skip_broken``, a line other than a cut last one is not JSON.
    """
    broken: list[int] = []
    offset = unreported = 0
    try:
        # In bytes: a response may hold characters that end a line for Python's text, and a cut may split one.
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                try:
                    rows = [json.loads(line)] if line.strip() else []
                except (ValueError, RecursionError) as error:
                    rows = []
                    if not line.endswith(b"\n"):
                        if notes is not None:
                            notes.append(f"{path}, line {number}: the last line was cut off and is left out")
                    elif skip_broken:
                        broken.append(number)
                    else:
                        raise DumpError(f"{path}, line {number}: not JSON: {error}") from error
                for row in rows:
                    yield Line(number, offset, row)
                offset += len(line)
                unreported += len(line)
                if progress is not None and unreported > PROGRESS_BYTES:
                    progress(unreported)
                    unreported = 0
    except OSError as error:
        raise DumpError(f"{path}: {error.strerror}") from error
    if progress is not None:
        progress(unreported)
    if broken and notes is not None:
        others = f", and {len(broken) - 1} more lines" if len(broken) > 1 else ""
        notes.append(f"{path}, line {broken[0]}{others}: not JSON, left out")


def final_lines(lines: Iterable[Line]) -> Iterator[Line]:
    """Of the outputs of one session (verl's uid ``{uid}_{session}_{index}``) the last one, which counts; all others.

    verl sorts its dumps by this key, so a session's outputs follow one another.
    """
    held: Line | None = None
    for line in lines:
        if held is not None and (_session(held.row) is None or _session(held.row) != _session(line.row)):
            yield held
        held = line
    if held is not None:
        yield held


def _session(row: Any) -> tuple[str, str] | None:
    uid = row.get("uid") if isinstance(row, dict) else None
    parts = uid.rsplit("_", 2) if isinstance(uid, str) else []
    return (parts[0], parts[1]) if len(parts) == 3 and parts[1].isdecimal() and parts[2].isdecimal() else None
