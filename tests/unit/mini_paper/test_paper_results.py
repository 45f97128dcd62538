"""The result files, from cells written by hand."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from lapo_verl.runs.dumps import Sample
from mini_paper.cells import Cell, is_kept, read_cell, write_cell
from mini_paper.grid import Hyperparameters
from mini_paper.results import cell_path, validation_curves, write_results
from mini_paper.results_text import beats
from mini_paper.tables import compared_with, level_correlation


def keep(results: Path, seed: int, name: str, samples: list[Sample]) -> None:
    training = {1: {"lapo/accuracy": 0.5, "lapo/tokens_correct": 90.0, "lapo/budget_mean": 80.0}}
    write_cell(Cell("key", 100.0, samples, {0: (50.0, 90.0)}, training), cell_path(results, name, seed))


def answers(level: int, accuracy: list[bool], tokens: int, condition: str | None = None) -> list[Sample]:
    """One problem of a level, answered several times."""
    return [Sample(f"p{level}", str(level), acc, tokens, False, "test", condition, (1, 0, 0, 0)) for acc in accuracy]


def keys(results: Path) -> dict[Path, str]:
    """Of all that is kept, as if made with the settings of now."""
    return dict.fromkeys(results.glob("cells/*/*"), "key")


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return keep_three_rows(tmp_path)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For tests that only read them: the result files, pictures included."""
    results = keep_three_rows(tmp_path_factory.mktemp("results"))
    write_results(Hyperparameters(), keys(results), results, Console(quiet=True))
    return results


def keep_three_rows(results: Path) -> Path:
    for seed, tokens in ((1, 100), (2, 120)):
        keep(results, seed, "base", answers(1, [True, True], tokens) + answers(2, [True, False], 2 * tokens))
        rows = answers(1, [True, True], 40) + answers(2, [True, True], 80) + answers(7, [False, False], 500)
        keep(results, seed, "lapo_i", rows + answers(1, [True, True], 10, "conflict=30"))
        keep(results, seed, "lapo_d", rows)
    return results


def test_a_cell_is_read_as_it_was_written(tmp_path: Path) -> None:
    cell = Cell("k", 1.5, answers(1, [True], 7, "conflict=30"), {10: (50.0, 90.0)}, {1: {"lapo/accuracy": 0.5}})
    write_cell(cell, tmp_path / "cell.parquet")
    read = read_cell(tmp_path / "cell.parquet")
    assert (read.key, read.seconds, read.validation, read.training) == ("k", 1.5, cell.validation, cell.training)
    assert [(s.problem, s.level, s.correct, s.tokens, s.truncated) for s in read.samples] == [
        ("p1", "1", True, 7, False)
    ]
    assert [(s.checkpoint, s.keywords) for s in read.samples] == [("conflict=30", (1, 0, 0, 0))]
    assert is_kept(tmp_path / "cell.parquet", "k")
    assert not is_kept(tmp_path / "cell.parquet", "other")


def test_means_are_over_seeds_and_over_the_levels_that_were_trained_on(written: Path) -> None:
    table = json.loads((written / "table1.json").read_text())
    assert set(table) == {"base", "lapo_d", "lapo_i", "settings"}
    assert table["base"]["pass@1"]["mean"] == 75.0
    assert table["base"]["tokens"] == {"mean": 165.0, "interval": [110.0, 220.0], "seeds": [150.0, 180.0]}
    assert table["lapo_i"]["pass@1"]["seeds"] == [100.0, 100.0]
    # The harder level is in its own column alone.
    assert table["lapo_i"]["tokens"]["mean"] == 60.0
    assert table["lapo_i"]["by_level"]["7"]["tokens"] == 500.0
    change = table["lapo_i"]["changes"]["base"]
    assert change["tokens_percent"]["value"] == pytest.approx(100 * (60 / 165 - 1))
    assert change["pass@1_points"]["value"] == 25.0
    assert table["settings"]["steps"] == Hyperparameters().steps


def test_conditions_are_rows_of_table_4_alone(written: Path) -> None:
    assert set(json.loads((written / "table4.json").read_text())) == {"lapo_i", "lapo_i conflict=30", "settings"}
    text = (written / "results.md").read_text()
    assert "LAPO-I (exact, median), conflict=30" in text
    # Its only row so far is one of Table 1's.
    assert not (written / "table2.json").exists()
    assert "Table 2" not in text
    assert {path.name for path in written.glob("*.png")} == {
        "levels.png",
        "lengths.png",
        "keywords.png",
        "training.png",
        "validation.png",
    }
    assert all(f"]({path.name})" in text for path in written.glob("*.png"))


