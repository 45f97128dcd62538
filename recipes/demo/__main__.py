"""The demo: both stages of LAPO on a small arithmetic model, with real verl and real vLLM on the CPU.

Reads from top to bottom: prepare the base model, Discovery, Internalization, then tables and pictures. What is
done already is not done again: a stage is skipped where its results lie in the output folder, with the settings of now.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from rich.console import Console

from lapo_verl.report.pictures import draw_lengths, draw_levels, draw_training
from lapo_verl.runs import verl_process
from lapo_verl.runs.dumps import Sample, read_metrics, read_samples
from lapo_verl.runs.stage import Stage, run_stage
from lapo_verl.runs.summary import comparison_table, summarize
from toy.task import LEVELS
from toy.warmup import RESPONSE_LIMIT, ToyPaths, prepare

HERE = Path(__file__).resolve().parent
console = Console()


@dataclass(frozen=True)
class Settings:
    """What the demo's result follows from, beside the base model.

    Attributes:
        discovery_steps: few enough to leave Internalization something to shorten.
        train_problems: of the toy's training split.
        decay, sigma: tokens; what one check takes.
        heldout_per_level: held-out problems of each level, each answered four times.
    """

    discovery_steps: int = 6
    internalization_steps: int = 15
    learning_rate: float = 2e-4
    train_problems: int = 160
    train_batch_size: int = 32
    rollouts: int = 8
    response_limit: int = RESPONSE_LIMIT
    decay: float = 10
    sigma: float = 10
    heldout_per_level: int = 20

    @property
    def key(self) -> str:
        """A hash, by which results of other settings are told apart."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]


FAST = Settings(discovery_steps=4, internalization_steps=6, heldout_per_level=10)


def main() -> None:
    arguments = _arguments()
    verl_process.exit_on_sigterm()
    settings = FAST if arguments.fast else Settings()
    output = Path(arguments.output)
    output.mkdir(parents=True, exist_ok=True)

    paths = prepare(output, retrain=arguments.retrain)
    heldout = output / f"heldout_{settings.heldout_per_level}.parquet"
    write_heldout(paths.test, settings.heldout_per_level, heldout)
    # Apart, so that the one demo does not make the other train again.
    stages = output / "fast" if arguments.fast else output
    discovery = Stage("1 Discovery", stages / "discovery", settings.discovery_steps, settings.key)
    internalization = Stage(
        "2 Internalization", stages / "internalization", settings.internalization_steps, settings.key
    )

    train(discovery, "lapo_discovery", settings, paths, heldout, paths.model)
    train(
        internalization,
        "lapo_internalization",
        settings,
        paths,
        heldout,
        discovery.weights,
        f"lapo.init_from={discovery.store}",
        # The weights that it starts with were measured at the end of Discovery.
        "trainer.val_before_train=false",
    )
    report(output, settings, discovery, internalization)


def train(
    stage: Stage,
    config: str,
    settings: Settings,
    paths: ToyPaths,
    heldout: Path,
    model: Path,
    *overrides: str,
) -> None:
    """One stage by ``run_stage.sh``."""
    environment = {
        "OUTPUT": str(paths.train.parent),
        "MODEL": str(model),
        "HELDOUT": str(heldout),
        "LEARNING_RATE": str(settings.learning_rate),
        "TRAIN_BATCH_SIZE": str(settings.train_batch_size),
        "ROLLOUTS": str(settings.rollouts),
        "RESPONSE_LIMIT": str(settings.response_limit),
        "DECAY": str(settings.decay),
        "SIGMA": str(settings.sigma),
    }
    shared = [f"data.train_max_samples={settings.train_problems}"]
    run_stage(stage, ["bash", str(HERE / "run_stage.sh"), config, *shared, *overrides], environment, console)


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
    """The table, the pictures and ``summary.json``."""
    samples: dict[str, list[Sample]] = {
        "base": read_samples(discovery.validation(0)),
        "lapo_d": read_samples(discovery.validation(discovery.steps)),
        "lapo_i": read_samples(internalization.validation(internalization.steps)),
    }
    summaries = {name: summarize(rows) for name, rows in samples.items()}
    seconds = discovery.seconds + internalization.seconds
    summary: dict[str, Any] = {**summaries, "settings": asdict(settings), "seconds": seconds}
    (output / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")

    titles = {"base": "base", "lapo_d": "LAPO-D", "lapo_i": "LAPO-I"}
    named_summaries = {titles[name]: value for name, value in summaries.items()}
    draw_lengths({titles[name]: rows for name, rows in samples.items()}, output / "lengths.png")
    draw_levels(named_summaries, output / "levels.png")
    draw_training(
        {stage.title[2:]: read_metrics(stage.metrics_files()) for stage in (discovery, internalization)},
        output / "training.png",
    )
    # A log file has no width of its own, and 80 columns would break the table.
    wide = console if console.is_terminal else Console(width=120)
    wide.print(comparison_table(named_summaries))
    console.print(f"Trained in {summary['seconds']:.0f} s. Pictures, stores and summary.json are in {output}/.")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], prog="lapo demo")
    parser.add_argument("--output", default="outputs/demo", help="folder of everything that it makes")
    parser.add_argument("--fast", action="store_true", help="fewer steps and problems")
    parser.add_argument("--retrain", action="store_true", help="train the base model instead of using the shipped one")
    return parser.parse_args()


if __name__ == "__main__":
    main()
