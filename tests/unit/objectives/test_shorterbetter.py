import numpy as np
import pytest

from lapo_verl.objectives import Groups, objective

A = Groups.of(
    correct=[[True, True, False, True, True, False, True, False]],
    lengths=[[800, 1000, 1200, 1600, 2000, 2400, 3000, 4096]],
)


def test_golden_group() -> None:
    shorterbetter = objective("shorterbetter")
    rewards = shorterbetter.rewards(A)
    assert rewards[0] == pytest.approx([2, 1.8, -0.4, 1.2, 0.8, -1.6, -0.2, -3.296], abs=1e-9)
    off = np.mean([0, 200, 800, 1200, 2200])
    assert shorterbetter.metrics(A, rewards) == {
        "length_reward": pytest.approx(-0.001 * off),
        "optimal_length": 800,
    }


def test_degenerate_groups() -> None:
    # One correct (the wrong one below it pays as well), none (the mean is 20), all of one length, one rollout.
    groups = Groups.of(
        correct=[[True, False], [False, False], [True, False], [True]], lengths=[[30, 10], [10, 30], [7, 7], [9000]]
    )
    shorterbetter = objective("shorterbetter", alpha=1, beta=0.01)
    rewards = shorterbetter.rewards(groups)
    np.testing.assert_allclose(rewards, groups.masked([[1, -0.2], [-0.1, -0.1], [1, 0], [1, 0]]), atol=1e-12)
    assert shorterbetter.metrics(groups, rewards)["optimal_length"] == np.mean([30, 7, 9000])
