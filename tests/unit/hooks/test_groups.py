import math
from typing import Any

import pytest

from lapo_verl.config import LapoConfig
from lapo_verl.hooks.groups import Rollout, score_groups, step_metrics
from lapo_verl.method import DiscoveryConfig, discovery_rewards

DISCOVERY = LapoConfig(stage="discovery")
INTERNALIZATION = LapoConfig(stage="internalization")


def rollout(group: str, correct: bool, tokens: int, budget: float | None = None, **more: Any) -> Rollout:
    return Rollout(group, f"problem-{group}", budget, correct, tokens, **more)


def test_groups_are_rewarded_apart_though_their_rollouts_come_mixed() -> None:
    rollouts = [rollout("a", True, 100), rollout("b", True, 900), rollout("a", True, 300), rollout("b", False, 50)]
    first, second = score_groups(rollouts, DISCOVERY)
    assert first.positions == [0, 2]
    assert second.positions == [1, 3]
    assert first.rewards.tolist() == discovery_rewards([True, True], [100, 300], DiscoveryConfig()).tolist()
    assert second.rewards.tolist() == [1.7, 0.0]
    assert first.record.correct_lengths == (100, 300)
    assert second.record.n == 2


def test_a_group_without_signal_is_scored_on_a_grid() -> None:
    rollouts = [rollout("a", True, 100), rollout("a", True, 100), rollout("b", True, 100), rollout("b", False, 100)]
    alike, mixed = score_groups(rollouts, DISCOVERY)
    assert alike.rewards.tolist() == [1.7, 1.7]
    assert alike.scores.tolist() == [round(1.7 * 2**16) / 2**16] * 2
    assert mixed.scores.tolist() == [pytest.approx(1.7, abs=1e-7), 0.0]


@pytest.mark.parametrize(
    ("budget", "shown", "target"), [(500.0, 500.0, 500.0), (500.0, None, 500.0), (460.0, 500.0, 500.0)]
)
def test_the_target_is_the_number_that_the_prompt_shows_else_the_budget(
    budget: float, shown: float | None, target: float
) -> None:
    rollouts = [rollout("a", True, tokens, budget, guided=True, prompt_budget=shown) for tokens in (500, 620)]
    (group,) = score_groups(rollouts, INTERNALIZATION)
    assert group.rewards.tolist() == pytest.approx([1.7, 1 + 0.7 * math.exp(-0.5)])
    assert (group.target, group.record.budget_shown) == (target, shown)


def test_metrics_by_hand() -> None:
    rollouts = [
        rollout("a", True, 100, 120.0, guided=True),
        rollout("a", True, 140, 120.0, guided=True),
        rollout("a", False, 400, 120.0, guided=True, truncated=True),
        rollout("b", False, 60, None, timed_out=True),
    ]
    groups = score_groups(rollouts, INTERNALIZATION)
    before: dict[str, float | None] = {"problem-a": 120.0, "problem-b": None}
    after: dict[str, float | None] = {"problem-a": 110.0, "problem-b": None}
    metrics = step_metrics(groups, rollouts, before, after, INTERNALIZATION)
    assert metrics["lapo/accuracy"] == 0.5
    assert metrics["lapo/tokens_correct"] == 120
    assert metrics["lapo/tokens_wrong"] == 230
    assert metrics["lapo/solved_share"] == 0.5
    assert metrics["lapo/unsolved_groups_total"] == 1
    assert metrics["lapo/newly_solved_total"] == 0
    assert metrics["lapo/truncated_share"] == 0.25
    assert metrics["lapo/verify_timeouts_total"] == 1
    assert metrics["lapo/budget_mean"] == 110
    assert metrics["lapo/budget_change"] == -10
    assert metrics["lapo/adherence_tokens"] == 20  # |100 - 120| and |140 - 120|
    assert metrics["lapo/adherence_relative"] == pytest.approx(20 / 120)
    assert metrics["lapo/guided_share"] == 0.5
    assert "lapo/unguided_adherence_tokens" not in metrics  # group b has no budget to be far from
    assert metrics["lapo/length_reward"] == pytest.approx(math.exp(-(20**2) / (2 * 120**2)))
    assert metrics["lapo/no_signal_share"] == 0.5  # group b: one reward, no advantage


def test_guided_and_unguided_visits_are_measured_apart() -> None:
    rollouts = [rollout("a", True, 100, 120.0, guided=True), rollout("b", True, 300, 250.0)]
    groups = score_groups(rollouts, INTERNALIZATION)
    metrics = step_metrics(groups, rollouts, {}, {"problem-a": 100.0, "problem-b": 250.0}, INTERNALIZATION)
    assert metrics["lapo/adherence_tokens"] == 20
    assert metrics["lapo/unguided_adherence_tokens"] == 50
    assert metrics["lapo/guided_share"] == 0.5


def test_a_step_without_a_correct_rollout_has_metrics_too() -> None:
    rollouts = [rollout("a", False, 10), rollout("a", False, 20)]
    metrics = step_metrics(
        score_groups(rollouts, DISCOVERY), rollouts, {"problem-a": None}, {"problem-a": None}, DISCOVERY
    )
    assert metrics["lapo/accuracy"] == 0
    assert "lapo/tokens_correct" not in metrics
    assert "lapo/budget_mean" not in metrics


def test_metric_names_say_what_verl_does_with_the_parts_of_a_step() -> None:
    rollouts = [rollout("a", True, 10, 20.0)]
    metrics = step_metrics(score_groups(rollouts, INTERNALIZATION), rollouts, {}, {"problem-a": 10.0}, INTERNALIZATION)
    # verl's aggregator takes the maximum, minimum or sum of metrics with such names, and averages all others.
    assert not [name for name in metrics if any(word in name for word in ("max", "min", "sum"))]
    counts = {"lapo/newly_solved_total", "lapo/unsolved_groups_total", "lapo/verify_timeouts_total"}
    assert {name for name in metrics if "total" in name} == counts
