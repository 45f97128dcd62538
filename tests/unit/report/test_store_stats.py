import csv
import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from store_visits import DISCOVERY, INTERNALIZATION, visit
from typer.testing import CliRunner

from lapo_verl.cli.main import app
from lapo_verl.objectives import objective
from lapo_verl.report.store_stats import Adherence, adherence
from lapo_verl.store import LengthStore

FIRST_SCHEMA = Path(__file__).parents[1] / "store" / "first_schema" / "lapo_store.sqlite"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "lapo_store.sqlite"
    with LengthStore.open(path) as opened:
        opened.record_step("discovery", 1, [visit("a", 4, (100, 200)), visit("b", 4, ())], DISCOVERY)
        opened.record_step("internalization", 1, [visit("a", 4, (60,), 150.0)], INTERNALIZATION)
        opened.record_step("internalization", 2, [visit("c", 4, (10,), None)], INTERNALIZATION)
    return path


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["stats", *map(str, arguments)])
    return result.exit_code, result.output


def test_totals_and_most_changed(store: Path) -> None:
    code, output = run(store, "--json")
    assert code == 0
    report = json.loads(output)
    assert (report["problems"], report["solved"], report["unsolved"], report["visits"]) == (3, 2, 1, 4)
    assert report["steps"] == {"discovery": 1, "internalization": 2}
    assert report["most_changed"][0] == {"problem_id": "a", "first": 150.0, "last": 60.0}


def test_the_tables_are_shown(store: Path) -> None:
    code, output = run(store)
    assert code == 0
    assert "unsolved" in output
    assert "-90.0" in output
    assert "global_step_N/lapo_store.sqlite" in " ".join(output.split())


def test_a_copy_that_lacks_its_wal_is_refused(store: Path, tmp_path: Path) -> None:
    with LengthStore.open(store) as opened:
        opened.record_step("internalization", 3, [visit("a", 4, (50,), 60.0)], INTERNALIZATION)
        shutil.copy(store, tmp_path / "copy")
    code, output = run(tmp_path / "copy")
    assert code == 1
    assert "lapo: error:" in output
    assert "copy-wal" in output


def test_exports_hold_every_record(store: Path, tmp_path: Path) -> None:
    for suffix in ("parquet", "csv", "jsonl"):
        code, output = run(store, "--export", tmp_path / f"x.{suffix}")
        assert code == 0
        assert "4 records" in output
    rows = pq.read_table(tmp_path / "x.parquet").to_pylist()
    assert rows[0]["lengths"] == [100, 200, 4000, 4000]
    assert rows[0]["correct"] == [True, True, False, False]
    assert rows[1]["target"] is None
    assert rows == [json.loads(line) for line in (tmp_path / "x.jsonl").read_text().splitlines()]
    with (tmp_path / "x.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [row["problem_id"] for row in table] == ["a", "b", "a", "c"]
    assert (table[0]["lengths"], table[0]["correct"]) == ("100 200 4000 4000", "1 1 0 0")


def test_what_is_no_store_ends_the_command(tmp_path: Path, store: Path) -> None:
    (tmp_path / "notes.sqlite").write_text("hello")
    for arguments in (
        (tmp_path / "gone.sqlite",),
        (tmp_path / "notes.sqlite",),
        (store, "--export", tmp_path / "x.xls"),
    ):
        code, output = run(*arguments)
        assert code == 1
        assert "lapo: error:" in output
        assert str(arguments[-1]) in output


def test_a_length_that_nobody_knows_is_exported_as_unknown(tmp_path: Path) -> None:
    """Of a store of the first schema, which has no wrong lengths."""
    first_schema = Path(shutil.copy(FIRST_SCHEMA, tmp_path))
    for suffix in ("parquet", "csv", "jsonl"):
        code, output = run(first_schema, "--export", tmp_path / f"x.{suffix}")
        assert code == 0
        assert "55 records" in output
    first = pq.read_table(tmp_path / "x.parquet").to_pylist()[0]
    assert (first["lengths"], first["correct"]) == ([None] * 8, [False] * 8)
    with (tmp_path / "x.csv").open() as file:
        assert next(csv.DictReader(file))["lengths"] == "? ? ? ? ? ? ? ?"


def test_adherence_is_that_of_the_last_run_that_names_budgets(store: Path) -> None:
    with LengthStore.open(store) as opened:
        assert adherence(opened) == Adherence({1: {"tokens": 90.0, "relative": 0.6}}, [])
        opened.record_step("l1", 1, [visit("a", 4, (110,), 100.0)], objective("l1"))
        assert adherence(opened) == Adherence({1: {"tokens": 10.0, "relative": 0.1}}, [(100.0, 110.0)])
