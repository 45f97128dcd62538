"""Whether the jobs of a sweep have folders of their own."""

from __future__ import annotations

import re

import pytest
from omegaconf import DictConfig, OmegaConf

from lapo_verl.doctor.sweep import SweepError, check_sweep

STORE = "${trainer.default_local_dir}/lapo_store.sqlite"


def config(folder: str, *arguments: str, store: str = STORE, params: dict[str, str] | None = None) -> DictConfig:
    return OmegaConf.create(
        {
            "trainer": {"default_local_dir": folder, "experiment_name": "a"},
            "lapo": {"store": store, "objective": {"alpha": 0.7}},
            "hydra": {"overrides": {"task": list(arguments)}, "sweeper": {"params": params}},
        }
    )


@pytest.mark.parametrize(
    "folder",
    [
        "runs/${hydra:job.num}",
        "runs/${lapo.objective.alpha}",
        "${hydra:runtime.output_dir}",
        "${trainer.experiment_name}",
    ],
)
def test_folders_that_differ(folder: str) -> None:
    swept = "trainer.experiment_name=a,b" if "experiment" in folder else "lapo.objective.alpha=0.3,0.7"
    check_sweep(config(folder, swept))
    with pytest.raises(SweepError, match=re.escape("lapo.store=one.sqlite is the same for all jobs")):
        check_sweep(config(folder, swept, store="one.sqlite"))


def test_groups_count_by_their_choice() -> None:
    check_sweep(config("runs/${hydra:runtime.choices.preset}", "preset=paper,reference"))


def test_folders_of_a_plain_multirun() -> None:
    check_sweep(config("runs", "lapo.objective.alpha=0.3"))


@pytest.mark.parametrize("folder", ["runs", "runs/${trainer.experiment_name}", "runs/${lapo.objective.alpha}"])
def test_folders_that_jobs_share(folder: str) -> None:
    arguments = ("lapo.objective.alpha=0.3,0.7", "lapo.objective.low=range(10,40,10)")
    with pytest.raises(SweepError, match=r"trainer\.default_local_dir=runs.*lapo\.objective\.low.*hydra:job\.num"):
        check_sweep(config(folder, *arguments))


def test_parameters_in_the_sweepers_own_config() -> None:
    with pytest.raises(SweepError, match=r"sweep over data\.seed"):
        check_sweep(config("runs", params={"data.seed": "1,2"}))
