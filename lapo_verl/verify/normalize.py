"""Bring an answer's text into one spelling: the same mathematics, fewer ways to write it.

Nothing here changes what an answer says. What is dropped is layout (``\\left``, ``\\,``, ``$``, ``\\displaystyle``);
what is unified is spelling (``\\dfrac12`` and ``\\frac{1}{2}``, ``\\mathrm`` and ``\\text``, the minus sign's many
code points).
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Final

# What a keyboard has no key for, and its LaTeX. What a root is of follows in _RULES.
_SYMBOLS: Final = r"""
    × \times ÷ \div · \cdot ⋅ \cdot π \pi ∞ \infty ° ^\circ ≤ \le ≥ \ge ≠ \ne ± \pm ≡ \equiv ≈ \approx … \ldots
    ∪ \cup ∩ \cap ∖ \setminus ∈ \in ∅ \emptyset ∠ \angle △ \triangle √ \sqrt√ ∛ \sqrt[3]√ ∜ \sqrt[4]√
    ½ \frac{1}{2} ¼ \frac{1}{4} ¾ \frac{3}{4} ℝ \mathbb{R} ℤ \mathbb{Z} ℕ \mathbb{N} ℚ \mathbb{Q} ℂ \mathbb{C}
"""  # noqa: RUF001
# Minus signs, commas, brackets, primes, quotation marks and spaces as ASCII has them; spaces without width go.
_MARKS: Final = "\u2212\u2013\uff0d\uff0c\uff08\uff09\u27e8\u27e9\u2032\u2019\u201c\u201d\u00a0\u202f\u2009"
_CHARACTERS: Final[dict[int, str | int | None]] = {
    **{ord(symbol): f"{command} " for symbol, command in re.findall(r"(\S) (\S+)", _SYMBOLS)},
    **str.maketrans(_MARKS, "---,()()''\"\"   ", "\u200b\u200c\u200d\u2060\ufeff"),
    ord("\N{DOUBLE PRIME}"): "''",
}

# Commands that say the same, those of a row what comes first in it.
_ROWS: Final = r"""\{ lbrace; \} rbrace; ( langle; ) rangle; < lt; > gt; : colon; | vert lvert rvert; \le leq leqslant;
    \ge geq geqslant; \ne neq; \frac dfrac tfrac cfrac; \binom dbinom tbinom; \emptyset varnothing;
    \ldots dots cdots dotsc dotsb; \setminus backslash smallsetminus"""
_SYNONYMS: Final = {f"\\{name}": first for first, *names in map(str.split, _ROWS.split(";")) for name in names}
_COMMAND: Final = re.compile(r"\\[A-Za-z]+")

# Every rule is (needs, what, by what), applied in this order, and none can take more than linear time. A rule is
# tried only where the text holds one of the strings that it needs: most texts need two or three of all the rules.
_RULES: Final[tuple[tuple[tuple[str, ...], re.Pattern[str], str], ...]] = tuple(
    (needs, re.compile(pattern), replacement)
    for needs, pattern, replacement in (
        (("$",), r"\\\$", r"\\dollar "),  # kept for the unit, so that the dollars of math mode can go
        (("$", "style", "limits"), r"\$|\\displaystyle(?![A-Za-z])|\\textstyle(?![A-Za-z])|\\limits(?![A-Za-z])", ""),
        (("\\",), r"(?<!\\)\\[()\[\]]", ""),  # \( ... \) and \[ ... \], but not the line end \\[2pt]
        (("{,}", ",\\!"), r"(?<=[0-9])(?:\{,\}|,\\!) ?(?=[0-9])", ","),  # a comma that TeX is told is no separator
        (("\\!",), r"\\!", ""),
        (("\\", "~"), r"(?<=[0-9])(?:\\,|~|\\ )(?=[0-9]{3}(?![0-9]))", ","),  # 12\,000
        (("\\", "~"), r"(?<!\\)\\(?:[,;:> ]|q?quad(?![A-Za-z]))|~", " "),
        (("\\",), r"\\(?:left|right|middle|bigl|bigr|Bigl|Bigr|big|Big|biggl|biggr|bigg|Bigg)(?![A-Za-z])\.?", ""),
        (("phantom",), r"\\[hv]?phantom\s*(?:\{[^{}]*\}|[-+])", " "),  # room for what is not shown
        (("\\math",), r"\\(?:mathbf\s*\{\s*([A-Za-z0-9])|mathrm\s*\{\s*([eid]))\s*\}", r"\1\2"),
        (
            ("{",),
            r"\\(?:text(?:bf|it|rm|normal|sf|tt)|math(?:rm|bf|it|sf)|mbox|hbox|operatorname\*?)\s*(?=\{)",
            r"\\text",
        ),
        (("<=",), r"<=", r"\\le "),
        ((">=",), r">=", r"\\ge "),
        (("\\circ", "\\degree"), r"\s*\^\s*(?:\{\s*\\circ\s*\}|\\circ(?![A-Za-z]))|\\degree(?![A-Za-z])", r"\\degree "),
        (("\\frac",), r"\\frac\s*([0-9])\s*([0-9])", r"\\frac{\1}{\2}"),
        (("\\frac",), r"\\frac\s*([0-9a-zA-Z])\s*\{", r"\\frac{\1}{"),
        (("√",), r"√\s*(?:\(([^()]*)\)|([0-9]+(?:\.[0-9]+)?|[A-Za-z]|\\pi|\\frac\{[^{}]*\}\{[^{}]*\}))", r"{\1\2}"),
        (("√",), "√", ""),
        (("\\sqrt",), r"\\sqrt\s*([0-9])", r"\\sqrt{\1}"),
        (("pi",), r"(?<![A-Za-z\\])pi(?![A-Za-z])", r"\\pi "),
        (("_",), r"_(?:\{\s*)?(?:\\text\s*\{\s*([A-Za-z0-9]+)\s*\}|\\(max|min))(?:\s*\})?", r"_{\1\2}"),
        (("inf",), r"(?<![A-Za-z\\])(?:infinity|inf)(?![A-Za-z])", r"\\infty "),
        (("\\infty",), r"\\text\s*\{\s*\\infty\s*\}", r"\\infty "),
        (("...",), r"\.\.\.", r"\\ldots "),
        (("\\prime",), r"\s*\^\s*\{?\s*((?:\\prime(?![A-Za-z])\s*)+)\}?", r"\1"),
        (("\\prime",), r"\\prime(?![A-Za-z])\s*", "'"),
        (("\\choose",), r"\{([^{}]*)\\choose(?![A-Za-z])([^{}]*)\}", r"\\binom{\1}{\2}"),
        (("\\{",), r"\\(max|min|gcd|lcm)\s*\\\{([^{}\\]*)\\\}", r"\\\1(\2)"),
        (("\\mathbb", "\\Bbb"), r"\\(?:mathbb|Bbb)\s*(?:\{\s*([A-Z])\s*\}|([A-Z]))", r"\\mathbb{\1\2}"),
        (("\\mathbb",), r"(?<=\\mathbb\{[A-Z]\})\s*-\s*(?=\\\{)", r"\\setminus "),
        (("\\infty",), r"(?<![0-9A-Za-z)}\]!'] )(?<![0-9A-Za-z)}\]!'])\+\s*(?=\\infty)", ""),
        (("angle",), r"\\(angle|triangle)\s*\{([^{}]*)\}", r"\\\1 \2"),
        (("^", "_"), r"\s*([\^_])\s*", r"\1"),
        (("^", "_"), r"([\^_])\{([A-Za-z0-9])\}(?![0-9])", r"\1\2"),
        (("\\bold", "\\bm", "\\under"), r"\\(?:boldsymbol|bm|underline)\s*\{([^{}]*)\}", r"\1"),
        (
            ("%", "percent"),
            r"\\text\s*\{\s*(?:percent|%)\s*\}|\\%|(?<![A-Za-z])(?:percent|percentage)(?![A-Za-z])",
            "%",
        ),
    )
)
# Words between the mathematics; tried only where there are words.
_MOD: Final = r"(?:\\text\s*\{\s*mod(?:ulo)?\s*\}|\\[bp]?mod(?![A-Za-z])|(?<![A-Za-z\\])mod(?:ulo)?(?![A-Za-z]))"
_WORD_RULES: Final = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\\text\s*\{\s*\(\s*mod(?:ulo)?\s*\}\s*([^(){}]*)\)", r"\\pmod{\1}"),
        (rf"\(\s*{_MOD}\s*\{{?([^(){{}}]*)\}}?\s*\)", r"\\pmod{\1}"),
        (rf"{_MOD}\s*(?:\{{([^{{}}]*)\}}|([0-9]+|[a-z](?![a-z])))", r"\\pmod{\1\2}"),
        (r"(?<=[0-9])\s*(?:\\text\s*\{\s*to\s*\}|\sto(?![A-Za-z]))\s*(?=[0-9])", ":"),
        (r"\\text\s*\{\s*(?:such that|s\.t\.)\s*\}", r"\\mid "),
        (r"^(\\text\s*\{)?\s*(?:\"|``)\s*([^\"`']*)(?:\"|'')\s*(\}?)$", r"\1\2\3"),
        (r"^(?:\\text\s*\{)?\s*([0-9]+)\s*\^?\s*\{?(?:\\text\s*\{)?\s*(st|nd|rd|th)\s*\}*$", r"\1\\text{\2}"),
        (r"(\\text\s*\{[^{}]*)\}\s*/\s*\\text\s*\{\s*", r"\1/"),
        (
            r",?\s*\\text\s*\{\s*,?\s*(?:where|with|for(?: all| any| some| every)?)\s*\}\s*"
            r"(?=[A-Za-z]\s*\\in(?![a-z]))",
            ", ",
        ),
        (
            r",?\s*\\text\s*\{\s*,?\s*for (?:(?:all|any|some|every|an) )?integers?\s*\}\s*([A-Za-z])(?![A-Za-z])",
            r", \1\\in\\mathbb{Z}",
        ),
        (
            r",?\s*\\text\s*\{\s*,?\s*where\s*\}\s*([A-Za-z])\s*\\text\s*\{\s*is an(?:y)? integer\s*\}",
            r", \1\\in\\mathbb{Z}",
        ),
    )
)
_WORDY: Final = re.compile(r"\\text|mod|to |[\"`]|(?:st|nd|rd|th)$")
# ]0,1[ and [0,1[, as written in some countries.
_OPEN_INTERVAL: Final = re.compile(
    r"(?:^|(?<=\\cup)|(?<=\\cup ))([\[\]])([^\[\](),]+,[^\[\](),]+)([\[\]])(?=$| ?\\cup)"
)
# A brace on the left only: equations one below the other, or cases.
_LEFT_BRACE: Final = re.compile(
    r"\\left\s*\\\{\s*\\begin\{(array|matrix|aligned|cases)\}(?:\{[lcr| ]*\})?(.*?)"
    r"\\end\{\1\}\s*\\right\s*\.",
    re.DOTALL,
)
_SPACES: Final = re.compile(r"\s+")
_RAISED: Final = re.compile("[⁰¹²³⁴-⁹⁻]+|[₀-₉]+")
_BRACED_FRACTION: Final = re.compile(r"(\\frac\{[^{}]*\})\s*([0-9])")
# A comma keeps the space after it: "1, 234" is two numbers, "1,234" is one.
_TIGHT: Final = re.compile(r" ?([^\w\s\\,]|_) ?")
_AROUND_COMMAND: Final = re.compile(r"(\\[A-Za-z]+) (?![A-Za-z])| (?=\\)|(?<=\\\\) ")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffe\uffff\ud800-\udfff]")


def has_control_characters(text: str) -> bool:
    """Whether the text holds characters that no answer has a use for; line ends and tabs are allowed."""
    return _CONTROL.search(text) is not None


@lru_cache(maxsize=8192)
def normalize(text: str) -> str:
    """The text in one spelling. Callers bound its length.

    >>> normalize(r"$\\dfrac12$.")
    '\\\\frac{1}{2}'
    """
    text = text.strip()
    if text.isascii() and (text.isdigit() or text.isalpha()):
        return text
    text = _SPACES.sub(" ", _RAISED.sub(_script, text).translate(_CHARACTERS))
    if text.count("|") == 1 and "\\|" not in text:
        text = text.replace("|", r"\mid ")  # a lone bar is no absolute value
    if "\\" in text:
        text = _COMMAND.sub(lambda command: _SYNONYMS.get(command[0], command[0]), text)
    if "\\begin" in text:
        text = _LEFT_BRACE.sub(r"\\begin{cases}\2\\end{cases}", text)
    for needs, pattern, replacement in _RULES:
        for need in needs:
            if need in text:
                text = pattern.sub(replacement, text)
                break
    if _WORDY.search(text):
        for pattern, replacement in _WORD_RULES:
            text = pattern.sub(replacement, text)
    if "\\frac" in text:
        text = _BRACED_FRACTION.sub(r"\1{\2}", text)
    if " " in text:
        text = _SPACES.sub(" ", text).replace(" ,", ",").strip()
        text = _AROUND_COMMAND.sub(r"\1", _TIGHT.sub(r"\1", text)).strip()
    while text.endswith((".", ",", ";", ":")) and not text.endswith(("\\,", "\\;", "\\:")):
        text = text[:-1].rstrip()
    if "]" in text or "[" in text:
        text = _OPEN_INTERVAL.sub(_with_parentheses, text)
    return _without_braces(text)


_TEXT: Final = re.compile(r"\\text ?\{([^{}]*)\}")


def without_text_marks(text: str) -> str:
    """``5\\text{ hours}`` is ``5 hours``, with one space between words."""
    return _TIGHT.sub(r"\1", " ".join(_TEXT.sub(r" \1 ", text).split()))


def _script(digits: re.Match[str]) -> str:
    plain = unicodedata.normalize("NFKC", digits[0]).replace("\N{MINUS SIGN}", "-")
    return f"{'_' if '₀' <= digits[0] <= '₉' else '^'}{{{plain}}}"


def _with_parentheses(interval: re.Match[str]) -> str:
    return ("[" if interval[1] == "[" else "(") + interval[2] + ("]" if interval[3] == "]" else ")")


def _without_braces(text: str) -> str:
    """``{5}`` is ``5``: braces around the whole are grouping."""
    while text.startswith("{") and text.endswith("}") and balanced(text[1:-1]):
        text = text[1:-1].strip()
    return text


_BRACE: Final = re.compile(r"\\.|[{}]", re.DOTALL)


def balanced(text: str) -> bool:
    """Whether every brace that groups (not ``\\{``) has its partner."""
    depth = 0
    for token in _BRACE.findall(text):
        depth += (token == "{") - (token == "}")
        if depth < 0:
            return False
    return depth == 0
