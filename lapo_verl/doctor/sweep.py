"""The jobs of a Hydra sweep (``--multirun``): each has to have a folder and a length store of its own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from lapo_verl.doctor.cluster import cluster_address

OWN_KEYS = ("trainer.default_local_dir", "lapo.store")
# A key that tells the choices of a config group apart; other groups' users know theirs.
_KEY_OF_GROUP = {"objective": "lapo.objective.name"}
_REFERENCE = re.compile(r"\$\{([^${}]+)\}")


class SweepError(ValueError):
    """Jobs of a sweep that would write into each other's files; the message says how to part them."""


def check_sweep(config: DictConfig) -> None:
    """Check the config that a sweep starts from, before its jobs are composed.

    A config group counts as named where any key is; ``Jobs`` knows what came of it.

    Raises:
        SweepError: two jobs would have one folder of checkpoints, or one store; or they would join a Ray cluster.
    """
    address = cluster_address(config)
    if address is not None:
        raise SweepError(
            f"--multirun joins the Ray at {address}, whose workers get no environment from a sweep's jobs: metrics of "
            "one job would be written over another's. Submit one command per job, or set RAY_ADDRESS=local"
        )
    # As it was written: not every value can be found out before there is a job.
    plain = OmegaConf.to_container(config, resolve=False)
    swept = _swept(plain)
    for key in OWN_KEYS:
        used = _references(plain, key)
        others = used - {*swept, *OWN_KEYS}
        shared = [name for name in swept if not (name in used if "." in name else others)]
        if shared:
            names = "-".join(f"${{{_KEY_OF_GROUP.get(name, name)}}}" for name in shared)
            raise SweepError(
                f"{key}={_raw(plain, key)} is the same for all jobs of this sweep over {', '.join(shared)}: they would "
                "resume from each other's checkpoints and write one length store. Give each job a folder of its own, "
                f"named by keys that differ: 'trainer.default_local_dir=<folder>/{names}'"
            )


class Jobs:
    """The jobs of one command, and where each of them writes."""

    def __init__(self) -> None:
        self._values: set[tuple[str, str]] = set()

    def enter(self, config: DictConfig) -> None:
        """A job begins.

        Raises:
            SweepError: it would have the folder or the store of one before it.
        """
        values = {(key, str(OmegaConf.select(config, key))) for key in OWN_KEYS}
        for key, value in sorted(values & self._values):
            raise SweepError(
                f"{key}={value}: an earlier job of this sweep has it, too. Name a key in it that differs between jobs"
            )
        self._values |= values


def _swept(plain: Any) -> list[str]:
    """Keys and groups that the command line, or the sweeper's own config, gives several values."""
    arguments = OverridesParser.create().parse_overrides(_raw(plain, "hydra.overrides.task"))
    keys = [override.key_or_group for override in arguments if override.is_sweep_override()]
    return keys + [str(key) for key in _raw(plain, "hydra.sweeper.params") or {}]


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
