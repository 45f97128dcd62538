"""verl's checkpoint engine ``gloo``: the trainer's weights to vLLM servers that are in other processes.

``trainer.v1.trainer_mode=separate_async`` needs such an engine, and verl's own need an accelerator. verl imports this
module where ``checkpoint_engine.custom_backend_module`` names it (``hydra_configs/platform/cpu.yaml``): in the trainer,
in its worker, and beside each vLLM server. For each update of the weights verl calls ``prepare``, ``build_topology``,
``init_process_group``, ``send_weights`` and ``receive_weights``, ``finalize``.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable
from datetime import timedelta
from typing import Any

import ray
import torch
from torch.distributed import ProcessGroupGloo, TCPStore
from verl.checkpoint_engine import CheckpointEngine, CheckpointEngineRegistry

from lapo_verl.cpu import verl_patches

# What a process waits for another one, as verl's actor_rollout_ref.nccl_timeout.
TIMEOUT = timedelta(minutes=10)
SENDER, NOT_IN_GROUP = 0, -1

# Of the modules that verl imports in the trainer's worker, this is the one for separate_async.
verl_patches.saved_weights_are_copies()


@CheckpointEngineRegistry.register("gloo")
class GlooCheckpointEngine(CheckpointEngine):  # type: ignore[misc]
    """The trainer's first worker sends all servers each tensor: name, shape and dtype by a store, the bytes by gloo.

    Args:
        bucket_size: verl's, in bytes; tensors are sent one by one, so it is not needed.
        is_master: whether this is the trainer's first worker.
    """

    def __init__(self, bucket_size: int, is_master: bool = False) -> None:
        self.is_master = is_master
        self._store: TCPStore | None = None
        self._group: ProcessGroupGloo | None = None

    def prepare(self) -> tuple[str, int] | None:
        """The address of the store, which the sender opens; None of the others."""
        if not self.is_master:
            return None
        host = ray.util.get_node_ip_address()
        self._store = TCPStore(host, 0, is_master=True, timeout=TIMEOUT, wait_for_workers=False)
        return host, self._store.port

    @classmethod
    def build_topology(
        cls, actor_wg_world_size: int, rollout_world_size: int, metadata: list[tuple[str, int] | None]
    ) -> tuple[dict[str, list[Any]], dict[str, list[Any]]]:
        """Arguments of ``init_process_group`` for the trainer's workers, and for those beside the servers."""
        world_size, address = 1 + rollout_world_size, metadata[0]

        def arguments(ranks: list[int]) -> dict[str, list[Any]]:
            return {"rank": ranks, "world_size": [world_size] * len(ranks), "address": [address] * len(ranks)}

        trainers = [SENDER, *[NOT_IN_GROUP] * (actor_wg_world_size - 1)]
        return arguments(trainers), arguments(list(range(1, world_size)))

    def init_process_group(self, rank: int, world_size: int, address: tuple[str, int]) -> None:
        """Joins the group of the sender and the servers; returns when all have."""
        if rank == NOT_IN_GROUP:
            return
        if self._store is None:
            self._store = TCPStore(*address, is_master=False, timeout=TIMEOUT)
        self._group = ProcessGroupGloo(self._store, rank, world_size, TIMEOUT)

    def finalize(self) -> None:
        """Leaves the group."""
        self._group = self._store = None

    async def send_weights(self, weights: Iterable[tuple[str, torch.Tensor]], global_steps: int | None = None) -> None:
        """Sends all weights. A worker outside of the group only walks through them: all workers gather each one."""
        number = 0
        for number, (name, weight) in enumerate(weights, start=1):
            if self._store is not None:
                header = {"name": name, "shape": list(weight.shape), "dtype": str(weight.dtype).removeprefix("torch.")}
                self._announce(number, header)
                self._broadcast(weight.detach().contiguous())
        if self._store is not None:
            self._announce(number + 1, None)

    async def receive_weights(self, global_steps: int | None = None) -> AsyncIterator[tuple[str, torch.Tensor]]:
        """Yields each weight's name and the weight."""
        assert self._store is not None, "init_process_group comes first"
        number = 1
        while (header := json.loads(self._store.get(f"weight/{number}"))) is not None:
            weight = torch.empty(header["shape"], dtype=getattr(torch, header["dtype"]))
            self._broadcast(weight)
            yield header["name"], weight
            number += 1

    def _announce(self, number: int, header: dict[str, Any] | None) -> None:
        assert self._store is not None
        self._store.set(f"weight/{number}", json.dumps(header))

    def _broadcast(self, weight: torch.Tensor) -> None:
        assert self._group is not None, "init_process_group comes first"
        # As bytes, so that every dtype will do.
        self._group.broadcast(weight.view(-1).view(torch.uint8), root=SENDER).wait()
