"""Graded arithmetic with reasoning traces of very different verbosity: the demo's world.

A problem is a chain of ``level`` digits with + and -, worked from the left modulo 10, such as ``3+8-5=?``.
A response is ``<trace></think>\\boxed{6}``; the prompt has opened the think block already. A trace is made of
passes:

    3+8=1,1-5=6                                       one pass, the shortest trace there is
    3+8=1,wait 3+8=1 ok,1-5=6                         a step said twice
    3+8=0,0-5=5 check: 3+8=1,1-5=6                    a first pass that erred, and a check that put it right

How often a trace checks itself is drawn anew for every trace, hence one problem has responses of very
different lengths: a model trained on them overthinks, and has something to unlearn. First passes err on a
fixed share of the cells that carry or borrow, and check passes do not: checking pays until the model gets the
first pass right.
"""

from __future__ import annotations

import random
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

LEVELS = (2, 3, 4, 5, 6)
CHECK_OPENERS = (" check: ", " check again: ", " let me check: ")

_ANSWER = re.compile(r"</think>\\boxed\{(\d)\}")


@dataclass(frozen=True)
class Problem:
    """``digits[0] signs[0] digits[1] signs[1] ...``, modulo 10."""

    digits: tuple[int, ...]
    signs: str

    @property
    def level(self) -> int:
        """How many digits there are; the number of steps is one less."""
        return len(self.digits)

    @property
    def problem_id(self) -> str:
        """The problem itself, as text: ``3+8-5``."""
        steps = zip(self.signs, self.digits[1:], strict=True)
        return str(self.digits[0]) + "".join(f"{sign}{digit}" for sign, digit in steps)

    @property
    def question(self) -> str:
        """The user's message."""
        return f"{self.problem_id}=?"

    @property
    def answer(self) -> int:
        """The chain's value."""
        value = self.digits[0]
        for sign, digit in zip(self.signs, self.digits[1:], strict=True):
            value = apply_step(value, sign, digit)
        return value


@dataclass(frozen=True)
class TraceSettings:
    """How verbose and how fallible the traces are.

    Attributes:
        wait_probability: that a step is said again (``wait 3+8=1 ok,``).
        check_probabilities: one is drawn per trace; with that probability another pass follows, after each.
        max_passes: no trace has more; it bounds the tail of the lengths, so that few responses are truncated.
        hard_share: share of the carry and borrow cells on which first passes err.
        error_probability: that a first pass errs on such a cell.
    """

    wait_probability: float = 0.15
    check_probabilities: tuple[float, ...] = (0.2, 0.5, 0.85)
    max_passes: int = 6
    hard_share: float = 0.3
    error_probability: float = 0.6


@dataclass(frozen=True)
class Trace:
    """A reasoning trace and the answer it ends in, right or wrong."""

    text: str
    answer: int

    @property
    def response(self) -> str:
        """What the model has to generate, without the end token."""
        return f"{self.text}</think>\\boxed{{{self.answer}}}"


def apply_step(value: int, sign: str, digit: int) -> int:
    """One step of a chain, modulo 10."""
    return (value + digit if sign == "+" else value - digit) % 10


def hard_cells(share: float, seed: int = 0) -> frozenset[tuple[int, str, int]]:
    """The cells (value, sign, digit) on which first passes err: ``share`` of those that carry or borrow."""
    carrying = [(a, "+", b) for a in range(10) for b in range(10) if a + b > 9]
    borrowing = [(a, "-", b) for a in range(10) for b in range(10) if a < b]
    cells = carrying + borrowing
    return frozenset(random.Random(seed).sample(cells, round(share * len(cells))))


def draw_problem(rng: random.Random, level: int) -> Problem:
    """A problem of this level, uniform among all of them."""
    digits = tuple(rng.randrange(10) for _ in range(level))
    return Problem(digits, "".join(rng.choice("+-") for _ in range(level - 1)))


def draw_problems(
    rng: random.Random, per_level: int, levels: Sequence[int] = LEVELS, exclude: Collection[str] = ()
) -> list[Problem]:
    """``per_level`` different problems of each level, in random order.

    Args:
        exclude: ids of problems that must not be among them.

    Raises:
        ValueError: a level has fewer problems than asked for (level 2 has 200 in all).
    """
    taken = set(exclude)
    problems: list[Problem] = []
    for level in levels:
        available = 10**level * 2 ** (level - 1) - sum(1 for name in taken if (len(name) + 1) // 2 == level)
        if per_level > available:
            raise ValueError(f"level {level} has {available} problems left, {per_level} were asked for")
        found = 0
        while found < per_level:
            problem = draw_problem(rng, level)
            if problem.problem_id not in taken:
                taken.add(problem.problem_id)
                problems.append(problem)
                found += 1
    rng.shuffle(problems)
    return problems


def draw_trace(
    rng: random.Random, problem: Problem, hard: Collection[tuple[int, str, int]], settings: TraceSettings
) -> Trace:
    """One reasoning trace; it ends in a wrong answer where the first pass errs and no check follows."""
    check_probability = rng.choice(settings.check_probabilities)
    text, answer = _draw_pass(rng, problem, hard, settings)
    passes = 1
    while passes < settings.max_passes and rng.random() < check_probability:
        # No cell is hard for a check pass.
        again, answer = _draw_pass(rng, problem, (), settings)
        text += rng.choice(CHECK_OPENERS) + again
        passes += 1
    return Trace(text, answer)


def _draw_pass(
    rng: random.Random, problem: Problem, hard: Collection[tuple[int, str, int]], settings: TraceSettings
) -> tuple[str, int]:
    value = problem.digits[0]
    steps = []
    for sign, digit in zip(problem.signs, problem.digits[1:], strict=True):
        result = apply_step(value, sign, digit)
        if (value, sign, digit) in hard and rng.random() < settings.error_probability:
            # Always the same slip for a cell, as from a misremembered table.
            result = (result - 1) % 10 if sign == "+" else (result + 1) % 10
        step = f"{value}{sign}{digit}={result}"
        steps.append(step)
        if rng.random() < settings.wait_probability:
            steps.append(f"wait {step} ok")
        value = result
    return ",".join(steps), value


def boxed_answer(response: str) -> str | None:
    """The digit in the box after the think block; None where the response has none."""
    found = _ANSWER.findall(response)
    return found[-1] if found else None
