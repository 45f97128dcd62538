"""vLLM's door: the entry point ``lapo_verl_cpu`` of the group ``vllm.general_plugins``, run in every vLLM process."""

from __future__ import annotations

import multiprocessing
import os
from typing import Any

import torch

from lapo_verl import cpu


def register() -> None:
    """Keep linear weights as they were loaded, so that verl's weight sync finds them again; start engines warm."""
    if not cpu.is_chosen():
        return
    multiprocessing.set_executable(os.environ[cpu.WARM_PYTHON])
    from vllm.model_executor.layers import utils

    utils.dispatch_cpu_unquantized_gemm = _dispatch_torch_linear


def _dispatch_torch_linear(layer: Any, remove_weight: bool) -> None:
    # Stands in for vLLM's dispatch, which packs the weight for oneDNN and drops the original: a weight update would
    # neither find the parameter nor reach the packed copy.
    layer.cpu_linear = _linear


def _linear(inputs: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    # vLLM's parameters are a subclass whose `__torch_function__` runs in Python at every call and changes nothing.
    with torch._C.DisableTorchFunctionSubclass():
        return torch.nn.functional.linear(inputs, weight, bias)
