"""A number with its unit: reading one, and when two of them are the same."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Final

from lapo_verl.verify.algebra import Real, constant, same
from lapo_verl.verify.expression import Node, names, number, parse
from lapo_verl.verify.units import split_unit

_PLACES_OF_A_ROUNDED_VALUE: Final = 6
_UNSIGNED: Final = r"(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]{1,3}(?: [0-9]{3})+|[0-9]+)(?:\.[0-9]*)?|\.[0-9]+"
_DECIMAL: Final = re.compile(rf"([+-]?)({_UNSIGNED})")
_SCIENTIFIC: Final = re.compile(
    rf"([+-]?)({_UNSIGNED}) ?"
    r"(?:(?:\\times|\\cdot|\*) ?10\^(?:\{([+-]?[0-9]{1,3})\}|([0-9]))|[eE]([+-]?[0-9]{1,3}))"
)
_MIXED: Final = re.compile(r"([+-]?)([0-9]+) ?(?:\\frac\{([0-9]+)\}\{([0-9]+)\}|(?<= )([0-9]+)/([0-9]+))")
_REPEATING: Final = re.compile(r"([+-]?)([0-9]*)\.([0-9]*)\\(?:overline|bar)\{([0-9]{1,100})\}")
# A dot over the first and over the last digit of the period, or over every one.
_DOTTED: Final = re.compile(
    r"([+-]?)([0-9]*)\.([0-9]*)(?:\\dot(?:\{([0-9])\}|([0-9]))([0-9]{1,100})\\dot(?:\{([0-9])\}|([0-9]))"
    r"|((?:\\dot(?:\{[0-9]\}|[0-9])){1,100}))"
)
_ARC: Final = re.compile(r"([+-]?)([0-9]+)\\degree([0-9]+(?:\.[0-9]+)?)'(?:([0-9]+(?:\.[0-9]+)?)(?:''|\"))?")


@dataclass(frozen=True)
class Number:
    expression: Node
    unit: str | None = None
    percent: bool = False
    places: int = 0  # digits after the decimal point, where it is written as one decimal

    @property
    def value(self) -> Real:
        """Exact where it is rational."""
        value = constant(self.expression)
        assert value is not None
        return value

    def stands_for(self, other: Number) -> bool:
        """Whether it has six or more places, of a value that no decimal can write, rounded or cut at its last one."""
        if self.places < _PLACES_OF_A_ROUNDED_VALUE:
            return False
        meant = other.value
        if isinstance(meant, Fraction) and 10 ** meant.denominator.bit_length() % meant.denominator == 0:
            return False  # a decimal can write it
        # Rounded: half a unit of the last place away at most. Cut: less than one, and towards zero.
        given, exact = Fraction(self.value), Fraction(meant)
        off = (abs(exact) - abs(given)) * 10**self.places
        slack = abs(exact) * 10**self.places / 10**15  # that of a float
        return given * exact >= 0 and Fraction(-1, 2) - slack <= off <= 1 + slack


@lru_cache(maxsize=16384)
def read_number(text: str) -> Number | None:
    """The number that the whole (normalized) text writes, or None."""
    if match := _DECIMAL.fullmatch(text):
        return Number(_signed(match[1], _decimal(match[2])), places=_places(match[2]))
    head, unit, factor = split_unit(text)
    percent = head.endswith("%")
    if percent:
        head = head[:-1].rstrip()
    expression = _literal(head)
    if expression is None and unit is None and (match := _ARC.fullmatch(text)):
        unit = "degree"
        expression = _signed(match[1], int(match[2]) + Fraction(match[3]) / 60 + Fraction(match[4] or 0) / 3600)
    if expression is None and (found := parse(head)) and constant(found) is not None:
        expression = found
    if expression is None or (percent and unit):
        return None
    if factor != 1:
        expression = ("times", expression, number(factor))
    return Number(expression, unit, percent, _places(head) if factor == 1 else 0)


def _literal(text: str) -> Node | None:
    """Spellings of one number that are no expression."""
    if match := _DECIMAL.fullmatch(text):
        return _signed(match[1], _decimal(match[2]))
    if match := _SCIENTIFIC.fullmatch(text):
        return _signed(match[1], _decimal(match[2]) * Fraction(10) ** int(match[3] or match[4] or match[5]))
    if match := _MIXED.fullmatch(text):
        above, below = int(match[3] or match[5]), int(match[4] or match[6])
        return _signed(match[1], int(match[2]) + Fraction(above, below)) if below else None
    if match := _REPEATING.fullmatch(text) or _DOTTED.fullmatch(text):
        period = re.sub(r"[^0-9]", "", "".join(part or "" for part in match.groups()[3:]))
        ninths = Fraction(int(period), (10 ** len(period) - 1) * 10 ** len(match[3]))
        return _signed(match[1], Fraction(f"{match[2] or 0}.{match[3]}0") + ninths)
    return None


def _decimal(text: str) -> Fraction:
    return Fraction(text.replace(",", "").replace(" ", "").rstrip(".") or "0")


def _signed(sign: str, value: Fraction) -> Node:
    return number(-value if sign == "-" else value)


def _places(text: str) -> int:
    """Digits after the decimal point, of a decimal or of one times a power of ten."""
    if match := _SCIENTIFIC.fullmatch(text):
        return max(_places(match[2]) - int(match[3] or match[4] or match[5]), 0)
    return len(text.partition(".")[2]) if _DECIMAL.fullmatch(text) else 0


def same_number(a: Number, b: Number) -> bool:
    """Whether two numbers say the same, units and percent included.

    >>> same_number(read_number("50%"), read_number("0.5"))
    True
    """
    if a.unit and b.unit and a.unit != b.unit:
        return "radian" in (a.unit, b.unit) and _same_angle(a, b)
    if a.percent != b.percent:
        share, plain = (a, b) if a.percent else (b, a)
        whole = Number(("over", share.expression, number(100)))
        return not plain.unit and (_same_value(a, b) or _same_value(whole, plain))
    if _same_value(a, b):
        return True
    # An angle: 30 degrees is pi/6.
    return "degree" in (a.unit, b.unit) and "\\pi" in {*names(a.expression), *names(b.expression)} and _same_angle(a, b)


def _same_angle(a: Number, b: Number) -> bool:
    if not {a.unit, b.unit} <= {"degree", "radian", None}:
        return False
    return same(*(("degree", x.expression) if x.unit == "degree" else x.expression for x in (a, b))) is True


def _same_value(a: Number, b: Number) -> bool:
    if a.expression[0] == b.expression[0] == "number":
        equal: bool | None = a.expression == b.expression
    else:
        equal = same(a.expression, b.expression)
    return bool(equal) or a.stands_for(b) or b.stands_for(a)
