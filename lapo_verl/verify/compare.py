"""The cheap comparison: exact, in this process, and silent where it is not sure.

``settle`` answers True, False, or None for "cannot say", which sends the pair on to math-verify. It reads numbers
(integers, decimals, fractions, mixed numbers, percent, powers, roots and multiples of pi) as exact values, takes
groups (tuples, intervals, sets, lists, matrices) apart, and knows choices, words and units. It is no LaTeX parser:
what does not match one of these forms as a whole stays text.

What counts as the same:

- Values are compared exactly: ``0.5`` is ``1/2``, ``0.33`` is not ``1/3``. A decimal of six or more places may stand
  for a value that no decimal can write (``0.333333`` for ``1/3``), rounded or cut at its last place.
- ``50%`` is ``0.5``, and it is ``50``: the sign is a unit, and the question may have named it. ``0.5`` is not ``50``.
- A unit may be left out. Two known units must be the same one; nothing is converted, but for degrees and multiples
  of pi.
- Brackets mean what they say: ``(1,2)`` is not ``[1,2]`` and not ``1,2``. The order of a set and of a bare list is
  free. A bare ``1,234`` is one number; within brackets a comma always separates.
- ``x=3`` is ``3`` and ``3`` is ``x=3``, but ``y=3`` is not ``x=3``. In a chain ``a=b=c`` the last side is the answer,
  and no side that can be read as a value may contradict it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import log2, pi, sqrt
from typing import Final

_MAX_DEPTH: Final = 8
_MAX_ITEMS: Final = 64
_MAX_BITS: Final = 8_192


# --- values ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Value:
    """``rational * sqrt(radicand) * pi**pi_power``, in the one form that makes equal values equal objects."""

    rational: Fraction
    radicand: int = 1
    pi_power: int = 0

    def times(self, other: Value) -> Value | None:
        return _value(self.rational * other.rational, self.radicand * other.radicand, self.pi_power + other.pi_power)

    def inverse(self) -> Value | None:
        if not self.rational:
            return None
        return _value(1 / (self.rational * self.radicand), self.radicand, -self.pi_power)

    def approximately(self) -> float:
        return float(self.rational) * sqrt(self.radicand) * pi**self.pi_power


def _value(rational: Fraction, radicand: int = 1, pi_power: int = 0) -> Value | None:
    """The value with its radicand made squarefree; None where that would take long."""
    if not rational or not radicand:
        return Value(Fraction(0))
    if radicand > 1_000_000 or rational.numerator.bit_length() > _MAX_BITS:
        return None
    factor, square = 2, 4
    while square <= radicand:
        while radicand % square == 0:
            radicand //= square
            rational *= factor
        factor += 1
        square = factor * factor
    return Value(rational, radicand, pi_power)


_UNSIGNED: Final = r"(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]{1,3}(?: [0-9]{3})+|[0-9]+)(?:\.[0-9]*)?|\.[0-9]+"
_DECIMAL: Final = re.compile(rf"([+-]?)({_UNSIGNED})")
_SLASH: Final = re.compile(rf"([+-]?)({_UNSIGNED}) ?/ ?([+-]?(?:{_UNSIGNED}))")
_MIXED: Final = re.compile(r"([+-]?)([0-9]+) ?(?:\\frac\{([0-9]+)\}\{([0-9]+)\}|(?<= )([0-9]+)/([0-9]+))")
_SCIENTIFIC: Final = re.compile(
    rf"([+-]?)(?:({_UNSIGNED}) ?(?:\\times|\\cdot|\*) ?)?10\^(?:\{{([+-]?[0-9]{{1,3}})\}}|([0-9]))"
)
_REPEATING: Final = re.compile(r"([+-]?)([0-9]*)\.([0-9]*)\\(?:overline|bar)\{([0-9]{1,100})\}")
_E_NOTATION: Final = re.compile(rf"([+-]?)({_UNSIGNED})[eE]([+-]?[0-9]{{1,3}})")
_POWER: Final = re.compile(r"(-?)([0-9]{1,9})\^(?:\{([+-]?[0-9]{1,4})\}|([0-9]))")
_FRACTION: Final = re.compile(r"([+-]?)\\frac\{([^{}]*(?:\{[^{}]*\}[^{}]*)*)\}\{([^{}]*(?:\{[^{}]*\}[^{}]*)*)\}(.*)")
_MONOMIAL: Final = re.compile(
    rf"([+-]?)({_UNSIGNED})? ?(?:\\cdot|\\times|\*)? ?(\\sqrt\{{([0-9]{{1,6}})\}})? ?(\\pi)?"
    r"(?:/([0-9]{1,9}))?"
)


def _decimal(text: str) -> Fraction:
    return Fraction(text.replace(",", "").replace(" ", "").rstrip(".") or "0")


def _value_of(text: str, depth: int = 0) -> Value | None:
    """The exact value that the whole text writes, or None."""
    sign: int
    if match := _DECIMAL.fullmatch(text):
        return Value(_signed(match[1], _decimal(match[2])))
    if depth > _MAX_DEPTH or not text:
        return None
    if match := _SLASH.fullmatch(text):
        below = _decimal(match[3].lstrip("+-"))
        if not below:
            return None
        sign = -1 if match[3].startswith("-") else 1
        return Value(_signed(match[1], _decimal(match[2])) / below * sign)
    if match := _MIXED.fullmatch(text):
        above, below_int = int(match[3] or match[5]), int(match[4] or match[6])
        if not below_int:
            return None
        return Value(_signed(match[1], int(match[2]) + Fraction(above, below_int)))
    if match := _FRACTION.fullmatch(text):
        above_value, below_value = _value_of(match[2], depth + 1), _value_of(match[3], depth + 1)
        rest = _value_of(match[4].lstrip(), depth + 1) if match[4] else Value(Fraction(1))
        # A fraction followed by a number is no product that anyone writes; by a root or pi it is.
        if match[4] and not match[4].lstrip().startswith(("\\sqrt", "\\pi")):
            return None
        inverse = below_value.inverse() if below_value else None
        if above_value is None or inverse is None or rest is None:
            return None
        product = above_value.times(inverse)
        product = product.times(rest) if product else None
        return Value(_signed(match[1], product.rational), product.radicand, product.pi_power) if product else None
    if match := _REPEATING.fullmatch(text):
        once, period = match[3] or "", match[4]
        ninths = Fraction(int(period), (10 ** len(period) - 1) * 10 ** len(once))
        return Value(_signed(match[1], Fraction(f"{match[2] or 0}.{once}0") + ninths))
    if match := _SCIENTIFIC.fullmatch(text):
        exponent = int(match[3] or match[4])
        return Value(_signed(match[1], _decimal(match[2] or "1") * Fraction(10) ** exponent))
    if match := _E_NOTATION.fullmatch(text):
        return Value(_signed(match[1], _decimal(match[2]) * Fraction(10) ** int(match[3])))
    if match := _POWER.fullmatch(text):
        base, exponent = int(match[2]), int(match[3] or match[4])
        if abs(exponent) * base.bit_length() > _MAX_BITS or (not base and exponent <= 0):
            return None
        return Value(_signed(match[1], Fraction(base) ** exponent))
    if (match := _MONOMIAL.fullmatch(text)) and (match[3] or match[5]):
        below_int = int(match[6] or "1")
        if not below_int:
            return None
        rational = _signed(match[1], _decimal(match[2] or "1")) / below_int
        return _value(rational, int(match[4] or "1"), 1 if match[5] else 0)
    if text[0] == "(" and text[-1] == ")" and "," not in text and _closes(text):
        return _value_of(text[1:-1], depth + 1)
    if text[0] == "-" and text[1:2] in ("(", "\\"):
        inner = _value_of(text[1:], depth + 1)
        return Value(-inner.rational, inner.radicand, inner.pi_power) if inner else None
    return None


def _signed(sign: str, number: Fraction) -> Fraction:
    return -number if sign == "-" else number


def too_large(text: str) -> bool:
    """Whether the text asks for a number that no computer can write down: a power tower, a large factorial.

    Looks only at towers of plain numbers, the common case; everything else is left to the worker's time limit.
    """
    for match in _TOWER.finditer(text):
        numbers = [int(number) for number in re.findall(r"[0-9]+", match.group())]
        exponent = numbers.pop()
        while numbers:
            base = numbers.pop()
            if base > 1 and exponent * log2(base) > _MAX_BITS * 4:
                return True
            exponent = base**exponent
    return _FACTORIAL.search(text) is not None


_TOWER: Final = re.compile(r"[0-9]{1,300}(?:[)}]*\^[({]*[0-9]{1,300})+")
_FACTORIAL: Final = re.compile(r"[0-9]{5,}[)}]*!|![)}]*!")


# --- units ----------------------------------------------------------------------------------------------------------

# Spellings of a unit, the first one its name. A unit that is not listed is taken for a counted thing ("12 apples").
_UNITS: Final = (
    ("dollar", "dollars", "usd", "us dollars", "bucks"),
    ("cent", "cents"),
    ("euro", "euros", "eur"),
    ("pound sterling", "gbp"),
    ("degree", "degrees", "deg"),
    ("radian", "radians", "rad"),
    ("meter", "meters", "metre", "metres", "m"),
    ("centimeter", "centimeters", "centimetre", "centimetres", "cm"),
    ("millimeter", "millimeters", "millimetre", "millimetres", "mm"),
    ("kilometer", "kilometers", "kilometre", "kilometres", "km"),
    ("inch", "inches", "in"),
    ("foot", "feet", "ft"),
    ("yard", "yards", "yd", "yds"),
    ("mile", "miles", "mi"),
    ("gram", "grams", "g"),
    ("kilogram", "kilograms", "kg", "kgs"),
    ("milligram", "milligrams", "mg"),
    ("pound", "pounds", "lb", "lbs"),
    ("ounce", "ounces", "oz"),
    ("ton", "tons", "tonne", "tonnes"),
    ("liter", "liters", "litre", "litres", "l"),
    ("milliliter", "milliliters", "millilitre", "millilitres", "ml"),
    ("gallon", "gallons", "gal"),
    ("second", "seconds", "sec", "secs", "s"),
    ("minute", "minutes", "min", "mins"),
    ("hour", "hours", "hr", "hrs", "h"),
    ("day", "days"),
    ("week", "weeks"),
    ("month", "months"),
    ("year", "years", "yr", "yrs"),
    ("unit", "units"),
    ("kelvin", "kelvins", "K"),
    ("mph", "miles per hour", "miles/hour", "mi/h"),
    ("km/h", "kmh", "kph", "kilometers per hour", "kilometres per hour"),
    ("m/s", "meters per second", "metres per second"),
)
_UNIT_NAME: Final = {spelling: names[0] for names in _UNITS for spelling in names}
_SYMBOL_UNIT: Final = {"\\dollar": "dollar", "€": "euro", "£": "pound sterling", "\\degree": "degree"}
# Words that change the value, so they are no unit: "5 million", "5 or more", "5 times".
_NO_UNIT: Final = frozenset(
    re.split(
        r"\s+",
        """hundred thousand million billion trillion dozen half third quarter times plus minus over squared cubed or and
        more less fewer than least most about not no none if mod modulo is are to from where factorial point the
        infinity sqrt pi k tens tenths hundredths thousandths hundreds thousands millions billions trillions squares
        approximately approx around roughly nearly almost wrong incorrect false""",
    )
)
_SCALE: Final = {"hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_LEADING: Final = re.compile(r"([+-]?)(\\dollar|€|£|USD|US\\dollar) ?(.+)")
_TAIL_SYMBOL: Final = re.compile(r"(.*?[^ ]) ?(\\dollar|€|£|\\degree)(?: ?\\?(?:text\{)?([CF])\}?)?")
_TAIL_BASE: Final = re.compile(r"(-?[0-9.]+)_\{?([0-9]{1,2})\}?")
_TAIL_TEXT: Final = re.compile(r"(.*[^ ^_]) ?\\text ?\{([^{}]*)\}(?:\^\{?([23])\}?)?")
_TAIL_WORDS: Final = re.compile(r"(.*[0-9)}])( ?)([A-Za-z][A-Za-z./ -]*)(?:\^\{?([23])\}?)?")
_WORDS_OF_UNIT: Final = re.compile(r"[A-Za-z][A-Za-z./'-]*(?: [A-Za-z][A-Za-z./'-]*){0,4}")


def _unit_name(words: str, power: str | None) -> str | None:
    """The unit's name; "" for a counted thing; None where the words are no unit."""
    words = words.strip().rstrip(".").strip()
    if not words and not power:
        return ""
    lowered = words.lower()
    dimension = {"2": "square ", "3": "cubic "}.get(power or "", "")
    for prefix, of in (("square ", "square "), ("sq. ", "square "), ("sq ", "square "), ("cubic ", "cubic ")):
        if lowered.startswith(prefix):
            dimension, lowered = of, lowered[len(prefix) :]
            break
    known = _UNIT_NAME.get(words) or _UNIT_NAME.get(lowered)
    if known:
        return dimension + known
    if not _WORDS_OF_UNIT.fullmatch(words) or not _NO_UNIT.isdisjoint(re.split(r"[ -]", lowered)):
        return None
    return ""


