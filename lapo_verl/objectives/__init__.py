"""Objectives: what a rollout is worth, given its group. One file each; a new one needs no change anywhere else.

``base`` has what an objective is written with, ``registry`` finds it by name, ``checked`` calls it.
"""

from lapo_verl.objectives.base import Groups, Memory, Objective, means
from lapo_verl.objectives.checked import checked_memory, checked_rewards, checked_targets
from lapo_verl.objectives.fields import Range
from lapo_verl.objectives.lengths import MaskedLengths, Statistic
from lapo_verl.objectives.registry import default_objective, objective, objective_class, objective_names
from lapo_verl.objectives.signal import float32_scores, has_signal

__all__ = [
    "Groups",
    "MaskedLengths",
    "Memory",
    "Objective",
    "Range",
    "Statistic",
    "checked_memory",
    "checked_rewards",
    "checked_targets",
    "default_objective",
    "float32_scores",
    "has_signal",
    "means",
    "objective",
    "objective_class",
    "objective_names",
]
