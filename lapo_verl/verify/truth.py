r"""Can any answer be compared with this ground truth? Asked of every row when the data are loaded.

A truth need not be understood: one that only compares as text (``A\perp B``, cases, a set in words) is fine. It has
to be whole: every bracket closed, every operator with its two sides, every command known and with its arguments. What
is not is a damaged or a foreign text, and no model's answer would ever match it.
"""

from __future__ import annotations

import re
from typing import Final

from lapo_verl.verify.brackets import closes
from lapo_verl.verify.extract import MAX_ANSWER_CHARS, final_answer
from lapo_verl.verify.normalize import balanced, has_control_characters, normalize, without_text_marks
from lapo_verl.verify.number import Number
from lapo_verl.verify.parse import Choice, Words, read


def check_ground_truth(ground_truth: str) -> None:
    """Raises where no answer could ever be compared with this truth.

    Args:
        ground_truth: the final answer of a problem, in LaTeX or plain text.

    Raises:
        ValueError: it is no text, is empty or damaged, or has a command that no answer has; the message says which.

    >>> check_ground_truth(r"\\frac{1}{2}")
    >>> check_ground_truth(r"\\frac{1}{2")
    Traceback (most recent call last):
    ValueError: the ground truth has unbalanced braces: '\\\\frac{1}{2'
    """
    if not isinstance(ground_truth, str):
        raise ValueError(f"the ground truth must be a string, not {type(ground_truth).__name__}")
    if not ground_truth.strip():
        raise ValueError("the ground truth is empty")
    shown = ground_truth if len(ground_truth) <= 60 else ground_truth[:57] + "..."
    if len(ground_truth) > MAX_ANSWER_CHARS:
        raise ValueError(f"the ground truth is longer than {MAX_ANSWER_CHARS} characters: {shown!r}")
    text = normalize(unboxed(ground_truth))
    for is_so, flaw in (
        (has_control_characters(ground_truth), "holds control characters"),
        (not text, "says nothing"),
        (is_missing(text), "is missing; this is what an empty cell becomes when it is read"),
        (not balanced(text), "has unbalanced braces"),
        ("####" in text, "is a whole solution; give what follows '####'"),
    ):
        if is_so:
            raise ValueError(f"the ground truth {flaw}: {shown!r}")
    reading = read(text)
    if isinstance(reading, Number) or (isinstance(reading, Choice) and not reading.rest):
        return
    if isinstance(reading, Words) and re.search(r"\w", reading.words):
        return
    try:
        _Form(text).check()
    except _Flaw as error:
        raise ValueError(f"the ground truth cannot be parsed: {shown!r}: {error}") from None


def unboxed(ground_truth: str) -> str:
    """A truth that is given as one whole box is what the box holds."""
    text = ground_truth.strip()
    box = re.match(r"\\(?:boxed|fbox)\s*(?=\{)", text)
    return final_answer(text) or "" if box and closes(text[box.end() :]) else text


def is_missing(text: str) -> bool:
    """Whether the normalized text is NaN, "not a number": a value that is missing and equals nothing."""
    return "nan" in text.lower() and without_text_marks(text).lower() == "nan"


class _Flaw(Exception):
    """What is wrong, in words."""


