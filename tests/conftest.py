"""What holds for all tests."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from typing import Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

from lapo_verl.cpu import WARM_PYTHON, warm_python

WITH_RAY = ("tests/e2e/", "tests/integration/test_verify_ray.py")
# An example that takes long on a busy machine is no fault.
settings.register_profile("lapo", deadline=None)
settings.load_profile("lapo")


class Schedule(LoadScopeScheduling):  # type: ignore[misc]
    """Tests that start Ray share a worker: trainings are shared, and two at once would share their temporary files."""

    def _split_scope(self, nodeid: str) -> str:
        return "ray" if nodeid.startswith(WITH_RAY) else nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Schedule:
    return Schedule(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A worker sends what a test logged as UTF-8, and a model's text may hold half a character."""
    report = yield
    report.sections = [(name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections]
    return report


@pytest.fixture(scope="session")
def warm() -> Iterator[str]:
    """The command of a Python that has verl imported, for all tests that start one; also in ``LAPO_WARM_PYTHON``."""
    with warm_python.offered():
        yield os.environ[WARM_PYTHON]
