import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from eval_inputs import model_folder
from rich.console import Console
from typer.testing import CliRunner

from lapo_verl.cli.main import app
from lapo_verl.evaluate import EvalError, EvalSettings
from lapo_verl.evaluate.arguments import budgets, counts, lengths, named_files, named_models
from lapo_verl.evaluate.conditions import Condition, conditions_of
from lapo_verl.evaluate.evaluation import Result
from lapo_verl.evaluate.models import Model
from lapo_verl.evaluate.table import MEASURES, results_table
from lapo_verl.guidance.config import GuidanceConfig
from lapo_verl.runs.training_note import TrainingNote


def test_names_and_numbers() -> None:
    assert named_models(["base=owner/model", "d=a=b"]) == {"base": "owner/model", "d": "a=b"}
    assert named_files(["data/math500.parquet", "aime=x/test.jsonl"]) == {
        "math500": Path("data/math500.parquet"),
        "aime": Path("x/test.jsonl"),
    }
    assert counts([], 4) == (4, {})
    assert counts(["8", "aime=32"], 4) == (8, {"aime": 32})
    assert lengths("--conflict", "500,3500") == (500, 3500)
    assert lengths("--cut", "") == ()
    assert budgets("") == ((), True)
    assert budgets("20,40") == ((20, 40), False)
    assert budgets("self") == ((), True)


def test_a_file_may_have_the_sign_in_its_name(tmp_path: Path) -> None:
    path = tmp_path / "n=4.jsonl"
    path.touch()
    assert named_files([str(path)]) == {"n=4": path}


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (lambda: named_models(["path/to/model"]), "must be NAME=PATH, such as base=path/to/model"),
        (lambda: named_models(["a=x", "a=y"]), "two are called 'a': x and y"),
        (lambda: named_files(["x/test.parquet", "y/test.parquet"]), "two are called 'test'.*NAME=PATH"),
        (lambda: counts(["many"], 4), "--n many: 'many' is not a whole number"),
        (lambda: budgets("20,own"), "--budget 20,own: 'own' is not a whole number"),
        (lambda: lengths("--conflict", "500,"), "--conflict 500,: '' is not a whole number"),
    ],
)
def test_arguments_that_say_nothing_are_named(read: Callable[[], object], message: str) -> None:
    with pytest.raises(EvalError, match=message):
        read()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n": 0}, "n must be at least 1, got 0"),
        ({"n_of": {"aime": 0}}, "n of aime must be at least 1"),
        ({"temperature": -0.1}, "temperature must be at least 0"),
        ({"temperature": float("nan")}, "temperature must be at least 0"),
        ({"top_p": 0.0}, "top_p must be above 0"),
        ({"top_p": 1.1}, "top_p must be above 0"),
        ({"max_tokens": 0}, "max_tokens must be at least 1"),
        ({"max_prompt_tokens": 0}, "max_prompt_tokens must be at least 1"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"conflicts": (0,)}, "at least 1 token"),
        ({"conflicts": (5, 5)}, "given twice"),
        ({"budgets": (20, 0)}, "a budget must be at least 1 token"),
        ({"cuts": (64, 64)}, "a cut is given twice"),
        ({"overrides": ("lapo.guidance.form=exact",)}, "needs --budget: only then do prompts name a length"),
        ({"conflict_text": "be quick"}, "needs {n} for the length"),
        ({"overrides": ("b.parquet",)}, "'b.parquet' is not a key=value"),
    ],
)
def test_settings_out_of_range_are_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(EvalError, match=message):
        EvalSettings(**change)


def test_conditions_and_verifier() -> None:
    settings = EvalSettings(conflicts=(500,), overrides=("lapo.verifier=verl", "lapo.verifier=custom"))
    assert conditions_of(Model("m", "m", "m"), settings) == [
        Condition(),
        Condition("conflict=500", " Please answer the question with 500 tokens."),
    ]
    assert settings.verifier == "custom"
    assert EvalSettings().verifier == "lapo"


def test_the_table_compares_with_the_first_checkpoint_and_averages_benchmarks() -> None:
    def result(checkpoint: str, benchmark: str, tokens: float) -> Result:
        return Result(checkpoint, benchmark, "", 5, 4, dict.fromkeys(MEASURES, 50.0) | {"tokens": tokens})

    console = Console(record=True, width=150)
    cells = [("base", "a", 100), ("base", "b", 300), ("lapo_i", "a", 50), ("lapo_i", "b", 250)]
    console.print(results_table([result(checkpoint, name, float(tokens)) for checkpoint, name, tokens in cells]))
    lines = [line.split() for line in console.export_text().splitlines()]
    average = next(line for line in lines if "average" in line and "lapo_i" in line)
    assert {"150.0", "-25.0%"} <= set(average)
    assert any({"a", "lapo_i", "50.0", "-50.0%"} <= set(line) for line in lines)


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["eval", *map(str, arguments)])