def test_what_was_made_with_other_settings_is_named_and_left_out(results: Path) -> None:
    now = keys(results) | {cell_path(results, "lapo_i", 2): "another key"}
    console = Console(record=True, quiet=False, width=500, file=io.StringIO())
    write_results(Hyperparameters(), now, results, console)
    assert f"{cell_path(results, 'lapo_i', 2)}: made with other settings, left out" in console.export_text()
    table = json.loads((results / "table1.json").read_text())
    assert (table["base"]["seeds"], table["lapo_i"]["seeds"]) == ([1, 2], [1])


def test_a_stage_2_follows_its_stage_1_in_the_validation_curves() -> None:
    cells = {
        ("seed1", "lapo_d"): Cell("k", 1.0, [], {0: (50.0, 90.0), 20: (60.0, 80.0)}, {}),
        ("seed1", "lapo_i"): Cell("k", 1.0, [], {20: (70.0, 50.0)}, {}),
        ("seed2", "lapo_d"): Cell("k", 1.0, [], {0: (52.0, 92.0), 20: (62.0, 70.0)}, {}),
    }
    (curve,) = validation_curves(cells).values()
    points = {step: (accuracy.value, tokens.value) for step, (accuracy, tokens) in curve["validation"].items()}
    assert points == {0: (51.0, 91.0), 20: (61.0, 75.0), 40: (70.0, 50.0)}


def test_goals_stand_beside_what_came_out(results: Path) -> None:
    keep(results, 1, "acc_only", answers(1, [True, True], 100) + answers(2, [True, True], 200))
    write_results(Hyperparameters(), keys(results), results, Console(quiet=True))
    text = (results / "results.md").read_text()
    assert "at least 40.9 % fewer tokens | -63.6 % [-63.6, -63.6] | yes |" in text
    assert "at least 2.3 points more Pass@1 | +25.0 points [+0.0, +50.0] | yes |" in text
    # Acc-Only has the first seed alone, and so has what is compared with it.
    assert "| LAPO-I against Acc-Only: fewer tokens | -60.0 % [-60.0, -60.0] | yes |" in text
    assert "| LAPO-I against Acc-Only: equal or better Pass@1 | +0.0 points [+0.0, +0.0] | yes |" in text
    assert "| One seed of Table 1 in at most 2 h | 0.1 h, the slowest of 1 | yes |" in text
    assert "whole grid" not in text
    assert "at most 2 h | 0.1 h, the slowest of 1 | yes |\n\nEvery goal was reached.\n" in text
    assert "Every goal" not in text[text.index("## What did not come out") :]
    assert "- Not made yet: base (seed 3); Acc-Only (seed 2, 3); LAPO-D (seed 3); LAPO-I (exact, median)" in text


def test_what_was_missed_is_said_again_at_the_end(results: Path) -> None:
    keep(results, 1, "acc_only", answers(1, [True, True], 100) + answers(2, [True, True], 200))
    for seed in (1, 2):
        keep(results, seed, "lapo_i", answers(1, [True, False], 90) + answers(2, [True, False], 80))
        keep(results, seed, "range", answers(1, [True, True], 70) + answers(2, [True, True], 70))
        keep(results, seed, "mean", answers(1, [True, False], 99) + answers(2, [True, False], 99))
    write_results(Hyperparameters(), keys(results), results, Console(quiet=True))
    text = (results / "results.md").read_text()
    assert "at least 2.3 points more Pass@1 | -25.0 points [-50.0, +0.0] | no |" in text
    assert "Spearman at least 0.9 | -1.00 | no |" in text
    assert "Every goal was reached" not in text
    end = text[text.index("## What did not come out") :]
    assert "- Missed: LAPO-I against base: at least 2.3 points more Pass@1: -25.0 points [-50.0, +0.0]." in end
    assert "Table 2: form and place of the guidance: range does better than LAPO-I, with every seed" in end
    assert "Table 3" not in end


@pytest.mark.parametrize(
    ("tokens", "points", "seeds", "better"),
    [
        ((-5, -1), (-1, 1), {1: 49, 2: 49}, True),
        ((-5, -1), (1, 2), {1: 49, 2: 49, 3: 70}, True),
        ((-5, -1), (-3, -1), {1: 49, 2: 49}, False),
        ((-1, 1), (1, 2), {1: 49, 2: 49}, False),
        ((-5, -1), (-1, 1), {1: 40, 2: 51}, False),
        ((-5, -1), (-1, 1), {1: 49}, False),
    ],
)
def test_a_row_is_better_where_the_intervals_and_all_seeds_say_so(
    tokens: tuple[float, float], points: tuple[float, float], seeds: dict[int, float], better: bool
) -> None:
    change = {
        "tokens_percent": {"low": tokens[0], "high": tokens[1]},
        "pass@1_points": {"low": points[0], "high": points[1]},
    }
    row = {"seeds": list(seeds), "tokens": {"seeds": list(seeds.values())}}
    assert beats(row, change, {"seeds": [1, 2], "tokens": {"seeds": [50, 50]}}) is better