# Commands by what they need beside them. Symbols need nothing.
_COMMANDS: Final = {
    "operand": """
        alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi pi varpi rho
        varrho sigma tau upsilon phi varphi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega
        infty emptyset ell hbar imath jmath Re Im aleph partial nabla ldots vdots ddots dagger top bot square Box
        blacksquare diamond triangle bigstar bigcirc heartsuit spadesuit clubsuit diamondsuit angle circ bullet
        checkmark frown smile uparrow downarrow prime euro pounds yen degree dollar lfloor lceil rfloor rceil mho wp
        eth complement surd natural sharp flat clubs Finv Game beth gimel daleth digamma varkappa oslash maltese
        circledR circledS lozenge bigtriangleup triangledown blacktriangle bigodot bigoplus bigotimes S P dag ddag
        copyright textdegree updownarrow nexists""",
    "before": """
        sin cos tan cot sec csc arcsin arccos arctan arccot arcsec arccsc sinh cosh tanh coth log ln lg exp lim
        limsup liminf sum prod int iint iiint oint bigcup bigcap max min sup inf gcd lcm det deg dim ker arg hom Pr
        neg lnot forall exists nexists pm mp""",
    "operator": """
        cdot times div ast star cup cap setminus oplus ominus otimes odot wedge vee land lor bmod mod sqcup uplus
        choose over dotplus amalg wr bigcirc triangleleft triangleright ltimes rtimes boxplus boxminus boxtimes""",
    "relation": """
        le ge ne ll gg approx equiv cong sim simeq propto doteq in notin ni subset subseteq subsetneq supset supseteq
        mid nmid parallel nparallel perp to gets mapsto rightarrow leftarrow leftrightarrow longrightarrow Rightarrow
        Leftarrow Leftrightarrow Longrightarrow implies impliedby iff models vdash prec succ preceq succeq colon""",
    "arguments": """
        sqrt overline underline bar vec hat widehat tilde widetilde dot ddot mathbb mathcal mathfrak mathscr
        overrightarrow overleftarrow overleftrightarrow overarc overparen wideparen pmod pod boldsymbol mathsf
        textcircled circled substack cancel text hspace frac binom stackrel overset underset""",
    "layout": "rm bf it sf tt hline nolimits lVert rVert Vert displaylimits scriptstyle therefore because not",
}
_NEEDS: Final = {name: needs for needs, names in _COMMANDS.items() for name in names.split()}
_MAY_COME_FIRST: Final = "< > le ge ne ll gg approx sim in notin to rightarrow Rightarrow"

_TOKEN: Final = re.compile(
    r"\\(?:begin|end) ?\{(?P<environment>[A-Za-z]+\*?)\}|\\text ?\{(?P<text>[^{}]*)\}|\\(?P<command>[A-Za-z]+)"
    r"|(?P<nothing>\{\}(?=[_^]))|(?P<end>\\\\(?:\[[^\]]*\])?)|(?P<open>\\\{|[({\[])|(?P<close>\\\}|[)}\]])"
    r"|(?P<operand>[0-9]+(?:\.[0-9]+)?|\.[0-9]+|[^\W\d_]|[^\x00-\x7f])|(?P<sign>[+-])|(?P<operator>\*|/+|@)|(?P<relation>[=<>:])"
    r"|(?P<separator>[,;])|(?P<after>['\"!%])|(?P<script>[\^_])|(?P<layout>\\?[|]|\\\#|\\?&|[ .€£¥₹¢]+)|(?P<other>.)",
    re.DOTALL,
)
_MAX_DEPTH: Final = 50
_PARTNERS: Final = {"(": (")", "]"), "[": ("]", ")"), "{": ("}",), "\\{": ("\\}",)}


