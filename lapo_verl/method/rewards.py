"""The rewards of both stages (Eq. 4-7), vectorised over the rollouts of one problem."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lapo_verl.method.config import DiscoveryConfig, InternalizationConfig
from lapo_verl.method.lengths import LengthStats, as_lengths

Tokens = float | NDArray[np.float64]


def discovery_rewards(
    correct: ArrayLike, lengths: ArrayLike, config: DiscoveryConfig | None = None
) -> NDArray[np.float64]:
    """R_D = c + alpha * R1 (Eq. 4 with Eq. 5) of the rollouts of one problem.

    R1 is 1 for a correct rollout inside the band of the correct ones, falls linearly to 0 over ``decay``
    tokens outside of it, and is 0 for a wrong rollout.

    Args:
        correct: shape (N,) bool, c_i.
        lengths: shape (N,) int, |r_i| in tokens.
        config: the paper's values where left out.

    Returns:
        Shape (N,) float64, each in [0, 1 + alpha].

    Raises:
        ValueError: shapes differ, or a length is negative or not finite.

    >>> discovery_rewards([True, True, True, False], [100, 200, 300, 50]).round(3).tolist()
    [1.28, 1.7, 1.28, 0.0]
    """
    config = config or DiscoveryConfig()
    is_correct, values = _rollouts(correct, lengths)
    stats = LengthStats.of(values[is_correct], config.low, config.high)
    if stats is None:
        return np.zeros(values.shape)
    if stats.low == stats.high and config.degenerate_band == "zero":
        return is_correct.astype(np.float64)
    length_reward = band_reward(values, stats.low, stats.high, config.decay)
    return np.where(is_correct, 1.0 + config.alpha * length_reward, 0.0)


def internalization_rewards(
    correct: ArrayLike,
    lengths: ArrayLike,
    budget: float | None,
    config: InternalizationConfig | None = None,
) -> NDArray[np.float64]:
    """R_I = c + beta * R2 (Eq. 6 with Eq. 7) of the rollouts of one problem.

    R2 is a Gaussian of width ``sigma`` around the target length for a correct rollout, 0 for a wrong one.

    Args:
        correct: shape (N,) bool, c_i.
        lengths: shape (N,) int, |r_i| in tokens.
        budget: n = M(q) in tokens; None where the problem was unsolved (see ``target_length``).
        config: the paper's values where left out.

    Returns:
        Shape (N,) float64, each in [0, 1 + beta].

    Raises:
        ValueError: shapes differ, a length or the budget is negative or not finite.

    >>> internalization_rewards([True, False], [120, 120], budget=120.0).tolist()
    [1.7, 0.0]
    """
    config = config or InternalizationConfig()
    is_correct, values = _rollouts(correct, lengths)
    stats = LengthStats.of(values[is_correct])
    target = target_length(budget, stats, config.statistic)
    if target is None:
        return np.zeros(values.shape)
    return np.where(is_correct, 1.0 + config.beta * adherence_reward(values, target, config.sigma), 0.0)


def band_reward(lengths: NDArray[np.float64], low: Tokens, high: Tokens, decay: float) -> NDArray[np.float64]:
    """R1 of correct rollouts (Eq. 5), in [0, 1]; the arguments broadcast, so rows may be groups.

    Args:
        lengths: |r_i| in tokens.
        low, high: ends of the band, in tokens.
        decay: tokens outside the band at which R1 is 0.
    """
    distance = np.minimum(np.abs(lengths - low), np.abs(lengths - high))
    outside = np.maximum(0.0, 1.0 - distance / decay)
    return np.where(in_band(lengths, low, high), 1.0, outside)


def adherence_reward(lengths: NDArray[np.float64], target: Tokens, sigma: float) -> NDArray[np.float64]:
    """R2 of correct rollouts (Eq. 7), in [0, 1]; the arguments broadcast, so rows may be groups.

    Args:
        lengths: |r_i| in tokens.
        target: n in tokens, see ``target_length``.
        sigma: in tokens.
    """
    return np.asarray(np.exp(-((lengths - target) ** 2) / (2.0 * sigma**2)))


def target_length(budget: float | None, stats: LengthStats | None, statistic: str = "median") -> float | None:
    """The n of Eq. 7 in tokens; None where there is none.

    An unsolved problem has no budget. The paper would put the response limit there, which rewards filling the
    context; here, as in the reference code, the group's own statistic takes its place.
    """
    if budget is not None:
        if not math.isfinite(budget) or budget < 0:
            raise ValueError(f"budget must be finite and >= 0 tokens, got {budget}")
        return float(budget)
    return None if stats is None else stats.value(statistic)


def in_band(lengths: NDArray[np.float64], low: Tokens, high: Tokens) -> NDArray[np.bool_]:
    """Which lengths lie inside the band of Eq. 2, its ends included; the arguments broadcast."""
    return (lengths >= low) & (lengths <= high)


def _rollouts(correct: ArrayLike, lengths: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    values = as_lengths(lengths)
    flags = np.asarray(correct)
    if flags.shape != values.shape:
        raise ValueError(f"correct and lengths must have one shape, got {flags.shape} and {values.shape}")
    numbers = flags.astype(np.float64)
    if not np.isin(numbers, (0.0, 1.0)).all():
        raise ValueError(f"correct must be true or false, got {flags[~np.isin(numbers, (0.0, 1.0))][0]}")
    return numbers.astype(np.bool_), values
