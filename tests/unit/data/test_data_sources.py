"""Every data set: its columns become rows, a renamed column is named, and the message names what cannot be used."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import Result

from lapo_verl.data.prepare import benchmark, training_set
from lapo_verl.data.problems import INSTRUCTION, SourceError
from lapo_verl.data.rows import check_rows
from lapo_verl.data.sources import (
    AIME24,
    AMC23,
    BENCHMARKS,
    DEEPSCALER,
    GPQA,
    GSM8K,
    GSM8K_TEST,
    MATH,
    MATH500,
    OLYMPIADBENCH,
    TRAINING_SETS,
    Source,
)
from lapo_verl.verify import is_correct

Write = Callable[..., Path]
LapoData = Callable[..., Result]

# Two rows of each source, with the columns that it has on the hub.
ROWS: dict[str, list[dict[str, Any]]] = {
    "math500": [
        {
            "problem": f"What is {n} + {n}?",
            "solution": f"It is $\\boxed{{{2 * n}}}$.",
            "answer": str(2 * n),
            "subject": "Algebra",
            "level": n,
            "unique_id": f"test/algebra/{n}.json",
        }
        for n in (1, 4)
    ],
    "aime24": [
        {
            "id": 60 + n,
            "problem": f"Find the {n}th number.",
            "solution": "...",
            "answer": f"{n:03}",
            "url": "https://example.org",
            "year": "2024",
        }
        for n in (5, 25)
    ],
    "amc23": [
        {"id": n, "question": f"How many of the {n}?", "answer": f"{n}.0", "url": "https://example.org"}
        for n in (27, 36)
    ],
    "olympiadbench": [
        {
            "id": 1606 + len(answers),
            "question": f"Determine all values, of which there are {len(answers)}.",
            "solution": ["..."],
            "final_answer": answers,
            "context": None,
            "modality": "Text-only",
            "difficulty": "Competition",
            "is_multiple_answer": len(answers) > 1,
            "unit": None,
            "answer_type": "Numerical",
            "error": None,
            "question_type": "Open-ended",
            "subfield": "Algebra",
            "subject": "Math",
            "language": "English",
        }
        for answers in (["$2^{1009}$"], ["$1$", "$\\frac{1}{2}$"])
    ],
    "gpqa": [
        {
            "Record ID": f"rec{n}",
            "Question": f"Which particle is number {n}?\n",
            "Correct Answer": "A muon\n",
            "Incorrect Answer 1": "A gluon",
            "Incorrect Answer 2": "A photon",
            "Incorrect Answer 3": "A neutron",
            "High-level domain": "Physics",
        }
        for n in range(2)
    ],
    "gsm8k": [{"question": f"How many apples are {n} apples?", "answer": f"{n} apples.\n#### {n},000"} for n in (1, 2)],
    "gsm8k-test": [{"question": f"How many pears are {n} pears?", "answer": f"{n}\n#### {n}"} for n in (1, 2)],
    "deepscaler": [
        {"problem": f"The value of {n}?", "answer": f"\\frac{{{n}}}{{3}}", "solution": "..."} for n in (1, 2)
    ],
    "math": [
        {
            "problem": f"Solve $x = {n}$.",
            "level": f"Level {n}",
            "type": "Algebra",
            "solution": f"First $\\boxed{{0}}$, no: $x = \\boxed{{\\frac{{{n}}}{{7}}}}$.",
        }
        for n in (3, 5)
    ],
}
SOURCES = (*BENCHMARKS, *TRAINING_SETS, GSM8K)


def arguments(source: Source, path: Path, output: Path) -> list[object]:
    few = ["--validation", 1] if source is GSM8K else []
    return [source.name, "--input", path, "--output", output, *few]


def first_file(source: Source, output: Path) -> Path:
    return output / ("train.parquet" if source is GSM8K else f"{source.name}.parquet")


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
@pytest.mark.parametrize("ending", ["jsonl", "json", "parquet", "csv"])
def test_a_source_becomes_verls_format(
    source: Source, ending: str, write_source: Write, lapo_data: LapoData, tmp_path: Path
) -> None:
    if source is OLYMPIADBENCH and ending == "csv":
        pytest.skip("CSV has no lists")
    path = write_source(f"source.{ending}", ROWS[source.name])
    result = lapo_data(*arguments(source, path, tmp_path / "out"))
    assert result.exit_code == 0, result.output
    file = first_file(source, tmp_path / "out")
    assert list(check_rows(file).values()) == [1] * (1 if source is GSM8K else 2)
    for index, row in enumerate(pq.read_table(file).to_pylist()):
        assert list(row) == ["prompt", "data_source", "reward_model", "extra_info"]
        assert [message["role"] for message in row["prompt"]] == ["user"]
        assert row["prompt"][0]["content"].endswith(f" {INSTRUCTION}")
        assert row["data_source"] == source.hub
        assert row["reward_model"]["style"] == "rule"
        assert list(row["extra_info"]) == ["index", "split", "problem_id", "level"]
        assert row["extra_info"]["index"] == index
        assert row["extra_info"]["split"] == ("test" if source in BENCHMARKS else "train")
        assert is_correct(f"\\boxed{{{row['reward_model']['ground_truth']}}}", row["reward_model"]["ground_truth"])


@pytest.mark.parametrize(
    ("source", "truths", "levels", "ids"),
    [
        (MATH500, ["2", "8"], [1, 4], ["math500/test/algebra/1.json", "math500/test/algebra/4.json"]),
        (AIME24, ["005", "025"], [None, None], ["aime24/65", "aime24/85"]),
        (AMC23, ["27.0", "36.0"], [None, None], ["amc23/27", "amc23/36"]),
        (
            OLYMPIADBENCH,
            ["$2^{1009}$", "$1$, $\\frac{1}{2}$"],
            [None, None],
            ["olympiadbench/1607", "olympiadbench/1608"],
        ),
        (GSM8K_TEST, ["1", "2"], [None, None], ["gsm8k/test/0", "gsm8k/test/1"]),
    ],
    ids=lambda value: value.name if isinstance(value, Source) else "",
)
def test_benchmarks_truths_levels_and_ids(
    source: Source, truths: list[str], levels: list[object], ids: list[str], write_source: Write
) -> None:
    problems = benchmark(source, str(write_source("source.jsonl", ROWS[source.name]))).problems
    assert [problem.ground_truth for problem in problems] == truths
    assert [problem.level for problem in problems] == levels
    assert [problem.problem_id for problem in problems] == ids


def test_training_sets_truths_levels_and_ids(write_source: Write) -> None:
    deepscaler = training_set(DEEPSCALER, str(write_source("deepscaler.json", ROWS["deepscaler"]))).problems
    assert [problem.ground_truth for problem in deepscaler] == ["\\frac{1}{3}", "\\frac{2}{3}"]
    math = training_set(MATH, str(write_source("math.jsonl", ROWS["math"]))).problems
    assert [problem.ground_truth for problem in math] == ["\\frac{3}{7}", "\\frac{5}{7}"]
    assert [problem.level for problem in math] == [3, 5]
    turned = training_set(MATH, str(write_source("turned.parquet", ROWS["math"][::-1]))).problems
    assert {problem.problem_id for problem in turned} == {problem.problem_id for problem in math}


@pytest.mark.parametrize("answer", [27, 27.0, "27", "27.0"])
def test_an_answer_may_be_a_number(answer: object, write_source: Write) -> None:
    rows = [{**ROWS["amc23"][0], "answer": answer}]
    (problem,) = benchmark(AMC23, str(write_source("amc.jsonl", rows))).problems
    assert is_correct("\\boxed{27}", problem.ground_truth)
    assert not is_correct("\\boxed{28}", problem.ground_truth)


@pytest.mark.parametrize(
    ("source", "column"),
    [(source, column) for source in SOURCES for column in source.columns],
    ids=lambda value: value.name if isinstance(value, Source) else value,
)
@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_a_renamed_column_is_named(
    source: Source, column: str, ending: str, write_source: Write, lapo_data: LapoData, tmp_path: Path
) -> None:
    rows = [{("renamed" if key == column else key): value for key, value in row.items()} for row in ROWS[source.name]]
    path = write_source(f"source.{ending}", rows)
    result = lapo_data(*arguments(source, path, tmp_path / "out"))
    assert result.exit_code == 1
    assert f"{path}: column {column!r} is missing" in result.output
    assert "renamed" in result.output
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_an_empty_source_is_an_error(source: Source, write_source: Write, lapo_data: LapoData, tmp_path: Path) -> None:
    result = lapo_data(*arguments(source, write_source("source.jsonl", []), tmp_path / "out"))
    assert result.exit_code == 1
    assert "source.jsonl: has no rows" in result.output


@pytest.mark.parametrize(
    ("source", "change", "message"),
    [
        (MATH500, {"problem": " "}, "line 2: column 'problem' is empty"),
        (MATH500, {"problem": 7}, "line 2: column 'problem' must be a text, not int 7"),
        (MATH500, {"level": "hard"}, "line 2: column 'level' must be a level .* got 'hard'"),
        (MATH500, {"answer": ["8"]}, "line 2: column 'answer' must be a text or a number, not list"),
        (AMC23, {"id": None}, "line 2: column 'id' must be a text, not NoneType"),
        (OLYMPIADBENCH, {"final_answer": "2"}, "line 2: column 'final_answer' must be a list of texts, not str '2'"),
        (GPQA, {"Incorrect Answer 2": ""}, "line 2: column 'Incorrect Answer 2' is empty"),
        (GSM8K_TEST, {"answer": "three"}, "line 2: column 'answer' does not end in '#### <number>'"),
    ],
)
def test_a_bad_value_is_named_with_its_row(
    source: Source, change: dict[str, Any], message: str, write_source: Write
) -> None:
    first, second = ROWS[source.name]
    path = write_source("source.jsonl", [first, {**second, **change}])
    with pytest.raises(SourceError, match=message):
        benchmark(source, str(path))


def test_a_benchmark_with_an_unreadable_truth_is_an_error_unless_it_is_skipped(
    write_source: Write, lapo_data: LapoData, tmp_path: Path
) -> None:
    rows = [{**ROWS["math500"][0], "answer": "", "unique_id": "x"}, *ROWS["math500"]]
    path = write_source("source.jsonl", rows)
    result = lapo_data(*arguments(MATH500, path, tmp_path))
    assert result.exit_code == 1
    assert "cannot read 1 of 3 ground truths: 1 x the ground truth is empty" in result.output
    assert f"(first: {path}, line 1: '')" in result.output
    assert not (tmp_path / "math500.parquet").exists()
    skipped = lapo_data(*arguments(MATH500, path, tmp_path), "--skip-unreadable")
    assert skipped.exit_code == 0
    assert "math500.parquet: 2 problems, level 1: 1, level 4: 1" in skipped.output
    assert "left out: 1 x the ground truth is empty" in skipped.output


@pytest.mark.parametrize("source", [DEEPSCALER, MATH], ids=lambda source: source.name)
def test_a_training_set_is_cleaned_and_says_of_what(source: Source, write_source: Write) -> None:
    good, other = ROWS[source.name]
    truth = "solution" if source is MATH else "answer"
    rows = [
        good,
        {**other, truth: "nothing in a box" if source is MATH else None},
        {**good, "problem": good["problem"].upper().replace(" ", "  ") + "."},
        {**other, "problem": "Find the unclosed.", truth: "\\boxed{\\frac{1}{}" if source is MATH else "\\frac{1}{"},
    ]
    prepared = training_set(source, str(write_source("source.jsonl", rows)))
    assert [problem.where.rsplit(" ", 1)[1] for problem in prepared.problems] == ["1"]
    assert sum(prepared.left_out.counts.values()) == 3
    assert prepared.left_out.counts["the same question again"] == 1
    assert prepared.left_out.counts["the ground truth is empty"] == (2 if source is MATH else 1)


def test_maths_unknown_level_is_none(write_source: Write) -> None:
    rows = [{**ROWS["math"][0], "level": "Level ?"}]
    (problem,) = training_set(MATH, str(write_source("math.jsonl", rows))).problems
    assert problem.level is None


def test_two_problems_under_one_id_are_an_error(write_source: Write) -> None:
    first, second = ROWS["math500"]
    rows = [first, {**second, "unique_id": first["unique_id"]}]
    with pytest.raises(SourceError, match=r"line 2: has the id 'math500/test/algebra/1.json' of another .*line 1"):
        benchmark(MATH500, str(write_source("source.jsonl", rows)))


def test_olympiadbench_leaves_out_what_is_not_meant(write_source: Write) -> None:
    row = ROWS["olympiadbench"][0]
    rows = [
        row,
        {**row, "id": 2, "language": "Chinese"},
        {**row, "id": 3, "subject": "Physics"},
        {**row, "id": 4, "question_type": "Theorem proof"},
        {**row, "id": 5, "question": "See <img_3362>."},
    ]
    prepared = benchmark(OLYMPIADBENCH, str(write_source("all.jsonl", rows)))
    assert [problem.problem_id for problem in prepared.problems] == ["olympiadbench/1607"]
    assert prepared.left_out.counts == {
        "language is 'Chinese'": 1,
        "subject is 'Physics'": 1,
        "question_type is 'Theorem proof'": 1,
        "needs an image": 1,
    }
    with pytest.raises(SourceError, match="no problem is left: 1 x language is 'Chinese'"):
        benchmark(OLYMPIADBENCH, str(write_source("chinese.jsonl", rows[1:2])))


def test_gpqas_choices_are_shuffled_the_same_each_time(write_source: Write) -> None:
    rows = [{**ROWS["gpqa"][0], "Record ID": f"rec{n}"} for n in range(80)]
    problems = benchmark(GPQA, str(write_source("gpqa.csv", rows))).problems
    again = benchmark(GPQA, str(write_source("again.jsonl", rows[::-1]))).problems
    plain = [dataclasses.replace(problem, where="") for problem in problems]
    assert [dataclasses.replace(problem, where="") for problem in again] == plain[::-1]
    letters = [problem.ground_truth for problem in problems]
    assert all(letters.count(letter) > 5 for letter in "ABCD")
    for problem in problems:
        assert f"({problem.ground_truth}) A muon" in problem.question.splitlines()
        assert sorted(line[4:] for line in problem.question.splitlines() if line.startswith("(")) == [
            "A gluon",
            "A muon",
            "A neutron",
            "A photon",
        ]
        for letter in "ABCD":
            assert is_correct(f"\\boxed{{({letter})}}", problem.ground_truth) is (letter == problem.ground_truth)
