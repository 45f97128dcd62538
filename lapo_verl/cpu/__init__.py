"""What verl and vLLM lack to train on a CPU; activated only where ``VERL_PLATFORM=cpu``."""

from __future__ import annotations

import os
import sys

# The Python of Ray's workers and vLLM's engine: this one, or the one that ``warm_python`` offers.
WARM_PYTHON = "LAPO_WARM_PYTHON"
ENVIRONMENT = {
    # verl looks its FSDP engine up by device name and registers it for accelerators only.
    "VERL_ENGINE_DEVICE": "cuda",
    # vLLM's CPU build is chosen by the name of a distribution that it does not have.
    "VLLM_TARGET_DEVICE": "cpu",
    # GiB of key-value cache of a vLLM replica; it would take a large share of the machine's memory otherwise.
    "VLLM_CPU_KVCACHE_SPACE": "1",
    # vLLM takes `distributed_executor_backend: uni` on a CPU only with this; its engine has its own process anyway.
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    # Ray gives an actor one OpenMP thread. Training and generation take turns; the other half of the processors is for
    # the agent loop, vLLM's server and the queue, which work beside the generation.
    "OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // 2)),
    # A waiting OpenMP thread sleeps. By default it spins, and with more processes than cores the spinning threads of
    # one take the processor from those of the other: generation took five times as long.
    "OMP_WAIT_POLICY": "PASSIVE",
    # Ray lets its workers give way to every other process of the machine (nice 15); all of the training is in them.
    "RAY_worker_niceness": "0",
    WARM_PYTHON: sys.executable,
}


def is_chosen() -> bool:
    """Whether this process runs verl on the CPU platform (``VERL_PLATFORM=cpu``)."""
    return os.environ.get("VERL_PLATFORM", "").strip().lower() == "cpu"


def activate() -> None:
    """Prepare this process. Ray and vLLM processes inherit the environment and come here by themselves."""
    set_environment()
    from lapo_verl.cpu import verl_patches

    verl_patches.apply()


def set_environment() -> None:
    """``ENVIRONMENT``, as far as the user has not set it."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)


def accelerators() -> int:
    """How many accelerators PyTorch sees on this machine. Imports torch: seconds."""
    import torch

    return torch.accelerator.device_count() if torch.accelerator.is_available() else 0
