"""Calls of an objective, with checks of its results: a mistake in it stops the step before anything is recorded."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from lapo_verl.objectives.base import Groups, Memory, Objective
from lapo_verl.objectives.lengths import Floats


def checked_rewards(objective: Objective, groups: Groups, memory: Memory | None = None) -> Floats:
    """``objective.rewards``; NaN where there is no rollout.

    Raises:
        ValueError: the rewards have a wrong shape or are not finite, or they need lengths that are not known.
    """
    _check_lengths(objective, groups)
    rewards = _array(objective, "rewards", objective.rewards(groups, memory), groups.valid.shape)
    bad = groups.valid & ~np.isfinite(rewards)
    if bad.any():
        group, rollout = np.argwhere(bad)[0].tolist()
        raise ValueError(
            f"objective {objective.name}: the reward of group {group}, rollout {rollout} is {rewards[group, rollout]} "
            f"(correct {groups.correct[group, rollout]}, {groups.lengths[group, rollout]} tokens); it must be finite"
        )
    return groups.masked(rewards)


def checked_targets(objective: Objective, groups: Groups) -> Floats:
    """``objective.update``.

    Raises:
        ValueError: the targets have a wrong shape, or one is negative or infinite.
    """
    targets = _array(objective, "update", objective.update(groups), (len(groups),))
    bad = np.isinf(targets) | (targets < 0)
    if bad.any():
        group = int(np.flatnonzero(bad)[0])
        raise ValueError(
            f"objective {objective.name}: the target of group {group} is {targets[group]}; "
            "it must be finite and >= 0 tokens, or NaN for none"
        )
    return targets


def checked_memory(objective: Objective, memory: Memory | None, groups: Groups) -> Memory | None:
    """``objective.adapt``.

    Raises:
        ValueError: the memory is not a dict of JSON values, or needs lengths that are not known.
    """
    _check_lengths(objective, groups)
    after = objective.adapt(memory, groups)
    try:
        same = after is None or (isinstance(after, dict) and json.loads(json.dumps(after, allow_nan=False)) == after)
    except (TypeError, ValueError) as error:
        raise ValueError(f"objective {objective.name}: its memory cannot be written as JSON: {error}") from error
    if not same:
        raise ValueError(f"objective {objective.name}: its memory must be a dict of JSON values with texts as keys")
    return after


def _check_lengths(objective: Objective, groups: Groups) -> None:
    if objective.needs_wrong_lengths and np.isnan(groups.lengths[groups.valid]).any():
        raise ValueError(
            f"objective {objective.name} needs the lengths of wrong rollouts, which these groups lack: "
            "a store of the first schema has those of correct rollouts only"
        )


def _array(objective: Objective, method: str, values: Any, shape: tuple[int, ...]) -> Floats:
    array = np.asarray(values)
    if array.shape != shape or array.dtype.kind not in "fiub":
        raise ValueError(
            f"objective {objective.name}: {method} must return numbers of the shape {shape}, "
            f"got {array.dtype} of the shape {array.shape}"
        )
    return array.astype(np.float64)
