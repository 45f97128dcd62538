"""What a file of training rows must hold: each fault is one line with file and row, and both readers agree."""

from __future__ import annotations

import datetime
import decimal
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lapo_verl.data.rows import DataError, agent_names, check_rows, read_rows, row_problem_id
from lapo_verl.store import problem_id

Write = Callable[..., Path]


def row(truth: Any, **changes: Any) -> dict[str, Any]:
    return {
        "prompt": [{"role": "user", "content": f"What is {truth}?"}],
        "data_source": "x",
        "reward_model": {"ground_truth": truth},
        **changes,
    }


def refused(path: Path, message: str, **options: Any) -> None:
    with pytest.raises(DataError, match=message) as raised:
        check_rows(path, **options)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_json_text_in_a_column_is_refused(write_source: Write) -> None:
    text = json.dumps({"ground_truth": "1"})
    refused(write_source("a.jsonl", [row("1", reward_model=text)]), "row 0: reward_model must be an object .* a text")
    refused(write_source("b.parquet", [row("1", extra_info='{"index": 1}')]), "row 0: extra_info must be an object")
    refused(write_source("c.parquet", [row("1", prompt='[{"role": "user"}]')]), "row 0: prompt must be a list")


@pytest.mark.parametrize("truths", [["2024-05-01", "2024-05-02"], ["2024-05-01T10:00:00"]])
def test_a_truth_that_the_reader_takes_for_a_date_is_refused(truths: list[str], write_source: Write) -> None:
    path = write_source("dates.jsonl", [row(truth) for truth in truths])
    for ground_truths in (True, False):
        refused(path, "row 0: reward_model.ground_truth is read as a date", ground_truths=ground_truths)
    asked = write_source("prompt.jsonl", [row("1", prompt=[{"role": "user", "content": truths[0]}])])
    refused(asked, r"row 0: prompt\[0\].content is read as a date")


def test_the_same_text_in_a_parquet_file_is_a_text(write_source: Write) -> None:
    assert len(check_rows(write_source("dates.parquet", [row("2024-05-01")]))) == 1


@pytest.mark.parametrize("value", [decimal.Decimal("0.50"), datetime.date(2024, 5, 1), b"7", datetime.timedelta(1)])
def test_a_truth_of_another_type_is_refused(value: Any, write_source: Write) -> None:
    for ground_truths in (True, False):
        path = write_source("x.parquet", [row("1"), row("1", reward_model={"ground_truth": "2"})])
        table = pq.read_table(path).drop_columns(["reward_model"])
        truths = pa.array([{"ground_truth": value}] * 2)
        pq.write_table(table.append_column("reward_model", truths), path)
        refused(path, "row 0: reward_model.ground_truth is read as", ground_truths=ground_truths)


@pytest.mark.parametrize("written", ["12345678901234567890", "1e22"])
def test_a_number_whose_digits_the_reader_drops_is_refused(written: str, tmp_path: Path) -> None:
    path = tmp_path / "big.jsonl"
    path.write_text(json.dumps(row("@")).replace('"@"', written) + "\n")
    refused(path, "row 0: reward_model.ground_truth is a number that is too large .* as a text")


@pytest.mark.parametrize("truth", [7, 0.5, -3, "7"])
def test_numbers_are_truths(truth: Any, write_source: Write) -> None:
    assert len(check_rows(write_source("x.jsonl", [row(truth)]))) == 1


@pytest.mark.parametrize("truth", [None, "", " ", "nan", "NaN", "None", "null", float("nan")])
def test_missing_is_missing(truth: Any, write_source: Write) -> None:
    for name in ("x.jsonl", "x.parquet"):
        path = write_source(name, [row("1"), row(None)] if truth is None else [row(truth), row(truth)])
        refused(path, r"row [01]: reward_model.ground_truth is missing")


