"""Steps of every objective on verl's own classes: LAPO's dataset and replay buffer, and verl's advantages.

No model is trained here. A step is what a training does between rollout and gradient: rows are read with what is known
of their problems, whole groups are rewarded and recorded, and verl makes advantages of ``rm_scores``. After the second
step the run dies and is resumed.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf
from step_queue import LIMIT, Buffers, Queue, plain
from transformers import AutoTokenizer
from verl import DataProto
from verl.trainer.ppo.core_algos import AdvantageEstimator
from verl.trainer.ppo.v1.utils import compute_advantage_for_multi_trajectories

from lapo_verl.data.problems import Problem
from lapo_verl.data.write import write_problems
from lapo_verl.hooks.dataset import LapoDataset
from lapo_verl.objectives import Groups, Memory, Objective, objective, objective_names
from lapo_verl.store import GroupRecord, LengthStore

PROBLEMS, ROLLOUTS, STEPS = 4, 6, 3
# Scales at which lengths of some hundred tokens matter, and memories that change with every step.
FIELDS: dict[str, dict[str, Any]] = {
    "acoer": {"budget": 500, "alpha": 0.4, "warmup": 0, "window": 2},
    "alp": {"beta": 1e-4},
    "controller": {"rate": 0.01},
    "cosine": {"limit": 700},
    "grpo_lead": {"gate": 100},
    "l1": {"low": 100, "high": 700},
    "laser": {"target_length": 400},
    "laser_d": {"target_length": 400, "lower_bound": 100, "spacing": 50, "interval": 1},
    "laser_de": {"target_length": 400, "lower_bound": 100, "spacing": 50, "interval": 1},
    "overlong": {"limit": 700, "buffer": 600},
    "truncation": {"limit": 400},
}
# Their rewards depend on what earlier steps, or the prompt, have left.
REMEMBERING = {"acoer", "controller", "hapo", "internalization", "l1", "laser_d", "laser_de"}


@dataclass(frozen=True)
class Seen:
    """What a step was: the rows that were read, and what verl made of the groups."""

    rows: list[dict[str, Any]]
    groups: Groups
    scores: NDArray[np.float64]
    advantages: NDArray[np.float64]
    metrics: dict[str, float]


class Run:
    """A run of one objective, whose folder is that of ``buffers``."""

    def __init__(self, name: str, queue: Queue, buffers: Buffers, tokenizer: Any) -> None:
        self.queue, self.buffers, self.tokenizer = queue, buffers, tokenizer
        self.scorer: Objective = objective(name, **FIELDS.get(name, {}))
        self.lapo = {"objective": self.scorer.config(), "store": str(buffers.folder / "store.sqlite")}
        problems = [Problem(f"p{i}", f"What is {i} + 1?", str(i + 1), "sums") for i in range(PROBLEMS)]
        for split in ("train", "val"):
            write_problems(problems, split, buffers.folder / f"{split}.parquet")
        if self.scorer.starts_from_targets:
            self.lapo["init_from"] = str(self._earlier_run())
        self.start()

    def start(self) -> None:
        """As verl starts a run, or resumes it: the buffer is made before a row is read."""
        self.buffer = self.buffers(**self.lapo)
        self.dataset = LapoDataset(str(self.buffers.folder / "train.parquet"), self.tokenizer, self._data())

    def save(self, step: int) -> None:
        folder = self.buffers.folder / f"global_step_{step}"
        (folder / "actor").mkdir(parents=True)
        (self.buffers.folder / "latest_checkpointed_iteration.txt").write_text(str(step))
        self.buffer.store.snapshot(folder / "lapo_store.sqlite")

    def step(self, step: int) -> Seen:
        rows = [self.dataset[i] for i in range(PROBLEMS)]
        self.queue.tags.clear()
        correct, lengths = [], []
        for place, row in enumerate(rows):
            draw = random.Random(f"{step} {place}")
            lengths.append([draw.randint(50, 800) for _ in range(ROLLOUTS)])
            # The first problem is solved always, the last one never.
            correct.append([draw.random() < (1, 0.7, 0.4, 0)[place] for _ in range(ROLLOUTS)])
            responses = [plain(*rollout) for rollout in zip(lengths[-1], correct[-1], strict=True)]
            self.queue.add(
                "train", row["lapo"]["problem_id"], f"s{step}p{place}", responses, step=step, lapo=row["lapo"]
            )
        batch, metrics = self.buffer.sample(step, "train", PROBLEMS)
        keys = [f"s{step}p{place}_{session}_0" for place in range(PROBLEMS) for session in range(ROLLOUTS)]
        assert sorted(batch.keys) == sorted(keys)
        groups = Groups.of(
            correct,
            lengths,
            target=[row["lapo"]["target"] for row in rows],
            prompt_budget=[row["lapo"]["prompt_budget"] for row in rows],
            guided=[row["lapo"]["guided"] for row in rows],
            response_limit=LIMIT,
        )
        scores, advantages = advantages_of(self.queue, keys)
        return Seen(rows, groups, scores, advantages, metrics)

    def state(self) -> tuple[Any, ...]:
        store = self.buffer.store
        return list(store.records()), store.memory(self.scorer.name), store.budgets(f"p{i}" for i in range(PROBLEMS))

    def _earlier_run(self) -> Path:
        path = self.buffers.folder / "earlier.sqlite"
        with LengthStore.open(path) as store:
            visits = [GroupRecord(f"p{i}", (300 + i,), (True,)) for i in range(PROBLEMS - 1)]
            store.record_step("discovery", 1, visits, objective("discovery"))
        return path

    def _data(self) -> DictConfig:
        files = {f"{split}_files": str(self.buffers.folder / f"{split}.parquet") for split in ("train", "val")}
        limits = {"max_prompt_length": 256, "max_response_length": LIMIT, "filter_overlong_prompts": False}
        return OmegaConf.create({**files, **limits, "cache_dir": str(self.buffers.folder), "lapo": self.lapo})


def advantages_of(queue: Queue, keys: list[str]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """verl's own advantages of what is in the queue, and the scores that they are made of; shape (M, N) each."""
    padded = [
        torch.nn.utils.rnn.pad_sequence([queue.rows[key][field] for key in keys], batch_first=True)
        for field in ("rm_scores", "response_mask")
    ]
    data = DataProto.from_dict(
        tensors={"token_level_rewards": padded[0], "response_mask": padded[1]},
        non_tensors={"uid": np.array([key.split("_")[0] for key in keys], dtype=object)},
    )
    data = compute_advantage_for_multi_trajectories(data, keys, AdvantageEstimator.GRPO)
    shape = (PROBLEMS, ROLLOUTS)
    scores = padded[0].sum(dim=1).double().numpy().reshape(shape)
    return scores, data.batch["advantages"][:, 0].double().numpy().reshape(shape)


