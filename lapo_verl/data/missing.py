"""Does a table's cell hold a value? Libraries write an empty cell in many ways, and none of them is an answer."""

from __future__ import annotations

from typing import Any, Final

_NAMES: Final = ("", "nan", "none", "null")


def is_missing(value: Any) -> bool:
    """Whether a cell is empty: None, a float NaN, or a text that is blank or only names one of these.

    >>> [is_missing(value) for value in (None, float("nan"), " ", "NaN", "None", "0", 0)]
    [True, True, True, True, True, False, False]
    """
    if isinstance(value, str):
        return value.strip().casefold() in _NAMES
    return value is None or (isinstance(value, float) and value != value)
