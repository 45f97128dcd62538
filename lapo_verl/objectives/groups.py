"""A step's rollouts as arrays, one row a group: what an objective computes with."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lapo_verl.objectives.lengths import Flags, Floats, MaskedLengths

# None becomes NaN.
Numbers = ArrayLike | Sequence[float | None]


class Groups:
    """The groups of a step: M problems' visits with up to N rollouts each. The arrays are read-only.

    Attributes:
        correct: shape (M, N) bool, c_i; False where ``valid`` is.
        lengths: shape (M, N) float64, |r_i| in tokens. NaN where ``valid`` is False, and for a wrong rollout of unknown
            length: a store of the first schema has the lengths of correct rollouts only.
        valid: shape (M, N) bool, where there is a rollout: groups may differ in size. Left out: everywhere.
        truncated: shape (M, N) bool, cut off at the response limit. Left out: none was.
        target: shape (M,) float64, each problem's target in the store before the step, in tokens; NaN for none.
        prompt_budget: shape (M,) float64, the number of tokens that the prompt named; NaN where it named none.
        guided: shape (M,) bool, whether the prompt said anything of a budget, in words or as a band for instance. Left
            out: where it named a number.
        response_limit: the most tokens that a response may have; None where it is not known.

    Raises:
        ValueError: shapes differ, a number is negative or not finite, a correct rollout has no length, or a group has
            no rollout; the message names group and rollout, counted from 0.

    The attributes are the arguments as well. ``Groups.of`` takes rows that differ in length.

    >>> groups = Groups(correct=[[True, False]], lengths=[[100, 250]], target=[120])
    >>> len(groups), groups.accuracy.tolist(), groups.valid.tolist()
    (1, [0.5], [[True, True]])
    """

    def __init__(
        self,
        correct: ArrayLike,
        lengths: Numbers,
        *,
        valid: ArrayLike | None = None,
        truncated: ArrayLike | None = None,
        target: Numbers | None = None,
        prompt_budget: Numbers | None = None,
        guided: ArrayLike | None = None,
        response_limit: int | None = None,
    ) -> None:
        shape = np.shape(correct)
        if len(shape) != 2:
            raise ValueError(
                f"correct must have the shape (groups, rollouts), got {shape}; Groups.of takes ragged rows"
            )
        self.valid = _flags("valid", valid, shape, default=True)
        self.correct = _flags("correct", correct, shape) & self.valid
        self.truncated = _flags("truncated", truncated, shape) & self.valid
        self.lengths = _numbers("lengths", lengths, shape, self.valid)
        self.target = _numbers("target", target, shape[:1])
        self.prompt_budget = _numbers("prompt_budget", prompt_budget, shape[:1])
        named = ~np.isnan(self.prompt_budget)
        self.guided = named if guided is None else _flags("guided", guided, shape[:1])
        self.response_limit = response_limit
        if response_limit is not None and not response_limit > 0:
            raise ValueError(f"response_limit must be a number of tokens > 0, got {response_limit}")
        _refuse(
            ~self.guided & named, "guided: {place} names the prompt budget {value} and must be true", self.prompt_budget
        )
        _refuse(self.all_lengths.count == 0, "{place} has no rollouts", self.target)
        _refuse(np.isnan(self.lengths) & self.correct, "lengths: {place} is correct and has no length", self.lengths)
        columns = (self.target, self.prompt_budget, self.guided)
        for array in (self.valid, self.correct, self.truncated, self.lengths, *columns):
            array.flags.writeable = False

    @classmethod
    def of(
        cls,
        correct: Sequence[Sequence[bool]],
        lengths: Sequence[Sequence[float | None]],
        *,
        truncated: Sequence[Sequence[bool]] | None = None,
        target: Sequence[float | None] | None = None,
        prompt_budget: Sequence[float | None] | None = None,
        guided: Sequence[bool] | None = None,
        response_limit: int | None = None,
    ) -> Groups:
        """Groups from a row of rollouts for each problem; rows may differ in length, None is an unknown number.

        Raises:
            ValueError: as for ``Groups``; also where the rows of two arguments differ in length.

        >>> groups = Groups.of(correct=[[True, False], [True]], lengths=[[100, 250], [90]], target=[120.0, None])
        >>> groups.lengths.tolist(), groups.target.tolist()
        ([[100.0, 250.0], [90.0, nan]], [120.0, nan])
        >>> groups.correct_lengths.mean().tolist()
        [100.0, 90.0]
        """
        try:
            sizes = np.array([len(row) for row in correct], dtype=np.intp)
        except TypeError as error:
            raise ValueError(f"correct must be a row of rollouts for each group: {error}") from error
        valid = np.arange(sizes.max(initial=0)) < sizes[:, None]
        return cls(
            _rectangle("correct", correct, valid, False),
            _rectangle("lengths", lengths, valid, np.nan),
            valid=valid,
            truncated=None if truncated is None else _rectangle("truncated", truncated, valid, False),
            target=target,
            prompt_budget=prompt_budget,
            guided=guided,
            response_limit=response_limit,
        )

    def __len__(self) -> int:
        """M, the number of groups."""
        return len(self.valid)

    @cached_property
    def correct_lengths(self) -> MaskedLengths:
        """The lengths of the correct rollouts, L_q."""
        return MaskedLengths(self.lengths, self.correct)

    @cached_property
    def all_lengths(self) -> MaskedLengths:
        """The lengths of all rollouts."""
        return MaskedLengths(self.lengths, self.valid)

    @cached_property
    def accuracy(self) -> Floats:
        """Share of each group's rollouts that are correct, shape (M,)."""
        return np.asarray(self.correct.sum(axis=1) / self.valid.sum(axis=1))

    def masked(self, values: ArrayLike) -> Floats:
        """``values``, of a shape that broadcasts to (M, N), as float64; NaN where there is no rollout."""
        return np.where(self.valid, values, np.nan)


