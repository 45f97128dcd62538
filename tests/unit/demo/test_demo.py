"""The demo around its two trainings: held-out problems, table, picture, summary, and what it prints."""

from __future__ import annotations

import io
import json
import shlex
import sys
from collections import Counter
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from rich.console import Console

pytest.importorskip("transformers")
pytest.importorskip("matplotlib")

from demo import __main__ as demo
from demo.picture import tokens_title
from lapo_verl.config import check_overrides
from lapo_verl.runs.dumps import Sample
from lapo_verl.runs.stage import Stage
from lapo_verl.runs.summary import summarize
from toy.task import LEVELS, RESPONSE_LIMIT
from toy.warmup import SHIPPED_MODEL, WarmupSettings, draw_splits, write_problems

RESULTS = ("before_and_after.png", "summary.json")
EASY, HARD = "a3*4=2;b4*3=2;c5*7=5;d4*2=8;e9*3=7;f1*5=5", "a38*4=2;b4*3=2;c5*7=5;d4*2=8;e9*3=7;f1*5=5"


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Console:
    console = Console(file=io.StringIO(), width=160)
    monkeypatch.setattr(demo, "console", console)
    return console


def text_of(console: Console) -> str:
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def stage(folder: Path, name: str, steps: int, dumps: dict[int, list[tuple[str, int, bool, int]]]) -> Stage:
    """A training that has ended, with {step: (problem, level, right, tokens)} of its validations."""
    made = Stage(name, folder / name, steps, "key")
    for step, rows in dumps.items():
        made.validation(step).parent.mkdir(parents=True, exist_ok=True)
        lines = [
            {"problem_id": problem, "level": level, "acc": float(right), "tokens": tokens, "input": "", "output": ""}
            for problem, level, right, tokens in rows
        ]
        made.validation(step).write_text("".join(json.dumps(line) + "\n" for line in lines))
    made.done.write_text(json.dumps({"key": "key", "seconds": 90}))
    return made


@pytest.fixture
def stages(tmp_path: Path) -> tuple[Stage, Stage]:
    base, between, after = (
        [(EASY, 1, True, easy), (HARD, 2, right, hard)]
        for right, easy, hard in ((False, 120, 140), (True, 60, 70), (True, 40, 50))
    )
    return stage(tmp_path, "discovery", 6, {0: base, 6: between}), stage(tmp_path, "internalization", 9, {9: after})


def test_held_out_problems_are_the_first_of_each_level_that_is_trained_on(tmp_path: Path) -> None:
    problems = draw_splits(WarmupSettings())["test"]
    write_problems(problems, "toy", "test", tmp_path / "test.parquet")
    demo.write_heldout(tmp_path / "test.parquet", 3, tmp_path / "heldout.parquet")
    kept = [row["extra_info"] for row in pq.read_table(tmp_path / "heldout.parquet").to_pylist()]
    assert Counter(info["level"] for info in kept) == dict.fromkeys(LEVELS, 3)
    first = [p.problem_id for p in problems if p.level == 5][:3]
    assert [info["problem_id"] for info in kept if info["level"] == 5] == first


def test_training_problems_are_the_first_of_the_split_and_of_every_level(tmp_path: Path) -> None:
    problems = draw_splits(WarmupSettings())["train"]
    write_problems(problems, "toy", "train", tmp_path / "all.parquet")
    demo.write_training(tmp_path / "all.parquet", demo.FAST.train_problems, tmp_path / "train.parquet")
    kept = [row["extra_info"]["problem_id"] for row in pq.read_table(tmp_path / "train.parquet").to_pylist()]
    assert kept == [problem.problem_id for problem in problems[: demo.FAST.train_problems]]
    assert {problem.level for problem in problems[: len(kept)]} == set(LEVELS)


def test_the_short_demo_has_the_same_shape_and_results_of_its_own() -> None:
    full, fast = demo.Settings(), demo.FAST
    assert fast.key != full.key
    assert replace(full, retrain=True).key != full.key  # another base model makes other stages
    assert (
        replace(
            fast,
            discovery_steps=full.discovery_steps,
            internalization_steps=full.internalization_steps,
            train_problems=full.train_problems,
            heldout_per_level=full.heldout_per_level,
        )
        == full
    )
    for settings, visits in ((full, 2), (fast, 3)):
        assert settings.response_limit == RESPONSE_LIMIT
        # Discovery visits each problem more than once: the first visit's budget is of the base model's own lengths.
        assert settings.discovery_steps * settings.train_batch_size == visits * settings.train_problems


