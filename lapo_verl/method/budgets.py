"""The mapping M(q) from a problem to its budget: written in stage 1 (Eq. 3), tightened in stage 2 (Eq. 8).

A budget is a number of tokens, or None for a problem that is unsolved. Unsolved is a state of its own: the
response limit, which the paper writes there, would be taken for a length that was once observed.
"""

from __future__ import annotations

from lapo_verl.method.lengths import LengthStats, check_choice


def discovery_budget(
    budget: float | None,
    stats: LengthStats | None,
    statistic: str = "median",
    on_unsolved: str = "reset",
) -> float | None:
    """M(q) after a visit in stage 1 (Eq. 3): the statistic of this visit, written anew each time.

    Args:
        budget: M(q) before the visit, in tokens.
        stats: of the visit's correct rollouts; None where there were none.
        statistic: ``median``, ``mean`` or ``minimum``.
        on_unsolved: where there were none: ``reset`` to unsolved (the paper) or ``keep`` the old budget.
    """
    check_choice("on_unsolved", on_unsolved, ("reset", "keep"))
    if stats is not None:
        return stats.value(statistic)
    return budget if on_unsolved == "keep" else None


def update_budget(budget: float | None, stats: LengthStats | None, statistic: str = "median") -> float | None:
    """M(q) after a visit in stage 2 (Eq. 8): a solved budget only ever falls.

    >>> update_budget(100.0, LengthStats.of([80, 90]))
    85.0
    """
    if stats is None:
        return budget
    observed = stats.value(statistic)
    return observed if budget is None else min(budget, observed)
