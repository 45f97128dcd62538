"""One training of a CPU recipe: verl's command in a folder of its own, watched, resumed, and not done twice."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen

from rich.console import Console

from lapo_verl.console import bar_with_state
from lapo_verl.runs import verl_process
from lapo_verl.runs.dumps import read_metrics
from lapo_verl.runs.pace import Pace, in_words

# Seconds that a stage may take before it is taken for stuck; on two cores it takes a quarter of it.
STAGE_LIMIT = 3600
# Of a stage of the toy, 32 problems x 8 rollouts a step, on two processors that do nothing else.
USUAL_PACE = Pace(start=45, step=18, end=20)


@dataclass(frozen=True)
class Stage:
    """One run of verl's command, and the folder that it leaves its results in.

    Attributes:
        key: a hash of all that the results follow from; results of another key are set aside, not used.
    """

    title: str
    folder: Path
    steps: int
    key: str

    @property
    def weights(self) -> Path:
        """The trained model in Hugging Face format."""
        return self.folder / "checkpoints" / f"global_step_{self.steps}" / "actor" / "huggingface"

    @property
    def store(self) -> Path:
        return self.folder / "checkpoints" / "lapo_store.sqlite"

    @property
    def done(self) -> Path:
        """Written last; holds the key and the seconds that the stage took."""
        return self.folder / "done.json"

    @property
    def is_done(self) -> bool:
        return self.done.exists() and bool(json.loads(self.done.read_text())["key"] == self.key)

    @property
    def seconds(self) -> float:
        """What the stage took; of one that was cut short and resumed, the last part."""
        return float(json.loads(self.done.read_text())["seconds"])

    def validation(self, step: int) -> Path:
        """The dump of the held-out problems' samples at a step; step 0 is the model that the stage starts with."""
        return self.folder / "validation" / f"{step}.jsonl"

    def metrics_files(self) -> list[Path]:
        return sorted(self.folder.glob("metrics.*.jsonl"))


def run_stage(
    stage: Stage,
    command: Sequence[str],
    environment: Mapping[str, str],
    console: Console,
    pace: Pace = USUAL_PACE,
    steps_after: int = 0,
) -> Pace:
    """Run a stage with its progress, or say that it is there already; one cut short resumes from its checkpoint.

    Args:
        command: verl's command with all its overrides.
        environment: beside this process's own.
        pace: what the time left is reckoned with until the stage's own steps tell it.
        steps_after: of the stage that follows; the time left is that of both.

    Returns:
        The stage's own pace, for the stage that follows; ``pace`` where the stage is there already.

    Raises:
        SystemExit: verl failed, whose last words are printed, or took more than ``STAGE_LIMIT`` seconds.
    """
    if stage.is_done:
        console.print(f"[green]{stage.title}: done before, kept in {stage.folder}")
        return pace
    _set_other_results_aside(stage)
    started = time.time()
    metrics = stage.folder / f"metrics.{int(started)}.jsonl"
    whole = {
        **os.environ,
        # The scripts say python3, and mean the one that runs this.
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "STAGE_DIR": str(stage.folder),
        "STEPS": str(stage.steps),
        "VERL_FILE_LOGGER_PATH": str(metrics),
        **environment,
    }
    log = stage.folder / "verl.log"
    with verl_process.running(command, log, whole) as process:
        watch = _Watch(stage, metrics, pace, steps_after)
        watch.until_it_ends(process, console)
    if process.returncode != 0:
        console.print(verl_process.last_lines(log), markup=False)
        raise SystemExit(f"{stage.title} failed with exit code {process.returncode}; its whole output is in {log}")
    stage.done.write_text(json.dumps({"key": stage.key, "seconds": round(time.time() - started, 1)}))
    return watch.own_pace()


def _set_other_results_aside(stage: Stage) -> None:
    """A stage cut short resumes from its checkpoint, but only from one of the same settings."""
    mark = stage.folder / "settings.key"
    if mark.exists() and mark.read_text() != stage.key:
        stage.folder.rename(stage.folder.with_name(f"{stage.folder.name}.{mark.read_text()}.{int(time.time())}"))
    stage.folder.mkdir(parents=True, exist_ok=True)
    mark.write_text(stage.key)


class _Watch:
    """Shows how far a training is, from the metrics that verl writes."""

    def __init__(self, stage: Stage, metrics: Path, guess: Pace, steps_after: int) -> None:
        self._stage, self._metrics, self._guess, self._steps_after = stage, metrics, guess, steps_after
        self._started = self._last_step_at = time.monotonic()
        self._until_first_step = 0.0
        self._ended_at: float | None = None
        self._steps: dict[int, dict[str, float]] = {}

    def until_it_ends(self, process: Popen[bytes], console: Console) -> None:
        """A progress bar until the process ends; where the console is no terminal, a line a step."""
        shown = ""
        with bar_with_state(console) as progress:
            bar = progress.add_task(self._stage.title, total=self._stage.steps, state="")
            while True:
                ended = process.poll() is not None
                self._read()
                step, state, left = self._done(), self._state(), in_words(self._seconds_left())
                progress.update(bar, completed=step, state=f"{state}, {left} left")
                # A bar shows nothing in a log file until it ends.
                if not console.is_terminal and state != shown:
                    console.print(f"{self._stage.title}, step {step} of {self._stage.steps}: {state}, {left} left")
                    shown = state
                if ended:
                    self._ended_at = time.monotonic()
                    return
                if time.monotonic() - self._started > STAGE_LIMIT:
                    raise SystemExit(
                        f"{self._stage.title} took more than {STAGE_LIMIT} s and was ended; see {self._stage.folder}"
                    )
                time.sleep(1)

    def own_pace(self) -> Pace:
        """Measured where verl has told the time of a step, else what was guessed."""
        seconds = [values["timing_s/step"] for values in self._trained().values() if "timing_s/step" in values]
        if not seconds:
            return self._guess
        whole = None if self._ended_at is None else self._ended_at - self._started
        return self._guess.measured(self._until_first_step, seconds, whole)

    def _read(self) -> None:
        before = self._trained()
        self._steps = read_metrics([self._metrics]) if self._metrics.exists() else {}
        if len(self._trained()) > len(before):
            self._last_step_at = time.monotonic()
            if not before:
                self._until_first_step = self._last_step_at - self._started

    def _trained(self) -> dict[int, dict[str, float]]:
        """The metrics of the steps that are done: validation has rows of its own."""
        return {step: values for step, values in self._steps.items() if "critic/score/mean" in values}

    def _done(self) -> int:
        return max(self._trained(), default=0)

    def _seconds_left(self) -> float:
        pace, waited = self.own_pace(), time.monotonic() - self._last_step_at
        return pace.left(self._stage.steps, self._done(), waited) + pace.whole(self._steps_after)

    def _state(self) -> str:
        """What verl has logged of the last step."""
        if not self._trained():
            return "starting model measured, training" if self._steps else "starting verl, Ray and vLLM"
        values = self._trained()[self._done()]
        # Acc-Only trains without LAPO's hooks: its reward is the accuracy.
        accuracy = values.get("lapo/accuracy", values["critic/score/mean"])
        tokens = values.get("response_length/mean", float("nan"))
        return f"accuracy {accuracy:.0%}, {tokens:.0f} tokens"
