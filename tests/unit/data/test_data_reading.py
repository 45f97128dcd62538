"""Where rows come from: files that are broken, folders, and the hub's way of loading."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lapo_verl.data.problems import SourceError
from lapo_verl.data.read import read_rows
from lapo_verl.data.sources import AMC23, GPQA, GSM8K, MATH500, OLYMPIADBENCH

Write = Callable[..., Path]
LINE = {"question": "How many?", "answer": "#### 3"}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.jsonl", '{"question": "a", "answer": "b"}\nnot json\n', r"x.jsonl, line 2: not JSON"),
        ("x.jsonl", '{"question": "a", "answer": "b"}\n[1]\n', r"x.jsonl, line 2: not an object with columns"),
        ("x.json", '[{"question": "a"}, ', r"x.json: not JSON"),
        ("x.json", "[1]", r"x.json, row 0: not an object with columns"),
        ("x.json", "[]", r"x.json: has no rows"),
        ("x.csv", 'question,answer\n"a,b\n', r"x.csv, line 2: not CSV"),
        ("x.csv", "question,answer\na,b,c\n", r"x.csv, line 2: has more or fewer fields than the header"),
        ("x.csv", "question,answer\na\n", r"x.csv, line 2: has more or fewer fields than the header"),
        ("x.parquet", "no parquet", r"x.parquet: not a parquet file"),
        ("x.txt", "a", r"x.txt: must be a folder or end in"),
        ("x.jsonl", b"\xff\xfe", r"x.jsonl: is not UTF-8"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, name: str, content: str | bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(SourceError, match=message):
        read_rows(GSM8K, str(path))


@pytest.mark.parametrize("name", ["gone.jsonl", "gone/gone.parquet", "/gone", "gone", "a/b/c"])
def test_a_missing_file_is_no_data_set_of_the_hub(name: str) -> None:
    with pytest.raises(SourceError, match="no such file"):
        read_rows(GSM8K, name)


def test_blank_lines_and_other_line_ends_in_texts(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    rows = [{**LINE, "question": "one\u2028two\x85three"}, LINE]
    path.write_text("\n\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n", encoding="utf-8-sig")
    read = read_rows(GSM8K, str(path))
    assert [row.values for row in read] == rows
    assert [row.where for row in read] == [f"{path}, line 1", f"{path}, line 3"]


def test_a_csv_field_may_span_lines(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text('question,answer\n"one\n\ntwo, ""three""\u2028four",#### 3\nnext,#### 4\n')
    assert [row.values["question"] for row in read_rows(GSM8K, str(path))] == ['one\n\ntwo, "three"\u2028four', "next"]


def test_a_downloaded_folder_is_read_by_its_config_and_split(
    datasets_in_tmp: None, write_source: Write, tmp_path: Path
) -> None:
    """The layout of the hub: a card that names configs, and their files."""
    write_source("gpqa/diamond.csv", [_gpqa("right")])
    write_source("gpqa/main.csv", [_gpqa("wrong"), _gpqa("wrong")])
    (tmp_path / "gpqa" / "README.md").write_text(
        "---\nconfigs:\n- config_name: gpqa_main\n  data_files: main.csv\n"
        "- config_name: gpqa_diamond\n  data_files: diamond.csv\n---\n"
    )
    (row,) = read_rows(GPQA, str(tmp_path / "gpqa"))
    assert row.values["Record ID"] == "right"
    assert row.where == f"{tmp_path / 'gpqa'}, row 0"
    assert list(row.values) == list(GPQA.columns)


def test_a_folder_without_a_card(datasets_in_tmp: None, write_source: Write, tmp_path: Path) -> None:
    write_source("plain/data/train-00000-of-00001.parquet", [LINE])
    write_source("plain/data/test-00000-of-00001.parquet", [LINE, LINE])
    assert len(read_rows(GSM8K, str(tmp_path / "plain"))) == 1
    assert len(read_rows(GSM8K, str(tmp_path / "plain"), "test")) == 2
    with pytest.raises(SourceError, match=r"plain: cannot be read as a data set: Unknown split .*'train', 'test'"):
        read_rows(GSM8K, str(tmp_path / "plain"), "dev")


def test_a_folder_of_save_to_disk(datasets_in_tmp: None, tmp_path: Path) -> None:
    import datasets

    rows = datasets.Dataset.from_list([LINE])
    rows.save_to_disk(str(tmp_path / "one"))
    assert [row.values for row in read_rows(GSM8K, str(tmp_path / "one"))] == [LINE]
    datasets.DatasetDict({"train": rows}).save_to_disk(str(tmp_path / "splits"))
    assert [row.values for row in read_rows(GSM8K, str(tmp_path / "splits"))] == [LINE]
    with pytest.raises(SourceError, match="splits: has no split 'test'; it has: train"):
        read_rows(GSM8K, str(tmp_path / "splits"), "test")


def test_a_folders_missing_column_is_named(datasets_in_tmp: None, write_source: Write, tmp_path: Path) -> None:
    write_source("renamed/test.jsonl", [{"id": 1, "problem": "x", "answer": "1"}])
    with pytest.raises(SourceError, match=r"renamed: column 'question' is missing; .*row 0 has: id, problem, answer"):
        read_rows(AMC23, str(tmp_path / "renamed"))


def test_a_broken_folder_says_what_is_broken(datasets_in_tmp: None, tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    with pytest.raises(SourceError, match=r"broken: cannot be read as a data set: .*any data files"):
        read_rows(GSM8K, str(tmp_path / "broken"))
    (tmp_path / "broken" / "train.jsonl").write_text('{"question":')
    with pytest.raises(SourceError, match=r"broken: cannot be read as a data set: .*JSON parse error"):
        read_rows(GSM8K, str(tmp_path / "broken"))


def test_columns_that_nobody_needs_are_not_decoded(datasets_in_tmp: None, tmp_path: Path) -> None:
    """OlympiadBench has ten columns of images on the hub."""
    import datasets

    features = datasets.Features(
        {
            "id": datasets.Value("int64"),
            "question": datasets.Value("string"),
            "final_answer": datasets.List(datasets.Value("string")),
            "language": datasets.Value("string"),
            "image_1": datasets.Image(),
        }
    )
    row = {"id": 1, "question": "x?", "final_answer": ["1"], "language": "English", "image_1": {"bytes": b"no image"}}
    datasets.Dataset.from_list([row], features=features).save_to_disk(str(tmp_path / "images"))
    (read,) = read_rows(OLYMPIADBENCH, str(tmp_path / "images"))
    assert read.values == {"id": 1, "question": "x?", "final_answer": ["1"], "language": "English"}


def test_the_hub_is_asked_for_the_sources_config_and_split(
    datasets_in_tmp: None, write_source: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A local folder takes the hub's place; what is asked for is what is checked."""
    import datasets

    write_source("hub/train.jsonl", [_gpqa("right")])
    load, asked = datasets.load_dataset, []

    def load_local(name: str, config: str | None, split: str) -> Any:
        asked.append((name, config, split))
        return load(str(tmp_path / "hub"), split=split)

    monkeypatch.setattr(datasets, "load_dataset", load_local)
    (row,) = read_rows(GPQA)
    assert row.where == "Idavidrein/gpqa, row 0"
    read_rows(GPQA, "someone/copy-of-gpqa")
    assert asked == [("Idavidrein/gpqa", "gpqa_diamond", "train"), ("someone/copy-of-gpqa", None, "train")]


