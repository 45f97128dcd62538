from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from lapo_verl.objectives import Groups, Memory, Objective, checked_memory, checked_rewards, checked_targets

GROUPS = Groups.of(correct=[[True, False], [True]], lengths=[[100, 250], [90]])


@dataclass(frozen=True)
class Careless(Objective):
    """Returns what the test says."""

    def rewards(self, groups: Groups, memory: Memory | None = None) -> Any:
        return RETURNED

    def update(self, groups: Groups) -> Any:
        return RETURNED

    def adapt(self, memory: Memory | None, groups: Groups) -> Any:
        return RETURNED


RETURNED: Any = None


@pytest.mark.parametrize(
    ("check", "returned", "message"),
    [
        (checked_rewards, None, r"rewards must return numbers of the shape \(2, 2\), got object of the shape \(\)"),
        (checked_rewards, np.ones(2), r"rewards must return numbers of the shape \(2, 2\), got float64 .* \(2,\)"),
        (checked_rewards, np.ones((2, 3)), r"rewards must return numbers of the shape \(2, 2\)"),
        (checked_rewards, np.ones((2, 2), dtype=complex), "rewards must return numbers .* got complex128"),
        (
            checked_rewards,
            np.array([[1, np.nan], [1, 1]]),
            r"the reward of group 0, rollout 1 is nan \(correct False, 250.0 tokens\); it must be finite",
        ),
        (checked_rewards, np.array([[1, 1], [np.inf, 1]]), "the reward of group 1, rollout 0 is inf"),
        (checked_targets, np.ones((2, 1)), r"update must return numbers of the shape \(2,\)"),
        (checked_targets, np.array([1, -1]), "the target of group 1 is -1"),
        (checked_targets, np.array([np.inf, 1]), "the target of group 0 is inf"),
        (checked_memory, {"mean": np.float32(1)}, "its memory cannot be written as JSON"),
        (checked_memory, {"mean": float("nan")}, "its memory cannot be written as JSON"),
        (checked_memory, {1: 2}, "its memory must be a dict of JSON values with texts as keys"),
        (checked_memory, {"pair": (1, 2)}, "its memory must be a dict of JSON values with texts as keys"),
        (checked_memory, [1], "its memory must be a dict of JSON values with texts as keys"),
    ],
)
def test_a_mistake_names_the_objective(
    monkeypatch: pytest.MonkeyPatch, check: Callable[..., Any], returned: Any, message: str
) -> None:
    monkeypatch.setitem(globals(), "RETURNED", returned)
    arguments = (None, GROUPS) if check is checked_memory else (GROUPS,)
    with pytest.raises(ValueError, match=f"^objective Careless: {message}"):
        check(Careless(), *arguments)


def test_what_is_returned_for_no_rollout_counts_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "RETURNED", np.array([[1, 0], [1, 5]], dtype=np.float32))
    rewards = checked_rewards(Careless(), GROUPS)
    np.testing.assert_array_equal(rewards, [[1, 0], [1, np.nan]])
    assert rewards.dtype == np.float64


def test_what_is_right_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "RETURNED", np.array([np.nan, 3]))
    np.testing.assert_array_equal(checked_targets(Careless(), GROUPS), [np.nan, 3])
    monkeypatch.setitem(globals(), "RETURNED", {"mean": [1.5, None]})
    assert checked_memory(Careless(), None, GROUPS) == {"mean": [1.5, None]}
