import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from lapo_verl.cli import app
from lapo_verl.data import SourceError, read_gsm8k
from lapo_verl.hooks.rows import DataError, check_rows, row_problem_id

LINE = {"question": "How many?", "answer": "2 + 3 = <<2+3=5>>5\n#### 1,005"}


def source(path: Path, *lines: object) -> str:
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return str(path)


def test_gsm8k_becomes_verls_format(tmp_path: Path) -> None:
    file = source(tmp_path / "gsm8k.jsonl", *({**LINE, "question": f"How many? {i}"} for i in range(5)))
    result = CliRunner().invoke(app, ["data", "gsm8k", "--input", file, "--output", str(tmp_path), "--validation", "2"])
    assert result.exit_code == 0, result.output
    train = pq.read_table(tmp_path / "train.parquet").to_pylist()
    assert len(train) == 3
    assert pq.read_table(tmp_path / "val.parquet").num_rows == 2
    assert train[0]["reward_model"]["ground_truth"] == "1005"
    assert train[0]["prompt"][0]["content"].startswith("How many? 0 Please think step by step")
    assert row_problem_id(train[1]) == "gsm8k/train/1"
    assert sum(check_rows(tmp_path / "train.parquet").values()) == 3


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("not json", "line 2: not JSON"),
        ({"question": "x"}, "line 2: 'answer' is missing"),
        ({"question": "", "answer": "#### 3"}, "line 2: 'question' is missing"),
        ({"question": "x", "answer": "three"}, "line 2: the answer does not end in"),
        ([1], "line 2: 'question' is missing"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: object, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        read_gsm8k(source(tmp_path / "gsm8k.jsonl", LINE, line))


def test_a_missing_file_ends_the_command(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["data", "gsm8k", "--input", "gone.jsonl", "--output", str(tmp_path)])
    assert result.exit_code == 1
    assert "gone.jsonl: no such file" in result.output


def test_rows_without_an_id_are_told_apart_by_their_content(tmp_path: Path) -> None:
    row = {"prompt": [{"role": "user", "content": "1+1?"}], "data_source": "x", "reward_model": {"ground_truth": "2"}}
    other = {**row, "reward_model": {"ground_truth": "3"}}
    assert row_problem_id(row) == row_problem_id(dict(row))
    assert row_problem_id(row) != row_problem_id(other)
    path = tmp_path / "rows.jsonl"
    source(path, row, other, row)
    assert sorted(check_rows(path).values()) == [1, 2]


def test_a_file_of_another_format_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"rows\.csv"):
        check_rows(Path(source(tmp_path / "rows.csv", "a,b")))
