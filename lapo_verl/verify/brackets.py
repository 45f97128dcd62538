"""Where the brackets of a text open and close, and what is outside all of them."""

from __future__ import annotations

import re
from typing import Final

_MAX_ITEMS: Final = 64
_BRACKETS: Final = r"\\(?:begin|end)(?![A-Za-z])|\\[{}]|\\.|[()\[\]{}]"
_OPENING: Final = frozenset(("(", "[", "{", "\\{", "\\begin"))
_CLOSING: Final = frozenset((")", "]", "}", "\\}", "\\end"))


def separators(pattern: str) -> re.Pattern[str]:
    """What ``split`` and ``outer`` look for: the pattern, where no bracket is open. It may hold no group."""
    return re.compile(rf"({pattern})|{_BRACKETS}", re.DOTALL)


COMMAS: Final = separators("[,;]")


def outer(text: str, pattern: re.Pattern[str]) -> list[re.Match[str]] | None:
    """The separators outside all brackets; None where brackets do not match up. ``[0,1)`` does."""
    depth = 0
    found: list[re.Match[str]] = []
    for match in pattern.finditer(text):
        token = match.group()
        if match[1] is not None:
            if depth == 0:
                found.append(match)
        elif token in _OPENING:
            depth += 1
        elif token in _CLOSING:
            depth -= 1
            if depth < 0:
                return None
    return found if depth == 0 else None


def split(text: str, pattern: re.Pattern[str] = COMMAS) -> tuple[str, ...] | None:
    """The text cut at its outer separators; None where brackets do not match up or there are too many items."""
    found = outer(text, pattern)
    if found is None or len(found) >= _MAX_ITEMS:
        return None
    starts = [0, *(match.end() for match in found)]
    ends = [*(match.start() for match in found), len(text)]
    return tuple(text[start:end].strip() for start, end in zip(starts, ends, strict=True))


def closes(text: str) -> bool:
    """Whether the first bracket of the text is closed by its last one."""
    depth = 0
    for match in COMMAS.finditer(text):
        token = match.group()
        if token in _OPENING:
            depth += 1
        elif token in _CLOSING:
            depth -= 1
            if depth == 0:
                return match.end() == len(text)
    return False
