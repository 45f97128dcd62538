"""Messages, help, docstrings and pages avoid phrases that cost the reader a second look."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
# Say "contains", "is in", "fix", "what to do", "all", "prints".
AVOIDED = re.compile(
    r"\b(?:stands?(?! in for)|lies|lie in|the way out|what there (?:is|are)|(?:is|are) said|for ever|mends?|mended)\b",
    re.IGNORECASE,
)
FILES = [
    ROOT / "README.md",
    *(ROOT / "docs").rglob("*.md"),
    *(ROOT / "recipes").rglob("README.md"),
    *(ROOT / "hydra_configs").rglob("*.yaml"),
    *(ROOT / "lapo_verl").rglob("*.py"),
]


def test_what_a_user_reads_is_in_plain_words() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in FILES
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if AVOIDED.search(line)
    ]
    assert not found, "\n".join(found)
