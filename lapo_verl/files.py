"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