def _split_unit(text: str) -> tuple[str, str | None, int]:
    """(what is left, unit or None, factor): ``5\\text{ million dollars}`` is ``5``, dollar, a million."""
    unit: str | None = None
    if match := _LEADING.fullmatch(text):
        unit = _SYMBOL_UNIT.get(match[2], "dollar")
        text = match[1] + match[3]
    if match := _TAIL_SYMBOL.fullmatch(text):
        symbol = _SYMBOL_UNIT[match[2]] + (match[3] or "")
        # "30°C" has its own unit; an angle in degrees within an expression (\sin 30°) is not a unit of the whole.
        if not re.search(r"\\(?:sin|cos|tan|sec|csc|cot|ln|log)", match[1]):
            return match[1], symbol, 1
    if match := _TAIL_BASE.fullmatch(text):
        return match[1], f"base {match[2]}", 1
    for pattern, words_at in ((_TAIL_TEXT, 2), (_TAIL_WORDS, 3)):
        match = pattern.fullmatch(text)
        if match is None:
            continue
        head, words, power = match[1], match[words_at].strip(), match[match.re.groups]
        factor = 1
        first, _, others = words.partition(" ")
        if first.lower() in _SCALE:
            factor, words = _SCALE[first.lower()], others.strip()
        name = _unit_name(words, power)
        if name is None:
            continue
        if pattern is _TAIL_WORDS and not name and words and (match[2] == "" or len(words) < 3):
            continue  # "12ab" and "5 x" are products
        if pattern is _TAIL_WORDS and name and len(words) == 1 and match[2] == "":
            continue  # "5m" is five times m, "5 m" may be metres
        return head, unit or name or None, factor
    return text, unit, 1


