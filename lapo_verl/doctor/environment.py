"""What this machine has to have for the run: packages, devices, Ray's resources.

The driver of a Ray cluster may have no device itself, so devices and CPUs count only where the run starts Ray here.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator

from omegaconf import DictConfig, OmegaConf

from lapo_verl.doctor.cluster import cluster_address
from lapo_verl.doctor.diagnostic import Finding

# verl's resource pool reserves this many logical CPUs in Ray beside each device (ResourcePoolManager, V1 trainer).
CPUS_PER_DEVICE = 3
# {value of actor_rollout_ref.rollout.name: (module, how to install it)}.
ENGINES = {
    "vllm": ("vllm", "pip install 'lapo-verl[gpu]', or make setup on a CPU"),
    "sglang": ("sglang", "pip install 'verl[sglang]==0.9.1', or set actor_rollout_ref.rollout.name=vllm"),
    "trtllm": ("tensorrt_llm", "install TensorRT-LLM, or set actor_rollout_ref.rollout.name=vllm"),
}
# {value of actor_rollout_ref.actor.strategy: module}; FSDP comes with torch.
STRATEGIES = {"megatron": "megatron", "veomni": "veomni", "torchtitan": "torchtitan", "automodel": "nemo_automodel"}
# {attention of transformers: (module, how to install it)}.
ATTENTION = {
    "flash_attention_2": ("flash_attn", "pip install flash-attn==2.8.3 --no-build-isolation"),
    "flash_attention_3": ("flash_attn_interface", "flash-attn 3, from source"),
}
ATTENTION_KEY = "actor_rollout_ref.model.override_config.attn_implementation"
# verl's, where the key is not set (verl/workers/config/model.py).
DEFAULT_ATTENTION = "flash_attention_2"


def is_installed(module: str) -> bool:
    """Whether a top-level module can be imported; it is not."""
    return importlib.util.find_spec(module) is not None


def package_findings(config: DictConfig, installed: Callable[[str], bool] = is_installed) -> Iterator[Finding]:
    """What verl imports minutes after the start, and is not installed."""
    rollout, strategy = str(config.actor_rollout_ref.rollout.name), str(config.actor_rollout_ref.actor.strategy)
    module, remedy = ENGINES.get(rollout, (None, ""))
    if module is None:
        names = ", ".join(ENGINES)
        yield Finding("error", f"actor_rollout_ref.rollout.name={rollout}: verl has no such engine; it has {names}")
    elif not installed(module):
        yield Finding("error", f"actor_rollout_ref.rollout.name={rollout}: {module} is not installed: {remedy}")
    if not installed("transfer_queue"):
        yield Finding("error", "TransferQueue is not installed: pip install 'lapo-verl[gpu]', or make setup on a CPU")
    needed = STRATEGIES.get(strategy)
    if needed is not None and not installed(needed):
        yield Finding(
            "error",
            f"actor_rollout_ref.actor.strategy={strategy}: the package {needed} is not installed; install it as "
            f"verl's guide says, or train with FSDP: leave model_engine={config.get('model_engine', strategy)} out",
        )
    if needed is None:
        yield from _attention(config, installed)


def _attention(config: DictConfig, installed: Callable[[str], bool]) -> Iterator[Finding]:
    attention = str(OmegaConf.select(config, ATTENTION_KEY) or DEFAULT_ATTENTION)
    module, remedy = ATTENTION.get(attention, (None, ""))
    # Without the package, transformers takes the same kernel from the hub where `kernels` is installed.
    if module is None or installed(module) or installed("kernels"):
        return
    default = "" if OmegaConf.select(config, ATTENTION_KEY) else ", verl's default,"
    yield Finding(
        "error",
        f"{ATTENTION_KEY}={attention}{default} needs the package {module}, which is not installed: verl would end with "
        f"an ImportError when it loads the model. Install it ({remedy}), or set ++{ATTENTION_KEY}=sdpa",
    )


def starts_ray(config: DictConfig) -> bool:
    """Whether this command starts a Ray of its own, on one node."""
    return cluster_address(config) is None and int(config.trainer.nnodes) == 1


def needed_devices(config: DictConfig) -> int:
    """Devices that verl's resource pools and its separate rollout servers take."""
    pools = [config.trainer]
    if config.reward.reward_model.enable_resource_pool:
        pools.append(config.reward.reward_model)
    if config.trainer.v1.trainer_mode == "separate_async":
        pools.append(config.actor_rollout_ref.rollout)
    return sum(int(pool.nnodes) * int(pool.n_gpus_per_node) for pool in pools)


def device_findings(config: DictConfig, count: Callable[[], int]) -> Iterator[Finding]:
    """Fewer devices than the run asks for.

    Args:
        count: how many accelerators PyTorch sees here.
    """
    if not starts_ray(config):
        return
    needed = needed_devices(config)
    if config.trainer.device == "cpu":
        have = int(config.ray_kwargs.ray_init.get("num_gpus") or 0)
        if have < needed:
            text = f"the run takes {needed} training processes, and Ray has {have} logical devices for them. Set "
            yield Finding("error", f"{text}ray_kwargs.ray_init.num_gpus={needed}")
        return
    have = count()
    shown = os.environ.get("CUDA_VISIBLE_DEVICES")
    visible = "" if shown is None else f" (CUDA_VISIBLE_DEVICES={shown!r})"
    if have == 0:
        yield Finding(
            "error",
            f"PyTorch sees no GPU on this machine{visible}. Look whether nvidia-smi shows one, and whether torch fits "
            "its driver. To train on a CPU, set VERL_PLATFORM=cpu and platform=cpu",
        )
    elif have < needed:
        yield Finding(
            "error",
            f"the run takes {needed} GPUs (trainer.n_gpus_per_node={config.trainer.n_gpus_per_node}), and PyTorch sees "
            f"{have} on this machine{visible}. Set trainer.n_gpus_per_node={have}",
        )


def accelerator_memory() -> int | None:
    """Bytes of the first GPU that PyTorch sees; None where it sees none."""
    import torch

    return int(torch.cuda.get_device_properties(0).total_memory) if torch.cuda.is_available() else None


def needed_logical_cpus(config: DictConfig) -> int:
    """Logical CPUs that Ray must have: verl waits forever where there are fewer."""
    queue = int(config.transfer_queue.backend.SimpleStorage.num_data_storage_units) + 1  # and its controller
    return queue + CPUS_PER_DEVICE * needed_devices(config) + 1  # one that the driver's actors are scheduled with


def logical_cpu_findings(config: DictConfig) -> Iterator[Finding]:
    """Fewer logical CPUs than verl's actors reserve."""
    if not starts_ray(config):
        return
    have = int(config.ray_kwargs.ray_init.num_cpus or os.cpu_count() or 1)
    needed = needed_logical_cpus(config)
    if have < needed:
        yield Finding(
            "error",
            f"Ray has {have} logical CPUs and verl needs {needed}; it would wait forever. Set "
            f"ray_kwargs.ray_init.num_cpus={needed} (they are logical: the machine may have fewer), or lower "
            "transfer_queue.backend.SimpleStorage.num_data_storage_units",
        )
