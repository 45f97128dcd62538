"""Discovery and Internalization equal ``lapo_verl.method`` to the bit. To be deleted together with that package."""

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

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
        if config.degenerate_band == "zero" and stats is not None and stats.low == stats.high:
            expected = np.array(correct, dtype=np.float64)  # as the reference, whatever the number of correct rollouts
        else:
            expected = discovery_rewards(correct, lengths, config)
        np.testing.assert_array_equal(rewards[row][: len(rollouts)], expected)
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
