"""The method of the paper as plain functions on numpy arrays; knows neither verl nor torch.

One file a concept: ``lengths`` (Eq. 1-3), ``rewards`` (Eq. 4-7), ``budgets`` (Eq. 3, 8), ``guidance``, ``scores``.
"""

from lapo_verl.guidance.text import guidance_text, shown_names, shown_tokens
from lapo_verl.method.budgets import discovery_budget, update_budget
from lapo_verl.method.config import DiscoveryConfig, InternalizationConfig
from lapo_verl.method.lengths import LengthStats
from lapo_verl.method.rewards import (
    adherence_reward,
    band_reward,
    discovery_rewards,
    in_band,
    internalization_rewards,
    target_length,
)
from lapo_verl.method.scores import float32_scores, has_signal

__all__ = [
    "DiscoveryConfig",
    "InternalizationConfig",
    "LengthStats",
    "adherence_reward",
    "band_reward",
    "discovery_budget",
    "discovery_rewards",
    "float32_scores",
    "guidance_text",
    "has_signal",
    "in_band",
    "internalization_rewards",
    "shown_names",
    "shown_tokens",
    "target_length",
    "update_budget",
]
