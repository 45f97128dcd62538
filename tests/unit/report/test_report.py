import json
from pathlib import Path

import pytest
from rich.console import Console

from lapo_verl.report.pictures import draw_lengths, draw_levels, draw_training
from lapo_verl.runs.dumps import Sample, read_metrics, read_samples
from lapo_verl.runs.jsonl import DumpError
from lapo_verl.runs.summary import comparison_table, summarize

SAMPLES = [
    Sample("p1", "2", True, 10, False),
    Sample("p1", "2", False, 30, True),
    Sample("p2", "3", True, 40, False),
]


def dump(path: Path, rows: list[dict[str, object]], tail: str = "") -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + tail)
    return path


def row(**changes: object) -> dict[str, object]:
    return {"problem_id": "p", "level": "2", "acc": 1.0, "tokens": 7, "truncated": 0.0, "output": "x", **changes}


def test_problems_count_the_same_however_many_samples_they_have() -> None:
    summary = summarize(SAMPLES)
    assert summary["pass@1"] == 75.0  # (50 % + 100 %) / 2
    assert summary["tokens"] == 30.0  # (20 + 40) / 2
    assert summary["truncated"] == pytest.approx(100 / 3)
    assert summary["by_level"] == {
        "2": {"pass@1": 50.0, "tokens": 20.0, "tokens_right": 10.0, "tokens_wrong": 30.0, "problems": 1},
        "3": {"pass@1": 100.0, "tokens": 40.0, "tokens_right": 40.0, "tokens_wrong": None, "problems": 1},
    }


def test_levels_that_are_numbers_are_sorted_as_numbers() -> None:
    samples = [Sample(level, level, True, 1) for level in ("10", "2", "hard", "1")]
    assert list(summarize(samples)["by_level"]) == ["1", "2", "10", "hard"]


def test_the_table_compares_with_the_first_model() -> None:
    shorter = [Sample(s.problem, s.level, s.correct, s.tokens // 2, s.truncated) for s in SAMPLES]
    console = Console(record=True, width=120)
    console.print(comparison_table({"base": summarize(SAMPLES), "LAPO-I": summarize(shorter)}))
    text = console.export_text()
    assert "-50.0 %" in text
    assert "75.0 %" in text


def test_the_demos_table_fits_120_columns() -> None:
    levels = [Sample(level, level, correct, 288, False) for level in "12345" for correct in (True, False)]
    console = Console(record=True, width=120)
    console.print(comparison_table({name: summarize(levels) for name in ("base", "LAPO-D", "LAPO-I")}))
    text = console.export_text()
    assert "…" not in text and "level 5" in text


def test_a_dump_is_read(tmp_path: Path) -> None:
    (sample,) = read_samples(dump(tmp_path / "0.jsonl", [row()]))
    assert sample == Sample("p", "2", True, 7, False)
    (unlevelled,) = read_samples(dump(tmp_path / "1.jsonl", [row(level="")]))
    assert unlevelled.level is None


def test_a_last_line_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    assert len(read_samples(dump(tmp_path / "0.jsonl", [row(), row()], tail='{"problem_'))) == 2


@pytest.mark.parametrize(
    ("rows", "message"),
    [([], "no samples"), ([{"acc": 1.0}], r"line 1: no field 'problem_id'")],
)
def test_a_dump_that_cannot_be_used_is_named(tmp_path: Path, rows: list[dict[str, object]], message: str) -> None:
    with pytest.raises(DumpError, match=message):
        read_samples(dump(tmp_path / "0.jsonl", rows))


def test_broken_and_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DumpError, match=r"gone\.jsonl"):
        read_samples(tmp_path / "gone.jsonl")
    (tmp_path / "bad.jsonl").write_text('{"x": \n' + json.dumps(row()) + "\n")
    with pytest.raises(DumpError, match=r"bad\.jsonl, line 1"):
        read_samples(tmp_path / "bad.jsonl")


def test_a_resumed_runs_log_wins(tmp_path: Path) -> None:
    first = dump(tmp_path / "1.jsonl", [{"step": 1, "data": {"a": 1.0}}, {"step": 2, "data": {"a": 2.0}}])
    second = dump(tmp_path / "2.jsonl", [{"step": 2, "data": {"a": 3.0}}])
    assert read_metrics([first, second]) == {1: {"a": 1.0}, 2: {"a": 3.0}}


def test_pictures_are_drawn(tmp_path: Path) -> None:
    steps = {
        1: {"lapo/accuracy": 0.5, "lapo/tokens_correct": 20.0, "lapo/budget_mean": 18.0},
        2: {"lapo/accuracy": 0.0},
        3: {"val-core/x": 1.0},
    }
    draw_lengths({"base": SAMPLES}, tmp_path / "lengths.png")
    draw_levels({"base": summarize(SAMPLES)}, tmp_path / "levels.png")
    draw_training({"Discovery": steps, "Internalization": steps}, tmp_path / "training.png")
    for name in ("lengths", "levels", "training"):
        assert (tmp_path / f"{name}.png").read_bytes()[:4] == b"\x89PNG"
        assert (tmp_path / f"{name}.png").stat().st_size > 5000
