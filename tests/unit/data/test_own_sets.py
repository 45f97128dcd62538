"""``lapo data convert``: known formats are found, answers are taken out of what surrounds them, the rest is refused."""

from __future__ import annotations

import datetime
import decimal
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import Result
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lapo_verl.data.answers import answer_in, is_prose
from lapo_verl.data.own import find_columns, with_plain_names
from lapo_verl.data.prepare import own_set
from lapo_verl.data.problems import INSTRUCTION, SourceError, UnusableRow
from lapo_verl.data.read import read_own_rows
from lapo_verl.data.rows import check_rows
from lapo_verl.data.write import write_problems
from lapo_verl.verify import is_correct

Write = Callable[..., Path]
LapoData = Callable[..., Result]
Convert = Callable[..., tuple[Result, list[tuple[str, str]]]]


@pytest.fixture
def convert(lapo_data: LapoData, tmp_path: Path) -> Convert:
    """``lapo data convert`` of a file: what it said, and (question, ground truth) of each written row."""

    def run(source: Path, *arguments: object) -> tuple[Result, list[tuple[str, str]]]:
        output = tmp_path / "out" / "mine.parquet"
        output.unlink(missing_ok=True)
        result = lapo_data("convert", source, "--output", output, *arguments)
        assert (result.exit_code == 0) is output.exists(), result.output
        rows = pq.read_table(output).to_pylist() if output.exists() else []
        asked = [row["prompt"][0]["content"].removesuffix(f" {INSTRUCTION}") for row in rows]
        return result, list(zip(asked, [row["reward_model"]["ground_truth"] for row in rows], strict=True))

    return run


def refusal(result: Result) -> str:
    """The one line that a refused command ends with."""
    assert result.exit_code == 1, result.output
    (line,) = [line for line in result.output.splitlines() if line.startswith("lapo: error: ")]
    assert result.output.endswith(line + "\n")
    return line


# --- formats ---

BOX = "2 + 2 is $\\boxed{4}$."
FORMATS: dict[str, tuple[dict[str, Any], str]] = {
    "gsm8k": ({"question": "2 + 2?", "answer": "2 + 2 is 4.\n#### 4"}, "'question', answer from 'answer'"),
    "deepscaler": ({"problem": "2 + 2?", "answer": "4", "solution": BOX}, "'problem', answer from 'answer'"),
    "math": (
        {"problem": "2 + 2?", "level": "Level 3", "type": "Algebra", "solution": BOX},
        "'problem', answer from 'solution', level from 'level'",
    ),
    "alpaca": (
        {"instruction": "Add.", "input": "2 + 2?", "output": BOX},
        "'instruction' and 'input', answer from 'output'",
    ),
    "alpaca without input": ({"instruction": "2 + 2?", "input": "", "output": BOX}, "'instruction' and 'input'"),
    "openai": (
        {"messages": [{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": BOX}]},
        "'messages', answer from the assistant's turn",
    ),
    "openai in parts": (
        {
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "2 + 2?"}]},
                {"role": "assistant", "content": [{"type": "text", "text": BOX}]},
            ]
        },
        "'messages'",
    ),
    "sharegpt": (
        {"conversations": [{"from": "human", "value": "2 + 2?"}, {"from": "gpt", "value": f"<think>3?</think> {BOX}"}]},
        "'conversations'",
    ),
    "prompt of messages": (
        {"prompt": [{"role": "user", "content": "2 + 2?"}], "answer": 4},
        "'prompt', answer from 'answer'",
    ),
    "other case": ({" Question ": "2 + 2?", "ANSWER": "4"}, "'question', answer from 'answer'"),
}


@pytest.mark.parametrize("ending", ["jsonl", "json", "parquet"])
@pytest.mark.parametrize("name", FORMATS)
def test_a_known_format_is_found(name: str, ending: str, write_source: Write, convert: Convert) -> None:
    row, said = FORMATS[name]
    result, problems = convert(write_source(f"x.{ending}", [row]))
    assert f"question from {said}" in result.output
    assert problems == [("Add.\n\n2 + 2?" if name == "alpaca" else "2 + 2?", "4")]
    assert ("level 3: 1" in result.output) is (name == "math")


def test_a_named_column_comes_before_a_known_one(write_source: Write, convert: Convert) -> None:
    row = {"question": "no", "answer": "no", "instruction": "2 + 2?", "input": "no", "Solution": BOX}
    columns = ["--prompt-column", "Instruction", "--answer-column", "SOLUTION"]
    _, problems = convert(write_source("x.jsonl", [row]), *columns)
    assert problems == [("2 + 2?", "4")]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("ending", ["csv", "tsv"])
