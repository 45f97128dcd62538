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
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from lapo_verl.runs import verl_process
from lapo_verl.runs.dumps import read_metrics

# Seconds that a stage may take before it is taken for stuck; on two cores it takes a quarter of it.
STAGE_LIMIT = 3600


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


def run_stage(stage: Stage, command: Sequence[str], environment: Mapping[str, str], console: Console) -> None:
    """Run a stage, or say that it is there already; one cut short resumes from its checkpoint.

    Args:
        command: verl's command with all its overrides.
        environment: beside this process's own.

    Raises:
        SystemExit: verl failed, whose last words are printed, or took more than ``STAGE_LIMIT`` seconds.
    """
    if stage.is_done:
        console.print(f"[green]{stage.title}: done before, kept in {stage.folder}")
        return
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
        _watch(process, stage, metrics, console)
    if process.returncode != 0:
        console.print(verl_process.last_lines(log), markup=False)
        raise SystemExit(f"{stage.title} failed with exit code {process.returncode}; its whole output is in {log}")
    stage.done.write_text(json.dumps({"key": stage.key, "seconds": round(time.time() - started, 1)}))


def _set_other_results_aside(stage: Stage) -> None:
    """A stage cut short resumes from its checkpoint, but only from one of the same settings."""
    mark = stage.folder / "settings.key"
    if mark.exists() and mark.read_text() != stage.key:
        stage.folder.rename(stage.folder.with_name(f"{stage.folder.name}.{mark.read_text()}.{int(time.time())}"))
    stage.folder.mkdir(parents=True, exist_ok=True)
    mark.write_text(stage.key)


def _watch(process: Popen[bytes], stage: Stage, metrics: Path, console: Console) -> None:
    """A progress bar, fed by the metrics that verl writes, until the process ends."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[state]}"),
    )
    deadline = time.monotonic() + STAGE_LIMIT
    shown = ""
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task(stage.title, total=stage.steps, state="")
        while True:
            ended = process.poll() is not None
            step, state = _state(metrics)
            progress.update(bar, completed=step, state=state)
            # A bar shows nothing in a log file until it ends.
            if not console.is_terminal and state != shown and (step % 5 == 0 or ended):
                console.print(f"{stage.title}, step {step} of {stage.steps}: {state}")
                shown = state
            if ended:
                return
            if time.monotonic() > deadline:
                raise SystemExit(f"{stage.title} took more than {STAGE_LIMIT} s and was ended; see {stage.folder}")
            time.sleep(1)


def _state(metrics: Path) -> tuple[int, str]:
    """The last step that verl has logged, and what it says of it."""
    steps = read_metrics([metrics]) if metrics.exists() else {}
    trained = {step: values for step, values in steps.items() if "critic/score/mean" in values}
    if not trained:
        return 0, "starting model measured, training" if steps else "starting verl, Ray and vLLM"
    step, values = max(trained.items())
    # Acc-Only trains without LAPO's hooks: its reward is the accuracy.
    accuracy = values.get("lapo/accuracy", values["critic/score/mean"])
    tokens = values.get("response_length/mean", float("nan"))
    return step, f"accuracy {accuracy:.0%}, {tokens:.0f} tokens"
