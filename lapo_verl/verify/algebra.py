"""Are two expressions the same? Both are evaluated at random points.

Polynomials and quotients of them (pi and e are taken for unknowns) are computed exactly at coordinates of 64 bits:
different values prove that they differ, equal ones that they are the same but for a chance below 2^-40 a point
(Schwartz-Zippel: degree / 2^64). Everything else is computed with 500 bits. Letters are real there, and a point where
one side has no real value decides nothing: ``\\ln a+\\ln b`` is ``\\ln(ab)``, but ``\\sqrt{x^2}`` is not ``x``.
Nothing is ever expanded, and what would make large numbers has no value, so this takes a millisecond or a few.
"""

from __future__ import annotations

import math
import random
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import lru_cache
from typing import Any, Final

from lapo_verl.verify.expression import Node, names, parse

# The size of an exact number, and so the degree of a polynomial: 256 times a coordinate's bits.
_MAX_BITS: Final = 16_384
_COORDINATE_BITS: Final = 64
# Other numbers have 500 bits and are between 2^-100 and 2^100, so that rounding is far below any difference.
_PRECISION_BITS: Final = 500
_MAX_MAGNITUDE: Final = 100
_ROUNDING: Final = 2.0**-350
_TINY: Final = 2.0**-250  # what is inexact and this small may be nothing but rounding
_MAX_FACTORIAL: Final = 500

Real = Fraction | float
Values = list[tuple[Any, Any, float]]  # of both sides at a point, and the largest magnitude on the way
_random: Final = random.SystemRandom()  # not the process's generator, which a training may have seeded


class _NoValue(Exception):
    """The expression has no (real) value at this point, or too large a one."""


class _Inexact(Exception):
    """The expression is no quotient of polynomials."""


def same_function(one: str, other: str) -> bool | None:
    """Whether two normalized texts write the same function; None where one of them cannot be read or has no value.

    >>> same_function("x(x+2)+1", "(x+1)^2"), same_function("x-1", "1-x"), same_function("x+", "x")
    (True, False, None)
    """
    a, b = parse(one), parse(other)
    return None if a is None or b is None else same(a, b)


@lru_cache(maxsize=16384)
def same(one: Node, other: Node) -> bool | None:
    """``same_function`` for expressions that have been read."""
    values = _values(one, other)
    return all(_close(a, b, scale) for a, b, scale in values) if values else None


@lru_cache(maxsize=16384)
def ratio(one: str, other: str) -> int | None:
    """The sign of the constant by which the first is a multiple of the second; 0 where it is none, None as above."""
    x, y = parse(one), parse(other)
    values = _values(x, y) if x and y else None
    if not values:
        return None
    a0, b0, scale0 = values[0]
    if _close(a0, Fraction(0), scale0) or _close(b0, Fraction(0), scale0):
        return 0
    if not all(_close(a * b0, b * a0, scale * scale0) for a, b, scale in values):
        return 0
    return 1 if (a0 / b0).real > 0 else -1


@lru_cache(maxsize=16384)
def constant(node: Node) -> Real | None:
    """The real value of an expression without unknowns, exact where it is rational; None where it has none."""
    values = None if letters(node) else _numerically(node, node)
    if not values or hasattr(values[0][0], "_mpc_"):
        return None
    value = values[0][0]
    return value if isinstance(value, Fraction) else float(value)


def letters(node: Node) -> set[str]:
    """The unknowns of an expression."""
    return {*names(node)} - {"e", "i", "\\pi"}


def _values(a: Node, b: Node) -> Values | None:
    try:
        return [(_exactly(a, which), _exactly(b, which), 0.0) for which in range(2)]
    except _Inexact:
        return _numerically(a, b)
    except _NoValue:
        return None


def _coordinate() -> Fraction:
    return Fraction(_random.getrandbits(_COORDINATE_BITS) | 1)


_POINTS: Final[tuple[dict[str, Fraction], ...]] = (defaultdict(_coordinate), defaultdict(_coordinate))


