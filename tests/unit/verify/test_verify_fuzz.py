"""No text makes the verifier raise or hang. 1,000 cases by default; LAPO_FUZZ_CASES=10000 for the full run."""

import os
import time

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lapo_verl.verify import check_ground_truth, client, verify
from lapo_verl.verify.compare import settle
from lapo_verl.verify.normalize import normalize

CASES = int(os.environ.get("LAPO_FUZZ_CASES", "1000"))
LIMIT_S = 0.5
# A shared machine may be late by itself; a hang is longer by far.
SLACK_S = 5.0

client.warm_up()  # its start is no part of an answer's time

LEAF_TEXTS = r"""
0 1 2 -3 0.5 .25 12 1,234 \pi e x y n i \infty \text{cm} \text{Monday} A (B) \% 50\% \$5 30^\circ x=3
\emptyset \ldots \\ & { } ( ] \{ \} , ; = < \le \pm # $ \frac \sqrt ^ _ ! \, \quad \left \right
"""
LEAVES = st.sampled_from(LEAF_TEXTS.split())


def compound(parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    shapes = st.sampled_from(
        (
            r"\frac{%s}{%s}",
            r"\dfrac%s%s",
            r"\sqrt[%s]{%s}",
            "%s^{%s}",
            "%s_{%s}",
            "%s+%s",
            "%s-%s",
            "%s %s",
            r"%s\cdot %s",
            "%s/%s",
            "(%s,%s)",
            "[%s,%s)",
            r"\{%s,%s\}",
            r"%s\cup %s",
            "%s=%s",
            r"%s\text{ %s}",
            r"\begin{pmatrix}%s\\%s\end{pmatrix}",
            r"\begin{bmatrix}%s&%s\end{bmatrix}",
            r"\boxed{%s}%s",
            r"%s\pm %s",
            "%s and %s",
            r"\left(%s\right)!%s",
            r"\log_{%s}{%s}",
            r"\begin{cases}%s\\%s\end{cases}",
            r"\begin{cases}%s&\text{if }%s\\0&\text{otherwise}\end{cases}",
            r"\{%s:%s\}",
            r"\{x\in%s\mid %s\}",
            "%s<%s",
            r"%s\equiv %s\pmod{7}",
            r"%s\text{ or }%s",
            r"%s, n\in\mathbb{Z}%s",
            "%s:%s",
        )
    )
    return st.tuples(shapes, parts, parts).map(lambda three: three[0] % (three[1], three[2]))


LATEX = st.recursive(LEAVES, compound, max_leaves=6)
TEXT = st.one_of(LATEX, st.text(max_size=40), st.text(alphabet="\\{}()[]^_,.=0123456789xfracsqt $%", max_size=40))
RESPONSE = st.one_of(TEXT.map(lambda text: f"\\boxed{{{text}}}"), TEXT, TEXT.map(lambda text: f"#### {text}"))

quick = settings(max_examples=CASES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=CASES <= 1000)


@quick
@given(response=RESPONSE, truth=TEXT)
def test_no_text_makes_it_raise_or_hang(response: str, truth: str) -> None:
    begin = time.monotonic()
    verify(response, truth, LIMIT_S, forms=("boxed", "hash", "sentence"))
    assert time.monotonic() - begin < LIMIT_S + SLACK_S


@quick
@given(truth=TEXT)
def test_a_truth_that_is_let_in_is_right_when_given_back(truth: str) -> None:
    try:
        check_ground_truth(truth)
    except ValueError:
        return
    answer = truth if "boxed" in truth or "fbox" in truth else f"\\boxed{{{truth}}}"
    assert verify(answer, truth, LIMIT_S).correct


@quick
@given(one=LATEX, other=LATEX)
def test_the_comparison_is_symmetric_where_it_says_yes(one: str, other: str) -> None:
    one, other = normalize(one), normalize(other)
    if "=" not in one + other and settle(one, other):
        assert settle(other, one)