def test_the_delimiter_is_found(delimiter: str, ending: str, tmp_path: Path, convert: Convert) -> None:
    if ending == "tsv" and delimiter != "\t":
        pytest.skip("a .tsv file has tabs")
    path = tmp_path / f"x.{ending}"
    path.write_text(f'Question{delimiter}Answer\n"2, 3; 4\tor\n5?"{delimiter}4\nMore?{delimiter}5\n')
    assert convert(path)[1] == [("2, 3; 4\tor\n5?", "4"), ("More?", "5")]
    path.write_text(f'Question{delimiter}Answer\n"one\ntwo"{delimiter}4\n\nMore?{delimiter}it depends\n')
    assert f"{path}, line 5: 'it depends'" in refusal(convert(path)[0])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [{"task": "a", "result": "1"}],
            "found no column with questions; its columns are: task, result; .*--prompt-column",
        ),
        ([{"question": "a", "result": "1"}], "found no column with answers; its columns are: .*--answer-column"),
        (
            [{"prompt": [{"role": "user", "content": "a"}], "reward_model": {"ground_truth": "1"}}],
            "verl's format already",
        ),
        ([{"question": "a", "Question": "b", "answer": "1"}], "line 1: two columns differ in case only"),
    ],
)
def test_a_file_of_another_format_is_refused(
    rows: list[dict[str, Any]], message: str, write_source: Write, convert: Convert
) -> None:
    assert re.search(message, refusal(convert(write_source("x.jsonl", rows))[0]))


# --- answers ---


@pytest.mark.parametrize(
    ("cell", "truth"),
    [
        ("The answer is 4", "4"),
        ("**Final answer:** 4", "4"),
        ("We find 3.\n#### 1,234", "1,234"),
        ("First \\boxed{1}, then \\boxed{\\frac{1}{2}}.", "\\frac{1}{2}"),
        ("<think>The answer is 3.</think> 4", "4"),
        ("\\boxed{Evelyn}", "Evelyn"),
        ("\\text{Tuesday}", "\\text{Tuesday}"),
        ("12 apples", "12 apples"),
        ("x = 3 or x = 4", "x = 3 or x = 4"),
        ("2024-05-01", "2024-05-01"),
        ("yes", "yes"),
        ("B", "B"),
        (7, "7"),
        (2.50, "2.5"),
        (12345678901234567890123, "12345678901234567890123"),
    ],
)
def test_the_answer_is_taken_out_of_its_cell(cell: Any, truth: str, write_source: Write, convert: Convert) -> None:
    assert convert(write_source("x.jsonl", [{"question": "a?", "answer": cell}]))[1] == [("a?", truth)]


@given(st.integers(), st.sampled_from(["so \\boxed{%s}.", "so\n#### %s", "The answer is %s.", "%s", "$%s$"]))
def test_an_answer_in_any_form_is_the_number(number: int, form: str) -> None:
    answer, _ = answer_in(form % number)
    assert is_correct(f"\\boxed{{{number}}}", answer)
    assert not is_correct(f"\\boxed{{{number + 1}}}", answer)
    assert not is_prose(answer)


@pytest.mark.parametrize("text", ["so \\boxed{4", "so \\boxed{}", "so ####", "so \\boxed{\\frac{1}{2}"])
def test_a_mark_without_an_answer_is_refused(text: str) -> None:
    with pytest.raises(UnusableRow, match="empty or not closed"):
        answer_in(text)


PROSE = [
    "It depends on x.",
    "Paris",
    "the cat sat",
    "two",
    "First we add 2 + 2 = 4. Then 4 * 3 = 12.",
    "No solution exists",
]


@pytest.mark.parametrize("cell", [*PROSE, "The answer is obvious."])
def test_prose_is_refused_unless_it_is_wanted(cell: str, write_source: Write, convert: Convert) -> None:
    path = write_source("x.jsonl", [{"question": "a?", "answer": "1"}, {"question": "b?", "answer": cell}])
    line = refusal(convert(path)[0])
    assert f"{path}: 1 of 2 rows cannot be used: 1 x the answer is prose" in line
    assert f"{path}, line 2: " in line and "--text-answers" in line and "--skip-unreadable" in line
    assert len(convert(path, "--text-answers")[1]) == 2
    skipped, problems = convert(path, "--skip-unreadable")
    assert problems == [("a?", "1")]
    assert "left out: 1 x the answer is prose" in skipped.output


