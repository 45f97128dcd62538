"""verl's own advantages of LAPO's rewards: exactly 0 where a group has no signal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import ArrayLike
from verl.trainer.ppo.core_algos import (
    compute_grpo_outcome_advantage,
    compute_grpo_vectorized_outcome_advantage,
    compute_rloo_outcome_advantage,
)

from lapo_verl.objectives import float32_scores

ESTIMATORS = (
    compute_grpo_outcome_advantage,
    compute_grpo_vectorized_outcome_advantage,
    compute_rloo_outcome_advantage,
)
sizes = st.integers(2, 64)
rewards = st.floats(1, 4) | st.sampled_from([0.0, 1.0, 1.7, 1 + 2 / 3, 1.8, 1 + 0.7 * 0.28])


def advantages(scores: ArrayLike, estimator: Callable[..., Any] = compute_grpo_outcome_advantage) -> list[float]:
    """Of one group, whose responses have three tokens each."""
    values = torch.as_tensor(np.asarray(scores, dtype=np.float32))
    token_level = torch.zeros(len(values), 3)
    token_level[:, -1] = values
    found, _ = estimator(token_level, torch.ones(len(values), 3), np.array(["group"] * len(values)))
    columns: list[float] = found[:, 0].tolist()
    return columns


@pytest.mark.parametrize("estimator", ESTIMATORS)
@given(reward=rewards, n=sizes)
def test_a_constant_group_has_no_advantage(estimator: Callable[..., Any], reward: float, n: int) -> None:
    assert set(advantages(float32_scores(np.array([[reward] * n]))[0], estimator)) == {0.0}


@given(reward=rewards, n=sizes, ulps=st.lists(st.integers(-2, 2), min_size=64, max_size=64))
def test_rounding_errors_of_a_constant_group_are_no_signal(reward: float, n: int, ulps: list[int]) -> None:
    noisy = [reward + count * np.spacing(reward) for count in ulps[:n]]
    assert set(advantages(float32_scores(np.array([noisy]))[0])) == {0.0}


@given(reward=st.floats(1, 1.9), n=sizes, difference=st.floats(1e-5, 1))
def test_a_group_with_a_small_signal_is_left_to_verl(reward: float, n: int, difference: float) -> None:
    group = [reward] * (n - 1) + [reward + difference]
    assert float32_scores(np.array([group]))[0].tolist() == np.float32(group).tolist()
    found = advantages(float32_scores(np.array([group]))[0])
    assert max(found) == found[-1] > 0


def test_without_the_grid_there_is_a_false_advantage() -> None:
    """What the grid is for: were verl to compute in float64, this test would fail, and the grid could go."""
    wrong = [n for n in range(2, 65) if any(advantages([1.7] * n))]
    assert len(wrong) > 20
    assert advantages([1.7] * 8)[0] == pytest.approx(0.1057, abs=1e-3)
