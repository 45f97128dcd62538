"""Budgets asked for, from the samples of an evaluation to the report's numbers, tables and picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lapo_verl.cli.main import app
from lapo_verl.report.following import followed
from lapo_verl.runs.dumps import Sample
from lapo_verl.runs.summary import accuracy_when_cut


def row(problem: str, budget: float | None, tokens: int, acc: float, **more: Any) -> dict[str, Any]:
    condition = "" if budget is None else f"budget={budget:.0f}"
    return {
        "checkpoint": "mine",
        "benchmark": "math",
        "condition": condition,
        "budget": budget,
        "problem_id": problem,
        "level": problem[-1],
        "prompt": "p",
        "response": "r",
        "ground_truth": "1",
        "acc": acc,
        "tokens": tokens,
        "truncated": False,
        **more,
    }


ROWS = [
    *(row("p1", None, 50, 1.0), row("p2", None, 90, 0.0)),
    *(row("p1", 40.0, 44, 1.0), row("p2", 40.0, 60, 1.0)),
    *(row("p1", 80.0, 60, 1.0), row("p2", 80.0, 88, 0.0)),
]


def report(tmp_path: Path, rows: list[dict[str, Any]], *arguments: str) -> tuple[dict[str, Any], str]:
    (tmp_path / "eval").mkdir()
    (tmp_path / "eval" / "samples.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
    done = CliRunner().invoke(app, ["report", str(tmp_path / "eval"), "-o", str(tmp_path / "out"), *arguments])
    assert done.exit_code == 0, done.output
    return json.loads((tmp_path / "out" / "report.json").read_text()), (tmp_path / "out" / "report.md").read_text()


def test_what_became_of_a_budget() -> None:
    samples = [Sample("p1", "1", True, 36), Sample("p1", "1", False, 60), Sample("p2", "2", True, 41)]
    found = followed(samples, 40.0)
    assert (found.error, found.near) == (pytest.approx(25 / 3), pytest.approx(200 / 3))
    assert found.relative_error == pytest.approx(25 / 120)
    assert (found.tokens, found.pass_at_1, found.tokens_right, found.tokens_wrong) == (44.5, 75.0, 38.5, 60.0)
    assert found.by_level["2"].error == 1.0 and found.by_level["1"].near == 50.0
    own = followed(samples, None)
    assert (own.error, own.relative_error, own.near) == (None, None, None)


def test_the_report_has_a_section_and_a_picture_and_keeps_budgets_out_of_the_others(tmp_path: Path) -> None:
    numbers, text = report(tmp_path, ROWS)
    budgets = numbers["following"]["math"]["mine"]
    assert [each["asked"] for each in budgets] == [40.0, 80.0, None]
    assert [each["tokens"] for each in budgets] == [52.0, 74.0, 70.0]
    assert [each["error"] for each in budgets] == [12.0, 14.0, None]
    assert [each["near"] for each in budgets] == [50.0, 50.0, None]
    assert "| mine | 40 | 52.0 | 52 / - | 100.0 | 12.0 | 30.0 | 50.0 |" in text
    assert "| mine | 2 | 80 | 88.0 | - / 88 | 0.0 | 8.0 | 10.0 | 100.0 |" in text
    assert (tmp_path / "out" / "following_math.png").stat().st_size > 10_000
    assert numbers["table1"]["math"]["mine"]["samples"] == 2
    assert numbers["table1"]["math"]["mine"]["tokens_right"] == 50.0
    assert "budget=" not in text
    assert "change in tokens" not in text, "one model is compared with nothing"


def test_a_model_has_the_name_that_the_user_gives_the_run(tmp_path: Path) -> None:
    (tmp_path / "samples.jsonl").write_text("".join(json.dumps(each) + "\n" for each in ROWS))
    done = CliRunner().invoke(app, ["report", f"ours={tmp_path}", "-o", str(tmp_path / "out"), "--json"])
    assert json.loads(done.stdout)["models"] == ["ours"]


def test_budgets_alone_are_reported_too(tmp_path: Path) -> None:
    numbers, text = report(tmp_path, [each for each in ROWS if each["budget"] is not None])
    assert [each["asked"] for each in numbers["following"]["math"]["mine"]] == [40.0, 80.0]
    assert "Budgets asked for" in text


def test_a_cut_counts_longer_responses_as_wrong(tmp_path: Path) -> None:
    samples = [Sample("p1", None, True, 64), Sample("p1", None, True, 65), Sample("p2", None, False, 3)]
    assert [accuracy_when_cut(samples, limit) for limit in (63, 64, 65)] == [0.0, 25.0, 50.0]
    numbers, text = report(tmp_path, ROWS, "--cut", "49,50")
    assert numbers["cut"] == {"math": {"mine": {"49": 0.0, "50": 50.0}}}
    assert "| math | mine | 0.0 | 50.0 |" in text
    bad = CliRunner().invoke(app, ["report", str(tmp_path / "eval"), "-o", str(tmp_path / "x"), "--cut", "0"])
    assert bad.exit_code == 1 and "--cut 0: each must be at least 1 token" in bad.output
