"""Two jobs of a Hydra sweep, one after the other in one process: each is a training of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from verl_runs import Run

from lapo_verl.store import LengthStore


@pytest.fixture(scope="module")
def sweep(run_verl: Callable[..., Run], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweep")
    run = run_verl(
        "lapo_discovery",
        folder,
        "lapo.objective.decay=8,9",
        f"hydra.sweep.dir={folder}/hydra",
        f"trainer.default_local_dir={folder}/decay${{lapo.objective.decay}}",
        "trainer.total_training_steps=1",
        "--multirun",
        env={"VERL_FILE_LOGGER_PATH": None},
    )
    assert run.returncode == 0, run.faults
    return folder


def test_each_job_has_its_metrics_and_its_store(sweep: Path) -> None:
    for decay in (8, 9):
        job = sweep / f"decay{decay}"
        (metrics,) = job.glob("metrics.*.jsonl")
        assert len(metrics.read_text().splitlines()) == 1
        with LengthStore.open(job / "lapo_store.sqlite", read_only=True) as store:
            (run,) = store.runs()
            assert run.objective["decay"] == decay
            assert len(list(store.records())) == 8
