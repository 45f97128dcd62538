"""LAPO's dataset and replay buffer with every second step switched back to verl's own; loaded by verl by path.

One training then holds both kinds of steps, on the same machine in the same minutes: see bench_step.py.
"""

from __future__ import annotations

from typing import Any

from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer
from verl.utils.dataset.rl_dataset import RLHFDataset

from lapo_verl.hooks.dataset import LapoDataset
from lapo_verl.hooks.replay_buffer import LapoReplayBuffer


def is_stock(step: int) -> bool:
    """Odd steps are verl's own."""
    return step % 2 == 1


class AlternatingDataset(LapoDataset):
    """Counts the rows that it hands out, and so knows which step a row is for."""

    fetched = 0

    def __getitem__(self, item: int) -> dict[str, Any]:
        if not self.for_training:
            return super().__getitem__(item)
        step = self.fetched // int(self.config.train_batch_size) + 1
        self.fetched += 1
        return RLHFDataset.__getitem__(self, item) if is_stock(step) else super().__getitem__(item)


class AlternatingBuffer(LapoReplayBuffer):
    """Both kinds of steps look at the queue in the same interval."""

    def sample(self, global_steps: int, partition_id: str, batch_size: int) -> tuple[Any, dict[str, Any]]:
        if is_stock(global_steps):
            return ReplayBuffer.sample(self, global_steps, partition_id, batch_size)
        return super().sample(global_steps, partition_id, batch_size)
