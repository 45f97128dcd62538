"""A run that joins a Ray cluster: its processes have other working folders than the command, on other nodes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from omegaconf import DictConfig

from lapo_verl.doctor.diagnostic import Finding
from lapo_verl.doctor.verl_paths import VERLS_PATHS, paths_in

# Paths that verl's task runner and workers use as they are written.
PATHS = (*VERLS_PATHS, "actor_rollout_ref.model.tokenizer_path", "lapo.store", "lapo.init_from")
# A path that need not be one: a model or a data set of the hub is named alike.
NAMES = {"data.train_files", "data.val_files", "actor_rollout_ref.model.path", "actor_rollout_ref.model.tokenizer_path"}
# What only a command that starts Ray may say.
SIZES = ("num_cpus", "num_gpus")


def cluster_address(config: DictConfig) -> str | None:
    """The address of the Ray that this command joins, by ``ray.init``'s own rules; None where it starts one."""
    running = Path(os.environ.get("RAY_TMPDIR") or "/tmp") / "ray" / "ray_current_cluster"  # written by `ray start`
    address = config.ray_kwargs.ray_init.get("address") or os.environ.get("RAY_ADDRESS")
    if address == "local":
        return None
    if address and address != "auto":
        return str(address)
    return running.read_text().strip() if running.exists() else address


def cluster_findings(config: DictConfig) -> Iterator[Finding]:
    """What a run may not say where it joins a cluster."""
    address = cluster_address(config)
    if address is None:
        return
    ray_init = config.ray_kwargs.ray_init
    sizes = [key for key in SIZES if ray_init.get(key) is not None]
    if sizes:
        null = " ".join(f"ray_kwargs.ray_init.{key}=null" for key in sizes)
        yield Finding(
            "error",
            f"ray_kwargs.ray_init.{sizes[0]}={ray_init[sizes[0]]}: this command joins the Ray at {address}, which has "
            f"its own size. Set {null}, or RAY_ADDRESS=local to start another Ray for this run",
        )
    for key, path in paths_in(config, PATHS):
        if _is_relative(key, path):
            yield Finding(
                "error",
                f"{key}={path} is a relative path, and this command joins the Ray at {address}: its processes have "
                f"other working folders. Write {Path(path).absolute()}",
            )


def _is_relative(key: str, path: str) -> bool:
    if Path(path).is_absolute() or "://" in path or path.startswith("~"):
        return False
    return key not in NAMES or Path(path).exists()
