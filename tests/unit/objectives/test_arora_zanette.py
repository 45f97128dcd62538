import numpy as np
import pytest

from lapo_verl.objectives import Groups, objective

A = Groups.of(
    correct=[[True, True, False, True, True, False, True, False]],
    lengths=[[800, 1000, 1200, 1600, 2000, 2400, 3000, 4096]],
)


def test_golden_group() -> None:
    expected = [0.975394614717, 0.970376203584, 0, 0.952542737571, 0.939958627047, 0, 0.915714105533, 0]
    assert objective("arora_zanette", alpha=0.1).rewards(A)[0] == pytest.approx(expected, abs=1e-9)


def test_degenerate_groups() -> None:
    # One correct, none, all of one length, one rollout. A lone correct one loses half of alpha, not all of it.
    groups = Groups.of(
        correct=[[True, False], [False, False], [True, True], [True]], lengths=[[9000, 5], [5, 5], [7, 7], [0]]
    )
    rewards = objective("arora_zanette", alpha=0.4).rewards(groups)
    np.testing.assert_array_equal(rewards, groups.masked([[0.8, 0], [0, 0], [0.8, 0.8], [0.8, 0]]))


def test_a_rollout_that_was_cut_off_is_wrong() -> None:
    groups = Groups.of(correct=[[True, True, True]], lengths=[[100, 100, 9000]], truncated=[[False, False, True]])
    assert objective("arora_zanette", alpha=0.2).rewards(groups).tolist() == [[0.9, 0.9, 0]]


def test_a_wrong_rollout_may_be_any_number_of_deviations_off() -> None:
    # z is about -1e12 for the wrong one: exp would overflow.
    groups = Groups.of(correct=[[True, True, False]], lengths=[[100_000, 100_000, 1]])
    assert objective("arora_zanette").rewards(groups).tolist() == [[0.95, 0.95, 0]]
