"""Hydra's callback that gives a training its folder, and verl's file logger a file in it."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

# Where verl's file logger writes (verl/utils/tracking.py); without it, ./<project>/<experiment>.jsonl.
LOG_PATH = "VERL_FILE_LOGGER_PATH"


class RunFolder(Callback):
    """Runs in the driver, after the preflight. A Ray that is started there hands its environment on to its workers."""

    def __init__(self) -> None:
        self._is_ours = False

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Called by Hydra before verl's ``main``. A path that the user set stays.

        verl's logger makes no folder, and empties its file: a run that is resumed gets a file of its own.
        """
        folder = Path(str(config.trainer.default_local_dir))
        folder.mkdir(parents=True, exist_ok=True)
        if LOG_PATH not in os.environ:
            self._is_ours = True
            os.environ[LOG_PATH] = str(folder / f"metrics.{datetime.now():%Y%m%d-%H%M%S}.jsonl")

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """The next job of a sweep has a folder of its own."""
        if self._is_ours:
            os.environ.pop(LOG_PATH, None)