def test_a_list_of_truths_says_what_to_write(write_source: Write) -> None:
    refused(write_source("x.jsonl", [row(["7"])]), r"row 0: reward_model.ground_truth is a list .*'7'.* one text")
    check_rows(write_source("y.jsonl", [row(["7"])]), ground_truths=False)


def test_a_json_array_is_read(write_source: Write) -> None:
    path = write_source("x.json", [row("1"), row("2")])
    assert [r["reward_model"]["ground_truth"] for r in read_rows(path)] == ["1", "2"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("not json", "row 1: Invalid value"),
        ('{"reward_model": {"ground_truth": 1e400}}', "row 1: .*Number too big"),
        ('{"reward_model": {"ground_truth": "\\ud800"}}', "row 1: .*surrogate pair"),
        ("[1]", "row 1: a row is an 'array' here and an 'object' in the rows before"),
        (
            '{"reward_model": {"ground_truth": 7}}',
            "row 1: reward_model.ground_truth is a 'number' here and a 'string' in the rows before",
        ),
    ],
)
def test_a_broken_line_is_named(line: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(json.dumps(row("1")) + "\n" + line + "\n")
    refused(path, message)


def test_a_turn_of_the_assistant_at_the_end_is_refused(write_source: Write) -> None:
    turns = [{"role": "user", "content": "1+1?"}, {"role": "assistant", "content": "<think>\n"}]
    refused(write_source("x.jsonl", [row("2", prompt=turns)]), "row 0: the prompt ends in a turn of the assistant")


def test_agent_names_are_counted_over_all_files(write_source: Write) -> None:
    plain = write_source("plain.parquet", [row("1"), row("2")])
    rows = [row("3", agent_name="a"), row("4", agent_name=None), row("5", agent_name="a")]
    mixed = write_source("mixed.parquet", rows)
    assert agent_names([plain]) == {}
    assert agent_names([mixed, plain]) == {"a": 2, None: 3}
    assert agent_names([write_source("null.jsonl", [row("1", agent_name=None)])]) == {None: 1}


def with_nulls(value: Any, keys: list[str]) -> Any:
    """The value with null keys put into each of its objects."""
    if isinstance(value, dict):
        return {**{key: with_nulls(item, keys) for key, item in value.items()}, **{key: None for key in keys}}
    return [with_nulls(item, keys) for item in value] if isinstance(value, list) else value


_JSON = st.recursive(
    st.none() | st.text(max_size=3) | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(min_size=1, max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(st.dictionaries(st.sampled_from(["role", "content"]), _JSON), max_size=3), _JSON)
def test_null_keys_are_no_part_of_a_problems_id(prompt: list[Any], truth: Any) -> None:
    plain = problem_id("x", prompt, truth)
    assert problem_id("x", with_nulls(prompt, ["name", "null key"]), with_nulls(truth, ["null key"])) == plain
    assert problem_id("x", [*prompt, {"role": "user"}], truth) != plain


_MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": st.just("user"), "content": st.text(alphabet="ab1 ", min_size=1, max_size=3)},
        optional={"name": st.text(alphabet="ab", max_size=2), "weight": st.integers(0, 3)},
    ),
    min_size=1,
    max_size=3,
)


@pytest.mark.parametrize("ending", ["jsonl", "json", "parquet"])
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(prompts=st.lists(_MESSAGES, min_size=1, max_size=4))
def test_both_readers_give_a_row_one_id(
    ending: str, prompts: list[Any], datasets_in_tmp: None, write_source: Write
) -> None:
    """verl reads with ``datasets``, the checks with pyarrow: stage 2 would refuse stage 1's own file."""
    import datasets

    path = write_source(f"x.{ending}", [row(str(n), prompt=prompt) for n, prompt in enumerate(prompts)])
    kind = "parquet" if ending == "parquet" else "json"
    read = datasets.load_dataset(kind, data_files=str(path), cache_dir=str(path.parent / "cache"))["train"]
    assert [row_problem_id(r) for r in read] == [row_problem_id(r) for r in read_rows(path)]
