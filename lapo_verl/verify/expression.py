"""Read an expression: numbers, letters, signs, powers, roots and functions, in LaTeX or as a keyboard has them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache
from typing import Any, Final

Node = tuple[Any, ...]  # (operation, operand, ...); ("number", Fraction) and ("name", text) at the ends

_MAX_CHARS: Final = 300
_MAX_DEPTH: Final = 20


class _Unreadable(Exception):
    """The text is no expression of the kind that is read here."""


def number(value: int | Fraction) -> Node:
    return ("number", Fraction(value))


def names(node: Node) -> Iterator[str]:
    """The letters of an expression, those that are constants too."""
    if node[0] == "name":
        yield node[1]
    for part in node[1:]:
        if isinstance(part, tuple):
            yield from names(part)


_CIRCULAR: Final = ("sin", "cos", "tan", "cot", "sec", "csc")
_FUNCTIONS: Final = {
    **{name: name for name in (*_CIRCULAR, *(f"{name}h" for name in _CIRCULAR), "ln", "exp")},
    **{f"arc{name}": f"a{name}" for name in _CIRCULAR},
    "lg": "log",
    "log": "log",
}
_OF_LISTS: Final = ("gcd", "lcm", "max", "min")
_NO_PRODUCT: Final = re.compile(
    "abs|all|and|any|arg|cis|deg|det|dim|for|inf|ker|lim|mod|nan|nor|not|odd|sgn|sup|the|yes|[A-Za-z]{4,}"
)
_GREEK: Final = re.compile(
    r"\\(?:alpha|beta|[gG]amma|[dD]elta|(?:var)?epsilon|zeta|eta|[tT]heta|iota|kappa|[lL]ambda|mu|nu|[xX]i|[pP]i|rho"
    r"|[sS]igma|tau|(?:var)?phi|Phi|chi|[pP]si|[oO]mega|ell|hbar)"
)
_SUBSCRIPT: Final = r"(?:_(?:[A-Za-z0-9](?![0-9])|\{[A-Za-z0-9]+\}))?"
_TOKEN: Final = re.compile(
    rf"(?P<number>[0-9]+(?:\.[0-9]+)?|\.[0-9]+)|(?P<word>\\text ?\{{ ?[a-z]+ ?\}}|\\?[A-Za-z]+)(?P<under>{_SUBSCRIPT})"
    r"|(?P<mark>[-+*/^(){}\[\]|!,_:])| +"
)
# f(x), which is no product, and dy/dx, which is no quotient.
_NO_ARITHMETIC: Final = re.compile(r"(?<![A-Za-z\\])[f-hF-HPQ]\(|\\frac\{d[A-Za-z]?\}\{d[A-Za-z]\}")
_CLOSING: Final = {"(": ")", "{": "}", "[": "]", "|": "|", "\\lfloor": "\\rfloor", "\\lceil": "\\rceil"}
_AROUND: Final = {"|": "abs", "\\lfloor": "floor", "\\lceil": "ceil"}


@lru_cache(maxsize=16384)
def parse(text: str) -> Node | None:
    """The expression that the whole (normalized) text writes, or None."""
    if len(text) > _MAX_CHARS or _NO_ARITHMETIC.search(text):
        return None
    try:
        return _Parser(text).whole()
    except _Unreadable:
        return None


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    """(kind, token): number, name, or the token itself for what has a meaning of its own."""
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise _Unreadable
        position = match.end()
        if match["number"]:
            yield "number", match["number"]
        elif match["mark"]:
            yield match["mark"], match["mark"]
        elif match["word"]:
            word = match["word"].removeprefix("\\text").strip(" {}")
            bare = word.removeprefix("\\")
            if bare in _FUNCTIONS or bare in _OF_LISTS or bare == "sqrt":
                yield bare, bare
                position = match.start("under")
            elif word != bare:
                yield ("name", match["word"] + match["under"]) if _GREEK.fullmatch(word) else (word, word)
            elif _NO_PRODUCT.fullmatch(word) or match["word"] != word:
                raise _Unreadable
            else:
                yield from (("name", letter) for letter in word[:-1])
                yield "name", word[-1] + match["under"]


class _Parser:
    """Tokens, read from left to right; what may be meant in two ways (1/2x, x2, 2\\frac12) is not read."""

    def __init__(self, text: str) -> None:
        self.tokens = [*_tokens(text), ("end", "")]
        self.at = 0
        self.depth = 0
        self.bars = 0

    def whole(self) -> Node:
        result = self._ratio()
        self._expect("end")
        return result

    @property
    def kind(self) -> str:
        return self.tokens[self.at][0]

    def _take(self) -> str:
        self.at += 1
        return self.tokens[self.at - 1][1]

    def _skip(self, *kinds: str) -> bool:
        skipped = self.kind in kinds
        self.at += skipped
        return skipped

    def _expect(self, kind: str) -> None:
        if not self._skip(kind):
            raise _Unreadable

    def _ratio(self) -> Node:
        result = self._sum()
        return ("over", result, self._sum()) if self._skip(":") else result

    def _sum(self) -> Node:
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise _Unreadable
        sign = self._take() if self.kind in ("+", "-") else "+"
        result = self._product()
        if sign == "-":
            result = ("minus", number(0), result)
        while self.kind in ("+", "-"):
            result = ("plus" if self._take() == "+" else "minus", result, self._product())
        self.depth -= 1
        return result

    def _product(self) -> Node:
        result = self._factor()
        while True:
            if self._skip("*", "\\cdot", "\\times"):
                result = ("times", result, self._factor())
            elif self._skip("/", "\\div"):
                result = ("over", result, self._factor())
                if self._starts_factor():
                    raise _Unreadable
            elif self._starts_factor():
                result = ("times", result, self._next_factor())
            else:
                return result

    def _next_factor(self) -> Node:
        """A factor with no sign before it: no number, unless a power comes before, and no fraction after a number."""
        before = self.tokens[self.at - 1][0]
        power = self.tokens[self.at - 2][0] == "^" or before == "}"
        if (self.kind == "number" and not power) or (self.kind == "\\frac" and before == "number" and not power):
            raise _Unreadable
        return self._factor()

    def _starts_factor(self) -> bool:
        if self.kind == "|":
            return not self.bars
        return self.kind in ("number", "name", "\\frac", "\\binom", "sqrt", *_CLOSING, *_FUNCTIONS, *_OF_LISTS)

    def _factor(self) -> Node:
        result = self._base()
        while self.kind in ("!", "\\degree"):
            result = ("factorial" if self._take() == "!" else "degree", result)
            if self.kind == "!":
                raise _Unreadable
        if self._skip("^"):
            result = ("power", result, self._exponent())
            if self.kind in ("^", "!"):
                raise _Unreadable
        return result

    def _base(self) -> Node:
        kind = self.kind
        if kind in _CLOSING:
            return self._group(kind)
        if kind in ("number", "name"):
            return self._atom()
        self.at += 1
        if kind in ("\\frac", "\\binom"):
            return ("over" if kind == "\\frac" else "binom", self._argument(), self._argument())
        if kind == "sqrt":
            degree = self._group("[") if self.kind == "[" else number(2)
            return ("root", self._group("(") if self.kind == "(" else self._argument(), degree)
        if kind in _OF_LISTS:
            return (kind, *self._list())
        if kind in _FUNCTIONS:
            return self._function(kind)
        raise _Unreadable

    def _group(self, opening: str) -> Node:
        self._expect(opening)
        bars, self.bars = self.bars, opening == "|"
        result = self._ratio()
        self._expect(_CLOSING[opening])
        self.bars = bars
        return (_AROUND[opening], result) if opening in _AROUND else result

    def _argument(self) -> Node:
        """What TeX takes for one: a group, a letter, a digit."""
        if self.kind == "{":
            return self._group("{")
        if self.kind == "number" and len(self.tokens[self.at][1]) > 1:
            raise _Unreadable
        return self._atom()

    def _atom(self) -> Node:
        kind, token = self.kind, self._take()
        if kind not in ("number", "name"):
            raise _Unreadable
        return number(Fraction(token)) if kind == "number" else ("name", token)

    def _exponent(self) -> Node:
        negative = self._skip("-")
        result = self._base() if self.kind in ("number", "\\frac") else self._argument()
        return ("minus", number(0), result) if negative else result

    def _list(self) -> list[Node]:
        self._expect("(")
        values = [self._sum()]
        while self._skip(","):
            values.append(self._sum())
        self._expect(")")
        return values

    def _function(self, name: str) -> Node:
        base = self._argument() if name == "log" and self._skip("_") else number(10)
        exponent = self._exponent() if self._skip("^") else None
        function = _FUNCTIONS[name]
        if exponent == ("minus", number(0), number(1)) and function in _CIRCULAR:
            function, exponent = f"a{function}", None
        argument = self._function_argument()
        result: Node = ("log", base, argument) if function == "log" else (function, argument)
        return ("power", result, exponent) if exponent else result

    def _function_argument(self) -> Node:
        """The brackets that follow, or else the product up to the next sign, bracket or function: \\sin 2x."""
        if self.kind in _CLOSING:
            return self._group(self.kind)
        result = self._function(self._take()) if self.kind in _FUNCTIONS else self._factor()
        while self._starts_factor() and self.kind not in (*_CLOSING, *_FUNCTIONS):
            result = ("times", result, self._next_factor())
        if self.kind in ("/", "\\div"):
            raise _Unreadable
        return result
