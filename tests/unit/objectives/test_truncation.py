import numpy as np
import pytest

from lapo_verl.objectives import Groups, objective

A = Groups.of(
    correct=[[True, True, False, True, True, False, True, False]],
    lengths=[[800, 1000, 1200, 1600, 2000, 2400, 3000, 4096]],
)


def test_golden_group() -> None:
    truncation = objective("truncation", limit=2048)
    rewards = truncation.rewards(A)
    assert rewards[0] == pytest.approx([1, 1, 0, 1, 1, 0, 0, 0], abs=1e-9)
    assert truncation.metrics(A, rewards) == {"over_limit_share": 1 / 5}


def test_degenerate_groups() -> None:
    # One correct, none, all of one length (too long), one rollout.
    groups = Groups.of(
        correct=[[True, False], [False, False], [True, True], [True]], lengths=[[10, 5], [5, 5], [11, 11], [10]]
    )
    rewards = objective("truncation", limit=10).rewards(groups)
    np.testing.assert_array_equal(rewards, groups.masked([[1, 0], [0, 0], [0, 0], [1, 1]]))


def test_the_prompt_names_the_limit() -> None:
    truncation = objective("truncation", limit=3000)
    assert truncation.names_budget
    assert [truncation.prompt_budget(target, limit, 0.3) for target, limit in ((None, 8192), (50, 2048))] == [
        3000,
        2048,
    ]
