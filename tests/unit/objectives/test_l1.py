import numpy as np
import pytest

from lapo_verl.objectives import Groups, objective

A = Groups.of(
    correct=[[True, True, False, True, True, False, True, False]],
    lengths=[[800, 1000, 1200, 1600, 2000, 2400, 3000, 4096]],
)


EXPECTED = {
    "exact": [0.79, 0.85, -0.09, 0.97, 0.85, -0.27, 0.55, -0.7788],
    "max": [0.71, 0.65, 0, 0.47, 0.35, 0, 0.05, 0],
    "max_code": [1.605, 1.575, 0.545, 1.485, 1.425, 0.365, 1.275, 0.1106],
}
every_mode = pytest.mark.parametrize("mode", EXPECTED)


@every_mode
def test_golden_group(mode: str) -> None:
    groups = Groups(A.correct, A.lengths, prompt_budget=[1500])
    l1 = objective("l1", mode=mode)
    rewards = l1.rewards(groups)
    assert rewards[0] == pytest.approx(EXPECTED[mode], abs=1e-9)
    metrics = l1.metrics(groups, rewards)
    assert metrics["adherence_tokens"] == pytest.approx(np.mean([700, 500, 100, 500, 1500]))
    assert metrics["over_budget_share"] == pytest.approx(3 / 5)


@every_mode
def test_without_a_number_in_the_prompt_correctness_alone_counts(mode: str) -> None:
    l1 = objective("l1", mode=mode)
    rewards = l1.rewards(A)
    assert rewards.tolist() == A.correct.tolist()
    assert l1.metrics(A, rewards) == {"length_reward": 0}


def test_degenerate_groups() -> None:
    # One correct, none, all of one length (that of the budget), one rollout.
    groups = Groups.of(
        correct=[[True, False], [False, False], [True, False], [True]],
        lengths=[[100, 300], [0, 100], [200, 200], [9000]],
        prompt_budget=[200, 200, 200, 200],
    )
    off, far = 0.0003 * 100, 0.0003 * 8800
    for mode, expected in (
        ("exact", [[1 - off, -off], [-2 * off, -off], [1, 0], [1 - far, 0]]),
        ("max", [[0.5 + off, 0], [0, 0], [0.5, 0], [0, 0]]),
        ("max_code", [[1.5 + off / 2, 0.5 - off / 2], [0.5 + off, 0.5 + off / 2], [1.5, 0.5], [1, 0]]),
    ):
        rewards = objective("l1", mode=mode).rewards(groups)
        np.testing.assert_allclose(rewards, groups.masked(expected), rtol=0, atol=1e-12)


def test_budgets_are_drawn_evenly_from_the_range() -> None:
    l1 = objective("l1", low=100, high=103)
    draws = np.arange(4000) / 4000
    budgets = [l1.prompt_budget(None, 4096, draw) for draw in draws]
    assert np.unique(budgets, return_counts=True)[0].tolist() == [100, 101, 102, 103]
    assert set(np.unique(budgets, return_counts=True)[1].tolist()) == {1000}
    # The same whatever the problem's target, since it has none; the largest draw is still in range.
    assert l1.prompt_budget(50, 4096, draws[7]) == budgets[7]
    assert l1.prompt_budget(None, 4096, float(np.nextafter(1, 0))) == 103


def test_budgets_are_never_above_the_response_limit() -> None:
    l1 = objective("l1", low=100, high=4000)
    assert [l1.prompt_budget(None, 512, draw) for draw in (0, 0.99999)] == [100, 512]
    assert [l1.prompt_budget(None, 64, draw) for draw in (0, 0.99999)] == [64, 64]


def test_a_range_that_is_upside_down_is_refused() -> None:
    with pytest.raises(ValueError, match="low must not be above high, got low=500, high=400"):
        objective("l1", low=500, high=400)
