"""The settings that a replay compares: the run's own first, then each that the command line asks for."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lapo_verl.objectives import Objective, objective
from lapo_verl.objectives.fields import nearest

RUN = "run"
WORDS = {"true": True, "false": False, "null": None}


class ReplaySettingError(ValueError):
    """A setting that cannot be replayed; the message names the key and the nearest right one."""


@dataclass(frozen=True)
class Setting:
    """One row of the comparison.

    Attributes:
        name: its heading.
        objectives: {name of a run: the objective that rewards its rollouts}; the runs that are not in it keep theirs.
    """

    name: str
    objectives: Mapping[str, Objective]

    def changed(self, name: str, values: Mapping[str, Any]) -> Setting:
        """This setting with other values of fields; with ``name`` among them, with another objective for every run.

        Raises:
            ReplaySettingError: an unknown key, or a value that the objective does not take.
        """
        made = {}
        if "name" not in values:
            _check_fields(f"setting {name!r}", self.objectives.values(), values)
        try:
            for run, each in self.objectives.items():
                config = each.config()
                known = {key: value for key, value in values.items() if key in config}
                made[run] = objective(**(values if "name" in values else config | known))
        except ValueError as error:
            raise ReplaySettingError(f"setting {name!r}: {error}") from error
        return Setting(name, made)


def other_settings(
    run: Setting, tried: Sequence[str] = (), named: Sequence[str] = (), objectives: Sequence[str] = ()
) -> list[Setting]:
    """The run's objectives and each other one under every combination of the tried values; then the named settings.

    Args:
        tried: each "field=value,value"; an objective takes those of them that are its fields.
        named: each "NAME:field=value,field=value".
        objectives: names, a user's own as pkg://my_module:MyClass; each is a setting, with its defaults, for every run.

    Raises:
        ReplaySettingError: an unknown key, a value out of range, or one name twice.
    """
    grid = {key: list(map(_value, values.split(","))) for key, values in (_assignment("--try", text) for text in tried)}
    others = [
        run.changed(name, {"path": path or None, "name": name})
        for path, _, name in (text.rpartition(":") for text in objectives)
    ]
    _check_fields("--try", [each for base in (run, *others) for each in base.objectives.values()], grid)
    settings = []
    for base in (run, *others):
        settings += [] if base is run else [base]
        known = {key: values for key, values in grid.items() if key in _fields(base.objectives.values())}
        for combination in itertools.product(*known.values()) if known else ():
            chosen = dict(zip(known, combination, strict=True))
            words = [f"{key}={value}" for key, value in chosen.items()]
            settings.append(base.changed(" ".join(words if base is run else [base.name, *words]), chosen))
    for text in named:
        name, colon, assignments = text.partition(":")
        if not (name and colon and assignments):
            raise ReplaySettingError(f"--set {text!r} must be NAME:field=value,field=value")
        settings.append(run.changed(name, parse_assignments("--set", assignments)))
    names = [RUN, *(setting.name for setting in settings)]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ReplaySettingError(f"two settings are named {twice[0]!r}: give each a name of its own")
    return settings


def parse_assignments(option: str, text: str) -> dict[str, Any]:
    """``key=value,key=value`` as a mapping; numbers are numbers.

    Raises:
        ReplaySettingError: a part that is not an assignment.
    """
    pairs = (_assignment(option, part) for part in text.split(",") if part)
    return {key: _value(value) for key, value in pairs}


def _fields(objectives: Iterable[Objective]) -> list[str]:
    return list(dict.fromkeys(key for each in objectives for key in each.config()))


def _check_fields(where: str, objectives: Collection[Objective], keys: Iterable[str]) -> None:
    """ReplaySettingError naming the first key that is a field of none of the objectives, and the nearest field."""
    known = _fields(objectives)
    for key in keys:
        if key not in known:
            names = ", ".join(dict.fromkeys(each.name for each in objectives))
            raise ReplaySettingError(f"{where}: no field {key!r} in {names}: {nearest(key, known)}")


def _assignment(option: str, text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise ReplaySettingError(f"{option}: {text!r} must be field=value")
    return key.strip(), value


def _value(text: str) -> int | float | bool | str | None:
    text = text.strip()
    if text in WORDS:
        return WORDS[text]
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text
