"""The weights that leave the trainer are those that arrive beside the vLLM servers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from verl.checkpoint_engine import CheckpointEngineRegistry

from lapo_verl.cpu.gloo_engine import GlooCheckpointEngine

Weights = list[tuple[str, torch.Tensor]]
DTYPES = (torch.float32, torch.bfloat16, torch.int64, torch.bool)


def update(
    trainers: list[GlooCheckpointEngine], servers: list[GlooCheckpointEngine], weights: Weights
) -> list[Weights]:
    """One update as verl's ``CheckpointEngineManager`` does it, a thread a process; what each server received."""
    gathered = [0] * len(trainers)

    def walked(place: int) -> Iterator[tuple[str, torch.Tensor]]:
        for entry in weights:
            gathered[place] += 1
            yield entry

    async def received(engine: GlooCheckpointEngine) -> Weights:
        return [(name, weight) async for name, weight in engine.receive_weights(global_steps=1)]

    engines = [*trainers, *servers]
    metadata = [engine.prepare() for engine in engines]
    topology = GlooCheckpointEngine.build_topology(len(trainers), len(servers), metadata)
    calls = [dict(zip(group, row, strict=True)) for group in topology for row in zip(*group.values(), strict=True)]
    with ThreadPoolExecutor(len(engines)) as threads:
        joined = [
            threads.submit(engine.init_process_group, **call) for engine, call in zip(engines, calls, strict=True)
        ]
        for future in joined:
            future.result(60)
        sent = [
            threads.submit(asyncio.run, engine.send_weights(walked(place), global_steps=1))
            for place, engine in enumerate(trainers)
        ]
        arrived = [threads.submit(asyncio.run, received(engine)) for engine in servers]
        for future in sent:
            future.result(60)
        results = [future.result(60) for future in arrived]
    for engine in engines:
        engine.finalize()
    # Gathering a weight of several workers takes all of them.
    assert gathered == [len(weights)] * len(trainers)
    return results


def engines(trainers: int, servers: int) -> tuple[list[GlooCheckpointEngine], list[GlooCheckpointEngine]]:
    """As verl makes them, by name."""
    made = [CheckpointEngineRegistry.new("gloo", is_master=rank == 0, bucket_size=64) for rank in range(trainers)]
    return made, [CheckpointEngineRegistry.new("gloo", bucket_size=64) for _ in range(servers)]


def is_same(sent: Weights, received: Weights) -> bool:
    return [name for name, _ in sent] == [name for name, _ in received] and all(
        one.dtype == other.dtype and torch.equal(one, other)
        for (_, one), (_, other) in zip(sent, received, strict=True)
    )


@given(
    shapes=st.lists(
        st.tuples(st.lists(st.integers(1, 5), max_size=3), st.sampled_from(DTYPES)), min_size=0, max_size=6
    ),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=15)
def test_every_server_gets_every_weight(shapes: list[tuple[list[int], torch.dtype]], seed: int) -> None:
    torch.manual_seed(seed)
    weights = [(f"layer.{i}", (8 * torch.randn(shape)).to(dtype)) for i, (shape, dtype) in enumerate(shapes)]
    for received in update(*engines(trainers=2, servers=2), weights):
        assert is_same(weights, received)


def test_an_engine_updates_again_and_again() -> None:
    trainers, servers = engines(trainers=1, servers=1)
    for step in range(3):
        weights = [("tall", torch.full((7, 5), float(step)).T), ("number", torch.tensor(step))]
        (received,) = update(trainers, servers, weights)
        assert is_same(weights, received)


@pytest.mark.parametrize("servers", [1, 3])
def test_only_the_first_trainer_sends(servers: int) -> None:
    actors, rollout = GlooCheckpointEngine.build_topology(3, servers, [("host", 1), *[None] * (2 + servers)])
    assert actors["rank"] == [0, -1, -1]
    assert rollout["rank"] == list(range(1, servers + 1))
    assert {*actors["world_size"], *rollout["world_size"]} == {servers + 1}
    assert {*actors["address"], *rollout["address"]} == {("host", 1)}
