"""Where the final answer of a response is found, and where there is none."""

import pytest

from lapo_verl.verify.extract import final_answer

BOXED = [
    ("The answer is \\boxed{5}.", "5"),
    ("\\boxed{\\frac{1}{\\sqrt{2}}}", "\\frac{1}{\\sqrt{2}}"),
    ("\\fbox{7}", "7"),
    ("\\boxed {7}", "7"),
    ("\\boxed\n{7}", "7"),
    ("\\boxed{1} and then \\boxed{2}", "2"),
    ("\\fbox{1} and then \\boxed{2}", "2"),
    ("\\boxed{1} and then \\fbox{2}", "2"),
    ("\\boxed{\\boxed{3}}", "3"),
    ("\\boxed{\\{1,2\\}}", "\\{1,2\\}"),
    ("\\boxed{\\left\\{ x \\right.}", "\\left\\{ x \\right."),
    ("\\boxed{5} is what I put in \\boxed .", "5"),
    ("<think>\\boxed{1}</think>\\boxed{2}", "2"),
    ("<think>\\boxed{1}</think>2", None),
    ("<think>\\boxed{1}", "1"),
    ("</think>\\boxed{1}</think>\\boxed{2}", "2"),
    ("\\boxed{1}</think></think>", None),
    ("no box at all", None),
    ("", None),
    ("\\boxed{}", None),
    ("\\boxed{   }", None),
    ("\\boxed{5", None),
    ("\\boxed{5} no, \\boxed{6", None),
    ("\\boxed{{5}", None),
    ("\\boxed5", None),
    ("boxed{5}", None),
    ("\\boxed{5}}", "5"),
    ("\\boxed{5\\}}", "5\\}"),
]


@pytest.mark.parametrize(("response", "answer"), BOXED)
def test_boxed(response: str, answer: str | None) -> None:
    assert final_answer(response) == answer


def test_only_the_asked_forms_count() -> None:
    assert final_answer("The answer is 5.\n#### 5") is None


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        ("48/2 = 24\n#### 72", "72"),
        ("#### 1\n#### 2", "2"),
        ("####72\nmore", "72"),
        ("#### ", None),
        ("### 5", None),
    ],
)
def test_hash(response: str, answer: str | None) -> None:
    assert final_answer(response, ("hash",)) == answer


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        ("So the answer is 72.", "72"),
        ("The answer is: **72**", "72"),
        ("The answer is 3.5. Good.", "3.5"),
        ("The final answer is $\\frac{1}{2}$.", "$\\frac{1}{2}$"),
        ("Answer: 72\nbye", "72"),
        ("The answer is 1. No, the answer is 2.", "2"),
        ("There is none.", None),
    ],
)
def test_sentence(response: str, answer: str | None) -> None:
    assert final_answer(response, ("sentence",)) == answer


def test_forms_are_tried_in_their_order() -> None:
    both = "\\boxed{1}\n#### 2"
    assert final_answer(both, ("boxed", "hash")) == "1"
    assert final_answer(both, ("hash", "boxed")) == "2"
    assert final_answer("#### 2", ("boxed", "hash")) == "2"
    assert final_answer("#### 2\n\\boxed{3", ("boxed", "hash")) is None, "an unclosed box is no answer"


def test_an_unknown_form_is_named() -> None:
    with pytest.raises(ValueError, match="braced"):
        final_answer("x", ("braced",))  # type: ignore[arg-type]
