import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lapo_verl.method import LengthStats

lengths = st.lists(st.integers(0, 10**6), min_size=1, max_size=64)


def test_golden() -> None:
    # Sorted 100 200 300 400: the 30th percentile lies at index 0.3 * 3 = 0.9, so 100 + 0.9 * 100 = 190;
    # the 70th at 2.1, so 300 + 0.1 * 100 = 310; the median is (200 + 300) / 2 = 250.
    stats = LengthStats.of([400, 100, 300, 200])
    assert stats is not None
    assert (stats.n, stats.minimum, stats.maximum, stats.median, stats.mean) == (4, 100, 400, 250, 250)
    assert (stats.low, stats.high) == pytest.approx((190, 310))


def test_no_correct_rollout_has_no_statistics() -> None:
    assert LengthStats.of([]) is None


def test_one_correct_rollout_is_its_own_band() -> None:
    stats = LengthStats.of([7])
    assert stats == LengthStats(1, 7, 7, 7, 7, 7, 7)


@given(lengths)
def test_band_contains_the_median(values: list[int]) -> None:
    stats = LengthStats.of(values)
    assert stats is not None
    assert stats.minimum <= stats.low <= stats.median <= stats.high <= stats.maximum


@given(lengths, st.floats(0, 100), st.floats(0, 100))
def test_band_is_numpys(values: list[int], one: float, other: float) -> None:
    low, high = sorted((one, other))
    stats = LengthStats.of(values, low, high)
    assert stats is not None
    assert (stats.low, stats.high) == (np.percentile(values, low), np.percentile(values, high))
    assert stats.median == np.median(values)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([-1],), "lengths"),
        (([float("nan")],), "lengths"),
        (([[1, 2]],), "shape"),
        (([1], 80, 20), "low"),
        (([1], -1, 70), "low"),
        (([1], 30, 101), "high"),
    ],
)
def test_bad_input_is_named(arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LengthStats.of(*arguments)  # type: ignore[arg-type]


def test_statistic_by_name() -> None:
    stats = LengthStats.of([1, 2, 6])
    assert stats is not None
    assert [stats.value(name) for name in ("median", "mean", "minimum")] == [2, 3, 1]
    with pytest.raises(ValueError, match="statistic"):
        stats.value("mode")
