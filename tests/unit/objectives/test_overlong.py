import numpy as np
import pytest

from lapo_verl.objectives import Groups, objective

A = Groups.of(
    correct=[[True, True, False, True, True, False, True, False]],
    lengths=[[800, 1000, 1200, 1600, 2000, 2400, 3000, 4096]],
)


def test_golden_group() -> None:
    overlong = objective("overlong", limit=4096, buffer=1024)
    rewards = overlong.rewards(A)
    assert rewards[0] == pytest.approx([1, 1, 0, 1, 1, 0, 1, -1], abs=1e-9)
    assert overlong.metrics(A, rewards) == {"length_reward": 0, "overlong_share": 1 / 8}


def test_degenerate_groups() -> None:
    # One correct, none, all of one length, one rollout; beyond the limit the punishment does not grow.
    groups = Groups.of(
        correct=[[True, False, False], [False, False, False], [True, True, False], [True]],
        lengths=[[300, 200, 900], [0, 400, 350], [300, 300, 300], [100]],
    )
    rewards = objective("overlong", limit=400, buffer=200, weight=2).rewards(groups)
    expected = [[0, 0, -2], [0, -2, -1.5], [0, 0, -1], [1, np.nan, np.nan]]
    np.testing.assert_array_equal(rewards, expected)


def test_a_buffer_above_the_limit_is_refused() -> None:
    with pytest.raises(ValueError, match="buffer must not be above limit, got buffer=500, limit=400"):
        objective("overlong", limit=400, buffer=500)
