"""Rows that name an agent loop of their own, which verl puts in the place of the config's."""

from __future__ import annotations

from collections.abc import Mapping

from lapo_verl.config import SINGLE_TURN_LOOP, TOOL_LOOP
from lapo_verl.data.rows import DataError
from lapo_verl.doctor.diagnostic import Finding


def row_loops(split: str, names: Mapping[str | None, int], default: str, guided: bool) -> list[Finding]:
    """What the rows' ``agent_name`` changes.

    Args:
        split: training or validation, for messages.
        names: as ``rows.agent_names`` counts them.
        default: ``rollout.agent.default_agent_loop``.
        guided: whether the agent loop has to append guidance to these rows.

    Raises:
        DataError: a row that verl stops at, or that would count as guided and not be.
    """
    rows = sum(names.values())
    if missing := names.get(None):
        raise DataError(
            f"{split} rows: agent_name is missing in {_share(missing, rows)}, and verl stops at such a row; fill it in "
            "everywhere, or take the column out of the data"
        )
    found = []
    if len(names) > 1 or names.get(TOOL_LOOP):
        counted = ", ".join(f"{name} {count}" for name, count in names.items())
        found.append(Finding("remark", f"{split} rows by agent loop: {counted}"))
    others = {name: count for name, count in names.items() if name not in (default, SINGLE_TURN_LOOP, TOOL_LOOP)}
    if not others:
        return found
    named = ", ".join(f"{name!r} in {_share(count, rows)}" for name, count in others.items())
    text = f"{split} rows: agent_name is {named}, and verl runs that instead of {default}"
    if guided:
        raise DataError(
            f"{text}: these rows would get no guidance and count as guided. Write {TOOL_LOOP} where they use tools and "
            f"{SINGLE_TURN_LOOP} where they do not, or take the column agent_name out of the data"
        )
    return [*found, Finding("warning", f"{text}; take the column agent_name out of the data if you do not want that")]


def _share(count: int, rows: int) -> str:
    return f"{count} of {rows} rows ({count / rows:.0%})"
