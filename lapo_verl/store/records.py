"""What goes into the store, a GroupRecord, and what comes out, a Record."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from lapo_verl.store.errors import StoreDamagedError

STAGES = ("discovery", "internalization")  # in the order of training; the file holds the position
MAX_LENGTH = 2**32 - 1  # tokens; what the file's unsigned 32-bit integers hold


@dataclass(frozen=True)
class GroupRecord:
    """One visit of a problem: a group of rollouts in one step.

    Attributes:
        problem_id: the problem's name, see ``problem_id``.
        n: number of rollouts, at least 1.
        correct_lengths: lengths of the correct ones, in tokens; empty where none was.
        budget_shown: the budget as their prompt showed it, in tokens; None where it showed none.

    Raises:
        ValueError: a value is out of range; the message names it.
    """

    problem_id: str
    n: int
    correct_lengths: tuple[int, ...]
    budget_shown: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.problem_id, str) or not self.problem_id or not _is_plain_text(self.problem_id):
            raise ValueError(f"problem_id must be a text of at least one character, got {self.problem_id!r}")
        n = _whole("n", self.n)
        if n < 1:
            raise ValueError(f"n must be at least 1 rollout, got {n}")
        lengths = tuple(_whole("correct_lengths", length) for length in self.correct_lengths)
        if len(lengths) > n:
            raise ValueError(f"correct_lengths has {len(lengths)} lengths for n={n} rollouts")
        if lengths and not 0 <= min(lengths) <= max(lengths) <= MAX_LENGTH:
            raise ValueError(f"correct_lengths must lie in [0, {MAX_LENGTH}] tokens, got {lengths}")
        shown = self.budget_shown
        if shown is not None:
            shown = float(shown) + 0.0  # SQLite keeps no -0.0
            if not math.isfinite(shown) or shown < 0:
                raise ValueError(f"budget_shown must be finite and >= 0 tokens, got {shown}")
        # numpy's numbers are welcome, plain ones are kept.
        object.__setattr__(self, "n", n)
        object.__setattr__(self, "correct_lengths", lengths)
        object.__setattr__(self, "budget_shown", shown)


@dataclass(frozen=True)
class Record:
    """One visit of a problem, as the store keeps it; lengths and budgets in tokens.

    ``low`` to ``minimum`` are what ``budget_after`` is made of: statistics of the problem's correct rollouts in this
    step, up to and with this visit; None where there are none. ``budget_after`` is None where the problem was then
    unsolved.
    """

    problem_id: str
    stage: str
    step: int
    n: int
    correct_lengths: tuple[int, ...]
    low: float | None
    high: float | None
    median: float | None
    mean: float | None
    minimum: float | None
    budget_shown: float | None
    budget_after: float | None


def pack_lengths(lengths: Iterable[int]) -> bytes:
    """Lengths in tokens as the file holds them, four bytes each."""
    return np.fromiter(lengths, dtype="<u4").tobytes()


def unpack_lengths(packed: bytes) -> tuple[int, ...]:
    """The reverse of ``pack_lengths``."""
    if not isinstance(packed, bytes) or len(packed) % 4:
        raise StoreDamagedError(f"the correct lengths of a record are not readable: {packed!r}")
    return tuple(np.frombuffer(packed, dtype="<u4").tolist())


def stage_number(stage: str) -> int:
    """Position of ``stage`` in the training; ValueError where there is no such stage."""
    if stage not in STAGES:
        raise ValueError(f"stage must be one of {', '.join(STAGES)}, got {stage!r}")
    return STAGES.index(stage)


def _whole(name: str, value: int) -> int:
    # np.bool_ has no __index__; bool has one, and True rollouts are a mistake.
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise ValueError(f"{name} must be a whole number, got {value!r}")
    return value.__index__()


def _is_plain_text(text: str) -> bool:
    # SQLite's texts end at a NUL, and half a surrogate pair has no UTF-8.
    return "\0" not in text and not any("\ud800" <= char <= "\udfff" for char in text)
