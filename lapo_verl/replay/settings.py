"""The settings that a replay compares: the run's own first, then each that the command line asks for."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from lapo_verl.method import DiscoveryConfig, InternalizationConfig

RUN = "run"
DISCOVERY_KEYS = tuple(item.name for item in fields(DiscoveryConfig))
INTERNALIZATION_KEYS = tuple(item.name for item in fields(InternalizationConfig))
KEYS = tuple(dict.fromkeys(DISCOVERY_KEYS + INTERNALIZATION_KEYS))
WORD_KEYS = ("statistic", "on_unsolved", "degenerate_band")
# What a budget depends on, beside the rollouts; low and high are noted with it.
BUDGET_KEYS = ("statistic", "on_unsolved", "low", "high")


class ReplaySettingError(ValueError):
    """A setting that cannot be replayed; the message names the key and the way out."""


@dataclass(frozen=True)
class ReplaySetting:
    """One column of the comparison: both stages' settings under a name."""

    name: str
    discovery: DiscoveryConfig
    internalization: InternalizationConfig

    def changed(self, name: str, values: Mapping[str, Any]) -> ReplaySetting:
        """This setting with other values; ``statistic`` is that of both stages.

        Raises:
            ReplaySettingError: an unknown key, or a value that its stage does not take.
        """
        for key, value in values.items():
            if key not in KEYS:
                nearest = difflib.get_close_matches(key, KEYS, n=1)
                hint = f"did you mean {nearest[0]}?" if nearest else f"there are: {', '.join(KEYS)}"
                raise ReplaySettingError(f"unknown setting {key!r}: {hint}")
            if isinstance(value, str) and key not in WORD_KEYS:
                raise ReplaySettingError(f"setting {name!r}: {key} must be a number, got {value!r}")
        try:
            return ReplaySetting(
                name,
                replace(self.discovery, **{key: value for key, value in values.items() if key in DISCOVERY_KEYS}),
                replace(
                    self.internalization,
                    **{key: value for key, value in values.items() if key in INTERNALIZATION_KEYS},
                ),
            )
        except ValueError as error:
            raise ReplaySettingError(f"setting {name!r}: {error}") from error

    def as_dict(self) -> dict[str, dict[str, Any]]:
        """The settings of both stages, for JSON."""
        return {"discovery": asdict(self.discovery), "internalization": asdict(self.internalization)}


def run_setting(
    discovery: DiscoveryConfig | None, internalization: InternalizationConfig | None, given: str | None
) -> ReplaySetting:
    """What the run was made with: as noted, else the paper's; ``given`` ("key=value,...") stands above both."""
    noted = ReplaySetting(RUN, discovery or DiscoveryConfig(), internalization or InternalizationConfig())
    return noted.changed(RUN, parse_assignments("--run", given or ""))


def other_settings(
    run: ReplaySetting, options: Mapping[str, str | None], named: Sequence[str] = ()
) -> list[ReplaySetting]:
    """The run's settings with the options' values, every combination where options have several, then the named ones.

    Args:
        options: {key: "value" or "value,value"}; None where not given.
        named: each "NAME:key=value,key=value".

    Raises:
        ReplaySettingError: an unknown key, a value out of range, or one name twice.
    """
    grid = {key: [_value(text) for text in values.split(",")] for key, values in options.items() if values is not None}
    settings = []
    if grid:
        for values in itertools.product(*grid.values()):
            chosen = dict(zip(grid, values, strict=True))
            settings.append(run.changed(" ".join(f"{key}={value}" for key, value in chosen.items()), chosen))
    for text in named:
        name, colon, assignments = text.partition(":")
        if not (name and colon and assignments):
            raise ReplaySettingError(f"--set {text!r} must be NAME:key=value,key=value")
        settings.append(run.changed(name, parse_assignments("--set", assignments)))
    names = [RUN, *(setting.name for setting in settings)]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ReplaySettingError(f"two settings are named {twice[0]!r}: give each a name of its own")
    return settings


def parse_assignments(option: str, text: str) -> dict[str, Any]:
    """``key=value,key=value`` as a mapping; numbers are numbers.

    Raises:
        ReplaySettingError: a part that is no assignment.
    """
    values = {}
    for part in filter(None, text.split(",")):
        key, equals, value = part.partition("=")
        if not equals:
            raise ReplaySettingError(f"{option}: {part!r} must be key=value")
        values[key.strip()] = _value(value)
    return values


def _value(text: str) -> int | float | str:
    text = text.strip()
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text