def test_the_command_prints_a_table_or_json(tmp_path: Path, sums: Path, starts: Callable[[], list[str]]) -> None:
    base = model_folder(tmp_path / "base")
    command = ["--model", f"base={base}", "--data", sums, "--n", "1", "--output", tmp_path / "out", "--platform", "cpu"]
    shown = run(*command)
    assert shown.exit_code == 0, shown.output
    assert "Pass@1" in shown.stdout
    assert "starting verl" in shown.stderr
    printed = json.loads(run(*command, "--json").stdout)
    assert printed["samples"] == str(tmp_path / "out" / "samples.jsonl")
    assert printed["results"][0]["summary"]["pass@1"] == pytest.approx(100 / 3)
    assert starts() == ["base 3"]


def test_a_bad_command_ends_with_one_line(tmp_path: Path, sums: Path) -> None:
    ended = run("--model", "base=gone", "--data", sums, "--output", tmp_path / "out", "--platform", "cpu")
    assert ended.exit_code == 1
    assert ended.stderr == "lapo: error: model base: gone: no such folder (a model of the hub is named owner/name)\n"
    ended = run("--model", "base=a/b", "--data", sums, "more.parquet", "--output", tmp_path / "out")
    assert ended.exit_code == 1
    assert "'more.parquet' is not a key=value" in ended.stderr


def test_each_model_is_asked_in_the_words_of_its_training() -> None:
    def conditions(note: GuidanceConfig | None, self_planned: bool = True) -> list[Condition]:
        model = Model("m", "m", "m", training=TrainingNote("owner/base", (), note, {}))
        return conditions_of(model, EvalSettings(budgets=(20, 44), self_planned=self_planned))

    assert conditions(GuidanceConfig(text=" Think for {budget} tokens.", rounding=10)) == [
        Condition(),
        Condition("budget=20", prefill=" Think for 20 tokens.", budget=20.0),
        Condition("budget=44", prefill=" Think for 40 tokens.", budget=40.0),
    ]
    outside = conditions(GuidanceConfig(place="outside"), self_planned=False)
    assert [condition.name for condition in outside] == ["budget=20", "budget=44"]
    assert outside[0].user_text == " I will answer the question with 20 tokens."
    for none in (None, GuidanceConfig(form="implicit")):
        with pytest.raises(EvalError, match="model m: was trained without a sentence"):
            conditions(none)
    unknown = Model("m", "m", "m")
    with pytest.raises(EvalError, match=r"model m: there is no lapo_training\.json"):
        conditions_of(unknown, EvalSettings(budgets=(20,)))
    told = EvalSettings(budgets=(20,), overrides=("lapo.guidance.form=exact",))
    assert conditions_of(unknown, told)[1].prefill == " I will answer the question with 20 tokens."
    noted = Model("m", "m", "m", training=TrainingNote("b", (), GuidanceConfig(text=" {budget}!"), {}))
    assert conditions_of(noted, told)[1].prefill == " 20!", "its own, whatever the others are told"


def test_the_table_of_one_model_under_budgets_fits_120_columns() -> None:
    summary = dict.fromkeys(MEASURES, 100.0) | {"tokens": 12345.6, "cut": {"1024": 100.0, "2048": 100.0}}
    console = Console(record=True, width=120)
    names = [f"budget={n}" for n in (512, 1024, 20480)]
    console.print(
        results_table([Result("internalization", "olympiadbench", name, 1000, 32, summary) for name in names])
    )
    text = console.export_text()
    assert all(f" {name} " in text for name in names) and "…" not in text
    assert "change" not in text


def test_the_table_shows_right_and_wrong_lengths_and_cuts() -> None:
    summary = dict.fromkeys(MEASURES, 50.0) | {"tokens_right": 30.0, "tokens_wrong": None, "cut": {"64": 12.5}}
    console = Console(record=True, width=180)
    console.print(results_table([Result("m", name, "", 5, 4, summary) for name in ("a", "b")]))
    (average,) = [line for line in console.export_text().splitlines() if "average" in line]
    assert "30 / -" in average and "12.5 %" in average
