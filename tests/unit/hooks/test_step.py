import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lapo_verl.hooks.step import Rollout, Step, step_metrics
from lapo_verl.objectives import Objective, checked_rewards, float32_scores, objective
from lapo_verl.store import LengthStore

DISCOVERY = objective("discovery")
INTERNALIZATION = objective("internalization")
LIMIT = 4096
# Rewards, targets and metrics of random steps, as the code before the objectives computed them: commit b6f7466, by its
# score_groups, step_metrics and LengthStore.record_step. Every float is in hexadecimal digits.
BEFORE = json.loads((Path(__file__).parent / "fixtures" / "before_objectives.json").read_text())


def rollout(group: str, correct: bool, tokens: int, target: float | None = None, **more: Any) -> Rollout:
    return Rollout(group, f"problem-{group}", target, correct, tokens, **more)


def metrics_of(
    rollouts: list[Rollout],
    chosen: Objective,
    before: Mapping[str, float | None] | None = None,
    after: Mapping[str, float | None] | None = None,
) -> dict[str, float]:
    step = Step(rollouts, LIMIT)
    return step_metrics(step, chosen, chosen.rewards(step.groups), None, before or {}, after or {})


def test_groups_are_rewarded_apart_though_their_rollouts_come_mixed() -> None:
    step = Step(
        [rollout("a", True, 100), rollout("b", True, 900), rollout("a", True, 300), rollout("b", False, 50)], LIMIT
    )
    rewards = step.by_rollout(DISCOVERY.rewards(step.groups))
    assert (
        rewards[0::2]
        == DISCOVERY.rewards(Step([rollout("a", True, 100), rollout("a", True, 300)], LIMIT).groups)[0].tolist()
    )
    assert rewards[1::2] == [1.7, 0.0]
    first, second = step.records()
    assert (first.lengths, first.correct) == ((100, 300), (True, True))
    assert (second.lengths, second.correct) == ((900, 50), (True, False))


def test_groups_may_differ_in_size() -> None:
    step = Step([rollout("a", True, 10), rollout("b", True, 20), rollout("b", False, 30)], LIMIT)
    assert step.groups.valid.tolist() == [[True, False], [True, True]]
    assert step.by_rollout(np.array([[1.0, np.nan], [2.0, 3.0]])) == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("target", "shown", "center"), [(500.0, 500.0, 500.0), (500.0, None, 500.0), (460.0, 500.0, 500.0)]
)
def test_the_reward_is_around_the_number_that_the_prompt_shows_else_the_target(
    target: float, shown: float | None, center: float
) -> None:
    tokens = (int(center), int(center) + 120)
    step = Step([rollout("a", True, n, target, guided=True, prompt_budget=shown) for n in tokens], LIMIT)
    assert step.by_rollout(INTERNALIZATION.rewards(step.groups)) == pytest.approx([1.7, 1 + 0.7 * math.exp(-0.5)])
    assert step.records()[0].prompt_budget == shown


def test_metrics_by_hand() -> None:
    rollouts = [
        rollout("a", True, 100, 120.0, guided=True),
        rollout("a", True, 140, 120.0, guided=True),
        rollout("a", False, 400, 120.0, guided=True, truncated=True),
        rollout("b", False, 60, None, timed_out=True),
    ]
    metrics = metrics_of(
        rollouts, INTERNALIZATION, {"problem-a": 120.0, "problem-b": None}, {"problem-a": 110.0, "problem-b": None}
    )
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
    assert "lapo/unguided_adherence_tokens" not in metrics  # group b has no target to be far from
    assert metrics["lapo/length_reward"] == pytest.approx(math.exp(-(20**2) / (2 * 120**2)))
    assert metrics["lapo/no_signal_share"] == 0.5  # group b: one reward, no advantage


def test_guided_and_unguided_visits_are_measured_apart() -> None:
    metrics = metrics_of([rollout("a", True, 100, 120.0, guided=True), rollout("b", True, 300, 250.0)], INTERNALIZATION)
    assert metrics["lapo/adherence_tokens"] == 20
    assert metrics["lapo/unguided_adherence_tokens"] == 50
    assert metrics["lapo/guided_share"] == 0.5


