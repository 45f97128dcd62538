import numpy as np
import pytest

from lapo_verl.objectives import Groups, objective

A = Groups.of(
    correct=[[True, True, False, True, True, False, True, False]],
    lengths=[[800, 1000, 1200, 1600, 2000, 2400, 3000, 4096]],
)


def test_golden_group() -> None:
    expected = [0.99995, 0.9999375, -7.5e-05, 0.9999, 0.999875, -0.00015, 0.9998125, -0.000256]
    assert objective("alp", beta=1e-7).rewards(A)[0] == pytest.approx(expected, abs=1e-9)


def test_degenerate_groups() -> None:
    # One correct, none (p is taken as 1/2), all of one length, one rollout (1/K is 1).
    groups = Groups.of(
        correct=[[True, False], [False, False], [True, True], [False]], lengths=[[10, 20], [10, 20], [10, 10], [10]]
    )
    rewards = objective("alp", beta=0.01).rewards(groups)
    np.testing.assert_allclose(rewards, groups.masked([[0.95, -0.1], [-0.05, -0.1], [0.9, 0.9], [-0.1, 0]]), atol=1e-12)
