"""What the CPU platform puts in place of verl's own code gives what verl's own code gives."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from verl.utils import torch_functional

from lapo_verl.cpu import WARM_PYTHON
from lapo_verl.cpu.verl_patches import TOKENS_AT_ONCE, log_probs, similar_lengths

SHOW_PLACES = (
    "import verl; from verl.utils import seqlen_balancing, torch_functional; "
    "print(torch_functional.logprobs_from_logits_v2.__module__, "
    "seqlen_balancing.get_seqlen_balanced_partitions.__module__)"
)
SHOW_MICRO_BATCHES = """
import verl, torch
from tensordict import TensorDict
from verl.utils.seqlen_balancing import rearrange_micro_batches
lengths = torch.randperm(64, generator=torch.Generator().manual_seed(0)) + 1
ids = torch.nested.nested_tensor([torch.ones(n, dtype=torch.long) for n in lengths], layout=torch.jagged)
batch = TensorDict({"input_ids": ids}, batch_size=[64])
parts, positions = rearrange_micro_batches(batch, max_token_len=600)
print(sorted([[int(n) for n in sorted(lengths[p])] for p in positions]))
"""
SHOW_KEPT_WEIGHTS = """
import torch
from torch.distributed import HashStore, init_device_mesh, init_process_group
from torch.distributed.fsdp import fully_shard
import lapo_verl.cpu.gloo_engine  # as verl imports it in the worker of separate_async's trainer
from verl.utils import fsdp_utils
init_process_group("gloo", store=HashStore(), rank=0, world_size=1)
model = fully_shard(torch.nn.Linear(3, 2), mesh=init_device_mesh("cpu", (1,)))
before = {name: weight.full_tensor().detach().clone() for name, weight in model.named_parameters()}
kept = fsdp_utils.fsdp2_sharded_save_to_cpu(model)
with torch.no_grad():
    for weight in model.parameters():
        weight.mul_(3)
fsdp_utils.fsdp2_sharded_load_from_cpu(model, *kept)
print(all(torch.equal(weight.full_tensor(), before[name]) for name, weight in model.named_parameters()))
"""
SHOW_MADE_BY_HYDRA = """
import verl, sys, json
without_agent_loops = "hydra" not in sys.modules
import lapo_verl.hooks.dataset  # as verl imports it in the agent loop's worker
import hydra
from omegaconf import OmegaConf
class_only = hydra.utils.instantiate(config={"_target_": "fractions.Fraction"}, numerator=6, denominator=4)
settings = OmegaConf.create({"_target_": "fractions.Fraction", "numerator": 6})
class_and_more = hydra.utils.instantiate(settings, denominator=4)
print(json.dumps([str(class_only), str(class_and_more), hydra.utils.instantiate.__module__, without_agent_loops]))
"""


@pytest.mark.parametrize("shape", [(1, 7), (3, 5, 7), (TOKENS_AT_ONCE + 3, 5)])
def test_log_probs_and_gradients_are_those_of_verls_log_softmax(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    logits = (10 * torch.randn(shape)).requires_grad_()
    labels = torch.randint(shape[-1], shape[:-1])
    weights = torch.randn(shape[:-1])

    ours = log_probs(logits, labels)
    (our_gradient,) = torch.autograd.grad((ours * weights).sum(), logits)
    verls = torch_functional.logprobs_from_logits_naive(logits, labels)
    (verls_gradient,) = torch.autograd.grad((verls * weights).sum(), logits)

    torch.testing.assert_close(ours, verls)
    torch.testing.assert_close(our_gradient, verls_gradient)


def test_half_precision_is_computed_in_float32() -> None:
    logits = torch.randn(4, 9, dtype=torch.bfloat16)
    labels = torch.randint(9, (4,))

    ours = log_probs(logits, labels)

    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours, torch_functional.logprobs_from_logits_naive(logits.float(), labels))


@given(lengths=st.lists(st.integers(1, 4096), min_size=1, max_size=60), data=st.data())
def test_similar_lengths_are_together_and_none_is_lost(lengths: list[int], data: st.DataObject) -> None:
    parts = similar_lengths(lengths, data.draw(st.integers(1, len(lengths))))

    assert sorted(position for part in parts for position in part) == list(range(len(lengths)))
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 1
    longest = [max(lengths[position] for position in part) for part in parts]
    shortest = [min(lengths[position] for position in part) for part in parts]
    assert all(before <= after for before, after in zip(longest, shortest[1:], strict=False))


def on_the_cpu_platform(program: str, python: str = sys.executable) -> str:
    """What a new process prints."""
    return subprocess.run(
        [python, "-c", program],
        env={**os.environ, "VERL_PLATFORM": "cpu"},
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    ).stdout


def test_processes_on_the_cpu_platform_use_them() -> None:
    assert on_the_cpu_platform(SHOW_PLACES).split()[-2:] == ["lapo_verl.cpu.verl_patches"] * 2


def test_verls_micro_batches_hold_similar_lengths_within_the_limit() -> None:
    parts = json.loads(on_the_cpu_platform(SHOW_MICRO_BATCHES).splitlines()[-1])

    assert np.concatenate(parts).tolist() == list(range(1, 65))
    assert all(sum(part) <= 600 for part in parts)


def test_weights_that_verl_puts_aside_stay_as_they_were() -> None:
    """separate_async computes the old log-probabilities of a step's later parts with the weights before the step."""
    assert on_the_cpu_platform(SHOW_KEPT_WEIGHTS, os.environ[WARM_PYTHON]).split()[-1] == "True"


def test_what_hydra_made_is_made() -> None:
    """Of a class's name alone, as verl registers agent loops, and of a name with settings, as in a user's file."""
    made = json.loads(on_the_cpu_platform(SHOW_MADE_BY_HYDRA).splitlines()[-1])
    assert made == ["3/2", "3/2", "lapo_verl.cpu.verl_patches", True]
