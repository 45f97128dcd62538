"""What holds for every objective of the package, the ones to come included."""

import doctest
import importlib
import json
import random
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lapo_verl.objectives import (
    Groups,
    checked_memory,
    checked_rewards,
    checked_targets,
    objective,
    objective_class,
    objective_names,
)

every_objective = pytest.mark.parametrize("name", objective_names())
Visits = list[tuple[list[tuple[bool, int]], float | None, float | None]]


def random_visits(seed: int) -> Visits:
    """Groups of 1 to 8 rollouts, degenerate ones among them, with a target and a prompt budget or without."""
    draw = random.Random(seed)

    def visit() -> tuple[list[tuple[bool, int]], float | None, float | None]:
        accuracy, longest = draw.choice([0, 0.3, 0.7, 1]), draw.choice([0, 3, 200, 5000])
        fixed = draw.choice([None, None, None, longest])
        rollouts = [
            (draw.random() < accuracy, draw.randint(0, longest) if fixed is None else fixed)
            for _ in range(draw.randint(1, 8))
        ]
        target, budget = (draw.choice([None, 0, 1, 0.5 * draw.randint(0, 10_000)]) for _ in range(2))
        return rollouts, target, budget

    return [visit() for _ in range(draw.choice([0, 1, 2, 8, 16]))]


# More groups cost less than more examples: every method takes all groups in one call.
few = settings(max_examples=20)
# A list that hypothesis draws number by number takes ten times as long.
visits = st.integers(0, 2**32 - 1).map(random_visits)


def of(steps: Visits) -> Groups:
    return Groups.of(
        correct=[[correct for correct, _ in rollouts] for rollouts, _, _ in steps],
        lengths=[[length for _, length in rollouts] for rollouts, _, _ in steps],
        target=[target for _, target, _ in steps],
        prompt_budget=[budget for _, _, budget in steps],
        response_limit=5000,
    )


def without_wrong_lengths(groups: Groups) -> Groups:
    return Groups(
        groups.correct,
        np.where(groups.correct, groups.lengths, np.nan),
        valid=groups.valid,
        target=groups.target,
        prompt_budget=groups.prompt_budget,
        guided=groups.guided,
        response_limit=groups.response_limit,
    )


def same(one: NDArray[np.float64], other: NDArray[np.float64]) -> None:
    np.testing.assert_array_equal(one, other)


@every_objective
@few
@given(first=visits, second=visits)
def test_rewards_targets_memory_and_metrics_are_what_they_must_be(name: str, first: Visits, second: Visits) -> None:
    scorer = objective(name)
    memory = None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for step in (first, second):
            groups = of(step)
            rewards = scorer.rewards(groups, memory)
            assert rewards.shape == groups.valid.shape and rewards.dtype == np.float64
            same(np.isnan(rewards), ~groups.valid)
            assert np.isfinite(rewards[groups.valid]).all()
            same(rewards, checked_rewards(scorer, groups, memory))
            targets = checked_targets(scorer, groups)
            assert scorer.keeps_targets or np.isnan(targets).all()
            metrics = scorer.metrics(groups, rewards, memory)
            assert all(type(value) is float and np.isfinite(value) for value in metrics.values())
            before = json.dumps(memory)
            after = checked_memory(scorer, memory, groups)
            assert (after is not None) == scorer.keeps_memory and json.dumps(memory) == before
            memory = after


@every_objective
@few
@given(step=visits, seed=st.integers(0, 2**16))
def test_rollouts_may_come_in_any_order(name: str, step: Visits, seed: int) -> None:
    scorer, shuffle = objective(name), random.Random(seed)
    places = [shuffle.sample(range(len(rollouts)), len(rollouts)) for rollouts, _, _ in step]
    shuffled: Visits = [
        ([rollouts[place] for place in order], target, budget)
        for order, (rollouts, target, budget) in zip(places, step, strict=True)
    ]
    memory = scorer.adapt(None, of(step))
    assert memory == scorer.adapt(None, of(shuffled))
    same(scorer.update(of(step)), scorer.update(of(shuffled)))
    rewards, permuted = scorer.rewards(of(step), memory), scorer.rewards(of(shuffled), memory)
    for row, order in enumerate(places):
        same(rewards[row][order], permuted[row][: len(order)])


@every_objective
@few
@given(step=visits)
def test_a_group_is_rewarded_on_its_own(name: str, step: Visits) -> None:
    scorer = objective(name)
    memory = scorer.adapt(None, of(step))
    rewards, targets = scorer.rewards(of(step), memory), scorer.update(of(step))
    for row, visit in enumerate(step):
        same(rewards[row][: len(visit[0])], scorer.rewards(of([visit]), memory)[0])
        same(targets[row : row + 1], scorer.update(of([visit])))


@every_objective
@few
@given(step=visits)
def test_wrong_lengths_matter_only_where_the_objective_says_so(name: str, step: Visits) -> None:
    scorer, whole = objective(name), of(step)
    lacking = without_wrong_lengths(whole)
    if not scorer.needs_wrong_lengths:
        same(checked_rewards(scorer, lacking), scorer.rewards(whole))
        same(checked_targets(scorer, lacking), scorer.update(whole))
        assert checked_memory(scorer, None, lacking) == scorer.adapt(None, whole)
        assert scorer.metrics(lacking, scorer.rewards(whole)) == scorer.metrics(whole, scorer.rewards(whole))
    elif (whole.valid & ~whole.correct).any():
        with pytest.raises(ValueError, match=f"objective {name} needs the lengths of wrong rollouts"):
            checked_rewards(scorer, lacking)
        with pytest.raises(ValueError, match=f"objective {name} needs the lengths of wrong rollouts"):
            checked_memory(scorer, None, lacking)


@every_objective
def test_its_configuration_makes_it_again(name: str) -> None:
    config = json.loads(json.dumps(objective(name).config()))
    assert config["name"] == name and "path" not in config
    assert objective(**config) == objective(name)


@every_objective
def test_its_prompt_names_a_number_of_tokens_or_nothing(name: str) -> None:
    scorer = objective(name)
    named = [scorer.prompt_budget(target, 4096, draw) for target in (None, 512.0) for draw in (0.0, 0.5, 0.999)]
    assert all(budget is None or 0 <= budget <= 4096 for budget in named)
    assert scorer.names_budget or set(named) == {None}


@every_objective
def test_its_file_is_small_and_its_example_runs(name: str) -> None:
    module = importlib.import_module(f"lapo_verl.objectives.{name}")
    assert len(Path(module.__file__ or "").read_text().splitlines()) <= 80
    result = doctest.testmod(module)
    assert result.attempted > 0 and result.failed == 0
    assert objective_class(name).__module__ == module.__name__
