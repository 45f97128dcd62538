"""Both stages with LoRA: an adapter is trained, and stage 2 starts from the model that `lapo export` makes of it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from verl_runs import DISCOVERY, Run, groups_of, rewards_of

from lapo_verl.store import LengthStore

LORA = ("actor_rollout_ref.model.lora_rank=8", "actor_rollout_ref.rollout.load_format=safetensors")


class Stages(NamedTuple):
    """Both trainings, and the model between them."""

    discovery: Run
    model: Path
    internalization: Run


@pytest.fixture(scope="module")
def stages(run_verl: Callable[..., Run], tmp_path_factory: pytest.TempPathFactory) -> Stages:
    folder = tmp_path_factory.mktemp("lora")
    discovery = run_verl("lapo_discovery", folder / "discovery", *DISCOVERY, *LORA)
    assert discovery.returncode == 0, discovery.faults
    model = folder / "exported"
    command = [sys.executable, "-m", "lapo_verl.cli.main", "export", str(discovery.checkpoints), "-o", str(model)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    internalization = run_verl(
        "lapo_internalization",
        folder / "internalization",
        *LORA,
        f"actor_rollout_ref.model.path={model}",
        f"lapo.init_from={discovery.store}",
        "lapo.objective.sigma=6",
        "trainer.total_training_steps=2",
    )
    assert internalization.returncode == 0, internalization.faults
    return Stages(discovery, model, internalization)


def test_rewards_of_both_stages_are_the_papers(stages: Stages) -> None:
    trained = ((stages.discovery, "discovery", {"decay": 8}), (stages.internalization, "internalization", {"sigma": 6}))
    for run, name, fields in trained:
        visits = groups_of(run.recorded()).values()
        assert len(visits) == 2 * 8
        for rows in visits:
            expected = rewards_of(rows, rows[0]["lapo"].get("prompt_budget"), name, **fields)
            assert [sum(row["scores"]) for row in rows] == pytest.approx(expected, abs=2**-16)


def test_an_adapter_is_what_was_trained(stages: Stages) -> None:
    shard = stages.discovery.checkpoints / "global_step_2" / "actor" / "model_world_size_1_rank_0.pt"
    weights = torch.load(shard, weights_only=False)
    # An adapter starts at zero.
    changed = {name: bool((weight != 0).any()) for name, weight in weights.items() if "lora_B" in name}
    assert changed and all(changed.values())


def test_the_rollouts_follow_the_adapter(stages: Stages) -> None:
    """vLLM's probabilities of its tokens are the trainer's, also after the adapter has changed."""
    for run in (stages.discovery, stages.internalization):
        assert run.metrics()[2]["training/rollout_probs_diff_max"] < 1e-3


def test_stage_two_goes_on_from_stage_one(stages: Stages) -> None:
    with LengthStore.open(stages.internalization.store, read_only=True) as store:
        assert store.last_step("discovery") == store.last_step("internalization") == 2
    shown = {row["lapo"]["target"] for row in stages.internalization.recorded()}
    assert len(shown - {None}) > 3
