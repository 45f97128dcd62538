"""The arguments of ``lapo eval`` that hold names: ``NAME=PATH``, ``NAME=N``, and lists of numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from lapo_verl.evaluate.settings import EvalError

T = TypeVar("T")


def named_models(arguments: Iterable[str]) -> dict[str, str]:
    """{name: path} from ``NAME=PATH``.

    Raises:
        EvalError: one has no name, or two have the same.
    """
    pairs = []
    for argument in arguments:
        name, equals, path = argument.partition("=")
        if not (name and equals and path):
            raise EvalError(f"--model {argument}: must be NAME=PATH, such as base={argument or 'PATH'}")
        pairs.append((name, path))
    return _without_twins("--model", pairs)


def named_files(arguments: Iterable[str]) -> dict[str, Path]:
    """{name: file} from ``NAME=FILE`` or ``FILE``, which is called by its name without the ending.

    Raises:
        EvalError: two benchmarks have the same name.
    """
    pairs = []
    for argument in arguments:
        name, equals, file = argument.partition("=")
        # A path may hold the sign, too.
        has_name = name and equals and file and not Path(argument).exists()
        path = Path(file if has_name else argument)
        pairs.append((name if has_name else path.stem, path))
    return _without_twins("--data", pairs)


def counts(arguments: Sequence[str], default: int) -> tuple[int, dict[str, int]]:
    """Samples a problem, in general and of single benchmarks, from ``N`` and ``NAME=N``.

    Raises:
        EvalError: no whole number.

    >>> counts(["8", "aime24=32"], default=4)
    (8, {'aime24': 32})
    """
    of_benchmark: dict[str, int] = {}
    for argument in arguments:
        name, equals, number = argument.rpartition("=")
        if equals:
            of_benchmark[name] = _whole("--n", argument, number)
        else:
            default = _whole("--n", argument, number)
    return default, of_benchmark


SELF = "self"


def lengths(option: str, argument: str) -> tuple[int, ...]:
    """Lengths in tokens from ``500,3500``; none from an empty text.

    Raises:
        EvalError: no whole numbers from 1 on.
    """
    found = tuple(_whole(option, argument, part) for part in argument.split(",")) if argument else ()
    if any(length < 1 for length in found):
        raise EvalError(f"{option} {argument}: each must be at least 1 token")
    return found


def budgets(argument: str) -> tuple[tuple[int, ...], bool]:
    """Budgets in tokens from ``20,40,self``, and whether the model also plans by itself.

    Raises:
        EvalError: a part that is neither a whole number nor ``self``.

    >>> budgets("20,40,self")
    ((20, 40), True)
    """
    parts = argument.split(",") if argument else []
    numbers = lengths("--budget", ",".join(part for part in parts if part != SELF))
    return numbers, SELF in parts or not numbers


def _whole(option: str, argument: str, number: str) -> int:
    try:
        return int(number)
    except ValueError as error:
        raise EvalError(f"{option} {argument}: {number!r} is not a whole number") from error


def _without_twins(option: str, pairs: Iterable[tuple[str, T]]) -> dict[str, T]:
    named: dict[str, T] = {}
    for name, value in pairs:
        if name in named:
            raise EvalError(f"{option}: two are called {name!r}: {named[name]} and {value}; give them names: NAME=PATH")
        named[name] = value
    return named
