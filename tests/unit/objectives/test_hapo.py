import numpy as np
import pytest

from lapo_verl.objectives import Groups, objective

CORRECT = [[True, True, False, True, True, False, True, False]]
LENGTHS = [[800, 1000, 1200, 1600, 2000, 2400, 3000, 4096]]


def test_golden_group() -> None:
    hapo = objective("hapo")
    groups = Groups.of(CORRECT, LENGTHS, target=[1500])
    expected = [1.66913060636, 1.5, 0, 0.895471536732, 0.5, -0.809016994375, 0.3, -1]
    assert hapo.rewards(groups)[0] == pytest.approx(expected, abs=1e-9)
    assert hapo.update(groups).tolist() == [800]


@pytest.mark.parametrize("target", [None, 0])
def test_without_a_history_correctness_alone_counts(target: float | None) -> None:
    groups = Groups.of(CORRECT, LENGTHS, target=[target])
    assert objective("hapo").rewards(groups).tolist() == [[1, 1, 0, 1, 1, 0, 1, 0]]


def test_the_target_is_the_shortest_correct_length_so_far() -> None:
    groups = Groups.of(
        correct=[[True, False], [True], [False], [False]],
        lengths=[[90, 10], [200], [5], [5]],
        target=[None, 100, 100, None],
    )
    np.testing.assert_array_equal(objective("hapo").update(groups), [90, 100, 100, np.nan])


def test_degenerate_groups() -> None:
    # One correct, none, all of one length (that of the history), one rollout.
    groups = Groups.of(
        correct=[[True, False], [False, False], [True, False], [True]],
        lengths=[[100, 300], [50, 100], [100, 100], [1]],
        target=[100, 100, 100, 100],
    )
    rewards = objective("hapo").rewards(groups)
    np.testing.assert_allclose(
        rewards, [[1, -1], [0, 0], [1, 0], [1 + np.cos(np.pi / 200), np.nan]], rtol=0, atol=1e-12
    )


def test_what_it_keeps_and_needs() -> None:
    hapo = objective("hapo")
    assert hapo.keeps_targets and hapo.needs_wrong_lengths and not hapo.keeps_memory and not hapo.names_budget
