"""The turns of a rollout: which of its tokens the model generated, and which a tool did."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

# In verl's extra_fields of a rollout: what LAPO's tool loop tells the reward manager, which is given no response mask.
FIELD = "lapo_agent"


def generated_turns(mask: Sequence[int]) -> list[list[int]]:
    """[start, end) of each run of generated tokens, in their order.

    Args:
        mask: verl's response mask: 1 where the model generated the token, 0 where a tool or the chat template did.

    >>> generated_turns([1, 1, 0, 0, 1])
    [[0, 2], [4, 5]]
    """
    turns, start = [], 0
    for generated, run in groupby(mask):
        end = start + sum(1 for _ in run)
        if generated:
            turns.append([start, end])
        start = end
    return turns