@pytest.mark.parametrize(
    "truth",
    ["\\sin x", "xy", "LQSX", "AB=9, CD=4", "ab + ac + bc", "5 \\text{ cm}", "x \\text{ is odd}", "(-\\infty, 2]"],
)
def test_formulas_are_no_prose(truth: str) -> None:
    assert not is_prose(truth)


def test_the_boxed_rows_of_a_solution_column_stay_and_the_others_go(write_source: Write, convert: Convert) -> None:
    rows = [{"problem": f"{n}?", "solution": f"It is $\\boxed{{{n}}}$."} for n in range(3)]
    path = write_source("x.jsonl", [*rows, {"problem": "3?", "solution": "Left to the reader."}])
    columns = ["--prompt-column", "problem", "--answer-column", "solution"]
    assert convert(path, *columns, "--skip-unreadable")[1] == [("0?", "0"), ("1?", "1"), ("2?", "2")]
    assert f"{path}, line 4: 'Left to the reader.'" in refusal(convert(path, *columns)[0])


@pytest.mark.parametrize("missing", ["", " ", "nan", "NaN", "None"])
def test_a_missing_cell_of_a_table_is_missing(missing: str, tmp_path: Path, convert: Convert) -> None:
    path = tmp_path / "x.csv"
    path.write_text(f"question,answer\na?,1\n{missing},2\nb?,{missing}\n")
    assert f"1 of 3 rows cannot be used: 1 x the ground truth is empty (first: {path}, line 4: '')" in refusal(
        convert(path)[0]
    )
    result, problems = convert(path, "--skip-unreadable")
    assert problems == [("a?", "1")]
    assert f"left out: 1 x the question is missing (first: {path}, line 3)" in result.output


def test_an_empty_row_is_one_loss(tmp_path: Path, convert: Convert) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"question": "a?", "answer": "1"}\n{}\n{"question": null, "answer": null}\n')
    result, problems = convert(path)
    assert problems == [("a?", "1")]
    assert f"left out: 2 x the question is missing (first: {path}, line 2)" in result.output


# --- conversations ---


def talk(*turns: tuple[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": content} for role, content in turns]}


GOOD = talk(("user", "1?"), ("assistant", "1"))


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (
            talk(("user", "a?"), ("assistant", "1"), ("user", "b?"), ("assistant", "2")),
            "must have exactly one question",
        ),
        (talk(("assistant", "1")), "must have exactly one question"),
        (talk(("user", "a?"), ("tool", "1")), "neither the user's nor the assistant's"),
        (talk(("user", "a?")), "the ground truth is empty"),
        (talk(("user", [{"type": "image_url"}]), ("assistant", "1")), "contains more than text"),
        ({"messages": ["a?"]}, "not an object"),
        ({"messages": 7}, "not a text"),
    ],
)
def test_a_conversation_that_is_no_problem_is_refused(
    row: dict[str, Any], reason: str, write_source: Write, convert: Convert
) -> None:
    path = write_source("x.jsonl", [GOOD, row])
    line = refusal(convert(path)[0])
    assert reason in line and f"{path}, line 2: " in line
    assert convert(path, "--skip-unreadable")[1] == [("1?", "1")]


def test_a_conversation_may_be_json_text_in_a_table(write_source: Write, convert: Convert) -> None:
    path = write_source("x.csv", [{"Messages": json.dumps(GOOD["messages"])}])
    assert convert(path)[1] == [("1?", "1")]
    path = write_source("y.csv", [{"question": "[{x}] = ?", "answer": 1}])
    assert convert(path)[1] == [("[{x}] = ?", "1")]


def test_a_system_turn_is_left_out_and_counted(write_source: Write, convert: Convert) -> None:
    row = talk(("system", "Be kind."), ("user", "2?"), ("assistant", "2"))
    result, problems = convert(write_source("x.jsonl", [GOOD, row]))
    assert problems == [("1?", "1"), ("2?", "2")]
    assert "left out: 1 x the system turn (the problem stays) (first: " in result.output


# --- repeats and overlap ---


def test_repeats_and_contradictions_are_left_out_and_counted(write_source: Write, convert: Convert) -> None:
    pairs = [("3*4", 13), ("1/2?", "0.5"), ("3 * 4", 12), ("1/2 ?", "\\frac{1}{2}"), ("5?", 5), ("3*4.", "13")]
    path = write_source("x.jsonl", [{"question": question, "answer": answer} for question, answer in pairs])
    result, problems = convert(path)
    assert problems == [("1/2?", "0.5"), ("5?", "5")]
    assert f"left out: 1 x the same question again (first: {path}, line 4, as {path}, line 2)" in result.output
    contradiction = f"(first: {path}, line 1: '13'; {path}, line 3: '12')"
    assert f"left out: 3 x the same question with different ground truths {contradiction}" in result.output


