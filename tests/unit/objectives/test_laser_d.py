import numpy as np
import pytest

from lapo_verl.objectives import Groups, objective

A = Groups.of(
    correct=[[True, True, False, True, True, False, True, False]],
    lengths=[[800, 1000, 1200, 1600, 2000, 2400, 3000, 4096]],
)


def test_golden_group() -> None:
    # Five of eight correct: medium, 4096.
    memory = {"steps": 1, "targets": {"high": 2048, "medium": 4096, "low": 8192}}
    assert objective("laser_d").rewards(A, memory)[0] == pytest.approx([1.5, 1.5, -0.5, 1.5, 1.5, -0.5, 1.5, -0.5])


def test_golden_group_under_one_target() -> None:
    assert objective("laser_d", target_length=2048).rewards(A)[0] == pytest.approx(
        [1.5, 1.5, -0.5, 1.5, 1.5, -0.5, 1, -0.5]
    )


@pytest.mark.parametrize(("right", "limit"), [(0, None), (1, 300), (2, 200), (3, 200), (4, 100), (6, 100)])
def test_the_level_of_a_group(right: int, limit: int | None) -> None:
    # Of six rollouts of 250, 150 or 50 tokens: low up to 1/3, which is medium; 2/3 is high.
    memory = {"steps": 1, "targets": {"low": 300, "medium": 200, "high": 100}}
    correct = [[number < right for number in range(6)]]
    for length in (250, 150, 50):
        rewards = objective("laser_d").rewards(Groups.of(correct, [[length] * 6]), memory)[0]
        bonus = limit is not None and length <= limit
        assert rewards.tolist() == [1.5 if bonus else 1.0] * right + [-0.5] * (6 - right)


def test_targets_cover_what_each_level_needs() -> None:
    scorer = objective("laser_d", lower_bound=1000, spacing=1000)
    groups = Groups.of(
        # 8, 4 and 1 correct of 8: high needs 1/5 of the responses below its target, medium 1/2, low all.
        correct=[[True] * 8, [True] * 4 + [False] * 4, [True] + [False] * 7],
        lengths=[[2500, 2500] + [7500] * 6, [1500] * 3 + [3500] + [9500] * 4, [1500] * 7 + [9999]],
    )
    assert scorer.adapt(None, groups) == {"steps": 1, "targets": {"low": 10000, "medium": 4000, "high": 3000}}


def test_targets_are_made_after_the_first_step_and_then_at_each_interval() -> None:
    scorer = objective("laser_d", lower_bound=100, spacing=100, interval=3)
    memory, lows = None, []
    for length in (150, 250, 350, 450, 550, 650):
        memory = scorer.adapt(memory, Groups.of([[False]], [[length]]))
        assert memory is not None
        lows.append(memory["targets"]["low"])
    assert lows == [200, 200, 400, 400, 400, 700]


def test_degenerate_groups() -> None:
    # One correct, none, all of one length, one rollout. Nothing of a level, or too few rollouts: no limit.
    groups = Groups.of(
        correct=[[True, False], [False, False], [True, True], [True]], lengths=[[9000, 1], [1, 2], [9000, 9000], [5]]
    )
    scorer = objective("laser_d")
    np.testing.assert_array_equal(scorer.rewards(groups), groups.masked([[1, -0.5], [-0.5, -0.5], [1, 1], [1.5, 1.5]]))
    memory = scorer.adapt(None, Groups.of([[True]], [[9000]]))
    assert memory == {"steps": 1, "targets": {"low": None, "medium": None, "high": None}}
    np.testing.assert_array_equal(
        scorer.rewards(groups, memory), groups.masked([[1.5, -0.5], [-0.5, -0.5], [1.5, 1.5], [1.5, 1.5]])
    )


def test_metrics_name_the_targets() -> None:
    scorer = objective("laser_d")
    memory = {"steps": 1, "targets": {"low": None, "medium": 2048, "high": 1024}}
    assert scorer.metrics(A, scorer.rewards(A, memory), memory) == {
        "length_reward": pytest.approx(0.4), "target_medium": 2048, "target_high": 1024,
    }  # fmt: skip


def test_what_it_keeps_and_needs() -> None:
    scorer = objective("laser_d")
    assert scorer.keeps_memory and scorer.needs_wrong_lengths and not scorer.keeps_targets and not scorer.names_budget
