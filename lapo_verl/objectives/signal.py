"""Rewards as the trainer is given them: in float32, and exactly alike where a group has no signal."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lapo_verl.objectives.lengths import Flags, Floats

# The sum of N rollouts with one reward is exact in float32 where the reward is a multiple of this: up to a reward of 4
# for N = 64.
GRID = 2.0**-16
MANTISSA = 2.0**24
EPSILON = 2.0**-23


def has_signal(rewards: Floats) -> Flags:
    """Whether the rewards of a group differ in float32.

    Args:
        rewards: shape (M, N) float64, NaN where there is no rollout.

    Returns:
        Shape (M,) bool.
    """
    spread = np.nanmax(rewards, axis=1) - np.nanmin(rewards, axis=1)
    return np.asarray(spread > EPSILON * np.nanmax(np.abs(rewards), axis=1))


def float32_scores(rewards: Floats) -> NDArray[np.float32]:
    """The rewards of a step, shape (M, N), for ``rm_scores``; NaN where there is no rollout.

    A group of equal rewards goes to the nearest multiple of 2^-16, a coarser one where N times the reward is above 256.
    GRPO's (reward - mean) / (std + 1e-6) is then exactly 0. Of 1.7, which float32 cannot hold, it would be about 0.1:
    the mean's rounding error is as large as the 1e-6. All other groups are as they are.

    >>> float32_scores(np.array([[1.7, 1.7], [1.7, 1.0]])).tolist()
    [[1.6999969482421875, 1.6999969482421875], [1.7000000476837158, 1.0]]
    """
    there = ~np.isnan(rewards)
    largest = np.nanmax(rewards, axis=1, keepdims=True)
    _, exponent = np.frexp(np.abs(largest) * there.sum(axis=1, keepdims=True) / MANTISSA)
    grid = np.maximum(GRID, np.ldexp(1.0, exponent))
    equal = np.where(there, np.round(largest / grid) * grid, np.nan)
    return np.where(has_signal(rewards)[:, None], rewards, equal).astype(np.float32)
