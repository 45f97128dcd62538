"""Whether the jobs of a sweep have folders of their own."""

from __future__ import annotations

import re

import pytest
from omegaconf import DictConfig, OmegaConf

from lapo_verl.doctor.sweep import Jobs, SweepError, check_sweep

STORE = "${trainer.default_local_dir}/lapo_store.sqlite"


def config(
    folder: str,
    *arguments: str,
    store: str = STORE,
    params: dict[str, str] | None = None,
    address: str = "local",
) -> DictConfig:
    return OmegaConf.create(
        {
            "trainer": {"default_local_dir": folder, "experiment_name": "a"},
            "lapo": {"store": store, "objective": {"name": "laser", "alpha": 0.7}},
            "ray_kwargs": {"ray_init": {"address": address}},
            # The command line names the folder, too.
            "hydra": {
                "overrides": {"task": [*arguments, f"trainer.default_local_dir={folder}"]},
                "sweeper": {"params": params},
            },
        }
    )


@pytest.mark.parametrize("folder", ["runs/${lapo.objective.alpha}", "${trainer.experiment_name}"])
def test_folders_that_differ(folder: str) -> None:
    swept = "trainer.experiment_name=a,b" if "experiment" in folder else "lapo.objective.alpha=0.3,0.7"
    check_sweep(config(folder, swept))
    with pytest.raises(SweepError, match=re.escape("lapo.store=one.sqlite is the same for all jobs")):
        check_sweep(config(folder, swept, store="one.sqlite"))


def test_a_sweep_over_folders() -> None:
    check_sweep(config("runs", "trainer.default_local_dir=a,b"))


def test_groups_are_named_by_a_key() -> None:
    check_sweep(config("runs/${lapo.objective.name}", "objective=laser,alp"))
    with pytest.raises(SweepError, match=re.escape("'trainer.default_local_dir=<folder>/${lapo.objective.name}'")):
        check_sweep(config("runs", "objective=laser,alp"))
    with pytest.raises(SweepError, match="sweep over objective:"):
        check_sweep(config("runs/${lapo.objective.alpha}", "objective=laser,alp", "lapo.objective.alpha=0.3,0.7"))


def test_a_job_with_the_folder_of_one_before_it() -> None:
    jobs = Jobs()
    for name in ("a", "b"):
        jobs.enter(config(name))
    with pytest.raises(SweepError, match=r"trainer\.default_local_dir=a: an earlier job of this sweep has it"):
        jobs.enter(config("a", store="other.sqlite"))
    with pytest.raises(SweepError, match=r"lapo\.store=b/lapo_store\.sqlite: an earlier job of this sweep has it"):
        jobs.enter(config("c", store="b/lapo_store.sqlite"))


def test_on_a_cluster() -> None:
    with pytest.raises(SweepError, match=re.escape("--multirun joins the Ray at ray:6379")):
        check_sweep(config("runs/${lapo.objective.alpha}", "lapo.objective.alpha=0.3,0.7", address="ray:6379"))


def test_folders_of_a_plain_multirun() -> None:
    check_sweep(config("runs", "lapo.objective.alpha=0.3"))


@pytest.mark.parametrize("folder", ["runs", "runs/${trainer.experiment_name}", "runs/${lapo.objective.alpha}"])
def test_folders_that_jobs_share(folder: str) -> None:
    arguments = ("lapo.objective.alpha=0.3,0.7", "lapo.objective.low=range(10,40,10)")
    with pytest.raises(SweepError, match=r"default_local_dir=runs.*<folder>/.*\{lapo\.objective\.low\}"):
        check_sweep(config(folder, *arguments))


def test_parameters_in_the_sweepers_own_config() -> None:
    with pytest.raises(SweepError, match=r"sweep over data\.seed"):
        check_sweep(config("runs", params={"data.seed": "1,2"}))
