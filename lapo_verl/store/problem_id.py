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

    Keys whose value is null do not count: some readers fill a key that one row has into all rows, others do not.

    Raises:
        TypeError: a value has no JSON.

    >>> problem_id("math", [{"role": "user", "content": "1+1?"}], "2")
    '1bf1dde153e98a8ba69e5c4b99bbbf8d'
    """
    parts = [_plain(part) for part in (data_source, prompt, ground_truth)]
    canonical = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()[:32]


def _plain(value: Any) -> Any:
    """The value as JSON has it, without keys whose value is null."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, str | int | float):
        return value
    raise TypeError(f"a problem id needs values that have JSON, got {type(value).__name__}")
