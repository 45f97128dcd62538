import numpy as np
import pytest

from lapo_verl.objectives import Groups, objective

A = Groups.of(
    correct=[[True, True, False, True, True, False, True, False]],
    lengths=[[800, 1000, 1200, 1600, 2000, 2400, 3000, 4096]],
)


def test_golden_group_of_laser_d_and_a_bonus_for_long_wrong_ones() -> None:
    # Five of eight correct: medium, 2000. Of the wrong ones 1200 is short, 2400 and 4096 are long.
    memory = {"steps": 1, "targets": {"high": 9000, "medium": 2000, "low": 9000}}
    laser_de = objective("laser_de")
    rewards = laser_de.rewards(A, memory)
    assert rewards[0] == pytest.approx([1.5, 1.5, -0.5, 1.5, 1.5, 0, 1, 0], abs=1e-9)
    assert laser_de.metrics(A, rewards, memory) == {
        "length_reward": pytest.approx(0.4), "exploration_reward": pytest.approx(1 / 3),
        "target_low": 9000, "target_medium": 2000, "target_high": 9000,
    }  # fmt: skip


def test_a_response_that_was_cut_off_explores_nothing() -> None:
    groups = Groups.of(correct=[[False, False]], lengths=[[9000, 9000]], truncated=[[True, False]])
    assert objective("laser_de").rewards(groups).tolist() == [[-0.5, 0]]


def test_degenerate_groups() -> None:
    # One correct, none, all of one length (the limit), one rollout. Without a limit no wrong rollout is long.
    groups = Groups.of(
        correct=[[True, False], [False, False], [True, False], [False]], lengths=[[11, 5], [5, 11], [10, 10], [11]]
    )
    scorer = objective("laser_de", target_length=10)
    np.testing.assert_array_equal(scorer.rewards(groups), groups.masked([[1, -0.5], [-0.5, 0], [1.5, -0.5], [0, 0]]))
    memory = {"steps": 1, "targets": dict.fromkeys(("low", "medium", "high"))}
    np.testing.assert_array_equal(
        scorer.rewards(groups, memory), groups.masked([[1.5, -0.5], [-0.5, -0.5], [1.5, -0.5], [-0.5, 0]])
    )


def test_its_memory_is_laser_ds() -> None:
    memory = objective("laser_d").adapt(None, A)
    assert objective("laser_de").adapt(None, A) == memory
    assert objective("laser_de").adapt(memory, A) == objective("laser_d").adapt(memory, A)