# --- what a text is -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Number:
    value: Value
    unit: str | None = None
    percent: bool = False
    places: int = 0  # digits after the decimal point, where it is written as one decimal


@dataclass(frozen=True)
class Choice:
    letter: str
    rest: str = ""  # "12" in "(B) 12"
    marked: bool = False  # written as a choice, "(B)", and not only as a letter


@dataclass(frozen=True)
class Words:
    words: str


@dataclass(frozen=True)
class Group:
    brackets: str  # "()", "[)", ..., "{}", or "" for a bare list
    items: tuple[str, ...]


@dataclass(frozen=True)
class Matrix:
    determinant: bool
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Other:
    text: str


Reading = Number | Choice | Words | Group | Matrix | Other

_CHOICE: Final = re.compile(r"(?:\\text ?\{ ?)?(\()?([A-Ja-j])([).:]*)\}?(?:(?<=[).:}]) ?(.*))?")
_CHOICE_IN_REST: Final = re.compile(r"(?<![A-Za-z\\])[A-J](?![A-Za-z])")
_ALL_TEXT: Final = re.compile(r"\\text ?\{([^{}]*)\}\.?")
_PLAIN_WORDS: Final = re.compile(
    r"[A-Za-z][a-z']*(?:-[A-Za-z][a-z]{2,})*(?: [A-Za-z][a-z']*(?:-[A-Za-z][a-z]+)*)+"
    r"|[A-Za-z][a-z]{3,}(?:-[A-Za-z][a-z]{2,})*"
)
_SHORT_WORDS: Final = frozenset(("yes", "no", "odd"))
_MATRIX: Final = re.compile(r"\\begin\{(p|b|v|B|V|small)?matrix\}(.*)\\end\{\1matrix\}", re.DOTALL)
_AND: Final = re.compile(r",? ?(?:\\text ?\{ ?(?:and|or|,) ?\}|(?<![A-Za-z\\])(?:and|or)(?![A-Za-z])) ?")
_SPACES: Final = re.compile(r"[\s.,!'\N{RIGHT SINGLE QUOTATION MARK}-]+")
_GROUP_ENDS: Final = {"(": (")", "]"), "[": ("]", ")"), "\\{": ("\\}",)}
_THOUSANDS: Final = re.compile(r"[+-]?(?:\\dollar ?|€|£)?[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])[^,]*")


