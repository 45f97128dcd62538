"""The report's numbers on recorded dumps of a CPU run; expected sums were taken from the files with grep and awk."""

import json
import math
from pathlib import Path

import pytest

from lapo_verl.report.comparison import Bootstrap
from lapo_verl.report.numbers import Numbers, Options, compute
from lapo_verl.runs.folder import find_base, labels, named_paths, read_run

OPTIONS = Options(Bootstrap(1000, (0,)))


def numbers_of(*arguments: str, options: Options = OPTIONS, base: str | None = None) -> Numbers:
    left_out: list[str] = []
    runs = [read_run(name, path, left_out) for name, path in named_paths(arguments).items()]
    models = labels(runs)
    return compute(runs, models, find_base(base, runs, models), options, left_out)


@pytest.fixture
def numbers(recorded: Path) -> Numbers:
    return numbers_of(f"d={recorded / 'discovery'}", f"i={recorded / 'internalization'}")


def test_table_1(numbers: Numbers) -> None:
    found = {name: (m.pass_at_1.value, m.tokens.value) for name, m in numbers.measured["validation"].items()}
    # Correct samples and tokens of 60; each of the 15 problems has 4.
    assert found == {
        "d step 0": (pytest.approx(100 * 54 / 60), pytest.approx(2726 / 60)),
        "d step 12": (pytest.approx(100 * 55 / 60), pytest.approx(1702 / 60)),
        "i step 4": (pytest.approx(100 * 56 / 60), pytest.approx(1503 / 60)),
        "i step 8": (pytest.approx(100 * 51 / 60), pytest.approx(1428 / 60)),
    }
    measured = numbers.measured["validation"]["d step 0"]
    assert (measured.problems, measured.samples, measured.truncated) == (15, 60, 0.0)
    assert measured.tokens.low is not None and measured.tokens.high is not None
    assert measured.tokens.low < measured.tokens.value < measured.tokens.high
    change = numbers.changes["validation"]["d step 12"]
    assert change.tokens is not None
    assert change.tokens.value == pytest.approx(100 * (1702 / 2726 - 1))
    assert change.pass_at_1.value == pytest.approx(100 / 60)
    assert list(numbers.changes["validation"]) == ["d step 12", "i step 4", "i step 8"]
    assert numbers.averages == {}


def test_levels_and_keywords(numbers: Numbers) -> None:
    levels = numbers.summaries["validation"]["d step 0"]["by_level"]
    assert {level: part["tokens"] for level, part in levels.items()} == {
        level: pytest.approx(total / 12)
        for level, total in (("2", 353), ("3", 411), ("4", 485), ("5", 580), ("6", 897))
    }
    assert levels["6"] == {
        "pass@1": pytest.approx(75.0),
        "tokens": pytest.approx(74.75),
        "tokens_right": pytest.approx(265 / 3),
        "tokens_wrong": pytest.approx(34.0),
        "problems": 3,
    }
    group = "self-correction and verification"
    for model, words, tokens in (("d step 0", 85, 2726), ("d step 12", 25, 1702), ("i step 8", 9, 1428)):
        counted = numbers.keywords["validation"][model]
        assert counted[group] == {
            "per_response": pytest.approx(words / 60),
            "per_1000_tokens": pytest.approx(1000 * words / tokens),
        }
        assert counted["conclusion drawing"] == {"per_response": 0.0, "per_1000_tokens": 0.0}


def test_lengths_and_truncation(numbers: Numbers) -> None:
    lengths = numbers.lengths["validation"]["d step 0"]
    assert lengths["mean"] == pytest.approx(2726 / 60)
    right, wrong = lengths["right"], lengths["wrong"]
    assert right is not None and wrong is not None
    # 90 % of the 60 samples are right.
    assert 54 * right + 6 * wrong == pytest.approx(2726)
    assert lengths["max"] == 216.0
    assert numbers.truncation["validation"]["d step 0"] == {
        "truncated": 0.0,
        "accuracy_truncated": None,
        "accuracy_others": pytest.approx(90.0),
        "tokens_others": pytest.approx(2726 / 60),
        "tokens_others_right": lengths["right"],
        "tokens_others_wrong": lengths["wrong"],
    }


def test_steps(numbers: Numbers) -> None:
    assert {run: list(parts["validation"]) for run, parts in numbers.validation.items()} == {
        "d": [0, 4, 12],
        "i": [4, 8],
    }
    assert numbers.validation["d"]["validation"][12] is numbers.measured["validation"]["d step 12"]
    assert numbers.training["i"][1]["lapo/adherence_tokens"] == 11.984375
    assert list(numbers.training["d"]) == list(range(1, 13))


