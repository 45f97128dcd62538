import numpy as np
import pytest

from lapo_verl.objectives import Groups, objective

A = Groups.of(
    correct=[[True, True, False, True, True, False, True, False]],
    lengths=[[800, 1000, 1200, 1600, 2000, 2400, 3000, 4096]],
)


LEASH = {"follow": "length", "start": 0.2, "rate": 0.05}


def test_golden_group_of_a_dlp() -> None:
    rewards = objective("controller").rewards(A)
    assert rewards[0] == pytest.approx([0.2, 0, -1.2, -0.6, -1, -2.4, -2, -4.096], abs=1e-9)


def test_golden_group_of_leash() -> None:
    rewards = objective("controller", **LEASH, target_length=2048).rewards(A)
    assert rewards[0] == pytest.approx([1, 1, 0, 1, 1, 0, 0.90703125, 0], abs=1e-9)


def test_the_price_follows_accuracy() -> None:
    # Five of eight are correct, 0.005 above the target of 0.62.
    controller = objective("controller")
    memory = controller.adapt(None, A)
    assert memory == {"lambda": pytest.approx(0.001 + 0.001 * 0.005)}
    assert controller.rewards(A, memory)[0] == pytest.approx(A.correct[0] - 0.001005 * A.lengths[0])
    assert controller.metrics(A, A.masked(A.correct), memory)["lambda"] == memory["lambda"]
    # It never falls below 0, nor rises above its upper end.
    low, high = Groups.of([[False]], [[5]]), Groups.of([[True]], [[5]])
    assert objective("controller", rate=1).adapt(memory, low) == {"lambda": 0}
    assert objective("controller", rate=100).adapt(memory, high) == {"lambda": 1}


@pytest.mark.parametrize(("length", "expected"), [(4096, 0.2), (8192, 0.25), (2048, 0.175), (0, 0.15)])
def test_the_price_follows_length_both_ways(length: int, expected: float) -> None:
    step = Groups.of([[True, False], [False]], [[length, length], [length]])
    assert objective("controller", **LEASH).adapt(None, step) == {"lambda": pytest.approx(expected)}


@pytest.mark.parametrize("fields", [{}, LEASH])
def test_degenerate_groups(fields: dict[str, object]) -> None:
    # One correct, none, all of one length, one rollout; without a price correctness alone counts.
    groups = Groups.of(
        correct=[[True, False], [False, False], [True, True], [True]], lengths=[[9000, 1], [1, 1], [9, 9], [0]]
    )
    controller = objective("controller", **fields)
    np.testing.assert_array_equal(controller.rewards(groups, {"lambda": 0.0}), groups.masked(groups.correct))
    assert np.isfinite(controller.rewards(groups)[groups.valid]).all()
    empty = Groups(np.zeros((0, 4), dtype=bool), np.zeros((0, 4)))
    assert controller.adapt({"lambda": 0.5}, empty) == {"lambda": 0.5}
