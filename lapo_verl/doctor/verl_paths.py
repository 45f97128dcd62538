"""The paths of a run that verl takes as they are written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from omegaconf import DictConfig, ListConfig, OmegaConf

VERLS_PATHS = (
    "trainer.default_local_dir",
    "trainer.resume_from_path",
    "trainer.rollout_data_dir",
    "trainer.validation_data_dir",
    "data.train_files",
    "data.val_files",
    "actor_rollout_ref.model.path",
)


def paths_in(config: DictConfig, keys: Iterable[str]) -> Iterator[tuple[str, str]]:
    """(key, path) of each path that is set; a key with a list has several."""
    for key in keys:
        value = OmegaConf.select(config, key)
        if value is not None:
            for path in value if isinstance(value, ListConfig) else [value]:
                yield key, str(path)