@lru_cache(maxsize=16384)
def read(text: str) -> Reading:
    """What the (normalized) text is, as far as its outer form tells."""
    if number := _number(text):
        return number
    if match := _CHOICE.fullmatch(text):
        letter, rest = match[2].upper(), (match[4] or "").strip()
        marked = match[1] is not None or bool(match[3]) or text.startswith("\\text")
        if (match[2].isupper() or marked) and not _CHOICE_IN_REST.search(rest):
            return Choice(letter, rest, marked)
    if match := _ALL_TEXT.fullmatch(text):
        if re.match(r"[+-]?[0-9.]", match[1]) and (number := _number(match[1].strip())):
            return number
        return Words(_SPACES.sub(" ", match[1]).strip().casefold())
    if (_PLAIN_WORDS.fullmatch(text) or text.lower() in _SHORT_WORDS) and not _AND.search(text):
        return Words(_SPACES.sub(" ", text).strip().casefold())
    if match := _MATRIX.fullmatch(text):
        rows = [row.strip() for row in re.split(r"\\\\(?:\[[^\]]*\])?", match[2])]
        if rows and not rows[-1]:
            rows.pop()
        return Matrix(match[1] in ("v", "V"), tuple(tuple(c.strip() for c in row.split("&")) for row in rows))
    return _group(text) or Other(text)