@lru_cache(maxsize=16384)
def _exactly(node: Node, which: int) -> Fraction:
    value: Fraction = _Evaluation(_POINTS[which], exact=True).value(node)
    return value


def _numerically(a: Node, b: Node) -> Values | None:
    """At real points of either sign; where too few have values, as for (-1)^n, at whole ones."""
    unknowns = sorted(letters(a) | letters(b))
    complex_too = not unknowns or "i" in {*names(a), *names(b)}
    for points, enough in ((_REAL_POINTS, 3), (_WHOLE_POINTS, 8)) if unknowns else ((_REAL_POINTS[:1], 1),):
        found: Values = []
        for low, high, below, signs in points:
            point = {name: Fraction(_random.randrange(low, high), below) * _random.choice(signs) for name in unknowns}
            evaluation = _Evaluation(point, complex_too=complex_too)
            try:
                found.append((evaluation.value(a), evaluation.value(b), evaluation.scale))
            except (_NoValue, ZeroDivisionError, OverflowError, ValueError):  # the latter three are mpmath's
                continue
        if len(found) >= enough:
            return found
    return None


# (from, to, divided by, signs); some functions have values for small arguments only.
_REAL_POINTS: Final = [
    (low << 20, high << 20, 10 << 20, signs)
    for signs in ((1,), (1, -1), (1, -1))
    for low, high in ((1, 9), (11, 40), (40, 120))
]
_WHOLE_POINTS: Final = [(1, 25, 1, (1,))] * 16


def _close(a: Any, b: Any, scale: float) -> bool:
    if isinstance(a, Fraction) and isinstance(b, Fraction):
        return a == b
    return bool(abs(_inexact(a) - _inexact(b)) <= _ROUNDING * scale)


_local = threading.local()


def _mp() -> Any:
    """This thread's mpmath: a context changes its precision while it computes, so that threads cannot share one."""
    if not hasattr(_local, "context"):
        from mpmath import MPContext

        _local.context = MPContext()
        _local.context.prec = _PRECISION_BITS
    return _local.context


def _inexact(value: Any) -> Any:
    return _mp().mpf(value.numerator) / value.denominator if isinstance(value, Fraction) else value


class _Evaluation:
    """A node's value at a point: a Fraction as long as it is rational, else a number of mpmath's."""

    def __init__(self, point: Mapping[str, Fraction], *, exact: bool = False, complex_too: bool = False) -> None:
        self.point = point
        self.exact = exact
        self.complex_too = complex_too
        self.scale = 1.0
        self.extreme = False  # whether an exact number was too large or small to be computed with as an inexact one

    def value(self, node: Node) -> Any:
        operation, *operands = node
        if operation == "number":
            return operands[0]
        if operation == "name":
            return self._name(operands[0])
        if self.exact and operation not in ("plus", "minus", "times", "over", "power"):
            raise _Inexact
        values = [self.value(operand) for operand in operands]
        if operation == "power":
            return self._checked(_power(values[0], values[1], self.exact))
        own = _OPERATIONS.get(operation)
        return self._checked(own(*values) if own else getattr(_mp(), operation)(*map(_inexact, values)))

    def _name(self, name: str) -> Any:
        if name == "i":
            if self.exact:
                raise _Inexact
            return _mp().mpc(0, 1)
        if name in ("e", "\\pi") and not self.exact:
            return +(_mp().e if name == "e" else _mp().pi)
        return self.point[name]

    def _checked(self, value: Any) -> Any:
        if isinstance(value, Fraction):
            above, below = value.numerator.bit_length(), value.denominator.bit_length()
            self.extreme |= above > 0 and abs(above - below) > _MAX_MAGNITUDE
            if above + below > _MAX_BITS:
                raise _NoValue
            return value
        size = abs(value)
        if self.extreme or not size < 2.0**_MAX_MAGNITUDE or (hasattr(value, "_mpc_") and not self.complex_too):
            raise _NoValue
        self.scale = max(self.scale, float(size))
        return value


