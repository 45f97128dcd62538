import numpy as np
import pytest

from lapo_verl.objectives import Groups, objective

A = Groups.of(
    correct=[[True, True, False, True, True, False, True, False]],
    lengths=[[800, 1000, 1200, 1600, 2000, 2400, 3000, 4096]],
)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("bonus", [1.5, 1.5, -0.5, 1.5, 1.5, -0.5, 1, -0.5]),
        ("penalty", [1, 1, -0.5, 1, 1, -0.5, 0.5, -0.5]),
        ("hybrid", [1.5, 1.5, -0.5, 1.5, 1.5, -0.5, 0.5, -0.5]),
    ],
)
def test_golden_group(kind: str, expected: list[float]) -> None:
    laser = objective("laser", kind=kind, target_length=2048)
    rewards = laser.rewards(A)
    assert rewards[0] == pytest.approx(expected, abs=1e-9)
    right = [reward for reward, correct in zip(expected, A.correct[0], strict=True) if correct]
    assert laser.metrics(A, rewards) == {"length_reward": pytest.approx(np.mean(right) - 1), "over_limit_share": 1 / 5}


def test_laser_d_starts_as_laser() -> None:
    laser, laser_d = (objective(name, target_length=2048) for name in ("laser", "laser_d"))
    np.testing.assert_array_equal(laser.rewards(A), laser_d.rewards(A))


def test_degenerate_groups() -> None:
    # One correct, none, all of one length (that of the target), one rollout.
    groups = Groups.of(
        correct=[[True, False], [False, False], [True, False], [True]], lengths=[[11, 5], [5, 5], [10, 10], [0]]
    )
    rewards = objective("laser", target_length=10).rewards(groups)
    np.testing.assert_array_equal(rewards, groups.masked([[1, -0.5], [-0.5, -0.5], [1.5, -0.5], [1.5, 0]]))
