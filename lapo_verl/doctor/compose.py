"""A config as verl's own training command composes it, in this process; nothing is started."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from hydra import compose, initialize_config_dir, initialize_config_module
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

VERL_CONFIGS = "pkg://verl.trainer.config"


class ComposeError(ValueError):
    """Hydra cannot compose the config; the message is Hydra's own, on one line."""


def compose_config(
    config_name: str, overrides: Sequence[str], config_path: str | None = None, config_dir: Path | None = None
) -> DictConfig:
    """The composed config of ``python -m verl.trainer.main_ppo`` with these arguments.

    Args:
        config_name: as ``--config-name``.
        overrides: as on the command line, ``key=value``.
        config_path: as ``--config-path``: a folder (relative to verl's trainer) or ``pkg://module``, in
            place of verl's configs.
        config_dir: as ``--config-dir``: a folder that is searched as well. Of two configs of one name, its own is
            taken, and Hydra's command would take the other.

    Raises:
        ComposeError: no such config, or an override that Hydra refuses.
    """
    source, arguments = _source(config_path), list(overrides)
    if config_dir is not None:
        if not config_dir.is_dir():
            raise ComposeError(f"--config-dir={config_dir}: no such folder")
        # Hydra's API looks for the config itself in one place only, and for what it is made of in any number.
        escaped = source.replace("'", r"\'")
        source, arguments = f"file://{config_dir.resolve()}", [f"hydra.searchpath=['{escaped}']", *arguments]
    try:
        with _command_line(arguments), _initialize(source):
            return compose(config_name, arguments)
    except (HydraException, OmegaConfBaseException) as error:
        raise ComposeError(" ".join(str(error).split())) from error


def _source(config_path: str | None) -> str:
    if config_path is None:
        return VERL_CONFIGS
    if config_path.startswith("pkg://"):
        return config_path
    import verl.trainer

    folder = Path(verl.trainer.__file__).parent / config_path  # an absolute path stays as it is
    return f"file://{folder.resolve()}"


def _initialize(source: str) -> AbstractContextManager[None]:
    if source.startswith("pkg://"):
        return initialize_config_module(source.removeprefix("pkg://"), version_base=None)
    return initialize_config_dir(source.removeprefix("file://"), version_base=None)


@contextmanager
def _command_line(arguments: Sequence[str]) -> Iterator[None]:
    """LAPO's search path plugin reads the overrides from the command line, which here is another command's."""
    argv, sys.argv = sys.argv, [sys.argv[0], *arguments]
    try:
        yield
    finally:
        sys.argv = argv