def _plus(a: Any, b: Any) -> Any:
    return a + b if isinstance(a, Fraction) and isinstance(b, Fraction) else _inexact(a) + _inexact(b)


def _times(a: Any, b: Any) -> Any:
    if isinstance(a, Fraction) and isinstance(b, Fraction):
        return a * b
    product = _inexact(a) * _inexact(b)
    if product and abs(product) < _TINY:
        raise _NoValue
    return product


def _over(a: Any, b: Any) -> Any:
    if abs(b) <= (0 if isinstance(b, Fraction) else _TINY):
        raise _NoValue
    return _times(a, 1 / b)


def _power(base: Any, exponent: Any, exact: bool = False) -> Any:
    if isinstance(exponent, Fraction) and exponent.denominator == 1:
        if not base and exponent <= 0:
            raise _NoValue
        if isinstance(base, Fraction):
            if abs(exponent) * max(base.numerator.bit_length(), base.denominator.bit_length()) > _MAX_BITS:
                raise _Inexact if exact else _NoValue
        elif not base or abs(exponent * _mp().mag(base)) > 2 * _MAX_MAGNITUDE:
            raise _NoValue
        return base ** int(exponent)
    if exact:
        raise _Inexact
    if isinstance(exponent, Fraction) and exponent.denominator < 10:
        return _power(_root(base, Fraction(exponent.denominator)), Fraction(exponent.numerator))
    if not base:
        raise _NoValue
    power = _mp().ln(_inexact(base)) * _inexact(exponent)
    if abs(power) > _MAX_MAGNITUDE:
        raise _NoValue
    return _mp().exp(power)


def _root(value: Any, degree: Any) -> Any:
    n = _integer(degree)
    if not 2 <= n < 100:
        raise _NoValue
    if isinstance(value, Fraction):
        if value < 0 and n % 2:
            return -_root(-value, degree)
        parts = (value.numerator, value.denominator)
        roots = [math.isqrt(abs(x)) if n == 2 else int(_mp().nint(_mp().root(abs(x), n))) for x in parts]
        if value >= 0 and all(root**n == part for root, part in zip(roots, parts, strict=True)):
            return Fraction(*roots)
    return _mp().root(_inexact(value), n)


def _factorial(n: Any) -> Any:
    if abs(n) > _MAX_FACTORIAL:
        raise _NoValue
    if isinstance(n, Fraction) and n.denominator == 1:
        return Fraction(math.factorial(_integer(n)))
    return _mp().gamma(_inexact(n) + 1)


def _ordered(value: Any) -> Any:
    if hasattr(value, "_mpc_"):
        raise _NoValue
    return _inexact(value)


def _integer(value: Any) -> int:
    if not isinstance(value, Fraction) or value.denominator != 1:
        raise _NoValue
    return int(value)


# What is not listed is mpmath's function of that name.
_OPERATIONS: Final[dict[str, Callable[..., Any]]] = {
    "plus": _plus,
    "minus": lambda a, b: _plus(a, -b),
    "times": _times,
    "over": _over,
    "root": _root,
    "exp": lambda x: _power(+_mp().e, x),
    "log": lambda base, x: _over(_mp().ln(_inexact(x)), _mp().ln(_inexact(base))),
    "degree": lambda x: _times(x, _mp().pi / 180),
    "factorial": _factorial,
    "binom": lambda n, k: _over(_factorial(n), _times(_factorial(k), _factorial(_plus(n, -k)))),
    "abs": abs,
    "floor": lambda x: Fraction(math.floor(_ordered(x))),
    "ceil": lambda x: Fraction(math.ceil(_ordered(x))),
    "max": lambda *values: max(values, key=_ordered),
    "min": lambda *values: min(values, key=_ordered),
    "gcd": lambda *values: Fraction(math.gcd(*map(_integer, values))),
    "lcm": lambda *values: Fraction(math.lcm(*map(_integer, values))),
}
