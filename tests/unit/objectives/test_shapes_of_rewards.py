"""What the rewards of each objective do when lengths change, degenerate groups and all modes included."""

import random
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lapo_verl.objectives import Groups, Memory, Objective, checked_memory, checked_rewards, objective, objective_names

# Every objective in every mode, with scales at which lengths of some hundred tokens matter.
VARIANTS: dict[str, dict[str, Any]] = {
    "accuracy": {"name": "accuracy"},
    "discovery": {"name": "discovery"},
    "internalization": {"name": "internalization"},
    "acoer": {"name": "acoer", "budget": 500, "alpha": 0.4, "warmup": 0, "window": 2},
    "alp": {"name": "alp", "beta": 1e-4},
    "arora_zanette": {"name": "arora_zanette"},
    "controller accuracy": {"name": "controller"},
    "controller length": {"name": "controller", "follow": "length", "start": 0.2, "rate": 0.05, "target_length": 300},
    "cosine": {"name": "cosine", "limit": 900},
    "cosine exceeded": {"name": "cosine", "limit": 700, "correct_short": 2, "wrong_short": -10, "exceeded": -10},
    "gr3": {"name": "gr3"},
    "grpo_lead": {"name": "grpo_lead", "gate": 100},
    "grpo_lead ungated": {"name": "grpo_lead", "gate": 0},
    "hapo": {"name": "hapo"},
    "kimi": {"name": "kimi"},
    "l1 exact": {"name": "l1"},
    "l1 max": {"name": "l1", "mode": "max"},
    "l1 max_code": {"name": "l1", "mode": "max_code"},
    "laser bonus": {"name": "laser", "target_length": 400},
    "laser hybrid": {"name": "laser", "target_length": 400, "kind": "hybrid"},
    "laser penalty": {"name": "laser", "target_length": 400, "kind": "penalty"},
    "laser_d": {"name": "laser_d", "target_length": 400, "lower_bound": 100, "spacing": 50},
    "laser_de": {"name": "laser_de", "target_length": 400, "lower_bound": 100, "spacing": 50},
    "overlong": {"name": "overlong", "limit": 900, "buffer": 600},
    "pass_rate linear": {"name": "pass_rate"},
    "pass_rate nemo": {"name": "pass_rate", "mode": "nemo", "weight": 1.5},
    "shorterbetter": {"name": "shorterbetter"},
    "truncation": {"name": "truncation", "limit": 400},
}
# A constant added to all lengths of a group changes nothing.
SHIFT_INVARIANT = {"accuracy", "discovery", "kimi", "arora_zanette", "shorterbetter", "grpo_lead ungated"}
# Of two correct rollouts of a group, the longer one earns no more.
SHORTER_IS_BETTER = set(VARIANTS) - {"discovery", "internalization", "l1 exact"}
# Of two wrong rollouts of a group, the longer one earns no more, and somewhere earns less.
SHORTER_WRONG_IS_BETTER = {
    "alp", "controller accuracy", "hapo", "kimi", "l1 max_code", "overlong", "pass_rate linear",
}  # fmt: skip
# Length moves the reward of wrong rollouts in other ways: towards the long ones, or towards a length in between.
OTHER_WRONG = {"cosine", "cosine exceeded", "laser_de", "l1 exact", "shorterbetter"}
# No correct rollout earns less than a wrong one of its group, whatever their lengths.
CORRECT_IS_BETTER = set(VARIANTS) - {
    "alp", "controller accuracy", "cosine exceeded", "l1 exact", "l1 max_code", "pass_rate linear", "shorterbetter",
}  # fmt: skip

few = settings(max_examples=15)
seeds = st.integers(0, 2**32 - 1)


def random_groups(seed: int, shift: int = 0) -> Groups:
    """Up to 5 groups of 1 to 8 rollouts, often of few different lengths; ``shift`` tokens longer."""
    draw = random.Random(seed)
    rows = []
    for _ in range(draw.randint(1, 5)):
        accuracy, longest = draw.choice([0, 0.3, 0.7, 1]), draw.choice([0, 3, 1000])
        rows.append([(draw.random() < accuracy, draw.randint(0, longest)) for _ in range(draw.randint(1, 8))])
    return Groups.of(
        correct=[[correct for correct, _ in row] for row in rows],
        lengths=[[length + shift for _, length in row] for row in rows],
        target=[draw.choice([None, draw.randint(1, 1000)]) for _ in rows],
        prompt_budget=[draw.choice([None, draw.randint(1, 1000)]) for _ in rows],
        response_limit=5000,
    )


