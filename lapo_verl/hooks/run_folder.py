"""Hydra's callback that gives a training its folder, and verl's file logger a file in it.

verl's task runner, the process that logs, validates and opens the store, is an actor that Ray starts where it likes.
What it has to know of the command's node is handed on in Ray's ``runtime_env``: the workers of a Ray that was there
before do not inherit the command's environment.
"""

from __future__ import annotations

import os
import socket
import uuid
from datetime import datetime
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

# Where verl's file logger writes (verl/utils/tracking.py); without it, ./<project>/<experiment>.jsonl.
LOG_PATH = "VERL_FILE_LOGGER_PATH"
# What the command of this training wrote into MARK_FILE: its host, and a number of its own.
MARK = "LAPO_COMMAND_MARK"
MARK_FILE = ".command"
ENV_VARS = "ray_kwargs.ray_init.runtime_env.env_vars"


class RunFolderError(ValueError):
    """The folder of a run is another one for verl's task runner than for the command."""


class RunFolder(Callback):
    """Runs in the driver. A path that the user set in ``VERL_FILE_LOGGER_PATH`` stays.

    verl's logger makes no folder, and empties its file: a run that is resumed gets a file of its own.
    """

    def __init__(self) -> None:
        self._set: dict[str, str] = {}

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Called by Hydra before it copies the config for verl's ``main``: what is set here, Ray's workers get."""
        self._set = self._environment(config)
        for name, value in self._set.items():
            OmegaConf.update(config, f"{ENV_VARS}.{name}", value, force_add=True)

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Called by Hydra after the preflight. The jobs of a sweep have had no ``on_run_start``."""
        self._set = self._set or self._environment(config)
        os.environ.update(self._set)
        folder = _folder(config)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MARK_FILE).write_text(self._set[MARK])

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """The next job of a sweep has a folder of its own, and a Ray whose workers know of it."""
        import ray

        ray.shutdown()
        for name in self._set:
            os.environ.pop(name, None)
        self._set = {}

    def _environment(self, config: DictConfig) -> dict[str, str]:
        found = {MARK: f"{socket.gethostname()} {uuid.uuid4()}"}
        if LOG_PATH not in os.environ:
            found[LOG_PATH] = str(_folder(config) / f"metrics.{datetime.now():%Y%m%d-%H%M%S}.jsonl")
        return found


def check_run_folder(folder: Path) -> None:
    """Called in verl's task runner before it resumes and opens the store: it has the folder that the command made.

    Otherwise it would find no checkpoint and begin again, or write a second store on a node where nobody looks.

    Raises:
        RunFolderError: Ray runs the task runner on another node, which has another folder of this name, or none.
    """
    mark = os.environ.get(MARK)
    if mark is None:  # not started by verl's command
        return
    file = folder / MARK_FILE
    if file.exists() and file.read_text() == mark:
        return
    raise RunFolderError(
        f"trainer.default_local_dir={folder}: is another folder on {socket.gethostname()}, where Ray runs verl's task "
        f"runner, than on {mark.split()[0]}, where the command was started. Checkpoints and the length store are both "
        "in it: put it on a file system that all nodes share"
    )


def _folder(config: DictConfig) -> Path:
    return Path(str(config.trainer.default_local_dir))
