"""What goes into the store, a GroupRecord, what comes out, a Record, and how the file holds their lengths."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lapo_verl.store.errors import StoreDamagedError

# Unsigned, little-endian. A record takes the narrower one where its lengths fit. The highest value: unknown length.
_WIDTHS = (np.dtype("<u2"), np.dtype("<u4"))
MAX_LENGTH = 2**32 - 2  # tokens


@dataclass(frozen=True)
class GroupRecord:
    """One visit of a problem: a group of rollouts in one step.

    Attributes:
        problem_id: the problem's name, see ``problem_id``.
        lengths: of the rollouts, at least one, in tokens; None for a wrong one of unknown length, as in a store of
            the first schema.
        correct: whether each rollout is correct.
        prompt_budget: the number of tokens that their prompt named; None where it named none.
        filtered: whether the trainer dropped the group, so that the model was not trained on it.

    Raises:
        ValueError: a value is out of range; the message names it.

    >>> GroupRecord("p1", lengths=(310, 700), correct=(True, False), prompt_budget=320)
    GroupRecord(problem_id='p1', lengths=(310, 700), correct=(True, False), prompt_budget=320.0, filtered=False)
    >>> GroupRecord("p1", lengths=(310, 700), correct=(True,))
    Traceback (most recent call last):
    ValueError: correct has 1 rollouts, lengths has 2
    """

    problem_id: str
    lengths: tuple[int | None, ...]
    correct: tuple[bool, ...]
    prompt_budget: float | None = None
    filtered: bool = False

    def __post_init__(self) -> None:
        check_text("problem_id", self.problem_id)
        correct = tuple(_flag("correct", value) for value in self.correct)
        lengths = tuple(None if length is None else _length(length) for length in self.lengths)
        if not lengths:
            raise ValueError("lengths must be those of at least 1 rollout, got none")
        if len(lengths) != len(correct):
            raise ValueError(f"correct has {len(correct)} rollouts, lengths has {len(lengths)}")
        if None in lengths and any(right and length is None for length, right in zip(lengths, correct, strict=True)):
            raise ValueError(f"lengths must be known of correct rollouts, got {lengths} where correct is {correct}")
        budget = self.prompt_budget
        if budget is not None:
            budget = float(budget) + 0.0  # SQLite keeps no -0.0
            if not math.isfinite(budget) or budget < 0:
                raise ValueError(f"prompt_budget must be finite and >= 0 tokens, got {budget}")
        # numpy's numbers are welcome, plain ones are kept.
        object.__setattr__(self, "lengths", lengths)
        object.__setattr__(self, "correct", correct)
        object.__setattr__(self, "prompt_budget", budget)
        object.__setattr__(self, "filtered", _flag("filtered", self.filtered))


@dataclass(frozen=True)
class Record:
    """One visit of a problem, as the store keeps it.

    Attributes:
        problem_id: the problem's name.
        run: the training's name.
        step: the training step.
        lengths: of the rollouts, in tokens, as in ``GroupRecord``.
        correct: whether each rollout is correct.
        prompt_budget: the number of tokens that their prompt named; None where it named none.
        target: the problem's after this visit in tokens, made of all its rollouts in this step so far; None for none.
        filtered: whether the trainer dropped the group.

    >>> Record("p1", "discovery", 1, (310, 700, 290), (True, False, True), None, 300.0).correct_lengths
    (310, 290)
    """

    problem_id: str
    run: str
    step: int
    lengths: tuple[int | None, ...]
    correct: tuple[bool, ...]
    prompt_budget: float | None
    target: float | None
    filtered: bool = False

    @property
    def n(self) -> int:
        """Number of rollouts."""
        return len(self.lengths)

    @property
    def correct_lengths(self) -> tuple[int, ...]:
        """Lengths of the correct rollouts, in tokens."""
        return lengths_of_correct(self.lengths, self.correct)


def lengths_of_correct(lengths: Sequence[int | None], correct: Sequence[bool]) -> tuple[int, ...]:
    """The lengths of the rollouts that are correct."""
    return tuple(length for length, right in zip(lengths, correct, strict=True) if right and length is not None)


def pack_lengths(lengths: Sequence[int | None]) -> bytes:
    """Lengths in tokens as the file holds them; two bytes each where all are short enough, else four."""
    narrow, wide = _WIDTHS
    longest = max((length for length in lengths if length is not None), default=0)
    width = narrow if longest < np.iinfo(narrow).max else wide
    unknown = np.iinfo(width).max
    return np.array([unknown if length is None else length for length in lengths], dtype=width).tobytes()


def pack_correct(correct: Sequence[bool]) -> bytes:
    """One bit a rollout, the first one the lowest of the first byte."""
    return np.packbits(np.array(correct, dtype=np.bool_), bitorder="little").tobytes()


def unpack(n: int, lengths: bytes, correct: bytes) -> tuple[tuple[int | None, ...], tuple[bool, ...]]:
    """The lengths and the correctness of ``n`` rollouts; the reverse of ``pack_lengths`` and ``pack_correct``.

    Raises:
        StoreDamagedError: these are not ``n`` rollouts.
    """
    width = next((width for width in _WIDTHS if n > 0 and len(lengths) == n * width.itemsize), None)
    if width is None or len(correct) != -(-n // 8):
        raise StoreDamagedError(f"the {n} rollouts of a record are not readable: {lengths!r}, {correct!r}")
    values: list[int | None] = np.frombuffer(lengths, dtype=width).tolist()
    unknown = (1 << 8 * width.itemsize) - 1
    if unknown in values:
        values = [None if value == unknown else value for value in values]
    bits = int.from_bytes(correct, "little")
    return tuple(values), tuple(bits >> place & 1 == 1 for place in range(n))


def check_text(name: str, text: str) -> None:
    """ValueError unless ``text`` is one that SQLite keeps: not empty, without NUL and half surrogate pairs."""
    if not isinstance(text, str) or not text or not _is_plain(text):
        raise ValueError(f"{name} must be a text of at least one character, got {text!r}")


def _is_plain(text: str) -> bool:
    return "\0" not in text and (text.isascii() or not any("\ud800" <= char <= "\udfff" for char in text))


def _flag(name: str, value: bool) -> bool:
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name} must be true or false, got {value!r}")
    return bool(value)


def _length(value: int) -> int:
    # bool has an __index__, and a length of True is a mistake.
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise ValueError(f"lengths must be whole numbers, got {value!r}")
    length = value.__index__()
    if not 0 <= length <= MAX_LENGTH:
        raise ValueError(f"lengths must be in [0, {MAX_LENGTH}] tokens, got {length}")
    return length