def test_the_summary_has_its_keys(stages: tuple[Stage, Stage], tmp_path: Path, shown: Console) -> None:
    demo.report(tmp_path, demo.FAST, *stages)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert set(summary) == {"base", "lapo_d", "lapo_i", "settings", "seconds"}
    assert (summary["base"]["pass@1"], summary["base"]["tokens"]) == (50, 130)
    assert summary["lapo_d"]["by_level"]["2"]["tokens"] == 70
    assert summary["lapo_i"]["tokens"] == 45
    assert summary["settings"]["rollouts"] == 8
    assert summary["seconds"] == 180
    assert (tmp_path / "before_and_after.png").read_bytes().startswith(b"\x89PNG")


def test_the_short_demo_leaves_the_other_ones_files_alone(
    tmp_path: Path, shown: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trained(stage_of_it: Stage, *_: object) -> None:
        rows = [(EASY, 1, True, 60), (HARD, 2, True, 70)]
        stage(stage_of_it.folder.parent, stage_of_it.folder.name, stage_of_it.steps, {0: rows, stage_of_it.steps: rows})

    monkeypatch.setattr(demo, "train", trained)
    monkeypatch.setattr(demo.verl_process, "exit_on_sigterm", lambda: None)
    monkeypatch.setattr(demo.warm_python, "offered", nullcontext)
    monkeypatch.setattr(sys, "argv", ["demo", "--output", str(tmp_path), "--fast"])
    demo.main()

    assert {path.name for path in tmp_path.iterdir()} == {"fast", "toy"}
    names = {path.name for path in (tmp_path / "fast").iterdir()}
    assert names == {"train.parquet", "heldout.parquet", "discovery", "internalization", *RESULTS}
    printed = text_of(shown)
    assert printed.count(str(tmp_path)) == printed.count(str(tmp_path / "fast"))


def test_the_commands_that_it_ends_with_are_there(
    stages: tuple[Stage, Stage], tmp_path: Path, shown: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    typer_testing = pytest.importorskip("typer.testing")
    from lapo_verl.cli.main import app

    text = demo.next_steps(tmp_path, demo.FAST, *stages).replace("\\\n", " ")
    commands = [shlex.split(line) for line in text.splitlines() if line.startswith("    ")]
    report, doctor = (
        words[words.index(next(word for word in words if word.endswith("lapo"))) + 1 :] for words in commands
    )
    assert (report[0], doctor[0]) == ("report", "doctor")
    for name in (report[0], doctor[0]):
        assert typer_testing.CliRunner().invoke(app, [name, "--help"]).exit_code == 0
    limits = [int(word.split("=")[1]) for word in doctor if word.startswith("data.max_")]
    context = json.loads((SHIPPED_MODEL / "config.json").read_text())["max_position_embeddings"]
    assert len(limits) == 2
    assert sum(limits) <= context
    check_overrides([word for word in doctor if word.startswith("lapo.")])
    assert "Use it on your own model and data" in (Path(__file__).parents[3] / "README.md").read_text()


def test_the_time_that_it_takes_is_said_first(tmp_path: Path, shown: Console) -> None:
    waiting = [Stage(name, tmp_path / name, 10, "key") for name in ("1 Discovery", "2 Internalization")]
    demo.announce(*waiting)
    assert "This takes about" in text_of(shown)


def summary(tokens: list[int]) -> dict[str, object]:
    samples = [Sample(f"p{level}", str(level), True, each) for level, each in enumerate(tokens, start=1)]
    return summarize(samples)


@pytest.mark.parametrize(
    ("after", "title"),
    [
        ([40, 60], "50 % fewer tokens, more for harder problems"),
        ([60, 40], "50 % fewer tokens"),
        ([150, 150], "50 % more tokens"),
    ],
)
def test_the_pictures_title_is_what_was_measured(after: list[int], title: str) -> None:
    assert tokens_title(summary([100, 100]), summary(after)) == title
