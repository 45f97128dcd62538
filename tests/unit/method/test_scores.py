import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lapo_verl.method.scores import float32_scores, has_signal


@given(st.floats(-100, 100), st.integers(1, 300))
def test_the_sum_of_equal_scores_is_exact(reward: float, n: int) -> None:
    scores = float32_scores([reward] * n)
    assert scores.dtype == np.float32
    assert np.cumsum(scores).tolist() == [i * float(scores[0]) for i in range(1, n + 1)]
    assert scores[0] == pytest.approx(reward, abs=max(2**-17, abs(reward) * n * 2**-24))


@given(st.lists(st.floats(0, 2), min_size=1, max_size=64))
def test_scores_that_differ_are_left_as_they_are(rewards: list[float]) -> None:
    scores = float32_scores(rewards)
    if has_signal(rewards):
        assert scores.tolist() == np.float32(rewards).tolist()
    assert (float32_scores(scores) == scores).all()


def test_a_difference_that_float32_cannot_hold_is_none() -> None:
    # Two neighbours in float64 on either side of the middle between two float32 numbers.
    middle = (float(np.float32(1.7)) + float(np.nextafter(np.float32(1.7), np.float32(2)))) / 2
    rewards = [np.nextafter(middle, 1), np.nextafter(middle, 2)]
    assert len(set(np.float32(rewards).tolist())) == 2
    assert not has_signal(rewards)
    assert len(set(float32_scores(rewards).tolist())) == 1


def test_small_terms_are_a_signal() -> None:
    assert has_signal([[1.7, 1.7 + 1e-5], [1.7, 1.7]]).tolist() == [True, False]


def test_groups_as_rows() -> None:
    scores = float32_scores([[1.7, 1.7], [1.7, 1.0], [0.0, 0.0]])
    assert scores.tolist() == [[1.6999969482421875] * 2, np.float32([1.7, 1.0]).tolist(), [0.0, 0.0]]
