"""``lapo data``: GSM8K's two files, overlap, the mixture, own files, the check, and what scripts read."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import Result
from hypothesis import given
from hypothesis import strategies as st

from lapo_verl.cli.data import data_app
from lapo_verl.data.mixture import draw
from lapo_verl.data.prepare import Prepared
from lapo_verl.data.problems import INSTRUCTION, Problem, SourceError
from lapo_verl.data.rows import DataError, check_rows, row_problem_id
from lapo_verl.data.screen import LeftOut, normalized

Write = Callable[..., Path]
LapoData = Callable[..., Result]


def gsm8k_rows(count: int) -> list[dict[str, str]]:
    return [{"question": f"How many? {i}", "answer": "2 + 3 = <<2+3=5>>5\n#### 1,005"} for i in range(count)]


def rows_of(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return rows


def test_gsm8k_is_held_out_from_the_end(write_source: Write, lapo_data: LapoData, tmp_path: Path) -> None:
    path = write_source("gsm8k.jsonl", gsm8k_rows(5))
    result = lapo_data("gsm8k", "--input", path, "--output", tmp_path, "--validation", 2)
    assert result.exit_code == 0, result.output
    assert f"{tmp_path / 'train.parquet'}: 3 problems\n{tmp_path / 'val.parquet'}: 2 problems" in result.output
    train, val = rows_of(tmp_path / "train.parquet"), rows_of(tmp_path / "val.parquet")
    assert train[0]["reward_model"]["ground_truth"] == "1005"
    assert train[0]["prompt"][0]["content"] == f"How many? 0 {INSTRUCTION}"
    assert [row_problem_id(row) for row in train + val] == [f"gsm8k/train/{i}" for i in range(5)]
    assert [row["extra_info"]["split"] for row in train + val] == ["train"] * 3 + ["val"] * 2


def test_gsm8k_with_too_few_to_hold_out(write_source: Write, lapo_data: LapoData, tmp_path: Path) -> None:
    result = lapo_data("gsm8k", "--input", write_source("gsm8k.jsonl", gsm8k_rows(5)), "--output", tmp_path)
    assert result.exit_code == 1
    assert "has 5 problems, too few to hold 200 out" in result.output


def test_a_missing_file_ends_the_command(lapo_data: LapoData, tmp_path: Path) -> None:
    result = lapo_data("gsm8k", "--input", "gone.jsonl", "--output", tmp_path)
    assert result.exit_code == 1
    assert "lapo: error: gone.jsonl: no such file" in result.output


def test_a_folder_that_cannot_be_written_ends_the_command(
    write_source: Write, lapo_data: LapoData, tmp_path: Path
) -> None:
    path = write_source("gsm8k.jsonl", gsm8k_rows(5))
    result = lapo_data("gsm8k", "--input", path, "--output", path / "sub", "--validation", 2)
    assert result.exit_code == 1
    assert "lapo: error:" in result.output


def test_questions_of_a_benchmark_are_not_trained_on(write_source: Write, lapo_data: LapoData, tmp_path: Path) -> None:
    bench = [{"id": 1, "question": "What is $\\dfrac{1}{2}$ of  4?", "answer": "2"}]
    assert lapo_data("amc23", "--input", write_source("amc.jsonl", bench), "--output", tmp_path).exit_code == 0
    train = [
        {"problem": "what is \\(\\frac12\\) of 4", "answer": "2"},
        {"problem": "What is 1/2 of 5?", "answer": "2.5"},
    ]
    source = write_source("deepscaler.json", train)
    result = lapo_data("deepscaler", "--input", source, "--output", tmp_path, "--exclude", tmp_path / "amc23.parquet")
    assert result.exit_code == 0, result.output
    assert f"left out: 1 x also in {tmp_path / 'amc23.parquet'} (first: {source}, row 0)" in result.output
    assert [row["reward_model"]["ground_truth"] for row in rows_of(tmp_path / "deepscaler.parquet")] == ["2.5"]
    without = lapo_data("deepscaler", "--input", source, "--output", tmp_path)
    assert "no --exclude: the problems are compared with no benchmark" in without.output
    assert len(rows_of(tmp_path / "deepscaler.parquet")) == 2


def test_an_exclude_file_that_is_no_benchmark_is_named(
    write_source: Write, lapo_data: LapoData, tmp_path: Path
) -> None:
    source = write_source("deepscaler.jsonl", [{"problem": "x?", "answer": "1"}])
    result = lapo_data("deepscaler", "--input", source, "--output", tmp_path, "--exclude", source)
    assert result.exit_code == 1
    assert f"{source}: column 'prompt' is missing" in result.output


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What is $x$?", "what is x"),
        ("Find $\\left( \\dfrac{1}{2}, 3 \\right)$.", "Find \\((\\tfrac12,3)\\)"),
        ("a\n\nb ,  c", "a b, c"),
        ("\\[ x\\,y \\]", "$$xy$$"),
        ("\ufb01nd the \uff11st", "find the 1st"),
    ],
)
def test_the_same_question_in_other_spelling(one: str, other: str) -> None:
    assert normalized(one) == normalized(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("x+1", "x-1"), ("x^2", "x^3"), ("1.5 m", "15 m"), ("\\sin x", "\\cos x"), ("f(x,y)", "f(x.y)"), ("x<y", "x>y")],
)
def test_another_question_stays_another(one: str, other: str) -> None:
    assert normalized(one) != normalized(other)


@given(st.lists(st.text(alphabet="ab1+-^=<\\frac{}$ ", min_size=1), min_size=1))
def test_white_space_never_makes_another_question(words: list[str]) -> None:
    assert normalized(" \n ".join(words)) == normalized("  ".join(words) + "\t")


def prepared(name: str, count: int, level: int | None = None, start: int = 0) -> Prepared:
    problems = [
        Problem(f"{name}/{level}/{i}", f"{name} {level}: {i}?", str(i), name, level, f"{name}, row {i}")
        for i in range(start, start + count)
    ]
    return Prepared(problems, LeftOut())


def test_the_mixture_draws_so_many_of_each_and_only_the_levels() -> None:
    math = Prepared([p for level in range(1, 6) for p in prepared("math", 50, level).problems], LeftOut())
    deepscaler = prepared("deepscaler", 200)
    mixed = draw(deepscaler, math, [2, 3, 4], 120, 80, seed=0).problems
    assert len({problem.problem_id for problem in mixed}) == 200
    assert sum(problem.data_source == "deepscaler" for problem in mixed) == 120
    assert {problem.level for problem in mixed if problem.data_source == "math"} == {2, 3, 4}
    # Mixed, not one after the other.
    assert 30 < sum(problem.data_source == "deepscaler" for problem in mixed[:100]) < 90


def test_the_mixture_depends_on_the_seed_and_not_on_the_order() -> None:
    deepscaler, math = prepared("deepscaler", 200), prepared("math", 200, 3)
    turned = Prepared(deepscaler.problems[::-1], LeftOut())
    mixed = draw(deepscaler, math, [3], 50, 50, seed=1).problems
    assert draw(turned, math, [3], 50, 50, seed=1).problems == mixed
    assert draw(deepscaler, math, [3], 50, 50, seed=2).problems != mixed


def test_a_problem_of_both_sets_is_maths() -> None:
    math, deepscaler = prepared("math", 3, 3), prepared("deepscaler", 2)
    both = Problem("deepscaler/x", math.problems[0].question, "0", "deepscaler", where="deepscaler, row 9")
    mixed = draw(Prepared([both, *deepscaler.problems], LeftOut()), math, [3], 2, 3, seed=0)
    assert both not in mixed.problems
    assert mixed.left_out.counts == {"of DeepScaleR, also in MATH": 1}


def test_too_few_for_the_mixture_is_an_error() -> None:
    with pytest.raises(SourceError, match="MATH, levels 3, 4: 4,000 problems are asked for, and only 5 exist"):
        draw(prepared("deepscaler", 10), prepared("math", 5, 3), [3, 4], 10, 4000, seed=0)


def test_the_mixture_as_a_command(write_source: Write, lapo_data: LapoData, tmp_path: Path) -> None:
    deepscaler = [{"problem": f"Of DeepScaleR, {i}?", "answer": str(i)} for i in range(9)] + [
        {"problem": "Of both?", "answer": ""},
    ]
    math = [
        {"problem": f"Of MATH, {i}?", "level": f"Level {1 + i % 5}", "solution": f"$\\boxed{{{i}}}$"} for i in range(20)
    ]
    arguments = [
        *("--deepscaler", write_source("d.json", deepscaler), "--math", write_source("m.parquet", math)),
        *("--deepscaler-count", 6, "--math-count", 4, "--output", tmp_path),
    ]
    result = lapo_data("mixture", *arguments, "--json")
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    assert summary["left_out"] == {"the ground truth is empty": 1}
    (file,) = summary["files"]
    assert file["path"] == str(tmp_path / "mixture.parquet")
    assert (file["problems"], file["levels"]["none"]) == (10, 6)
    assert set(file["levels"]) <= {"2", "3", "4", "none"}
    assert sorted(file["data_sources"].values()) == [4, 6]
    assert sum(check_rows(tmp_path / "mixture.parquet").values()) == 10
    wrong = lapo_data("mixture", *arguments, "--levels", "3-4")
    assert wrong.exit_code == 1
    assert "--levels must be numbers such as 2,3,4, got '3-4'" in wrong.output


def test_a_file_of_ones_own(write_source: Write, lapo_data: LapoData, tmp_path: Path) -> None:
    rows = [{"task": "1 + 1?", "result": 2, "grade": "easy"}, {"task": "2^10?", "result": 1024, "grade": "hard"}]
    source = write_source("mine.csv", rows)
    columns = ["--prompt-column", "task", "--answer-column", "result", "--level-column", "grade"]
    result = lapo_data("convert", source, *columns, "--output", tmp_path / "mine.parquet")
    assert result.exit_code == 0, result.output
    assert "mine.parquet: 2 problems, level easy: 1, level hard: 1" in result.output
    first = rows_of(tmp_path / "mine.parquet")[0]
    assert first["data_source"] == "mine"
    assert first["extra_info"]["level"] == "easy"
    assert first["extra_info"]["problem_id"].startswith("mine/")
    named = lapo_data("convert", source, *columns, "--id-column", "task", "--output", tmp_path / "named.parquet")
    assert named.exit_code == 0
    assert rows_of(tmp_path / "named.parquet")[1]["extra_info"]["problem_id"] == "named/2^10?"
    missing = lapo_data("convert", source, "--output", tmp_path / "x.parquet")
    assert missing.exit_code == 1
    assert f"{source}: found no column with questions; its columns are: task, result, grade" in missing.output
    assert "--prompt-column" in missing.output
    assert "must end in .parquet" in lapo_data("convert", source, *columns, "--output", tmp_path / "x.csv").output


def verl_row(question: str, truth: str, level: int | None = None, problem_id: str | None = None) -> dict[str, Any]:
    return {
        "prompt": [{"role": "user", "content": question}],
        "data_source": "x",
        "reward_model": {"ground_truth": truth},
        "extra_info": {"level": level, "problem_id": problem_id},
    }


def test_the_check_counts_repeats_levels_and_overlap(write_source: Write, lapo_data: LapoData, tmp_path: Path) -> None:
    one = write_source("one.jsonl", [verl_row("1+1?", "2", 1), verl_row("1 + 1?", "2", 1), verl_row("2+2?", "4", 3)])
    two = write_source("two.parquet", [verl_row(f"2+2? {INSTRUCTION}", "4", None, "a"), verl_row("3?", "3", None, "b")])
    result = lapo_data("check", one, two)
    assert result.exit_code == 0, result.output
    assert result.output.splitlines() == [
        f"{one}: 3 rows, 3 problems, level 1: 2, level 3: 1",
        "  rows that repeat a question of the same file: 1",
        f"{two}: 2 rows, 2 problems",
        "  rows that repeat a question of an earlier file: 1",
    ]
    first, second = json.loads(lapo_data("check", one, two, "--json").stdout)
    assert first["levels"] == {"1": 2, "3": 1}
    assert (first["repeated_questions"], second["in_earlier_files"]) == (1, 1)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (verl_row("?", ""), "row 1: reward_model.ground_truth is missing or empty"),
        (verl_row("?", "\\frac{1}{"), "row 1: reward_model.ground_truth .* unbalanced braces"),
        (verl_row("", "1"), "row 1: the prompt is empty"),
        (verl_row("another", "1", 1, "id"), "row 1: another problem has the same extra_info.problem_id 'id'"),
    ],
)
def test_the_check_names_a_bad_row(row: dict[str, Any], message: str, write_source: Write, lapo_data: LapoData) -> None:
    result = lapo_data("check", write_source("rows.jsonl", [verl_row("1+1?", "2", 1, "id"), row]))
    assert result.exit_code == 1
    assert re.search(f"rows.jsonl, {message}", result.output)


def test_the_check_can_leave_the_truths_to_another_verifier(write_source: Write, lapo_data: LapoData) -> None:
    path = write_source("rows.jsonl", [verl_row("1+1?", "assert f(1) == {", 1, "id")])
    assert lapo_data("check", path).exit_code == 1
    assert lapo_data("check", path, "--no-ground-truths").exit_code == 0


def test_rows_without_an_id_are_told_apart_by_their_content(write_source: Write) -> None:
    row = {"prompt": [{"role": "user", "content": "1+1?"}], "data_source": "x", "reward_model": {"ground_truth": "2"}}
    other = {**row, "reward_model": {"ground_truth": "3"}}
    assert row_problem_id(row) == row_problem_id(dict(row))
    assert row_problem_id(row) != row_problem_id(other)
    assert sorted(check_rows(write_source("rows.jsonl", [row, other, row])).values()) == [1, 2]


def test_a_file_of_another_format_is_named(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a,b")
    with pytest.raises(DataError, match=r"rows\.csv"):
        check_rows(tmp_path / "rows.csv")


@pytest.mark.parametrize("command", [command.name for command in data_app.registered_commands])
def test_every_command_has_an_example(command: str, lapo_data: LapoData) -> None:
    result = lapo_data(command, "--help")
    assert result.exit_code == 0
    assert f"Example: lapo data {command}" in result.output


def test_lapos_help_loads_nothing_heavy() -> None:
    heavy = "{'numpy', 'pyarrow', 'datasets', 'torch', 'rich'}"
    code = f"import sys, lapo_verl.cli.main; print(*{heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) <= {"rich"}  # typer's own
