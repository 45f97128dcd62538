"""The path for a model and data of one's own, as docs/training.md has it: data, doctor, training, eval, report.

In the places of the page's model and of the hub are a tiny model of the same structure and small files like GSM8K's.
Each command gets the overrides of the CPU platform and sizes that two cores can take, and nothing else.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import tomllib
from tiny_models import make_r1_distill_like
from verl_runs import ROOT, RUN_LIMIT

from lapo_verl.cpu import WARM_PYTHON
from lapo_verl.store import LengthStore

# Six starts of verl, one behind the other.
pytestmark = pytest.mark.timeout(6 * RUN_LIMIT)

PAGE = ROOT / "docs" / "training.md"
MODEL = "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B"
STEPS = 2
BATCH = 4
RESPONSE_LIMIT = 16

TRAINING = [
    "platform=cpu",
    "trainer.n_gpus_per_node=1",
    f"trainer.total_training_steps={STEPS}",
    f"data.train_batch_size={BATCH}",
    f"data.max_response_length={RESPONSE_LIMIT}",
    "actor_rollout_ref.rollout.n=2",
    "actor_rollout_ref.rollout.val_kwargs.n=1",
]
# What is added to a command that begins like this. A command that begins like none of them fails the test.
ADDED = {
    ("lapo", "data", "gsm8k"): ["--input", "train.jsonl", "--validation", "2"],
    ("lapo", "data", "gsm8k-test"): ["--input", "test.jsonl"],
    ("lapo", "doctor"): TRAINING,
    ("python", "-m", "verl.trainer.main_ppo"): TRAINING,
    ("lapo", "eval"): ["--platform", "cpu", "--n", "1", "--max-tokens", str(RESPONSE_LIMIT)],
    ("lapo", "report"): ["--resamples", "100"],
}


@dataclass(frozen=True)
class Done:
    """A command of the page, and what came of it."""

    written: list[str]
    output: str


def commands() -> list[list[str]]:
    """The words of every command in the page's bash blocks, in order."""
    blocks = re.findall(r"```bash\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def is_install(words: list[str]) -> bool:
    return words[:2] == ["pip", "install"]


def write_gsm8k(path: Path, first: int, count: int) -> None:
    rows = [
        {"question": f"Ann has {i} apples and buys {i}. How many has she?", "answer": f"{i}+{i}={2 * i}\n#### {2 * i}"}
        for i in range(first, first + count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the commands run in."""
    folder = tmp_path_factory.mktemp("training_page")
    make_r1_distill_like(folder / MODEL)
    write_gsm8k(folder / "train.jsonl", 1, STEPS * BATCH + 2)
    write_gsm8k(folder / "test.jsonl", 100, 3)
    return folder


@pytest.fixture(scope="module")
def done(folder: Path) -> list[Done]:
    """Every command but the installation, one behind the other."""
    environment = {
        **os.environ,
        "VERL_PLATFORM": "cpu",
        "HF_HUB_OFFLINE": "1",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "COLUMNS": "200",
    }
    finished = []
    for words in commands():
        if is_install(words):
            continue
        added = max((start for start in ADDED if tuple(words[: len(start)]) == start), key=len, default=None)
        assert added is not None, f"the page's command is not tried by any test: {shlex.join(words)}"
        # One training starts as a user's does, whose processes import verl one by one: a minute and a half more.
        cold = "--config-name=lapo_discovery" in words and "--multirun" not in words
        run = subprocess.run(
            [*words, *ADDED[added]],
            cwd=folder,
            env={name: value for name, value in environment.items() if not (cold and name == WARM_PYTHON)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=2 * RUN_LIMIT,  # lapo eval and the sweep start verl twice
        )
        assert run.returncode == 0, f"{shlex.join(run.args)}\n{run.stdout[-5000:]}"
        finished.append(Done(words, run.stdout))
    return finished


def output_of(done: list[Done], *start: str) -> str:
    (found,) = [command.output for command in done if tuple(command.written[: len(start)]) == start]
    return found


def test_the_whole_path_is_there(done: list[Done]) -> None:
    tried = {start for start in ADDED for command in done if tuple(command.written[: len(start)]) == start}
    assert tried == set(ADDED)


def test_the_install_lines_name_what_is_there() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    installed = [word for words in commands() if is_install(words) for word in words[2:]]
    named = [re.fullmatch(r"lapo-verl\[(.+)\]", word) for word in installed]
    assert {extra for match in named if match for extra in match.group(1).split(",")} == {"gpu", "report"}
    assert {"gpu", "report"} <= set(extras)
    # flash-attn's setup imports wheel and torch, and says that neither is there.
    assert installed.index("wheel") < installed.index("flash-attn==2.8.3")
    assert "--no-build-isolation" in installed


def test_the_doctor_finds_nothing_wrong(done: list[Done]) -> None:
    assert "error" not in output_of(done, "lapo", "doctor").lower()


def test_stage_two_starts_from_stage_ones_newest_checkpoint(folder: Path, done: list[Done]) -> None:
    stage_two = next(command for command in done if "--config-name=lapo_internalization" in command.written)
    checkpoint = f"runs/discovery/global_step_{STEPS}"
    assert f"lapo: runs/discovery: internalization starts from step {STEPS}, store {checkpoint}/lapo_store.sqlite" in (
        stage_two.output
    )
    assert f"weights {checkpoint}/actor/huggingface" in stage_two.output
    with LengthStore.open(folder / "runs" / "internalization" / "lapo_store.sqlite", read_only=True) as store:
        assert store.last_step("discovery") == store.last_step("internalization") == STEPS


@pytest.mark.parametrize("alpha", [0.3, 0.7])
def test_each_job_of_the_sweep_is_a_training_of_its_own(folder: Path, done: list[Done], alpha: float) -> None:
    job = folder / "runs" / f"alpha{alpha}"
    (metrics,) = job.glob("metrics.*.jsonl")
    assert [json.loads(line)["step"] for line in metrics.read_text().splitlines()] == list(range(STEPS + 1))
    with LengthStore.open(job / "lapo_store.sqlite", read_only=True) as store:
        (run,) = store.runs()
        assert run.objective["alpha"] == alpha
        assert len(list(store.records())) == STEPS * BATCH


def test_the_evaluation_is_of_the_newest_checkpoint(done: list[Done]) -> None:
    shown = output_of(done, "lapo", "eval")
    assert f"runs/internalization/global_step_{STEPS}/actor/huggingface" in shown


def test_the_reports_find_what_the_runs_left_behind(folder: Path, done: list[Done]) -> None:
    """Left out is only what follows from random weights, which solve nothing, and from GSM8K, which names no levels."""
    empty = {"By difficulty level", "Adherence", "Budgets over time"}
    of_a_training = {"Validation over training steps", "Training over steps"}
    assert left_out(output_of(done, "lapo", "report", "runs/discovery")) == empty
    assert left_out(output_of(done, "lapo", "report", "runs/eval")) == empty | of_a_training
    made = {path.name for path in (folder / "report" / "training").iterdir()}
    assert {"report.html", "report.json", "training.png", "validation_steps.png"} <= made


def left_out(output: str) -> set[str]:
    """The sections that a report says it leaves out."""
    return {line.split(": ")[1] for line in output.splitlines() if line.startswith("left out: ")}
