"""verl's own dataset for the baseline and for evaluation, by a path that brings LAPO's agent loop along.

verl's trainer and its agent-loop workers load the dataset's class that a config names.
"""

from verl.utils.dataset.rl_dataset import RLHFDataset

from lapo_verl.hooks import agent_loop, tool_agent_loop, validation_metrics  # noqa: F401

__all__ = ["RLHFDataset"]
