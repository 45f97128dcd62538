"""The jobs of a Hydra sweep (``--multirun``): each has to have a folder and a length store of its own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

OWN_KEYS = ("trainer.default_local_dir", "lapo.store")
# What Hydra makes another in each job.
_OF_THE_JOB = {
    "hydra:job.num",
    "hydra:job.id",
    "hydra:job.override_dirname",
    "hydra:runtime.output_dir",
    "hydra:sweep.subdir",
}
_REFERENCE = re.compile(r"\$\{([^${}]+)\}")


class SweepError(ValueError):
    """Jobs of a sweep that would write into each other's files; the message says how to part them."""


def check_sweep(config: DictConfig) -> None:
    """Check the config that a sweep starts from, before its jobs are composed.

    Raises:
        SweepError: two jobs would have one folder of checkpoints, or one store.
    """
    swept = _swept(config)
    plain = OmegaConf.to_container(config, resolve=False)
    for key in OWN_KEYS:
        used = _references(plain, key)
        shared = [name for name in swept if not used & {name, f"hydra:runtime.choices.{name}"}]
        if shared and not used & _OF_THE_JOB:
            raise SweepError(
                f"{key}={_raw(plain, key)} is the same for all jobs of this sweep over {', '.join(shared)}: they would "
                "resume from each other's checkpoints and write one length store. Give each job a folder of its own: "
                "'trainer.default_local_dir=<folder>/${hydra:job.num}'"
            )


def _swept(config: DictConfig) -> list[str]:
    """Keys and groups that the command line, or the sweeper's own config, gives several values."""
    arguments = OverridesParser.create().parse_overrides(list(config.hydra.overrides.task))
    keys = [override.key_or_group for override in arguments if override.is_sweep_override()]
    return keys + [str(key) for key in config.hydra.sweeper.get("params") or {}]


def _references(plain: Any, key: str) -> set[str]:
    """All keys that the value of ``key`` is made of, ``key`` included."""
    found: set[str] = set()
    todo = [key]
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo += _REFERENCE.findall(str(_raw(plain, name)))
    return found


def _raw(plain: Any, key: str) -> Any:
    """The value of a dotted key as it was written, interpolations and all; None where there is none."""
    for part in key.split("."):
        plain = plain.get(part) if isinstance(plain, Mapping) else None
    return plain
