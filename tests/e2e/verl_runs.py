"""Starting verl's own command, and reading what it leaves behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lapo_verl.cpu import WARM_PYTHON
from lapo_verl.objectives import Groups, objective
from lapo_verl.runs import verl_process

ROOT = Path(__file__).resolve().parents[2]
# Seconds; a run takes about one minute on two idle cores.
RUN_LIMIT = 600
DISCOVERY = ("trainer.total_training_steps=2", "trainer.save_freq=1", "lapo.objective.decay=8")


@dataclass(frozen=True)
class Run:
    """A finished training: its folder and what its replay buffer handed to the trainer."""

    folder: Path
    returncode: int
    output: str

    @property
    def faults(self) -> str:
        """For a failed test: where the output first tells of a fault (others follow from it), and its end."""
        first = re.search(r".*(Traceback|Check failed|rror: ).*", self.output)
        start = first.start() if first else len(self.output)
        return f"{self.output[start : start + 3000]}\n[...]\n{self.output[-2000:]}"

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def store(self) -> Path:
        return self.checkpoints / "lapo_store.sqlite"

    def weights(self, step: int) -> Path:
        return self.checkpoints / f"global_step_{step}" / "actor" / "huggingface"

    def recorded(self, partition: str = "train") -> list[dict[str, Any]]:
        """What the recording buffer wrote down, one entry a rollout."""
        lines = (self.folder / "record.jsonl").read_text().splitlines()
        return [row for row in map(json.loads, lines) if row["partition"] == partition]

    def server_prompts(self) -> list[list[int]]:
        """Token ids of every prompt that vLLM's engine was asked to continue, in that order."""
        return [json.loads(line) for line in (self.folder / "prompts.jsonl").read_text().splitlines()]

    def dump(self, name: str, step: int) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / name / f"{step}.jsonl").read_text().splitlines()]

    def metrics(self) -> dict[int, dict[str, float]]:
        rows = [json.loads(line) for line in (self.folder / "metrics.jsonl").read_text().splitlines()]
        return {row["step"]: row["data"] for row in rows}


@dataclass(frozen=True)
class Inputs:
    model: Path
    train: Path
    heldout: Path


def start_verl(
    inputs: Inputs, config: str, folder: Path, *overrides: str, env: Mapping[str, str | None] | None = None
) -> subprocess.Popen[bytes]:
    """Start verl's own command in a process group of its own; its output goes to ``verl.log``.

    Args:
        env: changes of ``environment_of(folder)``; None takes a variable out.
    """
    command = [
        *(os.environ[WARM_PYTHON], "-m", "verl.trainer.main_ppo", f"--config-name={config}", "platform=cpu"),
        f"data.train_files={inputs.train}",
        f"data.val_files={inputs.heldout}",
        "data.train_batch_size=8",
        "data.max_prompt_length=80",
        "data.max_response_length=96",
        "data.seed=1",
        f"actor_rollout_ref.model.path={inputs.model}",
        "actor_rollout_ref.rollout.n=4",
        "actor_rollout_ref.rollout.val_kwargs.n=2",
        "actor_rollout_ref.actor.optim.lr=1e-5",
        "actor_rollout_ref.actor.checkpoint.save_contents=[model,optimizer,extra,hf_model]",
        "trainer.val_before_train=false",
        "trainer.save_freq=-1",
        "trainer.test_freq=-1",
        "trainer.logger=[console,file]",
        f"trainer.default_local_dir={folder}/checkpoints",
        f"trainer.validation_data_dir={folder}/validation",
        f"trainer.rollout_data_dir={folder}/rollouts",
        f"hydra.run.dir={folder}/hydra",
    ]
    if config != "acc_only":
        command += [
            f"trainer.v1.sampler.custom_sampler.path={ROOT / 'tests' / 'e2e' / 'recording_buffer.py'}",
            "trainer.v1.sampler.custom_sampler.name=RecordingBuffer",
        ]
    changed = {**environment_of(folder), **(env or {})}
    environment = {name: value for name, value in changed.items() if value is not None}
    return verl_process.start([*command, *overrides], folder / "verl.log", environment, folder)


def run_to_end(
    inputs: Inputs, config: str, folder: Path, *overrides: str, env: Mapping[str, str | None] | None = None
) -> Run:
    """``start_verl``, ended with its Ray after RUN_LIMIT seconds."""
    process = start_verl(inputs, config, folder, *overrides, env=env)
    try:
        process.wait(RUN_LIMIT)
    finally:
        verl_process.end(process)
    return Run(folder, process.returncode, (folder / "verl.log").read_text(errors="replace"))


def environment_of(folder: Path) -> dict[str, str]:
    """Of a training's processes: the CPU platform, and where the tests' buffer and spy write to."""
    return {
        **os.environ,
        "VERL_PLATFORM": "cpu",
        "HF_HUB_OFFLINE": "1",
        "VERL_FILE_LOGGER_PATH": str(folder / "metrics.jsonl"),
        "LAPO_TEST_RECORD": str(folder / "record.jsonl"),
        "LAPO_TEST_PROMPTS": str(folder / "prompts.jsonl"),
        "PYTHONPATH": os.pathsep.join([str(ROOT / "tests" / "e2e" / "spy"), os.environ.get("PYTHONPATH", "")]),
    }


def kill_after_checkpoint(
    step: int, inputs: Inputs, config: str, folder: Path, *overrides: str, env: dict[str, str] | None = None
) -> None:
    """Start verl's own command, and kill it with SIGKILL once the checkpoint of ``step`` is complete."""
    process = start_verl(inputs, config, folder, *overrides, env=env)
    snapshot = folder / "checkpoints" / f"global_step_{step}" / "lapo_store.sqlite"
    deadline = time.monotonic() + RUN_LIMIT
    try:
        while not snapshot.exists():
            assert process.poll() is None, "the training ended by itself"
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    finally:
        verl_process.end(process)
    assert not (folder / "checkpoints" / f"global_step_{step + 1}").exists(), "the kill came too late"


def groups_of(rows: list[dict[str, Any]]) -> dict[tuple[int, str], list[dict[str, Any]]]:
    """The rollouts of each visit: {(step, uid): rows}."""
    groups: dict[tuple[int, str], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[row["step"], row["key"].split("_")[0]].append(row)
    return groups


def correct_and_lengths(rows: list[dict[str, Any]]) -> tuple[list[bool], list[int]]:
    return [bool(row["info"]["acc"]) for row in rows], [sum(row["mask"]) for row in rows]


def rewards_of(rows: list[dict[str, Any]], target: float | None, name: str, **fields: float) -> list[float]:
    """What the objective makes of one visit's rollouts."""
    correct, lengths = correct_and_lengths(rows)
    rewards: list[float] = (
        objective(name, **fields).rewards(Groups.of([correct], [lengths], target=[target]))[0].tolist()
    )
    return rewards
