"""What a text is, as far as its outer form tells: a number, words, a group, a set, an inequality, or something else."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from math import gcd
from typing import Final

from lapo_verl.verify.brackets import COMMAS, closes, outer, separators, split
from lapo_verl.verify.number import Number, read_number
from lapo_verl.verify.units import compound_measure


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
class Cases:
    """A function by cases: (value, condition) rows."""

    rows: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class SetOf:
    """Set-builder notation, or a family of values: what its elements are, under which conditions.

    ``\\{x\\in\\mathbb{R}:x>2\\}`` has the condition ``x>2`` alone: the real numbers go without saying.
    """

    element: str
    conditions: tuple[str, ...]
    family: bool = False  # written without braces: n\\pi, n\\in\\mathbb{Z}


@dataclass(frozen=True)
class Union:
    items: tuple[str, ...]


@dataclass(frozen=True)
class Chain:
    """Inequalities, turned so that they rise: ``x>2`` has the sides 2 and x. A side is empty in ``>5``."""

    signs: tuple[str, ...]
    sides: tuple[str, ...]

    @property
    def variable(self) -> str | None:
        """The one side that is a variable, empty where it is not named; None where there are more or none."""
        variables = [side for side in self.sides if not side or VARIABLE.fullmatch(side)]
        return variables[0] if len(variables) == 1 else None

    def interval(self) -> str | None:
        """The same in brackets, where one variable is between bounds."""
        if not {"<", "\\le"}.issuperset(self.signs) or len(self.sides) > 3:
            return None
        if self.variable is None:
            return None
        ends = ["(" if sign == "<" else "[" for sign in self.signs]
        match self.sides.index(self.variable), len(self.sides):
            case 1, 3:
                low, high = self.sides[0], self.sides[2]
            case 1, 2:
                low, high, ends = self.sides[0], "\\infty", [ends[0], "("]
            case 0, 2:
                low, high, ends = "-\\infty", self.sides[1], ["(", ends[0]]
            case _:
                return None
        return f"{ends[0]}{low},{high}{')' if ends[1] == '(' else ']'}"


@dataclass(frozen=True)
class Residue:
    """``x\\equiv5\\pmod{7}``; the name is None where there is only ``5\\pmod{7}``."""

    name: str | None
    value: str
    modulus: str


@dataclass(frozen=True)
class Clock:
    """A time of day. ``9:25`` may be a ratio as well; ``5:30``, which can be reduced, is taken for a time."""

    hour: int
    minute: int
    second: int
    half: str | None  # "a" or "p"

    @property
    def may_be_ratio(self) -> bool:
        return self.half is None and not self.second and self.minute > 0 and gcd(self.hour, self.minute) == 1


@dataclass(frozen=True)
class Other:
    text: str


Reading = Number | Choice | Words | Group | Matrix | Cases | SetOf | Union | Chain | Residue | Clock | Other

_CHOICE: Final = re.compile(r"(?:\\text ?\{ ?)?(\()?([A-Ja-j])([).:]*)\}?(?:(?:(?<=[).:])|(?<=[).:]\})) ?(.*))?")
# Another choice, or what makes the letter a part of a formula: (E)^2.
_NO_CHOICE: Final = re.compile(r"(?<![A-Za-z\\])[A-J](?![A-Za-z])|^(?:[\^_'!+*/=<>]|\\(?:cdot|times)(?![A-Za-z]))")
_ALL_TEXT: Final = re.compile(r"\\text ?\{([^{}]*)\}\.?")
_PLAIN_WORDS: Final = re.compile(
    r"[A-Za-z][a-z']*(?:-[A-Za-z][a-z]{2,})*(?: [A-Za-z][a-z']*(?:-[A-Za-z][a-z]+)*)+"
    r"|[A-Za-z][a-z]{3,}(?:-[A-Za-z][a-z]{2,})*"
)
_SHORT_WORDS: Final = frozenset(("yes", "no", "odd"))
_MATRIX: Final = re.compile(r"\\begin\{(p|b|v|B|V|small)?matrix\}(.*)\\end\{\1matrix\}", re.DOTALL)
AND: Final = re.compile(r",? ?(?:\\text ?\{ ?(?:,? ?(?:and|or)|,) ?\}|(?<![A-Za-z\\])(?:and|or)(?![A-Za-z])) ?")
_SPACES: Final = re.compile(r"[\s.,!'\N{RIGHT SINGLE QUOTATION MARK}-]+")
_GROUP_ENDS: Final = {"(": (")", "]"), "[": ("]", ")"), "\\{": ("\\}",)}
_THOUSANDS: Final = re.compile(r"[+-]?(?:\\dollar ?|€|£)?[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])[^,]*")
_SEMICOLONS: Final = separators(";")
_PLUS_MINUS: Final = re.compile(r"\\(?:pm|mp)(?![A-Za-z])")
_TEXT_LIST: Final = re.compile(r"[A-Za-z0-9]{1,4}(?:(?:, ?(?:and |or )?| and | or )[A-Za-z0-9]{1,4})+")
_HEXADECIMAL: Final = re.compile(r"(-?[0-9][0-9A-Fa-f]*)_\{?\(?16\)?\}?")
_CLOCK: Final = re.compile(
    r"(?:\\text ?\{ ?)?([01]?[0-9]|2[0-4])(?::([0-5][0-9])(?::([0-5][0-9]))?)? ?\}?"
    r"(?:(?:\\text ?\{ ?)?([ap])\.? ?m\.?\}?)?",
    re.IGNORECASE,
)
_HALF_OF_DAY: Final = re.compile(r"[ap]\.? ?m\.?\}?$", re.IGNORECASE)
_ARRAY_IN_BRACKETS: Final = re.compile(
    r"([\[(|])\\begin\{array\}(?:\{[lcr| ]*\})?(.*)\\end\{array\}([\])|])", re.DOTALL
)
_ENVIRONMENT: Final = re.compile(
    r"\\begin\{(d?cases|aligned|align\*?|gathered|split|array)\}(?:\{[lcr| ]*\})?(.*)\\end\{\1\}",
    re.DOTALL,
)
_ROW_END: Final = separators(r"\\\\(?:\[[^\]]*\])?")
_CELL_END: Final = separators("&")
_IF: Final = re.compile(r"(\\text\{ ?)?(?:if|for|when|where)(?![A-Za-z]) ?\}?")
_MEMBER: Final = re.compile(r"([A-Za-z])\\in(?![A-Za-z]) ?(.+)")
_OF_A_NUMBER_SET: Final = re.compile(r"[A-Za-z]\\in(?![A-Za-z]) ?\\mathbb\{[NZQRC]\}.*")
_BAR: Final = separators(r"\\mid(?![A-Za-z])|[:|]")
_BARE_SET: Final = re.compile(
    r"[A-Za-z](?:\\in(?![A-Za-z])[^:|]*?)?(?:\\mid(?![A-Za-z])|[:|])(?=.*(?:[<>]|\\(?:le|ge|ne|in)(?![A-Za-z])))"
)
_ALSO: Final = re.compile(r",? ?(?:\\text ?\{ ?and ?\}|\\(?:land|wedge)(?![A-Za-z])|(?<![A-Za-z\\])and(?![A-Za-z])) ?")
_CUP: Final = separators(r"\\cup(?![A-Za-z])")
_RELATION: Final = separators(r"[<>]|\\(?:le|ge|ne)(?![A-Za-z])")
_TURNED: Final = {">": "<", "\\ge": "\\le"}
VARIABLE: Final = re.compile(r"[A-Za-df-z]|\\(?:alpha|beta|gamma|theta|lambda|mu|phi|omega)")
_RESIDUE: Final = re.compile(r"(?:(.+?) ?\\equiv ?)?(.+?) ?\\pmod\{([^{}]+)\}")


@lru_cache(maxsize=16384)
def read(text: str) -> Reading:
    """What the (normalized) text is, as far as its outer form tells."""
    if (":" in text or _HALF_OF_DAY.search(text)) and (clock := _clock(text)):
        return clock
    if number := read_number(text):
        return number
    if match := _CHOICE.fullmatch(text):
        letter, rest = match[2].upper(), (match[4] or "").strip()
        marked = match[1] is not None or bool(match[3]) or text.startswith("\\text")
        if (match[2].isupper() or (marked and match[3] != ":")) and not _NO_CHOICE.search(rest):
            return Choice(letter, rest, marked)
    if match := _ALL_TEXT.fullmatch(text):
        words = match[1].strip()
        if re.match(r"[+-]?[0-9.]", words) and (number := read_number(words)):
            return number
        if _TEXT_LIST.fullmatch(words) and (group := _group(words)):
            return group
        return Words(_SPACES.sub(" ", words).strip().casefold())
    if (_PLAIN_WORDS.fullmatch(text) or text.lower() in _SHORT_WORDS) and not AND.search(text):
        return Words(_SPACES.sub(" ", text).strip().casefold())
    if match := _HEXADECIMAL.fullmatch(text):
        return Words(f"{match[1].casefold()} base 16")
    if compound := compound_measure(text):
        return Words(compound)
    return _structure(text) or Other(text)


def _structure(text: str) -> Reading | None:
    if "\\begin" in text and (block := _block(text)):
        return block
    if (text.startswith("\\{") and text.endswith("\\}") and closes(text)) and (found := _set_of(text[2:-2])):
        return found
    if _BARE_SET.match(text) and (found := _set_of(text)):
        return found
    if text.count("\\pmod") == 1 and (match := _RESIDUE.fullmatch(text)):
        return Residue(match[1], match[2], match[3])
    if "\\cup" in text and (items := split(text, _CUP)) and len(items) > 1 and all(items):
        return Union(items)
    group = _group(text)
    if group and not group.brackets and all(_OF_A_NUMBER_SET.fullmatch(item) for item in group.items[1:]):
        return SetOf(group.items[0], group.items[1:], family=True)
    return group or _chain(text)


def _clock(text: str) -> Clock | None:
    match = _CLOCK.fullmatch(text)
    if match is None or not (match[2] or match[4]):
        return None
    return Clock(int(match[1]), int(match[2] or 0), int(match[3] or 0), match[4] and match[4].lower())


def _block(text: str) -> Reading | None:
    """The text between \\begin and \\end: a matrix, cases, or equations one below the other."""
    if match := _MATRIX.fullmatch(text):
        return Matrix(match[1] in ("v", "V"), _table(match[2]))
    if match := _ARRAY_IN_BRACKETS.fullmatch(text):
        return Matrix(match[1] == "|", _table(match[2]))
    match = _ENVIRONMENT.fullmatch(text)
    if match is None:
        return None
    table = _table(match[2])
    columns = {len(row) for row in table}
    if match[1].startswith(("align", "gather", "split")) or columns == {1}:
        return Group("", tuple("".join(row).rstrip(" ,.;") for row in table))
    if match[1].endswith("cases"):
        return Cases(tuple((row[0].rstrip(" ,;"), _condition(row[1])) for row in table)) if columns == {2} else None
    return Matrix(False, table)


def _table(body: str) -> tuple[tuple[str, ...], ...]:
    rows = list(split(body, _ROW_END) or ())
    if rows and not rows[-1]:
        rows.pop()
    return tuple(split(row, _CELL_END) or (row,) for row in rows)


def _condition(cell: str) -> str:
    """A condition less its "if": ``\\text{if n is odd}`` is ``\\text{n is odd}``."""
    cell = cell.rstrip(" ,.;")
    match = _IF.match(cell)
    if match is None:
        return cell
    rest = cell[match.end() :]
    return "\\text{" + rest if match[1] and not match.group().endswith("}") else rest


def _set_of(inner: str) -> SetOf | None:
    found = outer(inner, _BAR)
    if not found:
        return None
    # Bars in pairs are absolute values.
    bars_pair = sum(match.group() == "|" for match in found) % 2 == 0
    bar = next((match for match in found if match.group() != "|" or not bars_pair), None)
    if bar is None:
        return None
    element = inner[: bar.start()].strip()
    conditions = split(_ALSO.sub(",", inner[bar.end() :].strip()))
    if not re.search("[A-Za-z]", element) or not conditions or not all(conditions):
        return None
    if match := _MEMBER.fullmatch(element):
        element, conditions = match[1], (f"{match[1]}\\in{match[2]}", *conditions)
    return SetOf(element, tuple(c for c in conditions if c != f"{element}\\in\\mathbb{{R}}"))


def _chain(text: str) -> Chain | None:
    found = outer(text, _RELATION)
    if not found or len(found) > 4 or "=" in text:
        return None
    signs = [match.group() for match in found]
    sides = split(text, _RELATION) or ()
    if not all(sides[1:]) or (not sides[0] and len(signs) > 1):
        return None
    if all(sign in _TURNED for sign in signs):
        return Chain(tuple(_TURNED[sign] for sign in reversed(signs)), tuple(reversed(sides)))
    return Chain(tuple(signs), sides)


def _group(text: str) -> Group | None:
    opening = "\\{" if text.startswith("\\{") else text[:1]
    for closing in _GROUP_ENDS.get(opening, ()):
        if text.endswith(closing) and closes(text):
            items = split(text[len(opening) : -len(closing)])
            if items is None or not all(items):
                return None
            if len(items) == 1 and opening != "\\{":
                return None
            return Group(opening.strip("\\") + closing.strip("\\"), items)
    if len(signs := _PLUS_MINUS.findall(text)) == 1:
        plus, minus = text.replace(signs[0], "+").removeprefix("+").strip(), text.replace(signs[0], "-").strip()
        return Group("", (plus, minus))
    if _THOUSANDS.fullmatch(text):
        return None
    plain = AND.sub(",", text)
    items = split(plain, _SEMICOLONS if ";" in plain and "," in plain else COMMAS)  # p=1,q=2;p=3,q=4
    return Group("", items) if items is not None and len(items) > 1 and all(items) else None
