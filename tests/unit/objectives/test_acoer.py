import numpy as np
import pytest

from lapo_verl.objectives import Groups, objective

A = Groups.of(
    correct=[[True, True, False, True, True, False, True, False]],
    lengths=[[800, 1000, 1200, 1600, 2000, 2400, 3000, 4096]],
)


ALL, HALF, NONE = (Groups.of([row], [[1000, 2000]]) for row in ([True, True], [True, False], [False, False]))


def test_golden_group() -> None:
    memory = {"alpha": 0.02, "budget": 1700.0, "steps": 1, "length": 2000.0, "accuracy": 0.5, "accuracies": [0.5]}
    acoer = objective("acoer")
    rewards = acoer.rewards(A, memory)
    expected = [1.01444302166, 1.01247969266, 0, 1.00287794331, 1, 0, 1, 0]
    assert rewards[0] == pytest.approx(expected, abs=1e-9)
    assert acoer.rewards(A)[0] == pytest.approx(acoer.rewards(A, memory | {"budget": 4096})[0], abs=1e-15)
    metrics = acoer.metrics(A, rewards, memory)
    assert metrics["alpha"] == 0.02 and metrics["budget"] == 1700


def test_averages_of_accuracy_and_of_correct_lengths() -> None:
    acoer = objective("acoer")
    memory = acoer.adapt(None, ALL)
    assert memory is not None and (memory["length"], memory["accuracy"]) == (1500, 1)
    memory = acoer.adapt(memory, HALF)
    assert memory is not None
    assert memory["length"] == pytest.approx(1500 - 500 * 2 / 51) and memory["accuracy"] == pytest.approx(1 - 1 / 51)
    # None correct: the length stays.
    after = acoer.adapt(memory, NONE)
    assert after is not None and after["length"] == memory["length"] and after["accuracy"] < memory["accuracy"]
    assert after["steps"] == 3 and len(after["accuracies"]) == 3


def test_the_weight_grows_while_accuracy_holds_and_shrinks_when_it_falls() -> None:
    acoer, memory, alphas, budgets = objective("acoer", warmup=4, window=3, lowest_budget=100), None, [], []
    for step in [ALL] * 5 + [NONE] * 2:
        memory = acoer.adapt(memory, step)
        assert memory is not None
        alphas.append(memory["alpha"])
        budgets.append(memory["budget"])
    assert alphas == pytest.approx([0.02] * 3 + [0.02 * factor for factor in (1.02, 1.02**2, 1.02**2 * 0.95)]
                                   + [0.02 * 1.02**2 * 0.95**2])  # fmt: skip
    assert budgets == pytest.approx([4096] * 3 + [0.85 * 1500] * 4)


def test_nothing_moves_before_there_is_a_window_of_averages() -> None:
    acoer, memory = objective("acoer", warmup=0, window=4), None
    for moved in (False, False, False, True):
        memory = acoer.adapt(memory, ALL)
        assert memory is not None and (memory["alpha"] > 0.02) == moved
        assert memory["budget"] == (1275 if moved else 4096)


def test_weight_and_budget_stay_in_their_ranges() -> None:
    acoer, memory = objective("acoer", warmup=0, window=2), None
    short = Groups.of([[True]], [[10]])
    for _ in range(400):
        memory = acoer.adapt(memory, short)
    assert memory is not None and (memory["alpha"], memory["budget"]) == (0.5, 512)
    assert len(memory["accuracies"]) == 2
    fallen = memory | {"alpha": 0.01, "accuracies": [1.0, 1.0], "accuracy": 0.9}
    after = acoer.adapt(fallen, NONE)
    assert after is not None and after["alpha"] == 0.01


def test_degenerate_groups() -> None:
    # One correct, none, all of one length (the budget), one rollout of no tokens.
    groups = Groups.of(
        correct=[[True, False], [False, False], [True, True], [True]], lengths=[[9000, 1], [1, 1], [100, 100], [0]]
    )
    rewards = objective("acoer", alpha=0.5, budget=100).rewards(groups)
    np.testing.assert_allclose(rewards, groups.masked([[1, 0], [0, 0], [1, 1], [1.5, 0]]), rtol=1e-15)
