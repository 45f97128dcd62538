"""A ground truth that no answer could be compared with is an error that says why, when the data are loaded."""

import pytest

from lapo_verl.verify import check_ground_truth, is_correct


@pytest.mark.parametrize(
    "truth",
    [
        "72",
        "-3.5",
        "1,234",
        "\\frac{1}{2}",
        "\\$18",
        "50\\%",
        "(A)",
        "\\text{Monday}",
        "no solution",
        "(1,2]",
        "\\{1,2\\}",
        "x=3",
        "x^2+1",
        "\\boxed{5}",
        "\\begin{pmatrix}1\\\\2\\end{pmatrix}",
        "(-\\infty,2)\\cup(3,\\infty)",
        "2^{2023}",
    ],
)
def test_good(truth: str) -> None:
    check_ground_truth(truth)
    assert is_correct(f"\\boxed{{{truth}}}" if "boxed" not in truth else truth, truth)


@pytest.mark.parametrize(
    ("truth", "reason"),
    [
        ("", "empty"),
        ("  \n", "empty"),
        ("$$", "says nothing"),
        ("\\boxed{}", "says nothing"),
        ("{}", "says nothing"),
        ("\\frac{1}{2", "unbalanced"),
        ("\\sqrt{3}}", "unbalanced"),
        ("4\x002", "control"),
        ("48/2 = 24\n#### 24", "whole solution"),
        ("x +* 2", "parsed"),
        ("\\frac{}{}", "parsed"),
        ("7" * 2001, "longer"),
    ],
)
def test_bad(truth: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        check_ground_truth(truth)
    assert not is_correct("\\boxed{42}", truth)


def test_no_string() -> None:
    with pytest.raises(ValueError, match="int"):
        check_ground_truth(72)  # type: ignore[arg-type]
