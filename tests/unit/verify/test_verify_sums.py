"""The order of a plain sum is free, and settling that takes no worker."""

import pytest

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