def test_questions_of_a_benchmark_are_left_out(write_source: Write, convert: Convert, lapo_data: LapoData) -> None:
    bench = write_source("bench.jsonl", [{"question": "a?", "answer": 1}])
    assert lapo_data("convert", bench, "--output", bench.parent / "bench.parquet").exit_code == 0
    path = write_source("x.jsonl", [{"question": "A", "answer": 1}, {"question": "b?", "answer": 2}])
    result, problems = convert(path, "--exclude", bench.parent / "bench.parquet")
    assert problems == [("b?", "2")]
    assert f"left out: 1 x also in {bench.parent / 'bench.parquet'} (first: {path}, line 1)" in result.output


# --- values that JSON and parquet can hold ---


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("1e400", "line 2: not JSON: the number 1e400 is too large; write it as a text"),
        ("-Infinity", "line 2: not JSON: -Infinity is not a JSON number"),
        ('"\\ud800"', "line 2: holds half a character: '\\ud800'"),
        ("NaN", "1 x the ground truth is empty (first: {path}, line 2: '')"),
        ('["7"]', "line 2: column 'answer' must be a text or a number, not list ['7']"),
        ("true", "line 2: column 'answer' must be a text or a number, not bool True"),
    ],
)
def test_a_value_that_is_no_answer_is_one_line(value: str, message: str, tmp_path: Path, convert: Convert) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"question": "a?", "answer": "1"}\n{"question": "b?", "answer": ' + value + "}\n")
    line = refusal(convert(path)[0])
    assert f"{path}, line 2" in line
    assert message.format(path=path) in line


def test_decimals_are_the_text_that_was_written(tmp_path: Path, convert: Convert) -> None:
    path = tmp_path / "x.json"
    path.write_text('[{"question": "a?", "answer": 0.10}, {"question": "b?", "answer": 0.12345678901234567890}]')
    assert [truth for _, truth in convert(path)[1]] == ["0.10", "0.12345678901234567890"]
    parquet = tmp_path / "x.parquet"
    pq.write_table(pa.table({"question": ["a?"], "answer": [decimal.Decimal("7.50")]}), parquet)
    assert convert(parquet)[1] == [("a?", "7.50")]


def test_dates_in_parquet_are_refused(tmp_path: Path, convert: Convert) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"question": ["a?"], "answer": [datetime.date(2024, 5, 1)]}), path)
    assert f"{path}, row 0: column 'answer' must be a text or a number, not date" in refusal(convert(path)[0])


def test_a_json_array_may_be_in_a_file_of_lines(tmp_path: Path, convert: Convert) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(json.dumps([{"question": "a?", "answer": 1}], indent=1))
    assert convert(path)[1] == [("a?", "1")]


# --- whatever a file holds ---

_CELL = st.recursive(
    st.none()
    | st.booleans()
    | st.floats()
    | st.integers()
    | st.text(max_size=4)
    | st.sampled_from(["\\boxed{3}", "#### 4", "The answer is 5.", "so \\boxed{", "a b c", "nan", "\ud800"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["role", "from", "content", "value", "text"]), inner, max_size=3)
    ),
    max_leaves=5,
)
_TALK = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant", "system", "tool"]), "content": _CELL}),
    max_size=3,
)
_ROW = st.fixed_dictionaries(
    {"question": st.text(min_size=1, max_size=3) | _TALK | _CELL},
    optional={"Answer": st.sampled_from(["1", 2, "\\boxed{3}"]) | _CELL, "level": _CELL, "id": _CELL},
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(_ROW | _CELL, max_size=3), skip=st.booleans())
def test_any_file_is_converted_or_refused_in_one_line(rows: list[Any], skip: bool, tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    try:
        plain = with_plain_names(read_own_rows(str(path), "train"))
        prepared = own_set(str(path), plain, find_columns(str(path), plain), "x", skip_unreadable=skip)
    except SourceError as error:
        assert str(path) in str(error)
        assert "\n" not in str(error)
    else:
        write_problems(prepared.problems, "train", tmp_path / "x.parquet")
        assert sum(check_rows(tmp_path / "x.parquet").values()) == len(prepared.problems)
