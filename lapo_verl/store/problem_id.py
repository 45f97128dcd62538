"""A name for a problem that has none."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np


def problem_id(data_source: str, prompt: Any, ground_truth: Any) -> str:
    """A hash of what makes a problem the same one: 32 hex digits, the same on every machine and in every run.

    Args:
        data_source: name of the data set.
        prompt: a text, or a list of messages; numpy's arrays, as parquet files give them, count as lists.
        ground_truth: the answer.

    Raises:
        TypeError: a value has no JSON.

    >>> problem_id("math", [{"role": "user", "content": "1+1?"}], "2")
    '1bf1dde153e98a8ba69e5c4b99bbbf8d'
    """
    canonical = json.dumps([data_source, prompt, ground_truth], sort_keys=True, separators=(",", ":"), default=_plain)
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()[:32]


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"a problem id needs values that have JSON, got {type(value).__name__}")
