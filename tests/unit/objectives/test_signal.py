import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lapo_verl.objectives import float32_scores, has_signal


@given(st.floats(-100, 100), st.integers(1, 300))
def test_the_sum_of_equal_scores_is_exact(reward: float, n: int) -> None:
    (scores,) = float32_scores(np.array([[reward] * n]))
    assert scores.dtype == np.float32
    assert np.cumsum(scores).tolist() == [i * float(scores[0]) for i in range(1, n + 1)]
    assert scores[0] == pytest.approx(reward, abs=max(2**-17, abs(reward) * n * 2**-24))


@given(st.lists(st.floats(0, 2), min_size=1, max_size=64))
def test_scores_that_differ_are_left_as_they_are(rewards: list[float]) -> None:
    rows = np.array([rewards])
    scores = float32_scores(rows)
    if has_signal(rows)[0]:
        assert scores[0].tolist() == np.float32(rewards).tolist()
    assert (float32_scores(scores.astype(np.float64)) == scores).all()


def test_a_difference_that_float32_cannot_hold_is_none() -> None:
    # Two neighbours in float64 on either side of the middle between two float32 numbers.
    middle = (float(np.float32(1.7)) + float(np.nextafter(np.float32(1.7), np.float32(2)))) / 2
    rewards = np.array([[np.nextafter(middle, 1), np.nextafter(middle, 2)]])
    assert len(set(np.float32(rewards[0]).tolist())) == 2
    assert not has_signal(rewards)[0]
    assert len(set(float32_scores(rewards)[0].tolist())) == 1


def test_small_terms_are_a_signal() -> None:
    assert has_signal(np.array([[1.7, 1.7 + 1e-5], [1.7, 1.7]])).tolist() == [True, False]


def test_groups_as_rows() -> None:
    scores = float32_scores(np.array([[1.7, 1.7], [1.7, 1.0], [0.0, 0.0]]))
    assert scores.tolist() == [[1.6999969482421875] * 2, np.float32([1.7, 1.0]).tolist(), [0.0, 0.0]]


def test_a_place_without_a_rollout_counts_for_nothing() -> None:
    scores = float32_scores(np.array([[1.7, 1.7, np.nan], [1.7, np.nan, 1.0]]))
    assert scores[0, :2].tolist() == float32_scores(np.array([[1.7, 1.7]]))[0].tolist()
    assert np.isnan(scores[[0, 1], [2, 1]]).all()
    assert has_signal(np.array([[1.7, np.nan], [0.0, np.nan]])).tolist() == [False, False]
