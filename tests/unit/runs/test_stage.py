"""A stage's folder: done once, resumed with its own settings only, loud where it fails. A script is the training."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console

from lapo_verl.runs.pace import Pace
from lapo_verl.runs.stage import Stage, run_stage

CONSOLE = Console(quiet=True)
TRAINING = """
echo run >> "$STAGE_DIR/runs"
echo '{"step": 2, "data": {"critic/score/mean": 0.5, "response_length/mean": 40}}' >> "$VERL_FILE_LOGGER_PATH"
"""


def stage(folder: Path, key: str = "a") -> Stage:
    return Stage("1 Discovery", folder / "discovery", 2, key)


def runs(folder: Path) -> int:
    return len((folder / "discovery" / "runs").read_text().splitlines())


def test_a_stage_that_is_done_is_not_run_again(tmp_path: Path) -> None:
    for _ in range(2):
        run_stage(stage(tmp_path), ["bash", "-c", TRAINING], {}, CONSOLE)
    assert runs(tmp_path) == 1
    assert stage(tmp_path).is_done
    assert stage(tmp_path).seconds >= 0
    assert json.loads(stage(tmp_path).metrics_files()[0].read_text())["step"] == 2


def test_a_stage_cut_short_goes_on_in_its_folder_with_the_same_settings_only(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="exit code 3"):
        run_stage(stage(tmp_path), ["bash", "-c", f"{TRAINING}exit 3"], {}, CONSOLE)
    assert not stage(tmp_path).is_done
    run_stage(stage(tmp_path), ["bash", "-c", TRAINING], {}, CONSOLE)
    assert runs(tmp_path) == 2
    run_stage(stage(tmp_path, "b"), ["bash", "-c", TRAINING], {}, CONSOLE)
    assert runs(tmp_path) == 1
    (aside,) = tmp_path.glob("discovery.a.*")
    assert (aside / "done.json").exists()


def test_a_failure_shows_the_last_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"verl\.log"):
        run_stage(stage(tmp_path), ["bash", "-c", "echo out of memory; exit 1"], {}, Console())
    assert "out of memory" in capsys.readouterr().out


def test_the_time_left_is_shown_from_the_first_second(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pace = Pace(start=100, step=30, end=20)
    run_stage(stage(tmp_path), ["bash", "-c", f"sleep 0.5{TRAINING}"], {}, Console(width=200), pace, steps_after=4)
    first, *_, last = [line for line in capsys.readouterr().out.splitlines() if "step" in line]
    # 100 + 2 x 30 + 20 s of this stage, 100 + 4 x 30 + 20 s of the next one.
    assert "step 0 of 2: starting verl, Ray and vLLM, about 7 min left" in first
    assert "step 2 of 2: accuracy 50%, 40 tokens, about 4 min left" in last


def test_the_next_stage_is_reckoned_with_the_pace_of_this_one(tmp_path: Path) -> None:
    guess = Pace(start=100, step=30, end=20)
    times = ["30", "7", "9"]
    rows = [
        f'{{"step": {step}, "data": {{"critic/score/mean": 0.5, "timing_s/step": {seconds}}}}}'
        for step, seconds in enumerate(times, start=1)
    ]
    write = "; ".join(f"echo '{row}' >> $VERL_FILE_LOGGER_PATH" for row in rows)
    assert run_stage(stage(tmp_path), ["bash", "-c", write], {}, CONSOLE, guess).step == 9
    # Done before: nothing was measured.
    assert run_stage(stage(tmp_path), ["bash", "-c", write], {}, CONSOLE, guess) == guess