@pytest.fixture
def start(queue: Queue, buffers: Buffers, tokenizer_folder: Path) -> Callable[[str], Run]:
    return lambda name: Run(name, queue, buffers, AutoTokenizer.from_pretrained(tokenizer_folder))


@pytest.mark.parametrize("name", objective_names())
def test_steps_with_memory_and_targets_across_them_and_across_a_resume(name: str, start: Callable[[str], Run]) -> None:
    run = start(name)
    memory: Memory | None = None
    targets = run.scorer.keeps_targets
    for step in range(1, STEPS + 1):
        before = run.state()
        seen = run.step(step)
        rewards = run.scorer.rewards(seen.groups, memory)
        np.testing.assert_allclose(seen.scores, rewards, rtol=0, atol=2e-5)
        deviation = rewards.std(axis=1, ddof=1, keepdims=True)
        expected = (rewards - rewards.mean(axis=1, keepdims=True)) / (deviation + 1e-6)
        np.testing.assert_allclose(seen.advantages, expected, rtol=0, atol=2e-3)
        assert np.isfinite(list(seen.metrics.values())).all()
        memory = run.scorer.adapt(memory, seen.groups)
        after = run.scorer.update(seen.groups)
        records, remembered, budgets = run.state()
        assert (len(records), remembered) == (len(before[0]) + PROBLEMS, memory)
        assert [np.nan if budget is None else budget for budget in budgets.values()] == pytest.approx(
            after.tolist() if targets else [np.nan] * PROBLEMS, nan_ok=True
        )
        if step < STEPS:
            run.save(step)
            at_checkpoint = run.state()
    # The last step would have been another without what the ones before it have left.
    fresh = Groups.of(seen.groups.correct.tolist(), seen.groups.lengths.tolist(), response_limit=LIMIT)
    assert np.array_equal(run.scorer.rewards(fresh), rewards) == (name not in REMEMBERING)

    at_the_end = run.state()
    run.buffer.store.close()
    run.start()
    assert run.state() == at_checkpoint != at_the_end
    again = run.step(STEPS)
    assert [row["lapo"] for row in again.rows] == [row["lapo"] for row in seen.rows]
    np.testing.assert_array_equal(again.advantages, seen.advantages)
    assert run.state() == at_the_end