def scored(variant: str, groups: Groups, memory: Memory | None = None) -> tuple[Objective, np.ndarray[Any, Any]]:
    scorer = objective(**VARIANTS[variant])
    return scorer, checked_rewards(scorer, groups, memory)


def rising(groups: Groups, rewards: np.ndarray[Any, Any], correct: bool) -> list[float]:
    """By how much rewards rise from a shorter to a longer rollout of a group, over all pairs of equal correctness."""
    found = []
    for valid, right, lengths, row in zip(groups.valid, groups.correct, groups.lengths, rewards, strict=True):
        chosen = np.flatnonzero(valid & (right == correct))
        found += [row[long] - row[short] for short in chosen for long in chosen if lengths[short] < lengths[long]]
    return found


def test_every_objective_is_here() -> None:
    assert {fields["name"] for fields in VARIANTS.values()} == set(objective_names())


@pytest.mark.parametrize("variant", VARIANTS)
@few
@given(seed=seeds)
def test_every_mode_is_finite_and_keeps_a_memory_that_json_can_hold(variant: str, seed: int) -> None:
    scorer, memory = objective(**VARIANTS[variant]), None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for number in range(3):
            groups = random_groups(seed + number)
            rewards = checked_rewards(scorer, groups, memory)
            assert all(np.isfinite(value) for value in scorer.metrics(groups, rewards, memory).values())
            memory = checked_memory(scorer, memory, groups)


@pytest.mark.parametrize("variant", sorted(SHIFT_INVARIANT))
@few
@given(seed=seeds, shift=st.integers(1, 10_000))
def test_a_shift_of_all_lengths_changes_no_reward(variant: str, seed: int, shift: int) -> None:
    # From 1 token on: at 0, three empty responses are below grpo_lead's gate of 0.
    rewards, shifted = (scored(variant, random_groups(seed, by))[1] for by in (1, 1 + shift))
    np.testing.assert_allclose(shifted, rewards, rtol=0, atol=1e-9)


@pytest.mark.parametrize("variant", sorted(SHORTER_IS_BETTER))
@few
@given(seed=seeds)
def test_a_longer_correct_rollout_earns_no_more(variant: str, seed: int) -> None:
    groups = random_groups(seed)
    assert max(rising(groups, scored(variant, groups)[1], correct=True), default=0.0) <= 0


@pytest.mark.parametrize("variant", sorted(set(VARIANTS) - OTHER_WRONG))
@few
@given(seed=seeds)
def test_a_longer_wrong_rollout_earns_no_more(variant: str, seed: int) -> None:
    groups = random_groups(seed)
    rise = rising(groups, scored(variant, groups)[1], correct=False)
    assert max(rise, default=0.0) <= 0
    if variant not in SHORTER_WRONG_IS_BETTER:
        assert min(rise, default=0.0) == 0


@pytest.mark.parametrize("variant", sorted(SHORTER_WRONG_IS_BETTER))
def test_a_longer_wrong_rollout_earns_less_somewhere(variant: str) -> None:
    groups = Groups.of([[True, False, False]], [[500, 100, 1000]], target=[100], prompt_budget=[500])
    assert min(rising(groups, scored(variant, groups)[1], correct=False)) < 0


@pytest.mark.parametrize("variant", ["cosine", "laser_de"])
@few
@given(seed=seeds)
def test_a_longer_wrong_rollout_earns_more_where_it_should_explore(variant: str, seed: int) -> None:
    groups = random_groups(seed)
    assert min(rising(groups, scored(variant, groups)[1], correct=False), default=0.0) >= 0


@pytest.mark.parametrize("variant", sorted(CORRECT_IS_BETTER))
@few
@given(seed=seeds)
def test_no_correct_rollout_earns_less_than_a_wrong_one(variant: str, seed: int) -> None:
    groups = random_groups(seed)
    rewards = scored(variant, groups)[1]
    worst = np.where(groups.correct, rewards, np.inf).min(axis=1)
    best = np.where(groups.valid & ~groups.correct, rewards, -np.inf).max(axis=1)
    assert (worst >= best).all()
