"""The comparison in this process: it answers True, False, or None for "cannot say".

A pair is compared by what it is (``reading``): groups (tuples, intervals, sets, lists, matrices, cases) are taken
apart, choices, words, times, residues and inequalities have their own rules, and everything that is an expression is
compared by its values (``algebra``). It is no LaTeX parser: what matches none of these forms as a whole stays text.

What counts as the same:

- Values are compared exactly: ``0.5`` is ``1/2``, ``0.33`` is not ``1/3``. A decimal of six or more places may be given
  for a value that no decimal can write (``0.333333`` for ``1/3``), rounded or cut at its last place.
- ``50%`` is ``0.5``, and it is ``50``: the sign is a unit, and the question may have named it. ``0.5`` is not ``50``.
- A unit may be left out. Two known units must be the same one; nothing is converted, but for degrees and multiples
  of pi.
- Brackets mean what they say: ``(1,2)`` is not ``[1,2]`` and not ``1,2``. The order of a set and of a bare list is
  free. A bare ``1,234`` is one number; within brackets a comma always separates.
- ``x>2``, ``(2,\\infty)`` and ``\\{x:x>2\\}`` are the same; so are ``x<-3 or x>2`` and the union of two intervals.
  Cases may come in any order, and "otherwise" is the case that is left. ``x=1, y=2`` may be written ``(1,2)``.
- ``5\\pmod7`` may be given as ``5``; ``5:30 p.m.`` as ``5:30``.
- ``x=3`` is ``3`` and ``3`` is ``x=3``, but ``y=3`` is not ``x=3``. In a chain ``a=b=c`` the last side is the answer,
  and no side that can be read as a value may contradict it. An equation that is to be solved is no value: it is the
  same as itself times a constant.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import inf
from typing import Final

from lapo_verl.verify.algebra import Real, letters, ratio, same_function
from lapo_verl.verify.brackets import separators, split
from lapo_verl.verify.expression import parse
from lapo_verl.verify.normalize import without_text_marks
from lapo_verl.verify.number import Number, read_number, same_number
from lapo_verl.verify.parse import (
    AND,
    VARIABLE,
    Cases,
    Chain,
    Choice,
    Clock,
    Group,
    Matrix,
    Other,
    Reading,
    Residue,
    SetOf,
    Union,
    Words,
    read,
)
from lapo_verl.verify.units import split_unit

MAX_DEPTH: Final = 8
_NAME: Final = r"(?:[A-Za-z]+(?: [A-Za-z]+){0,3}|\\[a-zA-Z]+)(?:_(?:[A-Za-z0-9]|\{[A-Za-z0-9]+\}))?'*"
_LEFT_SIDE: Final = re.compile(
    rf"{_NAME}|{_NAME}\([^()=]*\)|\({_NAME}(?:, ?{_NAME})*\)|\\text ?\{{[^{{}}]*\}}|\|{_NAME}\||m?\\angle ?[A-Z]{{1,3}}"
)
_EQUALS: Final = separators(r"(?<![\\<>!:])=")
_APPROX: Final = separators(r"\\approx(?![A-Za-z])")
_LETTER: Final = re.compile(r"(?<![\\A-Za-z])[A-Za-z]")
_COMMAND: Final = re.compile(r"\\[A-Za-z]+")
_MEMBER: Final = re.compile(rf"({_NAME}) ?\\in(?![A-Za-z]) ?(.*)")


@dataclass(frozen=True)
class Statement:
    """A text less its left side and what it is rounded to: ``x = \\pi \\approx 3`` has the name ``x``, the side pi."""

    name: str | None
    sides: tuple[str, ...]
    rounded: tuple[str, ...] = ()

    @property
    def body(self) -> str:
        return self.sides[-1]

    @property
    def is_value(self) -> bool:
        """Whether the last side is a value, and not one side of an equation that is itself the answer."""
        return len(self.sides) == 1 or not any(map(_has_unknown, self.sides))

    def consistent(self, depth: int) -> bool:
        """Whether no two sides are known to differ. Those in unknowns may: an equation holds for some values only."""
        known = [side for side in self.sides if not _has_unknown(side)]
        if self.body in known and any(settle(side, self.body, depth + 1) is False for side in known):
            return False
        return all(_about(self.body, rounded) for rounded in self.rounded)

    def is_to_be_solved(self, depth: int) -> bool:
        """Whether it is an equation for its unknowns, ``x^2-5x+6=0``, and its last side no value of the first."""
        if self.is_value or same_function(self.sides[0], self.body):
            return False
        if settle(self.body, "0", depth + 1):
            return True
        names = re.findall("[A-Za-z]", _COMMAND.sub("", "".join(self.sides)))
        return len(set(names)) == 1 and (len(names) > 1 or bool(ratio(self.sides[0], names[0])))


def _has_unknown(side: str) -> bool:
    if node := parse(side):
        return bool(letters(node))
    return not read_number(side) and _LETTER.search(side) is not None


def _about(exact: str, rounded: str) -> bool:
    """Whether the second may be written after "about": half a unit of its last place or one percent off at most."""
    x, y = _real(exact), read_number(rounded)
    if x is None or y is None:
        return True
    return abs(Fraction(x) - Fraction(y.value)) <= max(Fraction(1, 2 * 10**y.places), abs(Fraction(x)) / 100)


@lru_cache(maxsize=16384)
def _statement(text: str) -> Statement:
    if len(split(AND.sub(",", text)) or ()) > 1:
        return Statement(None, (text,))
    if match := _MEMBER.fullmatch(text):
        return Statement(match[1], (match[2].strip(),))
    exact, *rounded = split(text, _APPROX) or (text,)
    name: str | None = None
    sides = list(split(exact, _EQUALS) or (exact,))
    if len(sides) == 1 and rounded and _LEFT_SIDE.fullmatch(exact) and _has_unknown(exact):
        return Statement(exact, tuple(rounded))  # "x \\approx 3"
    if len(sides) > 1 and _LEFT_SIDE.fullmatch(sides[0]):
        name = sides.pop(0)
    elif len(sides) > 1 and re.fullmatch(r"[A-Za-z]", sides[-1]):
        name = sides.pop()  # "3 = x"
    return Statement(name, tuple(sides), tuple(rounded))


def without_left_sides(answer: str, truth: str, depth: int = 0) -> bool | tuple[str, str]:
    """The two texts less their ``x =`` and ``x \\in``; a verdict where the left sides decide alone."""
    if not any(mark in text for mark in ("=", "\\in", "\\approx") for text in (answer, truth)):
        return answer, truth
    a, b = _statement(answer), _statement(truth)
    if not a.consistent(depth):
        return False
    if a.name and b.name and a.name != b.name:
        # x = 3 is not y = 3; x = (y - 3)/2 may well be y = 2x + 3.
        return answer, truth
    if not b.is_value:
        return answer, truth  # the truth is an equation, so the equation is the answer
    if a.name or a.is_value or b.name is None:
        # For x = 3 the last side of "2 + 1 = 3" is the answer; but x = 3 may be written 2x = 6.
        return False if not a.name and a.is_to_be_solved(depth) else (a.body, b.body)
    return answer, truth


def settle(answer: str, truth: str, depth: int = 0) -> bool | None:
    """Whether two normalized texts say the same; None where this cannot tell."""
    if answer == truth:
        return True
    if depth > MAX_DEPTH:
        return None
    pair = without_left_sides(answer, truth, depth)
    return pair if isinstance(pair, bool) else settle_bodies(*pair, depth)


@lru_cache(maxsize=16384)
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
    if isinstance(a, Words) and isinstance(b, Words):
        return a.words == b.words
    if isinstance(a, Group) and isinstance(b, Group):
        return _settle_groups(a, b, depth)
    if isinstance(a, Matrix) and isinstance(b, Matrix):
        return _settle_matrices(a, b, depth)
    if isinstance(a, Cases) and isinstance(b, Cases):
        return _settle_pairs(_cells(a, b, depth), depth)
    if isinstance(a, SetOf) and isinstance(b, SetOf):
        return _settle_pairs(_descriptions(a, b, depth), depth)
    if isinstance(a, Chain) and isinstance(b, Chain):
        return _settle_chains(a, b, depth)
    if isinstance(a, Residue) and isinstance(b, Residue):
        return _settle_residues(a, b, depth)
    if isinstance(a, Clock) and isinstance(b, Clock):
        return _same_time(a, b)
    if (inner := _inner(a, b)) is not None:
        return settle(inner, truth, depth + 1)
    if (inner := _inner(b, a)) is not None:
        return settle(answer, inner, depth + 1)
    if _prose(answer) == _prose(truth):
        return True
    if isinstance(a, _SET_LIKE) and isinstance(b, _SET_LIKE):
        return _settle_pieces(_pieces(a, answer), _pieces(b, truth), depth)
    sides = [split(text, _EQUALS) or () for text in (answer, truth)]
    if len(sides[0]) > 1 or len(sides[1]) > 1:
        return _settle_equations(sides[0], sides[1], depth)
    if not (isinstance(a, Other) or isinstance(b, Other)) or (isinstance(a, Number) and truth in _INFINITE):
        return False
    bare = without_units(answer, truth)
    if isinstance(bare, bool):
        return bare
    return same_function(*bare)


def _settle_equations(ours: tuple[str, ...], theirs: tuple[str, ...], depth: int) -> bool | None:
    """Side by side, or one side less the other, which may be multiplied by a constant."""
    if len(ours) != len(theirs):
        return False
    if any(all(settle(x, y, depth + 1) for x, y in zip(sides, theirs, strict=True)) for sides in (ours, ours[::-1])):
        return True
    multiple = ratio(_difference(ours), _difference(theirs)) if len(ours) == 2 else 0
    return None if multiple is None else multiple != 0


def _difference(sides: Sequence[str]) -> str:
    return f"({sides[0]})-({sides[1]})"


Pairs = tuple[tuple[str, str], ...]
_INFINITE: Final[dict[str, float]] = {"\\infty": inf, "-\\infty": -inf}
_SET_LIKE: Final = (Group, Union, Chain, SetOf)
_OTHERWISE: Final = ("otherwise", "else", "\\text{otherwise}", "\\text{else}")


def _inner(one: Reading, other: Reading) -> str | None:
    """What one reading says when the other is of a different kind: ``(B) 12`` is 12, ``{3}`` is 3."""
    if isinstance(one, Choice) and one.rest:
        return one.rest
    if isinstance(one, Group) and one.brackets == "{}" and len(one.items) == 1 and not isinstance(other, SetOf):
        return one.items[0]
    if isinstance(one, SetOf) and one.family:
        return one.element
    if isinstance(one, SetOf) and len(one.conditions) == 1 and re.fullmatch("[A-Za-z]", one.element):
        return one.conditions[0] if _has_letter(one.conditions[0], one.element) else None
    if isinstance(one, Clock) and isinstance(other, Number):  # 6 for 6 p.m. leaves out the unit; 9:25 may be 9/25
        whole = str(one.hour) if one.half and not one.minute and not one.second else ""
        return f"{one.hour}/{one.minute}" if one.may_be_ratio else whole
    if isinstance(one, Residue) and isinstance(other, Number) and not other.unit and not other.percent:
        value, modulus = _rational(one.value), _rational(one.modulus)
        if value is not None and modulus is not None and 0 < modulus < 10**12 and value != other.value:
            return str(value % modulus)  # 17 mod 5 is 2
        return one.value
    return None


def _settle_pairs(pairs: Pairs | None, depth: int) -> bool | None:
    return False if pairs is None else _all([settle(x, y, depth + 1) for x, y in pairs])


def _partners(ours: Sequence[str], theirs: Sequence[str], depth: int) -> list[int]:
    """For each of theirs the index of the one of ours that says the same; what has no such partner goes by order."""
    free = list(range(len(ours)))
    partners: list[int | None] = []
    for text in theirs:
        same = next((i for i in free if settle(ours[i], text, depth + 1)), None)
        if same is not None:
            free.remove(same)
        partners.append(same)
    return [free.pop(0) if partner is None else partner for partner in partners]


def _cells(a: Cases, b: Cases, depth: int) -> Pairs | None:
    """Values and conditions, pair by pair; None where there are more cases on one side. "Otherwise" is what is left."""
    if len(a.rows) != len(b.rows):
        return None
    order = _partners([condition for _, condition in a.rows], [condition for _, condition in b.rows], depth)
    pairs: list[tuple[str, str]] = []
    for ours, (value, condition) in zip((a.rows[i] for i in order), b.rows, strict=True):
        pairs.append((ours[0], value))
        if (ours[1] in _OTHERWISE) == (condition in _OTHERWISE):
            pairs.append((ours[1], condition))
    return tuple(pairs)


def _descriptions(a: SetOf, b: SetOf, depth: int) -> Pairs | None:
    """Elements and conditions, pair by pair, with one name for the variable; None where the numbers differ."""
    if len(a.conditions) != len(b.conditions):
        return None
    ours, theirs = _bound_variable(a), _bound_variable(b)
    if ours and theirs and ours != theirs:
        texts = (a.element, *a.conditions)
        if any(_has_letter(text, theirs) for text in texts):
            return None
        texts = tuple(re.sub(rf"(?<![A-Za-z\\]){ours}(?![A-Za-z])", theirs, text) for text in texts)
        a = SetOf(texts[0], texts[1:])
    order = _partners(a.conditions, b.conditions, depth)
    pairs = zip((a.conditions[i] for i in order), b.conditions, strict=True)
    return ((a.element, b.element), *pairs)


def _bound_variable(described: SetOf) -> str | None:
    if re.fullmatch("[A-Za-z]", described.element):
        return described.element
    return next((match[1] for c in described.conditions if (match := re.match(r"([A-Za-z])\\in(?![A-Za-z])", c))), None)


def _has_letter(text: str, letter: str) -> bool:
    return re.search(rf"(?<![A-Za-z\\]){letter}(?![A-Za-z])", text) is not None


def _settle_chains(a: Chain, b: Chain, depth: int) -> bool | None:
    unequal = a.signs == ("\\ne",)
    if a.signs == b.signs:
        for sides in (b.sides, b.sides[::-1]) if unequal else (b.sides,):
            if all(_same_side(x, y, depth) for x, y in zip(a.sides, sides, strict=True)):
                return True
    if a.signs == b.signs and len(a.signs) == 1 and all((*a.sides, *b.sides)):
        multiple = ratio(_difference(a.sides), _difference(b.sides))
        if multiple == 1 or (multiple and unequal):
            return True
        if multiple is not None and len({*_LETTER.findall("".join((*a.sides, *b.sides)))}) > 1:
            return False  # nothing that could be solved for its one unknown
    # Where the variable is alone on both sides nothing is left to be solved.
    ours, theirs = a.interval(), b.interval()
    if ours is None or theirs is None:
        return None
    return len({a.variable, b.variable} - {""}) <= 1 and settle(ours, theirs, depth + 1)


def _same_side(x: str, y: str, depth: int) -> bool:
    if not x or not y:  # of >5, which is x>5
        return x == y or VARIABLE.fullmatch(x or y) is not None
    return settle(x, y, depth + 1) is True


def _pieces(reading: Reading, text: str) -> tuple[str, ...] | None:
    """The intervals whose union the text is, as far as it says so."""
    if isinstance(reading, Union):
        return reading.items
    if isinstance(reading, Chain) and (interval := reading.interval()):
        return (interval,)
    if isinstance(reading, Group) and reading.brackets not in ("", "{}"):
        return (text,) if len(reading.items) == 2 else None
    if isinstance(reading, Group) and not reading.brackets:
        intervals = [chain.interval() for item in reading.items if isinstance(chain := read(item), Chain)]
        return tuple(i for i in intervals if i) if len([*filter(None, intervals)]) == len(reading.items) else None
    return None


def _settle_pieces(ours: tuple[str, ...] | None, theirs: tuple[str, ...] | None, depth: int) -> bool | None:
    if ours is None or theirs is None:
        return None
    verdict = _settle_sets(Group("", ours), Group("", theirs), depth)
    a, b = _merged(ours), _merged(theirs)
    return verdict or (None if a is None or b is None else a == b)


def _merged(intervals: tuple[str, ...]) -> list[tuple[Real, int, Real, int]] | None:
    """(low, 1 where it is left out, high, -1 where it is left out) of each piece of the union; None for letters."""
    pieces: list[tuple[Real, int, Real, int]] = []
    for interval in intervals:
        group = read(interval)
        if not isinstance(group, Group):
            return None
        ends = [_INFINITE[item] if item in _INFINITE else _real(item) for item in group.items]
        if None in ends or (group.brackets != "{}" and len(ends) != 2):
            return None
        values = [end for end in ends if end is not None]
        if group.brackets == "{}":
            pieces += [(value, 0, value, 0) for value in values]
        else:
            pieces.append((values[0], int(group.brackets[0] == "("), values[1], -int(group.brackets[1] == ")")))
    merged: list[tuple[Real, int, Real, int]] = []
    for low, low_out, high, high_out in sorted(pieces):
        if merged and (low, low_out) <= (merged[-1][2], merged[-1][3] + 1):
            high, high_out = max((high, high_out), merged[-1][2:])
            low, low_out = merged.pop()[:2]
        merged.append((low, low_out, high, high_out))
    return merged


def _real(text: str) -> Real | None:
    number = read_number(text)
    return number.value if number else None


def _rational(text: str) -> Fraction | None:
    value = _real(text)
    return value if isinstance(value, Fraction) else None


def _settle_residues(a: Residue, b: Residue, depth: int) -> bool | None:
    if a.name and b.name and not settle(a.name, b.name, depth + 1):
        return False
    x, y, modulus = map(_rational, (a.value, b.value, a.modulus))
    if x is not None and y is not None and modulus:
        return (x - y) % modulus == 0 and settle(a.modulus, b.modulus, depth + 1)
    return _settle_pairs(((a.value, b.value), (a.modulus, b.modulus)), depth)


def _same_time(a: Clock, b: Clock) -> bool:
    if (a.minute, a.second) != (b.minute, b.second):
        return False
    if all(x.half or x.hour > 12 for x in (a, b)):
        ours, theirs = (x.hour % 12 + 12 * (x.half == "p") if x.half else x.hour for x in (a, b))
        return ours == theirs
    return a.hour == b.hour


_WORD: Final = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{4,}")
_END_OF_WORD: Final = re.compile(r"[,.;!?]+(?= |$)|[\"`]")


@lru_cache(maxsize=16384)
def _prose(text: str) -> str:
    """The text without the marks of text mode; where it holds words, they are compared letter by letter."""
    plain = without_text_marks(text)
    if "\\text" in text or _WORD.search(text):
        plain = _WORD.sub(lambda word: word.group().lower(), _END_OF_WORD.sub("", plain))
    return plain


def _all(verdicts: list[bool | None]) -> bool | None:
    if False in verdicts:
        return False
    return None if None in verdicts else True


def _settle_groups(a: Group, b: Group, depth: int) -> bool | None:
    for one, other in ((a, b), (b, a)):
        # x=1, y=2 may be written (1,2) and 1,2: by the order of the names.
        if not one.brackets and other.brackets in ("", "()") and len(one.items) == len(other.items):
            ours, theirs = ([_statement(item) for item in group.items] for group in (one, other))
            letters = {statement.name[0] for statement in ours if statement.name}
            if all(x.name and not y.name for x, y in zip(ours, theirs, strict=True)) and len(letters) > 1:
                return _all([settle(x.body, y.body, depth + 1) for x, y in zip(ours, theirs, strict=True)])
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
        columns = [list(column) for column in zip(*table, strict=True)]
        return _all([True in verdicts or (None if None in verdicts else False) for verdicts in table + columns])
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


def without_units(answer: str, truth: str) -> bool | tuple[str, str]:
    """The two texts less the units at their ends; False where the units differ, or scale one of them."""
    ours, our_unit, our_factor = split_unit(answer)
    theirs, their_unit, their_factor = split_unit(truth)
    if our_factor != their_factor or (our_unit and their_unit and our_unit != their_unit):
        return False
    return ours, theirs
