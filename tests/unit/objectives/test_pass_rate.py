import numpy as np
import pytest

from lapo_verl.objectives import Groups, objective

A = Groups.of(
    correct=[[True, True, False, True, True, False, True, False]],
    lengths=[[800, 1000, 1200, 1600, 2000, 2400, 3000, 4096]],
)


LINEAR = [
    0.969482421875, 0.961853027344, -0.0457763671875, 0.93896484375,
    0.923706054688, -0.091552734375, 0.885559082031, -0.15625,
]  # fmt: skip
NEMO = [0.991666666667, 0.989583333333, 0, 0.983333333333, 0.979166666667, 0, 0.96875, 0]


@pytest.mark.parametrize(("mode", "weight", "expected"), [("linear", 0.25, LINEAR), ("nemo", 0.05, NEMO)])
def test_golden_group(mode: str, weight: float, expected: list[float]) -> None:
    assert objective("pass_rate", mode=mode, weight=weight).rewards(A)[0] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("linear", [[0.5, -1], [0, 0], [-1, -1], [1, 0], [-1, 0]]),
        ("nemo", [[0, 0], [0, 0], [0, 0], [1, 0], [0, 0]]),
    ],
)
def test_degenerate_groups(mode: str, expected: list[list[float]]) -> None:
    # One correct, none, all of one length, no tokens at all, one rollout; NeMo's reward has a lower end.
    groups = Groups.of(
        correct=[[True, False], [False, False], [True, True], [True, False], [True]],
        lengths=[[10, 20], [10, 20], [10, 10], [0, 0], [10]],
    )
    rewards = objective("pass_rate", mode=mode, weight=2).rewards(groups)
    np.testing.assert_array_equal(rewards, groups.masked(expected))
