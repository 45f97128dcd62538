"""The base class ``Objective``, and the names that every objective imports with it."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from lapo_verl.objectives.fields import check_fields
from lapo_verl.objectives.groups import Groups
from lapo_verl.objectives.lengths import Flags, Floats

__all__ = ["Flags", "Floats", "Groups", "Memory", "Objective", "means"]

Memory = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Objective(ABC):
    """What a rollout is worth, given its group. A subclass is a frozen dataclass; its fields are its configuration.

    ``rewards`` is all that an objective has to define. One that defines ``update`` keeps a target for each problem, one
    that defines ``adapt`` a memory of the whole run, one that defines ``prompt_budget`` tells the model a budget. All
    of them are pure: they depend on their arguments and the fields, and change nothing.

    Attributes:
        needs_wrong_lengths: whether the length of a wrong rollout changes a result of this objective.
        starts_from_targets: whether it needs the targets that an earlier run has found.

    >>> @dataclasses.dataclass(frozen=True)
    ... class Short(Objective):
    ...     limit: int = 200
    ...     def rewards(self, groups, memory=None):
    ...         return groups.masked(groups.correct * (groups.lengths <= self.limit))
    >>> Short(limit=250).rewards(Groups.of(correct=[[True, True]], lengths=[[240, 260]])).tolist()
    [[1.0, 0.0]]
    """

    needs_wrong_lengths: ClassVar[bool] = False
    starts_from_targets: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_fields(self)

    @abstractmethod
    def rewards(self, groups: Groups, memory: Memory | None = None) -> Floats:
        """The whole reward of each rollout, correctness included.

        A group's rewards depend only on this group, the fields and the memory: training passes one step, and replay
        passes many steps at once if there is no memory.

        Args:
            groups: with targets and prompt budgets as they were before the step.
            memory: what ``adapt`` returned after the step before; None in a run's first step.

        Returns:
            Shape (M, N) float64, finite; NaN where ``groups.valid`` is False (``groups.masked``).
        """

    def update(self, groups: Groups) -> Floats:
        """The target of each problem after the step, shape (M,) float64, in tokens >= 0; NaN for none."""
        return np.full(len(groups), np.nan)

    def adapt(self, memory: Memory | None, groups: Groups) -> Memory | None:
        """The memory of the run after the step: a new dict of JSON values. None where the objective has none."""
        return None

    def prompt_budget(self, target: float | None, response_limit: int, draw: float) -> float | None:
        """The number of tokens that a visit's prompt is to name; None where the objective gives none.

        Args:
            target: of the problem, in tokens; None where it has none.
            response_limit: in tokens.
            draw: a number in [0, 1) that belongs to the visit: the same when a resumed run repeats it.
        """
        return None

    def metrics(self, groups: Groups, rewards: Floats, memory: Memory | None = None) -> dict[str, float]:
        """The objective's own metrics of a step, without the prefix ``lapo/``; a mean over nothing is left out.

        Args:
            groups: as for ``rewards``.
            rewards: what it returned.
            memory: as for ``rewards``.
        """
        return means(length_reward=(rewards - groups.correct)[groups.correct])

    @property
    def keeps_targets(self) -> bool:
        """Whether each problem has a target."""
        return type(self).update is not Objective.update

    @property
    def keeps_memory(self) -> bool:
        """Whether there is a memory of the whole run."""
        return type(self).adapt is not Objective.adapt

    @property
    def names_budget(self) -> bool:
        """Whether prompts name a budget."""
        return type(self).prompt_budget is not Objective.prompt_budget

    @property
    def name(self) -> str:
        """The file's name of an objective of this package, the class's name of a user's own."""
        package, _, module = type(self).__module__.rpartition(".")
        return module if package == __package__ else type(self).__name__

    def config(self) -> dict[str, Any]:
        """What ``objective(**config)`` makes this objective of again: name, a user's path, and every field."""
        module = type(self).__module__
        path = {} if module.rpartition(".")[0] == __package__ else {"path": f"pkg://{module}"}
        return {"name": self.name, **path, **dataclasses.asdict(self)}


def means(**columns: NDArray[Any]) -> dict[str, float]:
    """The mean of each column; one without values is left out.

    >>> means(length_reward=np.array([0.5, 1.0]), adherence_tokens=np.array([]))
    {'length_reward': 0.75}
    """
    return {name: float(np.mean(values, dtype=np.float64)) for name, values in columns.items() if values.size}