def _number(text: str) -> Number | None:
    if match := _DECIMAL.fullmatch(text):
        point = match[2].find(".")
        return Number(
            Value(_signed(match[1], _decimal(match[2]))), places=len(match[2]) - point - 1 if point >= 0 else 0
        )
    head, unit, factor = _split_unit(text)
    percent = head.endswith("%")
    if percent:
        head = head[:-1].rstrip()
    value = _value_of(head)
    if value is None or (percent and unit):
        return None
    if factor != 1:
        value = Value(value.rational * factor, value.radicand, value.pi_power)
    places = 0
    if factor == 1 and (match := _DECIMAL.fullmatch(head)) and "." in match[2]:
        places = len(match[2]) - match[2].index(".") - 1
    return Number(value, unit, percent, places)


def _group(text: str) -> Group | None:
    opening = "\\{" if text.startswith("\\{") else text[:1]
    for closing in _GROUP_ENDS.get(opening, ()):
        if text.endswith(closing) and _closes(text):
            items = split(text[len(opening) : -len(closing)])
            if items is None or not all(items):
                return None
            if len(items) == 1 and opening != "\\{":
                return None
            return Group(opening.strip("\\") + closing.strip("\\"), items)
    if text.count("\\pm") == 1:
        return Group("", (text.replace("\\pm", "+").removeprefix("+").strip(), text.replace("\\pm", "-").strip()))
    if _THOUSANDS.fullmatch(text):
        return None
    items = split(_AND.sub(",", text))
    return Group("", items) if items is not None and len(items) > 1 and all(items) else None


