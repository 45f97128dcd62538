"""Groups without a signal, dropped and replaced in real trainings: by the buffer of the async trainers as well."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from verl_runs import Run

from lapo_verl.objectives import Groups, has_signal, objective
from lapo_verl.store import LengthStore, Record

# Of two correct rollouts, both are equally far from their band: each group that is not mixed has one reward.
FILTER = ("algorithm.filter_groups.enable=true", "actor_rollout_ref.rollout.n=2", "trainer.total_training_steps=2")
DROPPED = ("training/filter_groups/evicted_samples", "training/filter_groups/discarded_surplus_samples")


@pytest.mark.parametrize("mode", ["sync", "colocate_async"])
def test_groups_are_dropped_and_replaced(run_verl: Callable[..., Run], tmp_path: Path, mode: str) -> None:
    run = run_verl(
        "lapo_discovery",
        tmp_path,
        f"trainer.v1.trainer_mode={mode}",
        "trainer.v1.sampler.custom_sampler.path=pkg://lapo_verl.hooks.replay_buffer",
        "trainer.v1.sampler.custom_sampler.name=build",
        *FILTER,
    )
    assert run.returncode == 0, run.faults
    with LengthStore.open(run.store, read_only=True) as store:
        records = list(store.records())
        assert store.last_step("discovery") == 2
    metrics, filtered = run.metrics(), 0
    for step in (1, 2):
        dropped = [record for record in records if record.step == step and record.filtered]
        trained = [record for record in records if record.step == step and not record.filtered]
        # The batch is full all the same, and of groups that GRPO learns from.
        assert len(trained) == 8 and with_signal(trained).all()
        correct = sum(sum(record.correct) for record in trained)
        assert metrics[step]["lapo/accuracy"] == correct / (8 * 2)
        scores = [row["score"] for row in run.dump("rollouts", step)]
        assert len(scores) == 8 * 2 and sum(scores) == pytest.approx(sum(map(rewards_of, trained)), abs=1e-3)
        assert len(dropped) == metrics[step]["lapo/filtered_groups_total"]
        assert len(dropped) == sum(metrics[step].get(name, 0) for name in DROPPED)
        without = int((~with_signal(dropped)).sum()) if dropped else 0
        assert without == metrics[step].get(DROPPED[0], 0)
        filtered += without
    assert filtered > 0


def groups_of(records: list[Record]) -> Groups:
    return Groups.of([record.correct for record in records], [record.lengths for record in records])


def with_signal(records: list[Record]) -> NDArray[np.bool_]:
    return has_signal(objective("discovery").rewards(groups_of(records)))


def rewards_of(record: Record) -> float:
    return float(objective("discovery").rewards(groups_of([record])).sum())