def test_what_the_hub_does_not_give_is_one_line(datasets_in_tmp: None, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    def gated(*_: object, **__: object) -> None:
        raise datasets.exceptions.DatasetNotFoundError("Dataset 'Idavidrein/gpqa' is a gated dataset on the Hub.")

    with pytest.raises(
        SourceError, match=r"^HuggingFaceH4/MATH-500: neither a local file nor a data set that the hub gives: "
    ):
        read_rows(MATH500)
    monkeypatch.setattr(datasets, "load_dataset", gated)
    with pytest.raises(SourceError, match=r"is a gated dataset .*accept its terms .*HF_TOKEN"):
        read_rows(GPQA)


def test_a_hub_that_does_not_answer_is_asked_once(datasets_in_tmp: None, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets
    from huggingface_hub import constants

    def no_waiting(seconds: float) -> None:
        raise AssertionError("asked again")

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("time.sleep", no_waiting)
    with pytest.raises(SourceError, match=r"^openai/gsm8k: .*the hub does not answer \(.*refused.*HF_ENDPOINT"):
        read_rows(GSM8K)
    assert not datasets.config.HF_HUB_OFFLINE
    assert not constants.HF_HUB_OFFLINE


def test_without_the_datasets_library_the_way_out_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(SourceError, match=r"pip install 'lapo-verl\[data\]'"):
        read_rows(MATH500, str(tmp_path))


def _gpqa(record: str) -> dict[str, str]:
    return {column: "text" for column in GPQA.columns} | {"Record ID": record, "Subdomain": "none"}
