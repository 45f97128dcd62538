"""What the CPU platform puts in place of verl's own code gives what verl's own code gives."""

import os
import subprocess
import sys

import pytest
import torch
from verl.utils import torch_functional

from lapo_verl.cpu.verl_patches import TOKENS_AT_ONCE, log_probs

SHOW_PLACE = (
    "import verl; from verl.utils import torch_functional; print(torch_functional.logprobs_from_logits_v2.__module__)"
)


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


def test_processes_on_the_cpu_platform_use_it() -> None:
    shown = subprocess.run(
        [sys.executable, "-c", SHOW_PLACE],
        env={**os.environ, "VERL_PLATFORM": "cpu"},
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )

    assert shown.stdout.split()[-1] == "lapo_verl.cpu.verl_patches"
