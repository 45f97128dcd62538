"""Files that are there whole or not at all, and keys by which results in files are found again."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A path beside ``path`` to write to, renamed to it after the block; its folder is made where there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Of this process alone: another one may be writing the same file.
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_whole(path: Path, text: str) -> None:
    """A text file in UTF-8, by way of ``whole_file``."""
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


def settings_key(made_of: Mapping[str, Any]) -> str:
    """A hash of all that a result follows from (JSON values), by which results of other settings are told apart."""
    return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:16]
