"""``lapo eval`` with real verl: a checkpoint inside a training's folder, two benchmarks, plain and contradicted."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq
import pytest
from transformers import AutoTokenizer
from verl_runs import RUN_LIMIT, Inputs

from lapo_verl.data.rows import read_rows, row_problem_id
from lapo_verl.objectives import objective
from lapo_verl.runs.dumps import read_samples
from lapo_verl.store import GroupRecord, LengthStore
from lapo_verl.verify import is_correct

SENTENCE = " I will answer the question with {n} tokens."
RESPONSE_LIMIT = 96


class Evaluated(NamedTuple):
    """The evaluation's folder, the training's folder as it was before, and the command that made the first."""

    output: Path
    files: dict[str, Path]
    training: Path
    training_before: dict[str, str]
    command: list[str]
    shown: str

    def rows(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.output / "samples.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def evaluated(inputs: Inputs, tmp_path_factory: pytest.TempPathFactory) -> Evaluated:
    folder = tmp_path_factory.mktemp("evaluated")
    training = folder / "training"
    shutil.copytree(inputs.model, training / "global_step_2" / "actor" / "huggingface")
    (training / "latest_checkpointed_iteration.txt").write_text("2")
    with LengthStore.open(training / "lapo_store.sqlite") as store:
        store.record_step(
            "discovery", 1, [GroupRecord("p1", (31, 29, 40), (True, True, False))], objective("discovery")
        )
    files = {"train": folder / "train.parquet", "held": folder / "held.parquet"}
    pq.write_table(pq.read_table(inputs.train).slice(0, 4), files["train"])
    pq.write_table(pq.read_table(inputs.heldout), files["held"])
    output = folder / "eval"
    command = [
        *(sys.executable, "-m", "lapo_verl.cli.main", "eval"),
        *("--model", f"lapo_d={training / 'global_step_2'}"),
        *(argument for file in files.values() for argument in ("--data", str(file))),
        *("--n", "2", "--n", "held=3", "--platform", "cpu"),
        *("--max-tokens", str(RESPONSE_LIMIT), "--max-prompt-tokens", "80"),
        *("--conflict", "50", "--conflict-text", SENTENCE, "--output", str(output)),
        *("--budget", "20,self", "--cut", "48", "--", "lapo.guidance.form=exact"),
    ]
    before = content(training)
    done = run(command)
    assert done.returncode == 0, done.stderr[-3000:]
    return Evaluated(output, files, training, before, command, done.stdout)


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, env={**os.environ, "HF_HUB_OFFLINE": "1"}, capture_output=True, text=True, timeout=RUN_LIMIT
    )


def content(folder: Path) -> dict[str, str]:
    """{file: hash}, so that a file that is new, gone or changed shows."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_every_problem_is_answered_n_times_in_each_condition(evaluated: Evaluated) -> None:
    expected = {
        (benchmark, condition, row_problem_id(row)): n
        for benchmark, n in (("train", 2), ("held", 3))
        for condition in ("", "conflict=50", "budget=20")
        for row in read_rows(evaluated.files[benchmark])
    }
    rows = evaluated.rows()
    assert Counter((row["benchmark"], row["condition"], row["problem_id"]) for row in rows) == expected
    assert {row["checkpoint"] for row in rows} == {"lapo_d"}
    numbers = {key: [] for key in expected}
    for row in rows:
        numbers[row["benchmark"], row["condition"], row["problem_id"]].append(row["sample"])
    assert all(found == list(range(expected[key])) for key, found in numbers.items())


def test_rows_are_what_the_model_was_asked_and_answered(evaluated: Evaluated) -> None:
    tokenizer = AutoTokenizer.from_pretrained(evaluated.training / "global_step_2" / "actor" / "huggingface")
    problems = {
        (benchmark, row_problem_id(row)): row for benchmark, path in evaluated.files.items() for row in read_rows(path)
    }
    for row in evaluated.rows():
        problem = problems[row["benchmark"], row["problem_id"]]
        sentence = SENTENCE.format(n=50) if row["condition"] == "conflict=50" else ""
        budget = SENTENCE.format(n=20) if row["condition"] == "budget=20" else ""
        assert row["prompt"] == f"{problem['prompt'][0]['content']}{sentence}<think>{budget}"
        assert row["budget"] == (20 if budget else None)
        assert row["ground_truth"] == problem["reward_model"]["ground_truth"]
        assert row["level"] == str(problem["extra_info"]["level"])
        assert row["acc"] == float(is_correct(row["response"], row["ground_truth"]))
        # The token that ends a response is one of its tokens and not of its text.
        written = len(tokenizer.encode(row["response"], add_special_tokens=False))
        assert row["tokens"] == (RESPONSE_LIMIT if row["truncated"] else written + 1)


def test_samples_differ(evaluated: Evaluated) -> None:
    """Rows of one problem are samples of their own, although their prompts are the same."""
    held = [row for row in evaluated.rows() if row["benchmark"] == "held"]
    assert len({(row["problem_id"], row["condition"], row["response"]) for row in held}) > len(held) / 2


def test_a_second_call_answers_nothing(evaluated: Evaluated) -> None:
    before = content(evaluated.output)
    log = evaluated.output / "lapo_d" / "verl" / "verl.log"
    written = log.stat().st_mtime_ns
    done = run(evaluated.command)
    assert done.returncode == 0
    assert "answered before" in done.stderr
    assert log.stat().st_mtime_ns == written
    assert content(evaluated.output) == before
    assert done.stdout == evaluated.shown


def test_the_training_is_untouched_and_the_evaluation_has_no_store(evaluated: Evaluated) -> None:
    assert content(evaluated.training) == evaluated.training_before
    assert not list(evaluated.output.rglob("*.sqlite*"))


def test_the_table_and_the_report_read_it(evaluated: Evaluated) -> None:
    held = [row for row in evaluated.rows() if row["benchmark"] == "held" and not row["condition"]]
    accuracy = 100 * sum(row["acc"] for row in held) / len(held)
    line = next(line for line in evaluated.shown.splitlines() if "held" in line and "=" not in line)
    assert f"{accuracy:.1f} %" in line
    assert len(read_samples(evaluated.output / "samples.jsonl")) == len(evaluated.rows())
