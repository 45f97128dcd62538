"""Caching, the samples file and failures, with a program in verl's place; tests/e2e/test_eval.py has the real one."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from eval_inputs import model_folder, problem, write_rows
from rich.console import Console

from lapo_verl.evaluate import EvalError, EvalSettings, evaluate
from lapo_verl.guidance.config import GuidanceConfig
from lapo_verl.runs.dumps import read_samples
from lapo_verl.runs.training_note import TrainingNote
from lapo_verl.verify import REVISION

SETTINGS = EvalSettings(n=2, max_tokens=96)


def samples_of(output: Path) -> list[dict[str, Any]]:
    with (output / "samples.jsonl").open(newline="\n") as lines:
        return [json.loads(line) for line in lines]


def test_every_problem_of_every_benchmark_n_times(
    tmp_path: Path, sums: Path, products: Path, starts: Callable[[], list[str]], console: Console
) -> None:
    base = model_folder(tmp_path / "base")
    settings = EvalSettings(n=2, n_of={"products": 3}, max_tokens=96)
    evaluation = evaluate(
        {"base": base}, {"sums": sums, "products": products}, settings, tmp_path / "out", "cpu", console
    )
    assert starts() == ["base 12"], "one start for all benchmarks"
    rows = samples_of(tmp_path / "out")
    asked = [(row["benchmark"], row["problem_id"], row["sample"]) for row in rows]
    assert asked == [("sums", f"s{i}", k) for i in range(3) for k in range(2)] + [
        ("products", f"p{i}", k) for i in range(2) for k in range(3)
    ]
    assert [row["acc"] for row in rows] == [float(position % 2) for position in range(12)]
    assert rows[7] == {
        "checkpoint": "base",
        "benchmark": "products",
        "condition": "",
        "budget": None,
        "problem_id": "p0",
        "level": None,
        "sample": 1,
        "prompt": "2 * 0",
        "response": "\u2028 \\boxed{7}",
        "ground_truth": "0",
        "acc": 1.0,
        "tokens": 17,
        "truncated": False,
        "verifier": REVISION,
    }
    assert {row["level"] for row in rows[:6]} == {"0", "1", "2"}
    assert [(r.benchmark, r.problems, r.n) for r in evaluation.results] == [("sums", 3, 2), ("products", 2, 3)]
    assert evaluation.results[0].summary["pass@1"] == 50.0
    assert len(read_samples(evaluation.samples)) == 12, "the report reads the file"


def test_what_is_answered_is_kept(
    tmp_path: Path, sums: Path, products: Path, starts: Callable[[], list[str]], console: Console
) -> None:
    base, other, output = model_folder(tmp_path / "base"), model_folder(tmp_path / "other", b"else"), tmp_path / "out"

    def run(models: dict[str, Path], files: dict[str, Path], settings: EvalSettings = SETTINGS) -> list[str]:
        evaluate(models, files, settings, output, "cpu", console)
        return starts()

    assert run({"base": base}, {"sums": sums}) == ["base 6"]
    before = (output / "samples.jsonl").read_bytes()
    assert run({"base": base}, {"sums": sums}) == ["base 6"], "nothing is done again"
    assert (output / "samples.jsonl").read_bytes() == before
    assert run({"base": base}, {"sums": sums, "products": products})[1:] == ["base 4"], "the new benchmark only"
    assert run({"base": base, "other": other}, {"sums": sums})[2:] == ["other 6"], "the new model only"
    conflicting = EvalSettings(n=2, max_tokens=96, conflicts=(500,))
    assert run({"base": base}, {"sums": sums}, conflicting)[3:] == ["base 6"], "the new condition only"
    assert len(samples_of(output)) == 12
    # Another place does not matter, other content does.
    moved = sums.rename(tmp_path / "elsewhere.jsonl")
    assert run({"base": base}, {"sums": moved})[4:] == []
    write_rows(moved, [problem("9 + 9", "18", problem_id="s9")])
    assert run({"base": base}, {"sums": moved})[4:] == ["base 2"]
    assert [row["prompt"] for row in samples_of(output)] == ["9 + 9", "9 + 9"]
    (base / "model.safetensors").write_bytes(b"trained further")
    assert run({"base": base}, {"sums": moved})[5:] == ["base 2"]


def test_other_settings_are_answered_anew(
    tmp_path: Path, products: Path, starts: Callable[[], list[str]], console: Console
) -> None:
    base = model_folder(tmp_path / "base")
    other = [
        {"n": 3},
        {"temperature": 1.0},
        {"top_p": 1.0},
        {"max_tokens": 97},
        {"seed": 1},
        {"overrides": ("lapo.verify_timeout=5",)},
    ]
    for change in [{}, *other, {"max_prompt_tokens": 2048}, *other]:
        settings = EvalSettings(**{"n": 2, "max_tokens": 96, **change})  # type: ignore[arg-type]
        evaluate({"base": base}, {"products": products}, settings, tmp_path / "out", "cpu", console)
    assert starts() == ["base 4", "base 6", *5 * ["base 4"]], "each once, and the first ones are kept"


def test_settings_and_results_are_written_down(
    tmp_path: Path, sums: Path, starts: Callable[[], list[str]], console: Console
) -> None:
    evaluate({"base": model_folder(tmp_path / "base")}, {"sums": sums}, SETTINGS, tmp_path / "out", "cpu", console)
    written = json.loads((tmp_path / "out" / "eval.json").read_text())
    assert written["settings"]["temperature"] == 0.6
    assert written["benchmarks"]["sums"]["problems"] == 3
    assert written["checkpoints"]["base"]["path"] == str(tmp_path / "base")
    assert written["results"][0]["summary"]["pass@1"] == 50.0


def test_a_failure_shows_verls_last_words(
    tmp_path: Path, sums: Path, starts: Callable[[], list[str]], console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAND_IN", json.dumps({"crashes": True}))
    with pytest.raises(EvalError, match=r"model base: verl failed with exit code 1; .*verl\.log"):
        evaluate({"base": model_folder(tmp_path / "base")}, {"sums": sums}, SETTINGS, tmp_path / "out", "cpu", console)
    assert "max_model_len is too large" in console.file.getvalue()
    assert not (tmp_path / "out" / "samples.jsonl").exists()


def test_failed_samples_are_an_error_and_whole_benchmarks_are_kept(
    tmp_path: Path,
    sums: Path,
    products: Path,
    starts: Callable[[], list[str]],
    console: Console,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    base, files = model_folder(tmp_path / "base"), {"sums": sums, "products": products}
    monkeypatch.setenv("STAND_IN", json.dumps({"fails": [7, 9]}))
    with pytest.raises(EvalError, match=r"2 of 10 samples failed, the first in benchmark products, problem p0"):
        evaluate({"base": base}, files, SETTINGS, tmp_path / "out", "cpu", console)
    monkeypatch.delenv("STAND_IN")
    evaluate({"base": base}, files, SETTINGS, tmp_path / "out", "cpu", console)
    assert starts() == ["base 10", "base 4"]
    assert len(samples_of(tmp_path / "out")) == 10


def test_prompts_that_verl_leaves_out_end_the_run_at_once(
    tmp_path: Path, sums: Path, starts: Callable[[], list[str]], console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAND_IN", json.dumps({"too_long": 2, "hangs": True}))
    started = time.monotonic()
    with pytest.raises(EvalError, match=r"2 of 6 prompts are longer than max_prompt_tokens"):
        evaluate({"base": model_folder(tmp_path / "base")}, {"sums": sums}, SETTINGS, tmp_path / "out", "cpu", console)
    assert time.monotonic() - started < 60


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"models": {}}, "at least one model"),
        ({"files": {}}, "at least one model and one benchmark"),
        ({"platform": "tpu"}, "platform 'tpu': must be one of cpu, gpu"),
        ({"settings": EvalSettings(n_of={"sum": 32})}, "benchmark 'sum', which is not one of sums; did you mean sums"),
        ({"files": {"sums": Path("gone.parquet")}}, r"gone\.parquet: no such data file"),
    ],
)
def test_bad_input_is_named_before_verl_starts(
    tmp_path: Path,
    sums: Path,
    starts: Callable[[], list[str]],
    console: Console,
    arguments: dict[str, Any],
    message: str,
) -> None:
    given: dict[str, Any] = {
        "models": {"base": model_folder(tmp_path / "base")},
        "files": {"sums": sums},
        "settings": SETTINGS,
        "output": tmp_path / "out",
        "platform": "cpu",
        "console": console,
    }
    with pytest.raises(EvalError, match=message):
        evaluate(**{**given, **arguments})
    assert starts() == []


def test_a_model_that_cannot_hold_the_response_limit_is_named(
    tmp_path: Path, sums: Path, starts: Callable[[], list[str]], console: Console
) -> None:
    base = model_folder(tmp_path / "base")
    (base / "config.json").write_text('{"max_position_embeddings": 1119}')
    with pytest.raises(
        EvalError, match=r"model base holds 1119 tokens, fewer than max_prompt_tokens=1024 and max_tokens=96"
    ):
        evaluate({"base": base}, {"sums": sums}, SETTINGS, tmp_path / "out", "cpu", console)
    assert starts() == []


def test_a_sentence_for_models_that_all_note_their_own_is_refused(tmp_path: Path, sums: Path, console: Console) -> None:
    base = model_folder(tmp_path / "base")
    TrainingNote("owner/base", (), GuidanceConfig(), {}).write(base)
    settings = EvalSettings(budgets=(20,), overrides=("lapo.guidance.form=exact",))
    with pytest.raises(EvalError, match=r"lapo\.guidance\.form=exact: all models note their sentence"):
        evaluate({"base": base}, {"sums": sums}, settings, tmp_path / "out", "cpu", console)


def test_each_problem_is_asked_under_each_budget(
    tmp_path: Path, sums: Path, starts: Callable[[], list[str]], console: Console
) -> None:
    base = model_folder(tmp_path / "base")
    TrainingNote("owner/base", (), GuidanceConfig(), {}).write(base)
    settings = EvalSettings(n=2, budgets=(20, 40), cuts=(13,), max_tokens=96)
    evaluation = evaluate({"base": base}, {"sums": sums}, settings, tmp_path / "out", "cpu", console)
    assert starts() == ["base 18"], "one start for all budgets"
    asked = [(row["condition"], row["budget"]) for row in samples_of(tmp_path / "out")]
    assert asked == [("", None)] * 6 + [("budget=20", 20.0)] * 6 + [("budget=40", 40.0)] * 6
    cut = [result.summary["cut"]["13"] for result in evaluation.results]
    assert cut == [pytest.approx(100 / 3), 0.0, 0.0], "of 11, 13 and 15 tokens in the first condition, two are kept"
