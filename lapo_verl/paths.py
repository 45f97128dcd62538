"""Where the folders beside the package are: in a checkout, and in an installed wheel."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def hydra_configs() -> Path:
    """The folder of the Hydra configs."""
    return _beside("hydra_configs")


def recipes() -> Path:
    """The folder of the recipes."""
    return _beside("recipes")


def _beside(name: str) -> Path:
    # A wheel carries the folder inside the package (see pyproject.toml), a checkout at the top level.
    for folder in (_PACKAGE / name, _PACKAGE.parent / name):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"lapo_verl is installed without its folder {name}/; reinstall the package")
