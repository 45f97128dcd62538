import numpy as np
import pytest

from lapo_verl.objectives import Groups, objective

# Group A of the comparison of methods.
A = Groups.of(
    correct=[[True, True, False, True, True, False, True, False]],
    lengths=[[800, 1000, 1200, 1600, 2000, 2400, 3000, 4096]],
)
DEGENERATE = Groups.of(
    correct=[[True, False, False], [False, False], [True, True, True, True], [True]],
    lengths=[[300, 200, 400], [100, 200], [200, 200, 200, 200], [50]],
    target=[10, 20, 30, 40],
)


def test_golden_group() -> None:
    # Correct 800 1000 1600 2000 3000: the band is [1120, 1920]; 2000 is 80 outside, R1 = 0.2.
    assert objective("discovery").rewards(A)[0] == pytest.approx([1, 1, 0, 1.7, 1.14, 0, 1, 0], abs=1e-12)
    assert objective("discovery").update(A).tolist() == [1600]


def test_degenerate_groups() -> None:
    # One correct, none, all of one length, one rollout.
    discovery = objective("discovery")
    np.testing.assert_array_equal(
        discovery.rewards(DEGENERATE), DEGENERATE.masked([[1.7, 0, 0, 0], [0] * 4, [1.7] * 4, [1.7] * 4])
    )
    np.testing.assert_array_equal(discovery.update(DEGENERATE), [300, np.nan, 200, 50])
    np.testing.assert_array_equal(objective("discovery", on_unsolved="keep").update(DEGENERATE), [300, 20, 200, 50])


def test_the_reference_rewards_no_length_where_the_band_is_a_point() -> None:
    reference = objective("discovery", degenerate_band="zero")
    np.testing.assert_array_equal(
        reference.rewards(DEGENERATE), DEGENERATE.masked([[1, 0, 0, 0], [0] * 4, [1] * 4, [1] * 4])
    )
    np.testing.assert_array_equal(reference.rewards(A), objective("discovery").rewards(A))


def test_metrics_of_the_golden_group() -> None:
    discovery = objective("discovery", alpha=0)
    # R1 is 0 0 1 0.2 0; of five correct ones 1600 is in the band. The weight has no part in it.
    metrics = discovery.metrics(A, discovery.rewards(A))
    assert metrics == pytest.approx({"length_reward": 0.24, "in_band_share": 0.2})


def test_a_step_without_a_correct_rollout_has_no_mean() -> None:
    groups = Groups.of(correct=[[False]], lengths=[[10]])
    assert objective("discovery").metrics(groups, groups.masked(0.0)) == {}


def test_what_it_keeps_and_needs() -> None:
    discovery = objective("discovery")
    assert discovery.keeps_targets and not discovery.keeps_memory
    assert not discovery.names_budget and not discovery.needs_wrong_lengths
