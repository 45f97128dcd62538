import numpy as np
import pytest

from lapo_verl.objectives import Groups, objective

A = Groups.of(
    correct=[[True, True, False, True, True, False, True, False]],
    lengths=[[800, 1000, 1200, 1600, 2000, 2400, 3000, 4096]],
)


TRL = [
    0.954396203288, 0.93000062699, -0.901377760351, 0.834222463348,
    0.759201805735, -0.683321810631, 0.583250019424, -0.5,
]  # fmt: skip
PAPER = {"correct_short": 2, "correct_long": 1, "wrong_short": -10, "wrong_long": 0, "exceeded": -10}


def test_golden_group() -> None:
    cosine = objective("cosine", limit=4096)
    rewards = cosine.rewards(A)
    assert rewards[0] == pytest.approx(TRL, abs=1e-9)
    assert cosine.metrics(A, rewards) == {
        "correct_reward": pytest.approx(rewards[A.correct].mean()),
        "wrong_reward": pytest.approx(rewards[~A.correct].mean()),
    }


def test_the_papers_values() -> None:
    groups = Groups.of(correct=[[True, True, True, False, False, False]], lengths=[[0, 50, 100, 0, 50, 100]])
    rewards = objective("cosine", limit=100, **PAPER).rewards(groups)
    assert rewards[0] == pytest.approx([2, 1.5, -10, -10, -5, -10], abs=1e-12)


def test_degenerate_groups() -> None:
    # One correct, none, all of one length, one rollout. Beyond the limit the reward stays.
    groups = Groups.of(
        correct=[[True, False], [False, False], [True, False], [True]], lengths=[[0, 0], [100, 150], [50, 50], [300]]
    )
    rewards = objective("cosine", limit=100).rewards(groups)
    expected = groups.masked([[1, -1], [-0.5, -0.5], [0.75, -0.75], [0.5, 0]])
    np.testing.assert_allclose(rewards, expected, rtol=0, atol=1e-12)