_BRACKET: Final = re.compile(r"\\[{}]|\\.|[()\[\]{},;]", re.DOTALL)


def split(text: str) -> tuple[str, ...] | None:
    """The text cut at its outer commas; None where brackets do not match up or there are too many items."""
    depth, start = 0, 0
    items: list[str] = []
    for match in _BRACKET.finditer(text):
        token = match.group()
        if token in ("(", "[", "{", "\\{"):
            depth += 1
        elif token in (")", "]", "}", "\\}"):
            depth -= 1
            if depth < 0:
                return None
        elif token in (",", ";") and depth == 0:
            items.append(text[start : match.start()].strip())
            start = match.end()
    items.append(text[start:].strip())
    return tuple(items) if depth == 0 and len(items) <= _MAX_ITEMS else None


def _closes(text: str) -> bool:
    """Whether the first bracket of the text is closed by its last one."""
    depth = 0
    for match in _BRACKET.finditer(text):
        token = match.group()
        if token in ("(", "[", "{", "\\{"):
            depth += 1
        elif token in (")", "]", "}", "\\}"):
            depth -= 1
            if depth == 0:
                return match.end() == len(text)
    return False


# --- comparing ------------------------------------------------------------------------------------------------------

_NAME: Final = r"(?:[A-Za-z]+(?: [A-Za-z]+){0,3}|\\[a-zA-Z]+)(?:_(?:[A-Za-z0-9]|\{[A-Za-z0-9]+\}))?'*"
_LEFT_SIDE: Final = re.compile(
    rf"{_NAME}|{_NAME}\([^()=]*\)|\({_NAME}(?:, ?{_NAME})*\)|\\text ?\{{[^{{}}]*\}}|\|{_NAME}\|"
)
_EQUALS: Final = re.compile(r"(?<![\\<>!:])=")
_MEMBER: Final = re.compile(rf"({_NAME}) ?\\in(?![A-Za-z]) ?(.*)")


@dataclass(frozen=True)
class Statement:
    """A text without its left sides: ``x = 3`` has the name ``x`` and the body ``3``."""

    name: str | None
    body: str
    sides: int  # how many sides the equation had that are not its name
    consistent: bool = True  # whether no two sides are known to differ


@lru_cache(maxsize=16384)
def _statement(text: str, depth: int) -> Statement:
    if match := _MEMBER.fullmatch(text):
        return Statement(match[1], match[2].strip(), 1)
    items = split(_AND.sub(",", text))
    if "=" not in text or items is None or len(items) > 1:
        return Statement(None, text, 1)
    name: str | None = None
    sides = [side.strip() for side in _EQUALS.split(text)]
    if len(sides) > 1 and _LEFT_SIDE.fullmatch(sides[0]):
        name = sides.pop(0)
    elif len(sides) > 1 and re.fullmatch(r"[A-Za-z]", sides[-1]):
        name = sides.pop()  # "3 = x"
    consistent = all(settle(side, sides[-1], depth + 1) is not False for side in sides[:-1])
    return Statement(name, sides[-1], len(sides), consistent)


def without_left_sides(answer: str, truth: str, depth: int = 0) -> bool | tuple[str, str]:
    """The two texts less their ``x =`` and ``x \\in``; a verdict where the left sides decide alone."""
    if "=" not in answer and "=" not in truth and "\\in" not in answer and "\\in" not in truth:
        return answer, truth
    a, b = _statement(answer, depth), _statement(truth, depth)
    if not a.consistent:
        return False
    if a.name is not None and b.name is not None and a.name != b.name:
        # x = 3 is not y = 3; x = (y - 3)/2 may well be y = 2x + 3.
        letters = len(a.name) == len(b.name) == 1
        return False if letters and _number(a.body) and _number(b.body) else (answer, truth)
    if b.name is None and b.sides > 1:
        return answer, truth  # the truth is an equation, so the equation is the answer
    if b.name is not None and a.name is None and a.sides > 1:
        # y = 2x + 3 may be written 2x - y + 3 = 0; but for x = 3 the last side of "2 + 1 = 3" is the answer.
        return (a.body, b.body) if _number(b.body) else (answer, truth)
    return a.body, b.body


