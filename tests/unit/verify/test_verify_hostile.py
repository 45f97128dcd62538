"""Responses that would hang, crash or fool a verifier: each is judged wrong, in time, and the next one is not late."""

import time

import pytest

from lapo_verl.verify import is_correct, verify
from lapo_verl.verify.client import warm_up

LIMIT_S = 1.0
MARGIN_S = 0.5
MILLION = 10**6


def boxed(answer: str) -> str:
    return f"\\boxed{{{answer}}}"


HOSTILE: dict[str, str] = {
    # numbers out of all proportion
    "power tower": boxed("9^{9^{9^{9}}}"),
    "power tower without braces": boxed("9^9^9^9"),
    "power tower in parentheses": boxed("((9^{9})^{9})^{(9^{9})}"),
    "large power": boxed("7^{999999999}"),
    "large power of a sum": boxed("(1+1)^{10^{10}}"),
    "power by product": boxed("2^{10000 \\cdot 10000 \\cdot 10000}"),
    "power of a fraction": boxed("(\\frac{1}{3})^{9^{9^{9}}}"),
    "tower of products": boxed("9^{9\\cdot9^{9\\cdot9^{9}}}"),
    "factorial": boxed("10000000000!"),
    "factorial of a factorial": boxed("((9!)!)!"),
    "factorial of a sum": boxed("(9^9+1)!"),
    "binomial": boxed("\\binom{10^{9}}{5 \\cdot 10^{8}}"),
    "long sum": boxed("\\sum_{n=1}^{10^{12}} \\frac{1}{n^2}"),
    "long product": boxed("\\prod_{n=1}^{100000000} (n^2+1)"),
    "expansion": boxed("(x+y+z+1)^{4000}"),
    "nested expansion": boxed("((((x+1)^{50}+y)^{50}+z)^{50}+1)^{50}"),
    "integral": boxed("\\int_0^{1} x^{x^{x^{x}}} dx"),
    "integral of a tangle": boxed("\\int \\frac{\\sin(x^2)e^{\\cos x}}{\\ln(x+\\sqrt{x})} dx"),
    "limit": boxed("\\lim_{x \\to 0} \\frac{\\sin(\\tan x)-\\tan(\\sin x)}{x^{70}}"),
    "roots of roots": boxed("\\sqrt{" * 30 + "2" + "+\\sqrt{3}}" * 30),
    "equation of high degree": boxed("x^{97}+x^{31}+3x+1=\\sqrt{x^{5}+\\sin x}"),
    "trigonometry": boxed("+".join(f"\\sin^{{{k}}}(x+{k})" for k in range(2, 40))),
    "many digits": boxed("9" * 1900),
    "ten to the many": boxed("10^{999999999999}"),
    "decimal exponent": boxed("9.9^{9.9^{99.9}}"),
    "large exponent notation": boxed("1e999999999"),
    "continued fraction": boxed("\\frac{1}{1+" * 100 + "1" + "}" * 100),
    # text out of all proportion
    "a million digits": boxed("7" * MILLION),
    "a million letters": "a" * MILLION,
    "a million boxes' names": "\\boxed" * (MILLION // 6),
    "a million open boxes": "\\boxed{" * (MILLION // 7),
    "a million nested boxes": "\\boxed{" * (MILLION // 8) + "}" * (MILLION // 8),
    "a million open braces": boxed("{" * MILLION),
    "a million closing braces": "\\boxed{5" + "}" * MILLION + "\\boxed{",
    "a million backslashes": boxed("\\" * MILLION),
    "a million hashes": "#" * MILLION,
    "a million thoughts": "<think>" * (MILLION // 15) + "</think>" * (MILLION // 15),
    "a million fractions": "\\frac" * (MILLION // 5) + boxed("\\frac" * 390),
    "deep parentheses": boxed("(" * 900 + "1" + ")" * 900),
    "deep braces": boxed("{" * 900 + "1" + "}" * 900),
    "deep fractions": boxed("\\frac{" * 150 + "1" + "}{1}" * 150),
    "deep sets": boxed("\\{" * 400 + "1" + "\\}" * 400),
    "a long list": boxed(",".join(str(n) for n in range(500))),
    "a long chain": boxed("=".join(["x"] * 900)),
    "spaces": boxed(" " * 1500 + "\\," * 200),
    # text that is no answer
    "control characters": boxed("4\x002"),
    "escape sequence": boxed("\x1b[2K42"),
    "lone surrogate": boxed("\ud80042"),
    "right-to-left override": boxed("\u202e24"),
    "digits of another script": boxed("\u0664\u0662"),
    "empty box": boxed(""),
    "unclosed box": "\\boxed{42",
    "unbalanced braces": boxed("\\{42}\\}{") + "}",
    "python": boxed("__import__('os').system('sleep 60')"),
    "python by sympy": boxed("Integer(10)**Integer(10)**Integer(10)"),
    "shell": boxed("$(sleep 60)"),
    "definition": boxed("\\def\\x{\\x\\x}\\x"),
    "html": boxed("<script>42</script>"),
    # attempts to be right in any case
    "several boxes": "\\boxed{42}, \\boxed{41}",
    "several values": boxed("41, 42, 43"),
    "several values in words": boxed("41 or 42"),
    "a range": boxed("[0, 100]"),
    "every number": boxed("x"),
    "every choice": boxed("A, B, C, D, E"),
    "the truth by name": boxed("\\text{the correct answer}"),
    "the question's text": boxed("\\text{How many clips did she sell in April and May, if it is 42?}"),
    "a chain that ends right": boxed("1=2=42"),
    "not a number": boxed("\\frac{0}{0}"),
    "infinity": boxed("\\infty"),
    "approximately": boxed("\\approx 42"),
    "plus or minus": boxed("\\pm 42"),
    "negated": boxed("\\neq 42"),
    "the answer in a thought": "<think>\\boxed{42}</think> I do not know.",
}


@pytest.fixture(scope="module", autouse=True)
def server() -> None:
    warm_up()


def test_there_are_enough() -> None:
    assert len(HOSTILE) >= 60


def judged_wrong_in_time(response: str, truth: str, limit_s: float) -> bool:
    """Tried up to three times: a machine that others use may be late by itself, a verifier that hangs always is."""
    for _ in range(3):
        begin = time.monotonic()
        assert not verify(response, truth, limit_s).correct
        if time.monotonic() - begin < limit_s + MARGIN_S:
            return True
    return False


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile(name: str) -> None:
    assert judged_wrong_in_time(HOSTILE[name], "42", LIMIT_S)


@pytest.mark.parametrize("truth", ["x^2+\\sin y", "\\int_0^x f(t) dt"])
def test_hostile_to_a_formula(truth: str) -> None:
    """Also against a truth that only the server reads, so that it is asked wherever it can be."""
    late = [name for name in list(HOSTILE)[:27] if not judged_wrong_in_time(HOSTILE[name], truth, 0.3)]
    assert not late


def test_the_next_answer_is_not_late() -> None:
    """Tried up to three times, as above; a server that has to start anew is late by seconds every time."""
    for low in (-1, 0, 1):
        verify(boxed("\\int_0^{1} x^{x^{x^{x}}} dx"), f"42{low}", 0.3)
        begin = time.monotonic()
        assert is_correct(boxed(f"({low},2)\\cup(2,3)"), f"({low},3)\\setminus\\{{2\\}}", 60.0)
        if time.monotonic() - begin < 1.0:
            return
    pytest.fail("each answer after a hanging one took a second and more")
