"""Real verl and real vLLM on the CPU, on the toy's model and problems with tiny settings."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pyarrow.parquet as pq
import pytest
from verl_runs import DISCOVERY, Inputs, Run, run_to_end

from toy.warmup import prepare


@pytest.fixture(scope="session", autouse=True)
def starts_are_warm(warm: str) -> None:
    """Trainings and evaluations start with verl imported, as those of ``lapo demo`` do."""


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    """The toy's base model, 24 training problems and 6 held-out ones."""
    folder = tmp_path_factory.mktemp("inputs")
    paths = prepare(folder, show_progress=False)
    for path, rows in ((paths.train, 24), (paths.validation, 6)):
        pq.write_table(pq.read_table(path).slice(0, rows), path)
    return Inputs(paths.model, paths.train, paths.validation)


@pytest.fixture(scope="session")
def run_verl(inputs: Inputs) -> Callable[..., Run]:
    """``run_verl(config, folder, *overrides)``: ``run_to_end`` of the tests' inputs."""
    return functools.partial(run_to_end, inputs)


@pytest.fixture(scope="session")
def discovery(run_verl: Callable[..., Run], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two steps of stage 1 in one go, a checkpoint after each."""
    return run_verl("lapo_discovery", tmp_path_factory.mktemp("discovery"), *DISCOVERY)


@pytest.fixture(scope="session")
def internalization(run_verl: Callable[..., Run], discovery: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Stage 2 on stage 1's weights and store: one step and a checkpoint, then resumed for two more."""
    folder = tmp_path_factory.mktemp("internalization")
    overrides = (
        f"actor_rollout_ref.model.path={discovery.weights(2)}",
        f"lapo.init_from={discovery.store}",
        "lapo.objective.sigma=6",
        "trainer.save_freq=1",
        # Five rounds over three batches of 8 problems: problems come again within the run.
        "trainer.total_epochs=5",
    )
    first = run_verl("lapo_internalization", folder, "trainer.total_training_steps=1", *overrides)
    assert first.returncode == 0, first.faults
    return run_verl("lapo_internalization", folder, "trainer.total_training_steps=4", "trainer.test_freq=4", *overrides)
