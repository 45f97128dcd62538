"""The demo: both stages of LAPO on the toy model, with real verl and real vLLM on the CPU.

Reads from top to bottom: prepare the base model, Discovery, Internalization, then a table and a picture. What is
done already is not done again: a stage is skipped where its results are in the output folder, made with these settings.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections import Counter
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from rich.console import Console

from lapo_verl.cpu import warm_python
from lapo_verl.files import settings_key
from lapo_verl.runs import verl_process
from lapo_verl.runs.dumps import read_samples
from lapo_verl.runs.pace import Pace, in_words
from lapo_verl.runs.stage import USUAL_PACE, Stage, run_stage
from lapo_verl.runs.summary import comparison_table, summarize
from toy.task import LEVELS, PROMPT_LIMIT, RESPONSE_LIMIT

HERE = Path(__file__).resolve().parent
TITLES = {"base": "base", "lapo_d": "LAPO-D", "lapo_i": "LAPO-I"}
console = Console()


@dataclass(frozen=True)
class Settings:
    """What the demo's result follows from; chosen on the validation split (README.md).

    Attributes:
        discovery_steps: few enough to leave Internalization something to shorten.
        train_problems: few enough for each to be visited twice in Discovery, and often in Internalization: a budget of
            the base model's own lengths would hold Internalization up.
        decay, sigma: tokens; what one check takes.
        heldout_per_level: held-out problems of each level, each answered four times.
        retrain: whether the base model is trained here, and not the one that is shipped.
    """

    discovery_steps: int = 4
    internalization_steps: int = 14
    learning_rate: float = 2e-4
    train_problems: int = 64
    train_batch_size: int = 32
    rollouts: int = 8
    response_limit: int = RESPONSE_LIMIT
    decay: float = 10
    sigma: float = 10
    heldout_per_level: int = 15
    retrain: bool = False

    @property
    def key(self) -> str:
        """A hash, by which results of other settings are told apart."""
        return settings_key(asdict(self))


FAST = Settings(discovery_steps=3, internalization_steps=7, train_problems=32, heldout_per_level=10)


def main() -> None:
    """The command line."""
    arguments = _arguments()
    verl_process.exit_on_sigterm()
    settings = replace(FAST if arguments.fast else Settings(), retrain=arguments.retrain)
    output = Path(arguments.output)
    # The base model is the same in both demos. All else would be written over by the other one.
    toy, folder = output / "toy", output / "fast" if arguments.fast else output
    discovery = Stage("1 Discovery", folder / "discovery", settings.discovery_steps, settings.key)
    internalization = Stage(
        "2 Internalization", folder / "internalization", settings.internalization_steps, settings.key
    )
    announce(discovery, internalization)
    with warm_python.offered():
        run(settings, toy, folder, discovery, internalization)
    report(folder, settings, discovery, internalization)


def run(settings: Settings, toy_folder: Path, output: Path, discovery: Stage, internalization: Stage) -> None:
    """The base model, its data, and both stages."""
    # Here, as torch and transformers take seconds to load and the first words should not wait for them.
    from toy.warmup import prepare

    output.mkdir(parents=True, exist_ok=True)
    toy = prepare(toy_folder, retrain=settings.retrain)
    write_training(toy.train, settings.train_problems, output / "train.parquet")
    write_heldout(toy.test, settings.heldout_per_level, output / "heldout.parquet")
    pace = train(discovery, "lapo_discovery", settings, output, toy.model, USUAL_PACE, internalization.steps)
    train(
        internalization,
        "lapo_internalization",
        settings,
        output,
        discovery.weights,
        pace,
        0,
        f"lapo.init_from={discovery.store}",
        # The weights that it starts with were measured at the end of Discovery.
        "trainer.val_before_train=false",
    )


def train(
    stage: Stage,
    config: str,
    settings: Settings,
    output: Path,
    model: Path,
    pace: Pace,
    steps_after: int,
    *overrides: str,
) -> Pace:
    """One stage by ``run_stage.sh``; see ``run_stage`` for ``pace`` and ``steps_after``."""
    environment = {
        "OUTPUT": str(output),
        "MODEL": str(model),
        "LEARNING_RATE": str(settings.learning_rate),
        "TRAIN_BATCH_SIZE": str(settings.train_batch_size),
        "ROLLOUTS": str(settings.rollouts),
        "PROMPT_LIMIT": str(PROMPT_LIMIT),
        "RESPONSE_LIMIT": str(settings.response_limit),
        "DECAY": str(settings.decay),
        "SIGMA": str(settings.sigma),
    }
    command = ["bash", str(HERE / "run_stage.sh"), config, *overrides]
    return run_stage(stage, command, environment, console, pace, steps_after)


def write_training(train: Path, count: int, path: Path) -> None:
    """The first ``count`` training problems, which are in random order, as a data file of verl."""
    pq.write_table(pq.read_table(train).slice(0, count), path)


def write_heldout(test: Path, per_level: int, path: Path) -> None:
    """The first ``per_level`` test problems of each level that is trained on, as a data file of verl."""
    table = pq.read_table(test)
    kept: list[int] = []
    taken = Counter[int]()
    for index, info in enumerate(table["extra_info"].to_pylist()):
        taken[info["level"]] += 1
        if info["level"] in LEVELS and taken[info["level"]] <= per_level:
            kept.append(index)
    pq.write_table(table.take(kept), path)


def report(output: Path, settings: Settings, discovery: Stage, internalization: Stage) -> None:
    """The table, the picture, ``summary.json``, and what to do next."""
    from demo.picture import draw

    dumps = {
        "base": discovery.validation(0),
        "lapo_d": discovery.validation(discovery.steps),
        "lapo_i": internalization.validation(internalization.steps),
    }
    samples = {name: read_samples(dump) for name, dump in dumps.items()}
    summaries = {name: summarize(rows) for name, rows in samples.items()}
    seconds = discovery.seconds + internalization.seconds
    summary: dict[str, Any] = {**summaries, "settings": asdict(settings), "seconds": seconds}
    (output / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    picture = output / "before_and_after.png"
    draw(summaries, samples["base"], picture)
    # A log file has no width of its own, and 80 columns would break the table.
    wide = console if console.is_terminal else Console(width=120)
    wide.print(comparison_table({TITLES[name]: value for name, value in summaries.items()}))
    wide.print(
        f"Both stages took {seconds / 60:.1f} min. Fewer tokens at the same or a better Pass@1, and more tokens for "
        f"harder levels, is what LAPO is for.\nPicture: {picture}   numbers: {output / 'summary.json'}\n",
        highlight=False,
    )
    wide.print(next_steps(output, settings, discovery, internalization), highlight=False, soft_wrap=True)


def next_steps(output: Path, settings: Settings, discovery: Stage, internalization: Stage) -> str:
    """Commands to go on with, as they can be pasted."""
    lapo = "lapo" if shutil.which("lapo") else os.path.relpath(Path(sys.executable).parent / "lapo")
    return f"""What next
  Curves, budgets and answers side by side, in one HTML page:
    {lapo} report {discovery.folder} {internalization.folder} -o {output / "report"}
  A prompt of stage 2 as the model sees it, and a check of everything before a training starts:
    VERL_PLATFORM=cpu {lapo} doctor --config-name=lapo_internalization platform=cpu \\
        lapo.init_from={discovery.folder / "checkpoints"} data.train_files={output / "train.parquet"} \\
        data.val_files={output / "heldout.parquet"} data.train_batch_size={settings.train_batch_size} \\
        data.max_prompt_length={PROMPT_LIMIT} data.max_response_length={settings.response_limit}
  Your own model and data: "Use it on your own model and data" in the README."""


def announce(*stages: Stage) -> None:
    """What is going to happen, and for how long."""
    left = sum(USUAL_PACE.whole(stage.steps) for stage in stages if not stage.is_done)
    console.print(
        "LAPO on a small model: it learns how many tokens each problem needs (Discovery), then to plan them "
        f"(Internalization).\nThis takes {in_words(left)} on two free cores."
        if left
        else "Trained before.",
        highlight=False,
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], prog="lapo demo")
    parser.add_argument("--output", default="outputs/demo", help="folder of everything that it makes")
    parser.add_argument("--fast", action="store_true", help="fewer steps and problems")
    parser.add_argument("--retrain", action="store_true", help="train the base model instead of using the shipped one")
    return parser.parse_args()


if __name__ == "__main__":
    main()