def test_the_store_says_what_the_log_says_of_adherence(numbers: Numbers, recorded: Path) -> None:
    (recorded / "internalization" / "metrics.jsonl").unlink()
    from_store = numbers_of(f"i={recorded / 'internalization'}").adherence["i"]
    from_log = numbers.adherence["i"]
    assert list(from_store) == list(from_log) == list(range(1, 9))
    for step, logged in from_log.items():
        assert from_store[step] == {name: pytest.approx(value, abs=1e-5) for name, value in logged.items()}


def test_budgets_over_time(recorded: Path) -> None:
    options = Options(Bootstrap(1000, (0,)), problems=("5+4", "unknown"), top=2)
    numbers = numbers_of(f"i={recorded / 'internalization'}", options=options)
    assert list(numbers.budgets["i"]) == ["5+4", "4+4-0-8-7-4", "8+5-3"]
    records = numbers.budgets["i"]["4+4-0-8-7-4"]
    assert (records[0].target, records[-1].target) == (110.0, 34.0)
    assert numbers.left_out == ["Problem 'unknown': it is neither in the samples nor in a length store"]
    assert len(numbers.visits["i"]) == 16  # 8 groups in each of the last two of eight steps


def evaluation(path: Path, source: Path, **benchmarks: dict[str, int]) -> str:
    """A folder like those of lapo eval: ``benchmarks`` = {benchmark: {checkpoint: how many of the dump's rows}}."""
    rows = [json.loads(line) for line in source.read_text().splitlines()]
    path.mkdir()
    with (path / "samples.jsonl").open("w") as file:
        for benchmark, checkpoints in benchmarks.items():
            for checkpoint, count in checkpoints.items():
                for row in rows[:count]:
                    file.write(json.dumps(row | {"checkpoint": checkpoint, "benchmark": benchmark}) + "\n")
    return str(path)


def test_averages_are_over_what_all_have(recorded: Path, tmp_path: Path) -> None:
    source = recorded / "discovery" / "validation" / "0.jsonl"
    numbers = numbers_of(evaluation(tmp_path / "e", source, a={"x": 60, "y": 60}, b={"x": 8, "y": 8}, c={"x": 12}))
    assert (numbers.benchmarks, numbers.common) == (["a", "b", "c"], ["a", "b"])
    parts = [numbers.measured[benchmark]["x"].tokens.value for benchmark in ("a", "b")]
    assert numbers.averages["x"].tokens.value == pytest.approx(sum(parts) / 2)
    change = numbers.average_changes["y"]
    assert change.tokens is not None
    assert (change.tokens.value, change.tokens.low, change.tokens.high) == (0.0, 0.0, 0.0)
    assert numbers.left_out == ["Average over benchmarks: without c, not answered by y"]


def test_a_training_beside_an_evaluation_does_not_spoil_the_average(recorded: Path, tmp_path: Path) -> None:
    source = recorded / "discovery" / "validation" / "0.jsonl"
    folder = evaluation(tmp_path / "e", source, a={"x": 60, "y": 60}, b={"x": 8, "y": 8})
    numbers = numbers_of(folder, f"d={recorded / 'discovery'}")
    assert list(numbers.averages) == ["e x", "e y"]
    assert numbers.left_out == ["Comparison with e x: no benchmark in common with d step 0, d step 12"]


def test_runs_of_different_benchmarks_are_not_compared(recorded: Path, tmp_path: Path) -> None:
    source = recorded / "discovery" / "validation" / "0.jsonl"
    numbers = numbers_of(evaluation(tmp_path / "e", source, a={"x": 60}, b={"y": 60}))
    assert numbers.changes == {} and numbers.averages == {}
    assert numbers.base == "x"
    assert numbers.left_out == ["Comparison with x: no benchmark in common with y"]


def test_other_problems_of_one_benchmark(recorded: Path, tmp_path: Path) -> None:
    source = recorded / "discovery" / "validation" / "0.jsonl"
    numbers = numbers_of(evaluation(tmp_path / "e", source, a={"x": 60, "y": 20}))
    assert numbers.changes["a"]["y"].problems == 5
    assert any("5 problems are common" in sentence for sentence in numbers.left_out)
    rows = [json.loads(line) for line in source.read_text().splitlines()]
    for name in ("x", "y"):
        renamed = [row | {"problem_id": f"{name}{row['problem_id']}"} for row in rows]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in renamed))
    apart = numbers_of(str(tmp_path / "x.jsonl"), str(tmp_path / "y.jsonl"))
    assert apart.changes == {}
    assert "y against x on validation: no problem in common" in apart.left_out


def test_json_has_no_nan(numbers: Numbers) -> None:
    text = json.dumps(numbers.to_json(), allow_nan=False)
    found = json.loads(text)
    row = found["table1"]["validation"]["i step 8"]
    assert row["tokens"]["value"] == pytest.approx(23.8)
    assert row["change"]["problems"] == 15
    assert math.isfinite(row["change"]["tokens_percent"]["low"])
    assert found["settings"] == {"confidence": 0.95, "resamples": 1000, "seed": 0}
