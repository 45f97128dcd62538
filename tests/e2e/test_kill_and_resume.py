"""A training killed with SIGKILL after a checkpoint, and resumed, against one that was never interrupted.

Compared is what does not depend on sampling, for vLLM's samples differ from run to run: which problems were visited at
which step (verl restores the data order), how often, that the store the resumed process starts with is, record for
record, the snapshot of the checkpoint, and that no rollout was recorded twice.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from verl_runs import DISCOVERY, Inputs, Run, kill_after_checkpoint

from lapo_verl.store import LengthStore


@pytest.fixture(scope="module")
def killed_and_resumed(inputs: Inputs, run_verl: Callable[..., Run], tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("killed")
    kill_after_checkpoint(1, inputs, "lapo_discovery", folder, *DISCOVERY)
    return run_verl("lapo_discovery", folder, *DISCOVERY)


def visits(store: Path) -> list[tuple[int, str, int]]:
    with LengthStore.open(store, read_only=True) as opened:
        return sorted((record.step, record.problem_id, record.n) for record in opened.records())


def test_the_same_problems_at_the_same_steps(discovery: Run, killed_and_resumed: Run) -> None:
    assert killed_and_resumed.returncode == 0, killed_and_resumed.faults
    assert visits(killed_and_resumed.store) == visits(discovery.store)
    assert {n for _, _, n in visits(killed_and_resumed.store)} == {4}


def test_the_resumed_process_starts_with_the_snapshot(killed_and_resumed: Run) -> None:
    starts = [row["records"] for row in killed_and_resumed.recorded("start")]
    assert len(starts) == 2, "one start, one resume"
    snapshot = killed_and_resumed.checkpoints / "global_step_1" / "lapo_store.sqlite"
    with LengthStore.open(snapshot, read_only=True) as store:
        expected = [dataclasses.asdict(record) for record in store.records()]
    assert starts[0] == []
    assert len(expected) == 8
    assert starts[1] == json.loads(json.dumps(expected))


def test_the_last_checkpoint_holds_the_whole_store(killed_and_resumed: Run) -> None:
    last = killed_and_resumed.checkpoints / "global_step_2" / "lapo_store.sqlite"
    with (
        LengthStore.open(last, read_only=True) as one,
        LengthStore.open(killed_and_resumed.store, read_only=True) as two,
    ):
        assert list(one.records()) == list(two.records())
