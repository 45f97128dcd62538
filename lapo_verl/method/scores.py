"""Rewards as the trainer is given them: in float32, and exactly alike where a group has no signal."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Of a group of N rollouts with one reward, the sum is exact in float32 where the reward is a multiple of this: up to a
# reward of 4 for N = 64.
GRID = 2.0**-16
MANTISSA = 2.0**24
EPSILON = 2.0**-23


def has_signal(rewards: ArrayLike) -> NDArray[np.bool_]:
    """Whether the rewards of a group, shape (..., N), differ in float32; shape (...)."""
    values = np.asarray(rewards, dtype=np.float64)
    return np.asarray(np.ptp(values, axis=-1) > EPSILON * np.abs(values).max(axis=-1))


def float32_scores(rewards: ArrayLike) -> NDArray[np.float32]:
    """The rewards of a group, shape (..., N), for ``rm_scores``.

    A group of equal rewards goes to the nearest multiple of 2^-16, a coarser one where N times the reward is above 256.
    GRPO's (reward - mean) / (std + 1e-6) is then exactly 0. Of 1.7, which float32 cannot hold, it would be about 0.1:
    the mean's rounding error is as large as the 1e-6. All other groups are as they are.

    >>> float32_scores([1.7, 1.7]).tolist(), float32_scores([1.7, 1.0]).tolist()
    ([1.6999969482421875, 1.6999969482421875], [1.7000000476837158, 1.0])
    """
    values = np.asarray(rewards, dtype=np.float64)
    largest = values.max(axis=-1, keepdims=True)
    _, exponent = np.frexp(np.abs(largest) * values.shape[-1] / MANTISSA)
    grid = np.maximum(GRID, np.ldexp(1.0, exponent))
    equal = np.broadcast_to(np.round(largest / grid) * grid, values.shape)
    return np.where(has_signal(values)[..., None], values, equal).astype(np.float32)
