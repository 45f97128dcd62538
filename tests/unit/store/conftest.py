"""What the tests of the store share: folders in memory, where a commit does not wait for a disk."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def memory() -> Iterator[Path]:
    """A folder in memory where the system has one."""
    folder = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=folder) as name:
        yield Path(name)


@pytest.fixture
def tmp_path(memory: Path) -> Path:
    """As pytest's, in memory."""
    return Path(tempfile.mkdtemp(dir=memory))
