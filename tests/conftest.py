"""What holds for all tests."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from lapo_verl.cpu import WARM_PYTHON, warm_python

# An example that takes long on a busy machine is no fault.
settings.register_profile("lapo", deadline=None)
settings.load_profile("lapo")


@pytest.fixture(scope="session")
def warm() -> Iterator[str]:
    """The command of a Python that has verl imported, for all tests that start one; also in ``LAPO_WARM_PYTHON``."""
    with warm_python.offered():
        yield os.environ[WARM_PYTHON]