def test_the_age_of_a_budget_is_a_mean_over_visits() -> None:
    rollouts = [rollout("a", True, 100, 120.0, budget_age=1), rollout("a", True, 100, 120.0, budget_age=1)]
    rollouts += [rollout("b", True, 100, 120.0, budget_age=4), rollout("c", True, 100)]
    assert metrics_of(rollouts, INTERNALIZATION)["lapo/budget_age"] == 2.5
    assert "lapo/budget_age" not in metrics_of(rollouts[-1:], INTERNALIZATION)


def test_a_step_without_a_correct_rollout_has_metrics_too() -> None:
    metrics = metrics_of([rollout("a", False, 10), rollout("a", False, 20)], DISCOVERY, {}, {"problem-a": None})
    assert metrics["lapo/accuracy"] == 0
    assert "lapo/tokens_correct" not in metrics
    assert "lapo/budget_mean" not in metrics


def test_an_objective_without_targets_has_no_metrics_of_them() -> None:
    metrics = metrics_of([rollout("a", True, 10), rollout("a", False, 20)], objective("kimi"), {}, {"problem-a": None})
    assert "lapo/newly_solved_total" not in metrics
    assert "lapo/guided_share" not in metrics


@pytest.mark.parametrize("name", ["discovery", "internalization", "kimi", "hapo", "laser_d"])
def test_metric_names_say_what_verl_does_with_the_parts_of_a_step(name: str) -> None:
    metrics = metrics_of([rollout("a", True, 10, 20.0)], objective(name), {}, {"problem-a": 10.0})
    # verl's aggregator takes the maximum, minimum or sum of metrics with such names, and averages all others.
    assert not [key for key in metrics if any(word in key for word in ("max", "min", "sum"))]
    counts = {"lapo/newly_solved_total", "lapo/unsolved_groups_total", "lapo/verify_timeouts_total"}
    assert {key for key in metrics if "total" in key} <= counts


@pytest.mark.parametrize("case", BEFORE, ids=[case["objective"] for case in BEFORE])
def test_rewards_targets_and_metrics_are_those_from_before_the_objectives(case: dict[str, Any], tmp_path: Path) -> None:
    chosen = objective(case["objective"], **case["fields"])
    with LengthStore.open(tmp_path / "store.sqlite") as store:
        for number, recorded in enumerate(case["steps"], start=1):
            step = Step(list(_rollouts(recorded["groups"])), LIMIT)
            before = store.budgets(first.problem_id for first in step.first)
            rewards = checked_rewards(chosen, step.groups)
            after = store.record_step(chosen.name, number, step.records(), chosen)
            assert _hex(rewards) == recorded["rewards"]
            assert _hex(float32_scores(rewards)) == recorded["scores"]
            assert {q: None if target is None else target.hex() for q, target in after.items()} == recorded["after"]
            metrics = step_metrics(step, chosen, rewards, None, before, after)
            expected = {name: float.fromhex(value) for name, value in recorded["metrics"].items()}
            # The code before took the length reward back out of the whole reward by a division, which costs a last bit.
            assert metrics.pop("lapo/length_reward", None) == pytest.approx(expected.pop("lapo/length_reward", None))
            assert metrics == expected


def _rollouts(groups: list[dict[str, Any]]) -> list[Rollout]:
    return [
        Rollout(
            group=str(visit),
            problem_id=group["problem"],
            target=group["target"],
            correct=correct,
            tokens=tokens,
            truncated=tokens > 380,
            guided=group["guided"],
            prompt_budget=group["prompt_budget"],
        )
        for visit, group in enumerate(groups)
        for tokens, correct in zip(group["lengths"], group["correct"], strict=True)
    ]


def _hex(rows: Any) -> list[list[str]]:
    return [[value.hex() for value in row if not math.isnan(value)] for row in rows.tolist()]
