import numpy as np
import pytest

from lapo_verl.objectives import Groups, objective

A = Groups.of(
    correct=[[True, True, False, True, True, False, True, False]],
    lengths=[[800, 1000, 1200, 1600, 2000, 2400, 3000, 4096]],
)


def test_golden_group() -> None:
    expected = [0.884007029877, 0.859094790777, 0, 0.792125984252, 0.752994011976, 0, 0.670219853431, 0]
    assert objective("gr3", alpha=0.33).rewards(A)[0] == pytest.approx(expected, abs=1e-9)


def test_degenerate_groups() -> None:
    # One correct, none, all of one length, no tokens at all, one rollout.
    groups = Groups.of(
        correct=[[True, False], [False, False], [True, True], [True, False], [True]],
        lengths=[[10, 30], [10, 30], [7, 7], [0, 0], [5]],
    )
    rewards = objective("gr3", alpha=1).rewards(groups)
    np.testing.assert_allclose(rewards, groups.masked([[2 / 3, 0], [0, 0], [0.5, 0.5], [1, 0], [0.5, 0]]), rtol=1e-15)
