import numpy as np
import pytest

from lapo_verl.objectives import Groups, objective

A = Groups.of(
    correct=[[True, True, False, True, True, False, True, False]],
    lengths=[[800, 1000, 1200, 1600, 2000, 2400, 3000, 4096]],
)
TERMS = [0.5, 0.43932038835, 0, 0.257281553398, 0.135922330097, 0, -0.167475728155, -0.5]


@pytest.mark.parametrize("weight", [0, 0.4, 1])
def test_golden_group(weight: float) -> None:
    rewards = objective("kimi", weight=weight).rewards(A)
    assert rewards[0] == pytest.approx(A.correct[0] + weight * np.array(TERMS), abs=1e-9)


def test_degenerate_groups() -> None:
    # One correct, none, all of one length, one rollout.
    groups = Groups.of(
        correct=[[True, False, False], [False, False, False], [True, True, False], [True]],
        lengths=[[200, 100, 300], [100, 200, 300], [7, 7, 7], [50]],
    )
    np.testing.assert_array_equal(
        objective("kimi", weight=1).rewards(groups),
        [[1, 0, -0.5], [0, 0, -0.5], [1, 1, 0], [1, np.nan, np.nan]],
    )


def test_metrics_name_the_term_before_its_weight() -> None:
    kimi = objective("kimi", weight=0)
    right = [term for term, correct in zip(TERMS, A.correct[0], strict=True) if correct]
    assert kimi.metrics(A, kimi.rewards(A)) == pytest.approx({"length_reward": np.mean(right)})