def settle(answer: str, truth: str, depth: int = 0) -> bool | None:
    """Whether two normalized texts say the same; None where this cannot tell."""
    if answer == truth:
        return True
    if depth > _MAX_DEPTH:
        return None
    pair = without_left_sides(answer, truth, depth)
    return pair if isinstance(pair, bool) else settle_bodies(*pair, depth)


def settle_bodies(answer: str, truth: str, depth: int = 0) -> bool | None:
    """``settle`` for two texts that have no left side to be taken off."""
    if not answer or not truth:
        return False
    if answer == truth:
        return True
    a, b = read(answer), read(truth)
    if isinstance(a, Number) and isinstance(b, Number):
        return same_number(a, b)
    if isinstance(a, Choice) and isinstance(b, Choice):
        if a.letter != b.letter or not (a.marked or b.marked):
            return False
        return not (a.rest and b.rest and settle(a.rest, b.rest, depth + 1) is False)
    if isinstance(a, Choice) and a.rest:
        return settle(a.rest, truth, depth + 1)
    if isinstance(b, Choice) and b.rest:
        return settle(answer, b.rest, depth + 1)
    if isinstance(a, Words) and isinstance(b, Words):
        return a.words == b.words
    if isinstance(a, Group) and isinstance(b, Group):
        return _settle_groups(a, b, depth)
    if isinstance(a, Matrix) and isinstance(b, Matrix):
        return _settle_matrices(a, b, depth)
    if isinstance(a, Group) and a.brackets == "{}" and len(a.items) == 1:
        return settle(a.items[0], truth, depth + 1)
    if isinstance(b, Group) and b.brackets == "{}" and len(b.items) == 1:
        return settle(answer, b.items[0], depth + 1)
    if isinstance(a, Other) or isinstance(b, Other):
        terms = _terms(answer)
        return True if terms is not None and terms == _terms(truth) else None
    return False


# What a split at plus and minus would cut in two, or whose reach after a plus is open.
_NO_SUM: Final = re.compile(
    r"[|<>=,;:&]|\\(?:sum|prod|int|lim|pm|mp|cup|cap|to|le|ge|ne|in|equiv|approx|mid|text|begin)(?![A-Za-z])|[\^_][+-]"
)
_SIGN: Final = re.compile(r"\\[{}]|[()\[\]{}+-]")


@lru_cache(maxsize=16384)
def _terms(text: str) -> tuple[str, ...] | None:
    """The sorted terms of a plain sum, ``x^2+3x-1``, each with its sign; None where the text is no such sum."""
    if _NO_SUM.search(text):
        return None
    terms: list[str] = []
    depth, start, sign = 0, 0, "+"
    for match in _SIGN.finditer(text):
        token = match.group()
        if token in "+-":
            if depth == 0:
                term = text[start : match.start()].strip()
                if not term and match.start() > 0:
                    return None  # two signs in a row, or an operator before this one
                if term:
                    terms.append(sign + term)
                sign, start = token, match.end()
        else:
            depth += 1 if token in ("(", "[", "{", "\\{") else -1
    last = text[start:].strip()
    if depth or not last or not terms:
        return None
    if any(term.endswith(("\\cdot", "\\times", "/", "*", "^", "_")) for term in terms):
        return None
    return tuple(sorted([*terms, sign + last]))


def _all(verdicts: list[bool | None]) -> bool | None:
    if False in verdicts:
        return False
    return None if None in verdicts else True


def _any(verdicts: list[bool | None]) -> bool | None:
    if True in verdicts:
        return True
    return None if None in verdicts else False


def _settle_groups(a: Group, b: Group, depth: int) -> bool | None:
    unordered = {"", "{}"}
    if a.brackets in unordered and b.brackets in unordered:
        return _settle_sets(a, b, depth)
    if a.brackets != b.brackets or len(a.items) != len(b.items):
        return False
    return _all([settle(x, y, depth + 1) for x, y in zip(a.items, b.items, strict=True)])


