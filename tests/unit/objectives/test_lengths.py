import warnings
from collections.abc import Callable
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from lapo_verl.objectives import MaskedLengths

# Rows of (length, whether it counts), of several sizes, padded to a rectangle.
rows = st.lists(st.lists(st.tuples(st.integers(0, 10**6), st.booleans()), min_size=1, max_size=40), max_size=6)


def masked(groups: list[list[tuple[int, bool]]]) -> tuple[MaskedLengths, list[NDArray[np.float64]]]:
    """The rows as ``MaskedLengths``, and the lengths that count of each."""
    width = max((len(row) for row in groups), default=0)
    values, mask = np.full((len(groups), width), np.nan), np.zeros((len(groups), width), dtype=bool)
    for number, row in enumerate(groups):
        values[number, : len(row)] = [length for length, _ in row]
        mask[number, : len(row)] = [counts for _, counts in row]
    return MaskedLengths(values, mask), [values[number][mask[number]] for number in range(len(groups))]


def by_row(chosen: list[NDArray[np.float64]], function: Callable[[NDArray[np.float64]], float]) -> list[float]:
    return [float(function(values)) if values.size else float("nan") for values in chosen]


@given(rows, st.one_of(st.sampled_from([0, 30, 50, 70, 100]), st.integers(0, 100), st.floats(0, 100)))
def test_percentile_is_numpys_to_the_bit(groups: list[list[tuple[int, bool]]], q: float) -> None:
    lengths, chosen = masked(groups)
    np.testing.assert_array_equal(lengths.percentile(q), by_row(chosen, lambda values: np.percentile(values, q)))


@given(rows)
def test_statistics_are_numpys_to_the_bit(groups: list[list[tuple[int, bool]]]) -> None:
    lengths, chosen = masked(groups)
    assert lengths.count.tolist() == [values.size for values in chosen]
    np.testing.assert_array_equal(lengths.statistic("median"), by_row(chosen, np.median))
    np.testing.assert_array_equal(lengths.statistic("mean"), by_row(chosen, np.mean))
    np.testing.assert_array_equal(lengths.statistic("minimum"), by_row(chosen, np.min))
    np.testing.assert_array_equal(lengths.maximum(), by_row(chosen, np.max))


@given(rows, st.sampled_from([0, 1]))
def test_standard_deviation_is_numpys(groups: list[list[tuple[int, bool]]], ddof: int) -> None:
    lengths, chosen = masked(groups)
    expected = [float(np.std(values, ddof=ddof)) if values.size > ddof else float("nan") for values in chosen]
    np.testing.assert_allclose(lengths.std(ddof), expected, rtol=1e-9, atol=1e-9)


@given(rows, st.sampled_from([0, 1]), st.randoms(use_true_random=False))
def test_no_order_of_the_rollouts_changes_a_bit(
    groups: list[list[tuple[int, bool]]], ddof: int, shuffle: Random
) -> None:
    shuffled, (lengths, _) = [shuffle.sample(row, len(row)) for row in groups], masked(groups)
    np.testing.assert_array_equal(masked(shuffled)[0].std(ddof), lengths.std(ddof))
    for row, one in zip(groups, lengths.std(ddof), strict=True):
        np.testing.assert_array_equal(masked([row])[0].std(ddof), [one])


def test_a_group_without_lengths_has_no_statistic_and_warns_of_nothing() -> None:
    lengths = MaskedLengths(np.array([[100.0, 200.0], [300.0, np.nan]]), np.array([[False, False], [True, False]]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = [lengths.percentile(30), lengths.mean(), lengths.minimum(), lengths.maximum(), lengths.std()]
    assert all(np.isnan(values[0]) for values in found)
    assert [values[1] for values in found] == [300, 300, 300, 300, 0]


def test_an_unknown_length_that_counts_makes_the_statistic_unknown() -> None:
    lengths = MaskedLengths(np.array([[100.0, np.nan, 300.0]]), np.array([[True, True, False]]))
    assert np.isnan([lengths.percentile(70), lengths.mean(), lengths.maximum(), lengths.std()]).all()


def test_unknown_statistic() -> None:
    with pytest.raises(KeyError):
        MaskedLengths(np.ones((1, 1)), np.ones((1, 1), dtype=bool)).statistic("mode")  # type: ignore[arg-type]
