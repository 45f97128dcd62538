import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lapo_verl.method import (
    DiscoveryConfig,
    InternalizationConfig,
    discovery_rewards,
    internalization_rewards,
)

group = st.lists(st.tuples(st.booleans(), st.integers(0, 10**6)), min_size=1, max_size=32)
budgets = st.one_of(st.none(), st.floats(0, 1e6))


def columns(rollouts: list[tuple[bool, int]]) -> tuple[list[bool], list[int]]:
    return [correct for correct, _ in rollouts], [length for _, length in rollouts]


def test_discovery_golden() -> None:
    # Correct lengths 100 200 300 400: the band is [190, 310] (see test_lengths).
    #   100: 90 outside, R1 = 1 - 90/100 = 0.1, R = 1 + 0.7 * 0.1 = 1.07
    #   200, 300: inside, R = 1.7
    #   400: 90 outside, R = 1.07
    # The wrong rollout of 250 tokens earns nothing and moves no percentile.
    rewards = discovery_rewards([True, True, True, True, False], [100, 200, 300, 400, 250])
    assert rewards.tolist() == pytest.approx([1.07, 1.7, 1.7, 1.07, 0.0])


def test_discovery_far_outside_the_band_keeps_the_reward_for_correctness() -> None:
    # Correct 0 100 200 1000: P70 lies at index 2.1, 200 + 0.1 * 800 = 280; 1000 is 720 outside, R1 = 0.
    rewards = discovery_rewards([True] * 4, [0, 100, 200, 1000])
    assert rewards[3] == 1.0


def test_internalization_golden() -> None:
    # n = 500, sigma = 120: 500 is on target, R = 1.7; 620 is one sigma off, R = 1 + 0.7 * exp(-1/2).
    rewards = internalization_rewards([True, True, False], [500, 620, 500], 500.0)
    assert rewards.tolist() == pytest.approx([1.7, 1 + 0.7 * math.exp(-0.5), 0.0])


def test_unsolved_problem_is_rewarded_around_the_groups_median() -> None:
    # Correct lengths 100 and 340, median 220: both are 120 = sigma away.
    rewards = internalization_rewards([True, False, True], [100, 4096, 340], None)
    assert rewards.tolist() == pytest.approx([1 + 0.7 * math.exp(-0.5), 0.0, 1 + 0.7 * math.exp(-0.5)])


def test_presets_differ_where_paper_and_reference_code_do() -> None:
    one = ([True, False], [300, 200])
    assert discovery_rewards(*one, DiscoveryConfig.preset("paper")).tolist() == [1.7, 0.0]
    assert discovery_rewards(*one, DiscoveryConfig.preset("reference")).tolist() == [1.0, 0.0]
    assert InternalizationConfig.preset("reference").beta == 0.8
    with pytest.raises(ValueError, match="preset"):
        DiscoveryConfig.preset("papr")


@pytest.mark.parametrize("lengths", [[200] * 4, [200] * 9 + [250], [200]])
def test_the_reference_rewards_no_length_where_the_band_is_one_length(lengths: list[int]) -> None:
    reference, paper = DiscoveryConfig.preset("reference"), DiscoveryConfig.preset("paper")
    correct = [True] * len(lengths)
    assert discovery_rewards(correct, lengths, reference).tolist() == [1.0] * len(lengths)
    # Eq. 5: 50 tokens outside of the band, R1 = 0.5.
    expected = [1.7 if length == 200 else 1.35 for length in lengths]
    assert discovery_rewards(correct, lengths, paper).tolist() == pytest.approx(expected)


@given(group)
def test_a_correct_rollout_never_earns_less_than_a_wrong_one(rollouts: list[tuple[bool, int]]) -> None:
    correct, lengths = columns(rollouts)
    for rewards in (discovery_rewards(correct, lengths), internalization_rewards(correct, lengths, 100.0)):
        flags = np.array(correct)
        assert (rewards[flags] >= 1).all()
        assert (rewards[~flags] == 0).all()


@given(group, st.floats(0, 10), budgets)
def test_rewards_lie_between_0_and_1_plus_the_weight(
    rollouts: list[tuple[bool, int]], weight: float, budget: float | None
) -> None:
    correct, lengths = columns(rollouts)
    one = discovery_rewards(correct, lengths, DiscoveryConfig(alpha=weight))
    two = internalization_rewards(correct, lengths, budget, InternalizationConfig(beta=weight))
    for rewards in (one, two):
        assert rewards.shape == (len(rollouts),)
        assert rewards.dtype == np.float64
        assert ((rewards >= 0) & (rewards <= 1 + weight)).all()


@given(group, budgets, st.integers())
def test_permuting_rollouts_permutes_rewards(rollouts: list[tuple[bool, int]], budget: float | None, seed: int) -> None:
    order = list(range(len(rollouts)))
    random.Random(seed).shuffle(order)
    correct, lengths = columns(rollouts)
    mixed_correct, mixed_lengths = columns([rollouts[i] for i in order])
    one, mixed = discovery_rewards(correct, lengths), discovery_rewards(mixed_correct, mixed_lengths)
    assert mixed.tolist() == pytest.approx(one[order].tolist())
    two = internalization_rewards(correct, lengths, budget)
    assert internalization_rewards(mixed_correct, mixed_lengths, budget).tolist() == pytest.approx(two[order].tolist())


@pytest.mark.parametrize("length", [0, 10**6])
@pytest.mark.parametrize("n", [1, 8])
def test_equal_lengths_are_all_inside(length: int, n: int) -> None:
    assert discovery_rewards([True] * n, [length] * n).tolist() == [1.7] * n
    assert internalization_rewards([True] * n, [length] * n, float(length)).tolist() == [1.7] * n


def test_no_correct_rollout_earns_nothing() -> None:
    assert discovery_rewards([False, False], [10, 20]).tolist() == [0, 0]
    assert internalization_rewards([False, False], [10, 20], None).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: discovery_rewards([True], [1, 2]), "shape"),
        (lambda: discovery_rewards([True], [-5]), "lengths.*-5"),
        (lambda: discovery_rewards([True], [float("nan")]), "lengths.*nan"),
        (lambda: discovery_rewards([0.5], [1]), "correct.*0.5"),
        (lambda: internalization_rewards([True], [1], float("nan")), "budget.*nan"),
        (lambda: internalization_rewards([True], [1], -1.0), "budget.*-1"),
        (lambda: DiscoveryConfig(alpha=-0.1), "alpha.*-0.1"),
        (lambda: DiscoveryConfig(alpha=float("nan")), "alpha.*nan"),
        (lambda: DiscoveryConfig(low=70, high=30), "low=70"),
        (lambda: DiscoveryConfig(decay=0), "decay.*0"),
        (lambda: DiscoveryConfig(on_unsolved="drop"), "on_unsolved.*drop"),  # type: ignore[arg-type]
        (lambda: DiscoveryConfig(degenerate_band="x"), "degenerate_band"),  # type: ignore[arg-type]
        (lambda: DiscoveryConfig(statistic="mode"), "statistic.*mode"),  # type: ignore[arg-type]
        (lambda: InternalizationConfig(sigma=0), "sigma.*0"),
        (lambda: InternalizationConfig(beta=True), "beta.*True"),
    ],
)
def test_bad_input_is_named(call: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()  # type: ignore[operator]
