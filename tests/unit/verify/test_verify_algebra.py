"""Expressions are settled by their values: the same terms in another order, the same function, another one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lapo_verl.verify.algebra import same_function
from lapo_verl.verify.compare import settle


@pytest.mark.parametrize(
    ("one", "other"),
    [("x^2+3x-1", "-1+3x+x^2"), ("1+\\sqrt{2}", "\\sqrt{2}+1"), ("-x+y", "y-x"), ("(a-b)+c", "c+(a-b)")],
)
def test_same_terms(one: str, other: str) -> None:
    assert settle(one, other) is True


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("x^2-3x+1", "x^2+3x-1"),
        ("x-y", "y-x"),
        ("|x-1|+2", "|x+2|-1"),
        ("2\\cdot-3+x", "x+2\\cdot-3y"),
        ("x^{-2}+1", "x^{2}-1"),
        ("\\sum_{i=1}^{n}i+1", "1+\\sum_{i=1}^{n}i"),
        ("x+x", "x"),
        ("a-(b+c)", "a-(b-c)"),
    ],
)
def test_not_settled_as_the_same(one: str, other: str) -> None:
    assert settle(one, other) is not True


NUMBERS = st.integers(-999, 999)


@given(a=NUMBERS, b=NUMBERS, c=NUMBERS.filter(bool))
def test_a_product_is_its_expansion_and_no_other_one(a: int, b: int, c: int) -> None:
    product = f"{c}(x{a:+d})(x{b:+d})"
    expansion = f"{c}x^2{c * (a + b):+d}x{c * a * b:+d}"
    assert same_function(product, expansion) is True
    assert same_function(product, f"{expansion}+1") is False
    assert same_function(f"\\frac{{{product}}}{{x{a:+d}}}", f"{c}x{c * b:+d}") is True
    assert same_function(f"\\frac{{{product}}}{{{c}}}", f"{expansion}") is (c == 1)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("x^{-1}", "\\frac{1}{x}"),
        ("\\frac{x}{y}/z", "\\frac{x}{yz}"),
        ("2^{10}x", "1024x"),
        ("a_{12}+a_1", "a_1+a_{12}"),
        ("3-\\sqrt{5}", "\\frac{6-2\\sqrt{5}}{2}"),
        ("\\frac{1+3i}{2}", "0.5+1.5i"),
        ("2\\cdot3x", "6x"),
    ],
)
def test_the_same_function(one: str, other: str) -> None:
    assert same_function(one, other) is True


@pytest.mark.parametrize(
    ("one", "other"),
    [("x^2", "x^3"), ("\\pi r^2", "\\pi R^2"), ("a_1", "a_2"), ("1-x", "x-1"), ("2x+0.33", "2x+\\frac{1}{3}")],
)
def test_another_function(one: str, other: str) -> None:
    assert same_function(one, other) is False


@pytest.mark.parametrize(
    "text",
    [
        "1/2x",  # (1/2)x, or 1/(2x)
        "2\\frac{1}{2}",  # a mixed number
        "x2",
        "f(x)",
        "sinx",
        "\\sin x/2",
        "|x||",
        "x!!",
        "x^2^3",
        "x\\to 3",
        "?",
        "\\frac{1}{x-x}",
        "0^{0}",
        "((x^{60})^{60})^{60}",
        "9^{9^{9^{9}}}",
        "(" * 30 + "x" + ")" * 30,
        "x+",
        "(x",
        "x)",
        "^2",
        "\\frac{1}{2",
        "",
    ],
)
def test_what_is_left_to_others(text: str) -> None:
    assert same_function(text, "x") is None
