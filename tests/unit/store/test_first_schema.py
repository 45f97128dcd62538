"""A store that an earlier version wrote (commit 2f8ddeb, see ``first_schema/make_store.py``) is read as it was."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from lapo_verl.store import GroupRecord, LengthStore

FOLDER = Path(__file__).parent / "first_schema"
sys.path.insert(0, str(FOLDER))

from make_store import content  # noqa: E402


@pytest.fixture
def store(tmp_path: Path) -> Path:
    # A copy, since SQLite writes beside a file that it reads.
    return Path(shutil.copy(FOLDER / "lapo_store.sqlite", tmp_path))


def test_everything_that_it_answers(store: Path) -> None:
    expected = json.loads((FOLDER / "content.json").read_text())
    assert json.loads(json.dumps(content(store))) == expected


def test_it_is_written_on(store: Path) -> None:
    before = json.loads((FOLDER / "content.json").read_text())["budgets"]
    with LengthStore.open(store) as opened:
        assert opened.record_step("internalization", 6, [GroupRecord("p3", 2, (100,), before["p3"])]) == {"p3": 100.0}
        opened.rewind("internalization", 5)
        assert opened.budgets(before) == before
