"""The buffer of the asynchronous trainers, in a real training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from verl_runs import Run

from lapo_verl.store import LengthStore


def test_colocate_async_trains_and_records(run_verl: Callable[..., Run], tmp_path: Path) -> None:
    run = run_verl(
        "lapo_discovery",
        tmp_path,
        "trainer.v1.trainer_mode=colocate_async",
        "trainer.total_training_steps=2",
        "trainer.v1.sampler.custom_sampler.path=pkg://lapo_verl.hooks.replay_buffer",
        "trainer.v1.sampler.custom_sampler.name=build",
    )
    assert run.returncode == 0, run.output[-3000:]
    metrics = run.metrics()
    with LengthStore.open(run.store, read_only=True) as store:
        records = list(store.records())
    for step in (1, 2):
        recorded = [record for record in records if record.step == step]
        rollouts = sum(record.n for record in recorded)
        assert rollouts == 8 * 4
        correct = sum(len(record.correct_lengths) for record in recorded)
        assert metrics[step]["lapo/accuracy"] == correct / rollouts
        assert {row["score"] > 0 for row in run.dump("rollouts", step)} >= {correct > 0}
