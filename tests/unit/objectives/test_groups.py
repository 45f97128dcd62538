from typing import Any

import numpy as np
import pytest

from lapo_verl.objectives import Groups


def test_ragged_rows_are_masked() -> None:
    groups = Groups.of(
        correct=[[True, False], [True]],
        lengths=[[100, 250], [90]],
        truncated=[[False, True], [False]],
        target=[120.0, None],
        prompt_budget=[None, 64],
        response_limit=250,
    )
    assert len(groups) == 2
    assert groups.valid.tolist() == [[True, True], [True, False]]
    assert groups.correct.tolist() == [[True, False], [True, False]]
    assert groups.truncated.tolist() == [[False, True], [False, False]]
    np.testing.assert_array_equal(groups.lengths, [[100, 250], [90, np.nan]])
    np.testing.assert_array_equal(groups.target, [120, np.nan])
    np.testing.assert_array_equal(groups.prompt_budget, [np.nan, 64])
    assert groups.guided.tolist() == [False, True]
    assert groups.response_limit == 250
    assert groups.accuracy.tolist() == [0.5, 1.0]
    assert groups.correct_lengths.count.tolist() == [1, 1]
    assert groups.all_lengths.count.tolist() == [2, 1]
    assert (groups.correct.dtype, groups.lengths.dtype) == (np.bool_, np.float64)


def test_what_is_left_out_is_none() -> None:
    groups = Groups.of(correct=[[1, 0]], lengths=[[100, 250]])
    assert not groups.truncated.any() and groups.response_limit is None
    assert np.isnan(groups.target).all() and np.isnan(groups.prompt_budget).all()


def test_arrays_and_rows_give_the_same_groups() -> None:
    # What is in an array where there is no rollout counts for nothing.
    arrays = Groups(
        np.array([[True, False], [True, True]]),
        np.array([[100, 250], [90, -1]]),
        valid=np.array([[True, True], [True, False]]),
        truncated=np.ones((2, 2), dtype=bool),
        target=np.array([1.0, np.nan]),
    )
    rows = Groups.of([[True, False], [True]], [[100, 250], [90]], truncated=[[True, True], [True]], target=[1, None])
    for name in ("correct", "lengths", "valid", "truncated", "target", "prompt_budget", "guided"):
        np.testing.assert_array_equal(getattr(arrays, name), getattr(rows, name))


def test_a_wrong_rollout_may_lack_its_length() -> None:
    groups = Groups.of(correct=[[True, False]], lengths=[[100, None]])
    np.testing.assert_array_equal(groups.lengths, [[100, np.nan]])
    assert groups.correct_lengths.mean().tolist() == [100]


def test_groups_own_their_arrays_and_nobody_changes_them() -> None:
    lengths = np.array([[100.0, 250.0]])
    groups = Groups(np.array([[True, False]]), lengths)
    lengths[0, 0] = 1
    assert groups.lengths[0, 0] == 100
    with pytest.raises(ValueError, match="read-only"):
        groups.lengths[0, 0] = 1


def test_a_step_may_have_no_groups() -> None:
    groups = Groups.of(correct=[], lengths=[])
    assert len(groups) == 0 and groups.correct_lengths.percentile(30).shape == (0,)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"correct": [True, False]}, "correct must be a row of rollouts for each group"),
        ({"correct": [[True, None]]}, "correct: group 0, rollout 1 must be true or false, got nan"),
        ({"correct": [[True, 0.5]]}, "correct: group 0, rollout 1 must be true or false, got 0.5"),
        ({"correct": [["yes", "no"]]}, "correct must be numbers: could not convert"),
        ({"correct": [[True, True], []], "lengths": [[1, 2], []]}, "group 1 has no rollouts"),
        ({"lengths": [[100]]}, "group 0 has 2 rollouts in correct, 1 in lengths"),
        ({"lengths": [[100, 250], [90]]}, "correct has 1 groups, lengths has 2"),
        ({"lengths": [[100, -5]]}, "lengths: group 0, rollout 1 must be finite and >= 0, got -5.0"),
        ({"lengths": [[float("inf"), 5]]}, "lengths: group 0, rollout 0 must be finite and >= 0, got inf"),
        ({"lengths": [[None, 5]]}, "lengths: group 0, rollout 0 is correct and has no length"),
        ({"lengths": [["long", 5]]}, "lengths must be numbers: could not convert"),
        ({"truncated": [[True]]}, "group 0 has 2 rollouts in correct, 1 in truncated"),
        ({"target": [-1]}, "target: group 0 must be finite and >= 0, got -1.0"),
        ({"target": [1, 2]}, r"target must have the shape \(1,\), as correct has, got \(2,\)"),
        ({"prompt_budget": [float("inf")]}, "prompt_budget: group 0 must be finite and >= 0, got inf"),
        ({"guided": [None]}, "guided: group 0 must be true or false, got nan"),
        ({"prompt_budget": [5], "guided": [False]}, "guided: group 0 names the prompt budget 5.0 and must be true"),
        ({"response_limit": 0}, "response_limit must be a number of tokens > 0, got 0"),
    ],
)
def test_input_that_cannot_be_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Groups.of(**{"correct": [[True, False]], "lengths": [[100, 250]], **arguments})


def test_arrays_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"correct must have the shape \(groups, rollouts\), got \(2,\)"):
        Groups(np.array([True, False]), np.array([1, 2]))
    with pytest.raises(ValueError, match=r"lengths must have the shape \(1, 2\), as correct has, got \(1, 3\)"):
        Groups(np.array([[True, False]]), np.array([[1, 2, 3]]))
