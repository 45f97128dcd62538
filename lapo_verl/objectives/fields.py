"""The fields of an objective: each one's range is written beside its type, and checked here.

weight: Annotated[float, Range(at_least=0)] = 0.4
statistic: Literal["median", "mean"] = "median"
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
from collections.abc import Iterable
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

KINDS = {float: "a finite number", int: "a whole number", bool: "true or false", str: "a text"}


@dataclasses.dataclass(frozen=True)
class Range:
    """Which numbers a field takes.

    >>> str(Range(at_least=0, at_most=100))
    '>= 0 and <= 100'
    """

    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None

    def __contains__(self, value: float) -> bool:
        return (
            (self.at_least is None or value >= self.at_least)
            and (self.above is None or value > self.above)
            and (self.at_most is None or value <= self.at_most)
            and (self.below is None or value < self.below)
        )

    def __str__(self) -> str:
        bounds = ((">=", self.at_least), (">", self.above), ("<=", self.at_most), ("<", self.below))
        return " and ".join(f"{sign} {bound}" for sign, bound in bounds if bound is not None)


def check_fields(instance: Any) -> None:
    """ValueError naming the first field of a dataclass whose value is of the wrong type or out of its range."""
    kinds = get_type_hints(type(instance), include_extras=True)
    for field in dataclasses.fields(instance):
        _check(field.name, getattr(instance, field.name), kinds[field.name])


def nearest(word: object, known: Iterable[str]) -> str:
    """The end of a message about an unknown word: the known one that is nearest, or all of them."""
    names = list(known)
    close = difflib.get_close_matches(str(word), names, n=1, cutoff=0.4)
    return f"did you mean {close[0]}?" if close else f"choose one of: {', '.join(names)}" if names else "there are none"


def _check(name: str, value: Any, kind: Any) -> None:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType) and len(arguments) == 2 and types.NoneType in arguments:
        if value is not None:
            _check(name, value, next(argument for argument in arguments if argument is not types.NoneType))
    elif origin is Annotated:
        _check(name, value, arguments[0])
        for limits in arguments[1:]:
            if isinstance(limits, Range) and value is not None and value not in limits:
                raise ValueError(f"{name} must be {limits}, got {value!r}")
    elif origin is Literal:
        if value not in arguments:
            raise ValueError(f"{name} must be one of {', '.join(map(str, arguments))}, got {value!r}")
    elif kind in KINDS:
        if not _is(value, kind):
            raise ValueError(f"{name} must be {KINDS[kind]}, got {value!r}")
    else:
        raise ValueError(
            f"{name} has the type {kind}: a field is a float, int, bool, str, Literal, or one of them or None"
        )


def _is(value: Any, kind: type) -> bool:
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