def test_each_row_is_compared_with_what_it_varies() -> None:
    assert compared_with("table1", "lapo_i", ["base", "acc_only", "lapo_i"]) == ["base"]
    assert compared_with("table1", "base", ["base", "acc_only"]) == []
    table4 = ["lapo_i", "lapo_i conflict=40", "outside", "outside conflict=40"]
    assert [compared_with("table4", row, table4) for row in table4] == [[], ["lapo_i"], ["lapo_i"], ["outside"]]
    presets = ["lapo_d", "lapo_i", "reference_d", "reference_i"]
    assert [compared_with("presets", row, presets) for row in presets] == [[], ["lapo_d"], ["lapo_d"], ["lapo_i"]]
    peers = ["acc_only", "lapo_i", "kimi"]
    assert [compared_with("table5", row, peers) for row in peers] == [["lapo_i"], ["acc_only"], ["acc_only", "lapo_i"]]


def test_peers_are_compared_with_accuracy_alone_and_with_lapo_i(tmp_path: Path) -> None:
    results = keep_three_rows(tmp_path)
    for seed in (1, 2):
        keep(results, seed, "acc_only", answers(1, [True, True], 100) + answers(2, [True, True], 200))
        keep(results, seed, "kimi", answers(1, [True, True], 30) + answers(2, [True, True], 60))
    write_results(Hyperparameters(), keys(results), results, Console(quiet=True))
    changes = json.loads((results / "table5.json").read_text())["kimi"]["changes"]
    assert changes["acc_only"]["tokens_percent"]["value"] == pytest.approx(-70)
    assert changes["lapo_i"]["tokens_percent"]["value"] == pytest.approx(-25)
    text = (results / "results.md").read_text()
    assert "| Kimi k1.5 | 100.0 [100.0, 100.0] | 100.0 100.0 | 45.0 [30.0, 60.0] | 45.0 45.0 | Acc-Only | -70.0" in text
    assert "- Table 5: the peers: Kimi k1.5 does better than LAPO-I, with every seed: tokens -25.0" in text
    assert (results / "table5.png").stat().st_size > 1000


def test_budgets_asked_for_are_a_table_of_their_own_and_in_no_other(tmp_path: Path) -> None:
    results = keep_three_rows(tmp_path)
    for seed, used in ((1, 50), (2, 70)):
        asked = [replace(sample, budget=40.0) for sample in answers(1, [True, False], used)]
        plain = answers(1, [True, True], 90) + answers(1, [True, True], 30, "conflict=40")
        keep(results, seed, "lapo_i", plain + asked + [replace(asked[0], level="7", tokens=999)])
    write_results(Hyperparameters(), keys(results), results, Console(quiet=True))
    budget, itself = json.loads((results / "table6.json").read_text())["lapo_i"]
    assert (budget["asked"], budget["tokens"], budget["pass_at_1"], budget["error"]) == (40, 60, 50, 20)
    assert budget["seeds"] == {"1": 50, "2": 70}
    assert (itself["asked"], itself["tokens"]) == (None, 90)
    assert json.loads((results / "table1.json").read_text())["lapo_i"]["tokens"]["mean"] == 90
    text = (results / "results.md").read_text()
    assert "| LAPO-I (exact, median) | 40 | 60.0 | 60 / 60 | 50.0 | 20.0 | 50.0 | 0.0 | 50.0 70.0 |" in text
    assert "](table6.png)" in text


def test_nothing_kept_is_said(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="nothing is kept there yet"):
        write_results(Hyperparameters(), {}, tmp_path, Console(quiet=True))


def test_rank_correlation_of_level_and_tokens() -> None:
    rising = {str(level): {"tokens": 10.0 * level} for level in range(1, 6)}
    assert level_correlation(rising) == pytest.approx(1)
    falling = {level: {"tokens": -part["tokens"]} for level, part in rising.items()}
    assert level_correlation(falling) == pytest.approx(-1)
    lengths = (88.5, 89.6, 90.6, 91.5, 91.1)
    assert level_correlation({str(level): {"tokens": t} for level, t in enumerate(lengths, start=1)}) == 0.9
