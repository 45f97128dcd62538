"""Tables and lines of Markdown from texts that may contain anything."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence


def table(header: Sequence[str], rows: Iterable[Sequence[object]], numbers_from: int | None = None) -> str:
    """A table; columns from ``numbers_from`` on are aligned to the right.

    >>> print(table(["model", "tokens"], [["a|b", 120]], numbers_from=1))
    | model | tokens |
    | --- | ---: |
    | a\\|b | 120 |
    """
    names = len(header) if numbers_from is None else numbers_from
    rule = ["---"] * names + ["---:"] * (len(header) - names)
    lines = [_row(map(line, header)), _row(rule), *(_row(line(str(cell)) for cell in row) for row in rows)]
    return "\n".join(lines)


def line(text: str) -> str:
    """One line that shows the text as it is: no HTML, no end of a cell."""
    return html.escape(" ".join(text.split()), quote=False).replace("|", "\\|")


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
