"""Discovery and Internalization equal ``lapo_verl.method`` to the bit, and the hook's metrics.

To be deleted together with that package.
"""

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lapo_verl.hooks.groups import Rollout, score_groups, step_metrics

from lapo_verl.config import LapoConfig
from lapo_verl.method import (
    DiscoveryConfig,
    InternalizationConfig,
    LengthStats,
    discovery_budget,
    discovery_rewards,
    internalization_rewards,
    update_budget,
)
from lapo_verl.objectives import Groups, objective

tokens = st.one_of(st.integers(0, 10**6), st.integers(90, 110))
group = st.lists(st.tuples(st.booleans(), tokens), min_size=1, max_size=32)
visits = st.lists(st.tuples(group, st.one_of(st.none(), st.floats(0, 1e6))), min_size=1, max_size=8)
weight = st.floats(0, 2)
discovery_fields = st.fixed_dictionaries(
    {},
    optional={
        "alpha": weight,
        "low": st.floats(0, 50),
        "high": st.floats(50, 100),
        "decay": st.floats(1, 1000),
        "statistic": st.sampled_from(["median", "mean", "minimum"]),
        "on_unsolved": st.sampled_from(["reset", "keep"]),
        "degenerate_band": st.sampled_from(["in_range", "zero"]),
    },
)
internalization_fields = st.fixed_dictionaries(
    {},
    optional={
        "beta": weight,
        "sigma": st.floats(1, 1000),
        "statistic": st.sampled_from(["median", "mean", "minimum"]),
    },
)
Visits = list[tuple[list[tuple[bool, int]], float | None]]


def of(step: Visits) -> Groups:
    return Groups.of(
        correct=[[correct for correct, _ in rollouts] for rollouts, _ in step],
        lengths=[[length for _, length in rollouts] for rollouts, _ in step],
        target=[target for _, target in step],
    )


@settings(max_examples=80)
@given(visits, discovery_fields)
def test_discovery(step: Visits, fields: dict[str, Any]) -> None:
    groups, config = of(step), DiscoveryConfig(**fields)
    rewards, targets = objective("discovery", **fields).rewards(groups), objective("discovery", **fields).update(groups)
    for row, (rollouts, before) in enumerate(step):
        correct, lengths = [c for c, _ in rollouts], [length for _, length in rollouts]
        stats = LengthStats.of([length for c, length in rollouts if c], config.low, config.high)
        np.testing.assert_array_equal(rewards[row][: len(rollouts)], discovery_rewards(correct, lengths, config))
        after = discovery_budget(before, stats, config.statistic, config.on_unsolved)
        np.testing.assert_array_equal(targets[row], np.nan if after is None else after)


@settings(max_examples=80)
@given(visits, internalization_fields)
def test_internalization(step: Visits, fields: dict[str, Any]) -> None:
    groups, config = of(step), InternalizationConfig(**fields)
    scorer = objective("internalization", **fields)
    rewards, targets = scorer.rewards(groups), scorer.update(groups)
    for row, (rollouts, before) in enumerate(step):
        correct, lengths = [c for c, _ in rollouts], [length for _, length in rollouts]
        expected = internalization_rewards(correct, lengths, before, config)
        np.testing.assert_array_equal(rewards[row][: len(rollouts)], expected)
        after = update_budget(before, LengthStats.of([n for c, n in rollouts if c]), config.statistic)
        np.testing.assert_array_equal(targets[row], np.nan if after is None else after)


@pytest.mark.parametrize("stage", ["discovery", "internalization"])
@pytest.mark.parametrize("seed", range(20))
def test_the_hooks_rewards_and_metrics(stage: Any, seed: int) -> None:
    draw, stage_settings = random.Random(seed), LapoConfig(stage=stage)
    rollouts: list[Rollout] = []
    for number in range(draw.randint(1, 12)):
        budget = draw.choice([None, draw.randint(1, 4000) / 2])
        shown = None if budget is None or draw.random() < 0.4 else round(budget + 1)  # the prompt rounds
        rollouts += [
            Rollout(
                group=str(number),
                problem_id=str(number),
                budget=budget,
                correct=draw.random() < 0.5,
                tokens=draw.randint(1, 4000),
                guided=shown is not None or number % 3 == 0,
                prompt_budget=shown,
            )
            for _ in range(draw.randint(1, 8))
        ]
    old_groups = score_groups(rollouts, stage_settings)
    members = [[rollouts[place] for place in group.positions] for group in old_groups]
    groups = Groups.of(
        correct=[[rollout.correct for rollout in group] for group in members],
        lengths=[[rollout.tokens for rollout in group] for group in members],
        target=[group[0].budget for group in members],
        prompt_budget=[group[0].prompt_budget for group in members],
        guided=[group[0].guided for group in members],
    )
    rewards = objective(stage).rewards(groups)
    np.testing.assert_array_equal(rewards[groups.valid], np.concatenate([group.rewards for group in old_groups]))
    old, new = step_metrics(old_groups, rollouts, {}, {}, stage_settings), objective(stage).metrics(groups, rewards)
    # The hook divides R1 and R2 out of the reward, which costs a last bit.
    assert new.pop("length_reward", None) == pytest.approx(old.pop("lapo/length_reward", None), abs=1e-12)
    assert new == {name: old[f"lapo/{name}"] for name in new}
    own = ("lapo/in_band", "lapo/guided", "lapo/adherence", "lapo/unguided_adherence")
    assert {name for name in old if name.startswith(own)} == {f"lapo/{name}" for name in new}
