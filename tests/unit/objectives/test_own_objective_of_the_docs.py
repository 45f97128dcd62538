"""The objective that docs/objectives.md shows as an example of one's own: as it is printed there."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from lapo_verl.config import LapoConfig
from lapo_verl.objectives import Groups, checked_rewards, checked_targets, objective
from lapo_verl.paths import hydra_configs
from lapo_verl.store import GroupRecord, LengthStore

SECTION = (hydra_configs().parent / "docs" / "objectives.md").read_text().partition("## Write your own in 30 lines")[2]


@pytest.fixture
def on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", SECTION, flags=re.DOTALL)
    assert len([line for line in code.splitlines() if line.strip()]) <= 30
    (tmp_path / "my_rewards.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_rewards", raising=False)


@pytest.mark.usefixtures("on_the_path")
def test_it_rewards_and_keeps_targets_through_the_store(tmp_path: Path) -> None:
    below_best = objective("BelowBest", path="pkg://my_rewards", slack=1.5)
    first = Groups.of(correct=[[True, True], [True, False]], lengths=[[100, 140], [70, 50]], target=[None, None])
    assert checked_rewards(below_best, first).tolist() == [[1.0, 1.0], [1.0, 0.0]]
    assert checked_targets(below_best, first).tolist() == [100.0, 70.0]
    later = Groups.of(correct=[[True, True]], lengths=[[150, 151]], target=[100.0])
    assert checked_rewards(below_best, later).tolist() == [[1.5, 1.0]]
    with LengthStore.open(tmp_path / "store.sqlite") as store:
        group = GroupRecord(problem_id="p", lengths=(100, 140), correct=(True, True))
        assert store.record_step("BelowBest", 1, [group], below_best) == {"p": 100.0}


@pytest.mark.usefixtures("on_the_path")
def test_the_config_of_the_docs_finds_it() -> None:
    (keys,) = set(
        re.findall(r"lapo\.objective\.path=(\S+) lapo\.objective\.name=(\S+) lapo\.objective\.slack=(\S+)", SECTION)
    )
    node = {"path": keys[0], "name": keys[1], "slack": float(keys[2])}
    assert LapoConfig.parse({"objective": node}).objective == objective("BelowBest", path="pkg://my_rewards", slack=1.5)