class _Form:
    """One pass over the tokens; ``check`` raises ``_Flaw`` at the first that lacks what it needs."""

    def __init__(self, text: str) -> None:
        self.tokens = [(match.lastgroup or "", match.group()) for match in _TOKEN.finditer(text)]
        self.at = 0
        self.depth = 0
        self.says_something = False

    def check(self) -> None:
        self._sequence(())
        if not self.says_something:
            raise _Flaw("it says nothing")

    def _sequence(self, closing: tuple[str, ...], *, may_be_empty: bool = False) -> None:
        """Read up to a closing bracket, or to the end where there is none to come."""
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise _Flaw("brackets are nested too deeply")
        waits: str | None = None  # the token whose right side is still to come
        left = False  # whether there is something to the left
        empty = True
        while self.at < len(self.tokens):
            kind, token = self.tokens[self.at]
            if token in closing:
                break
            self.at += 1
            kind, name = self._kind(kind, token)
            if kind == "layout":
                continue
            if kind == "end":
                if waits not in (None, ",", ";"):
                    raise _Flaw(f"nothing follows {waits!r}")
                waits, left = None, False
                continue
            if kind in ("operator", "separator", "after") or (kind == "relation" and (not empty or waits)):
                if not left:
                    raise _Flaw(f"nothing comes before {token!r}")
            elif kind == "relation" and name not in _MAY_COME_FIRST.split():
                raise _Flaw(f"nothing comes before {token!r}")
            empty = False
            if kind == "script":
                if not left and _NEEDS.get((waits or "").removeprefix("\\")) != "before":
                    raise _Flaw(f"nothing comes before {token!r}")
                self._argument(token, script=True)
            elif kind in ("operator", "relation", "sign", "before", "separator"):
                waits, left = token, False
            elif kind == "after":
                pass
            else:
                self._operand(kind, token, name)
                waits, left = None, True
        if waits is not None:
            raise _Flaw(f"nothing follows {waits!r}")
        if closing and self.at == len(self.tokens):
            raise _Flaw("a bracket is not closed")
        if closing and empty and not may_be_empty:
            raise _Flaw("brackets hold nothing")
        self.depth -= 1

    def _kind(self, kind: str, token: str) -> tuple[str, str]:
        """What the token needs, and its name without the backslash."""
        if kind == "text":
            return ("operand" if re.search(r"\w", token.removeprefix("\\text")) else "layout"), token
        if kind != "command":
            return kind, token
        name = token[1:]
        if name not in _NEEDS:
            raise _Flaw(f"{token!r} is not a command that an answer can contain")
        return _NEEDS[name], name

    def _operand(self, kind: str, token: str, name: str) -> None:
        if kind == "open":
            self._sequence(_PARTNERS[token], may_be_empty=token == "\\{")
            self.at += 1
            self.says_something |= token == "\\{"  # the empty set says something
        elif kind == "environment":
            if not token.startswith("\\begin"):
                raise _Flaw(f"{token} ends what was not begun")
            self._environment(token)
        elif kind == "arguments":
            if name == "sqrt" and self._next() == "[":
                self.at += 1
                self._sequence(("]",))
                self.at += 1
            for _ in range(2 if name in ("frac", "binom", "stackrel", "overset", "underset") else 1):
                self._argument(token)
        elif kind == "nothing":  # the left side of {}_nC_k
            pass
        elif kind == "operand":
            self.says_something |= name != "ldots"
        else:
            raise _Flaw(f"{token!r} does not belong in an answer")

    def _environment(self, begin: str) -> None:
        end = begin.replace("\\begin", "\\end")
        if self._next() == "{":  # the columns of an array
            self.at += 1
            self._sequence(("}",))
            self.at += 1
        self._sequence((end,))
        self.at += 1

    def _next(self) -> str:
        return self.tokens[self.at][1] if self.at < len(self.tokens) else ""

    def _argument(self, of: str, *, script: bool = False) -> None:
        while self._next() == " ":
            self.at += 1
        if self.at == len(self.tokens):
            raise _Flaw(f"nothing follows {of!r}")
        kind, token = self.tokens[self.at]
        self.at += 1
        if token == "{":
            # A lone sign or operator is a whole script: \mathbb{R}^{+}, m_{\max}, L_{\odot}.
            if script and self.tokens[self.at + 1 : self.at + 2] == [("close", "}")] and self._next() != "{":
                self.at += 2
                return
            self._sequence(("}",))
            self.at += 1
            return
        if script and token in ("+", "-", "*", "\\ast", "\\star", "\\perp", "'"):
            return
        kind, name = self._kind(kind, token)
        if kind not in ("operand", "arguments", "before"):
            raise _Flaw(f"nothing follows {of!r}")
        if kind != "before":
            self._operand(kind, token, name)