def _flags(name: str, values: ArrayLike | None, shape: tuple[int, ...], default: bool = False) -> Flags:
    if values is None:
        return np.full(shape, default)
    array = np.array(values)
    if array.dtype != np.bool_:
        numbers = _numbers(name, values, shape)
        _refuse((numbers != 0) & (numbers != 1), name + ": {place} must be true or false, got {value}", numbers)
        return numbers.astype(np.bool_)
    _check_shape(name, array, shape)
    return array


def _numbers(name: str, values: Numbers | None, shape: tuple[int, ...], where: Flags | None = None) -> Floats:
    """``values`` with NaN in place of None, and of what is not ``where``."""
    if values is None:
        return np.full(shape, np.nan)
    try:
        numbers = np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be numbers: {error}") from error
    _check_shape(name, numbers, shape)
    if where is not None:
        numbers[~where] = np.nan
    _refuse(np.isinf(numbers) | (numbers < 0), name + ": {place} must be finite and >= 0, got {value}", numbers)
    return numbers


def _check_shape(name: str, array: NDArray[Any], shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise ValueError(f"{name} must have the shape {shape}, as correct has, got {array.shape}")


def _refuse(bad: Flags, message: str, values: NDArray[Any]) -> None:
    """ValueError with {place} and {value} of the first element that is bad."""
    if not bad.any():
        return
    index = tuple(np.argwhere(bad)[0].tolist())
    place = ", ".join(f"{axis} {number}" for axis, number in zip(("group", "rollout"), index, strict=False))
    raise ValueError(message.format(place=place, value=values[index]))


def _rectangle(name: str, rows: Sequence[Sequence[Any]], valid: Flags, fill: float) -> NDArray[Any]:
    """The rows as an array of the shape of ``valid``, filled up on the right."""
    if len(rows) != len(valid):
        raise ValueError(f"correct has {len(valid)} groups, {name} has {len(rows)}")
    for group, (row, size) in enumerate(zip(rows, valid.sum(axis=1).tolist(), strict=True)):
        if len(row) != size:
            raise ValueError(f"group {group} has {size} rollouts in correct, {len(row)} in {name}")
    array = np.full(valid.shape, fill, dtype=object)
    array[valid] = list(chain.from_iterable(rows))
    return array