def _settle_sets(a: Group, b: Group, depth: int) -> bool | None:
    """Every item has its partner on the other side. Items that repeat count once in a set, each time in a list."""
    as_set = "{}" in (a.brackets, b.brackets)
    if not as_set and len(a.items) != len(b.items):
        return False
    table = [[settle(ours, theirs, depth + 1) for theirs in b.items] for ours in a.items]
    if as_set:
        columns: list[list[bool | None]] = [list(column) for column in zip(*table, strict=True)]
        return _all([_any(verdicts) for verdicts in table + columns])
    free = set(range(len(b.items)))
    unsure = False
    for verdicts in table:
        partner = next((i for i in sorted(free) if verdicts[i]), None)
        if partner is not None:
            free.remove(partner)
        elif any(verdicts[i] is None for i in free):
            unsure = True
        else:
            return False
    return None if unsure else True


def _settle_matrices(a: Matrix, b: Matrix, depth: int) -> bool | None:
    if a.determinant != b.determinant or [len(row) for row in a.rows] != [len(row) for row in b.rows]:
        return False
    cells = zip((c for row in a.rows for c in row), (c for row in b.rows for c in row), strict=True)
    return _all([settle(x, y, depth + 1) for x, y in cells])


def same_number(a: Number, b: Number) -> bool:
    """Whether two numbers say the same, units and percent included.

    >>> same_number(read("50%"), read("0.5")), same_number(read("5 cm"), read("5 m"))
    (True, False)
    """
    if a.unit and b.unit and a.unit != b.unit:
        in_radians = [_radians(x) for x in (a, b)]
        return "radian" in (a.unit, b.unit) and in_radians[0] is not None and in_radians[0] == in_radians[1]
    if _same_value(a, b):
        return True
    if a.percent != b.percent:
        share, plain = (a, b) if a.percent else (b, a)
        whole = Value(share.value.rational / 100, share.value.radicand, share.value.pi_power)
        return not plain.unit and _same_value(Number(whole), plain)
    # An angle: 30 degrees is pi/6.
    if "degree" in (a.unit, b.unit) and (a.value.pi_power or b.value.pi_power):
        return _radians(a) is not None and _radians(a) == _radians(b)
    return False


def without_units(answer: str, truth: str) -> bool | tuple[str, str]:
    """The two texts less the units at their ends; False where the units differ, or scale one of them."""
    ours, our_unit, our_factor = _split_unit(answer)
    theirs, their_unit, their_factor = _split_unit(truth)
    if our_factor != their_factor or (our_unit and their_unit and our_unit != their_unit):
        return False
    return ours, theirs


def variables_differ_in_case(answer: str, truth: str) -> bool:
    """Whether one text has ``R`` where the other has ``r``: two variables, and math-verify takes them for one."""
    ours, theirs = ({*re.sub(r"\\[A-Za-z]+", "", text)} for text in (answer, truth))
    return any(letter.isalpha() and letter.swapcase() in theirs - ours for letter in ours - theirs)


def _radians(number: Number) -> Value | None:
    if number.unit == "degree":
        return number.value.times(Value(Fraction(1, 180), 1, 1))
    return number.value if number.unit in (None, "radian") else None


_PLACES_OF_A_ROUNDED_VALUE: Final = 6


def _same_value(a: Number, b: Number) -> bool:
    if a.value == b.value:
        return True
    for decimal, exact in ((a, b), (b, a)):
        if decimal.places >= _PLACES_OF_A_ROUNDED_VALUE and not _terminates(exact.value):
            # Rounded: half a unit of the last place away at most. Cut: less than one, and towards zero.
            given, meant = decimal.value.approximately(), exact.value.approximately()
            unit = 10.0**-decimal.places
            allowed = unit if abs(given) < abs(meant) else unit / 2
            return abs(given - meant) <= allowed + 1e-15 * abs(meant)  # the slack is that of a float
    return False


def _terminates(value: Value) -> bool:
    """Whether a decimal can write the value exactly."""
    if value.radicand != 1 or value.pi_power:
        return False
    below = value.rational.denominator
    for prime in (2, 5):
        while below % prime == 0:
            below //= prime
    return below == 1
