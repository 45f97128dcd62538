"""The demo's base model and data: problems, supervised warm-up, parquet files for verl.

    PYTHONPATH=.. python warmup.py --output outputs/demo               # the shipped base model and the data, in seconds
    PYTHONPATH=.. python warmup.py --output outputs/demo --retrain     # trains the base model anew
    PYTHONPATH=.. python measure_base.py --model outputs/demo/base_model   # accuracy, lengths, obedience

The base is a Llama of 0.6 M parameters, trained on traces that differ much in length (``task.py``). In a
part of the rows the prompt ends in LAPO's guidance sentence with the trace's own length: without it, stage 2
breaks accuracy and transfers nothing to prompts that have no guidance.
"""

from __future__ import annotations

import argparse
import random
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from task import LEVELS, Problem, TraceSettings, draw_problem, draw_problems, draw_trace, hard_cells
from tokenizer import END, build_tokenizer, prompt_text
from toy.llama import (
    Row,
    TinyLlamaSettings,
    is_trained,
    train_with_progress,
    write_folder,
    write_problems,
)
from transformers import PreTrainedTokenizerFast

from lapo_verl.guidance import guidance_text

SHIPPED_MODEL = Path(__file__).parent / "base_model"
# Response tokens. By measure_base.py, 0.4 % of the base's responses are longer at T = 1.0, none at T = 0.6; were
# there many, a reward for accuracy alone would shorten more than LAPO does.
RESPONSE_LIMIT = 256
# 640 problems over five levels: 20 steps of 32 prompts see each of them once.
TRAIN_PER_LEVEL = 128


@dataclass(frozen=True)
class WarmupSettings(TinyLlamaSettings):
    """Everything that the base model's weights follow from.

    Attributes:
        guided_share: share of the rows whose prompt carries the guidance sentence.
        guidance_noise: in half of the guided rows the number is off by up to this many tokens: budgets are
            medians, which need not be a length that a trace can have.
        heldout_per_level, heldout_seed: which problems appear neither here nor in the RL stages' data.
    """

    guided_share: float = 0.3
    guidance_noise: int = 2
    heldout_per_level: int = 56
    heldout_seed: int = 0
    traces: TraceSettings = field(default_factory=TraceSettings)


@dataclass(frozen=True)
class DemoPaths:
    """What ``prepare`` leaves behind."""

    model: Path
    train: Path
    heldout: Path


def heldout_problems(settings: WarmupSettings) -> list[Problem]:
    """The problems that the models are measured on, as many of each level."""
    return draw_problems(random.Random(settings.heldout_seed), settings.heldout_per_level)


def train_problems(settings: WarmupSettings, per_level: int) -> list[Problem]:
    """The problems of the RL stages, as many of each level; none is held out.

    Raises:
        ValueError: more than there are; of level 2 there are 200, held-out ones included.
    """
    heldout = {problem.problem_id for problem in heldout_problems(settings)}
    return draw_problems(random.Random(settings.heldout_seed + 1), per_level, exclude=heldout)


def write_parquet(problems: Sequence[Problem], split: str, path: Path) -> None:
    """The problems as a data file of verl."""
    write_problems(problems, "lapo_demo", split, path)


def draw_rows(
    rng: random.Random,
    tokenizer: PreTrainedTokenizerFast,
    settings: WarmupSettings,
    count: int,
    heldout: set[str],
) -> list[Row]:
    """``count`` supervised rows over all levels alike, none of a held-out problem."""
    hard = hard_cells(settings.traces.hard_share)
    rows: list[Row] = []
    while len(rows) < count:
        problem = draw_problem(rng, rng.choice(LEVELS))
        if problem.problem_id in heldout:
            continue
        trace = draw_trace(rng, problem, hard, settings.traces)
        prompt = prompt_text(tokenizer, problem.question)
        response = tokenizer.encode(trace.response + END, add_special_tokens=False)
        if rng.random() < settings.guided_share:
            noise = settings.guidance_noise if rng.random() < 0.5 else 0
            prompt += guidance_text("exact", budget=float(len(response) + rng.randint(-noise, noise)))
        rows.append(Row(tokenizer.encode(prompt, add_special_tokens=False), response))
    return rows


def train_base(output: Path, settings: WarmupSettings, show_progress: bool = True) -> None:
    """Train the base model and save it in Hugging Face format, tokenizer included."""
    tokenizer = build_tokenizer()
    heldout = {problem.problem_id for problem in heldout_problems(settings)}

    def rows_of_step(rng: random.Random) -> list[Row]:
        return draw_rows(rng, tokenizer, settings, settings.rows_per_step, heldout)

    train_with_progress(output, tokenizer, settings, rows_of_step, show_progress)


def prepare(
    output: str | Path,
    settings: WarmupSettings | None = None,
    train_per_level: int = TRAIN_PER_LEVEL,
    retrain: bool = False,
    show_progress: bool = True,
) -> DemoPaths:
    """The base model and the data files, under ``output``; what is there already is not made again.

    The model shipped beside this file is copied where the settings are those that it was trained with.
    """
    settings = settings or WarmupSettings()
    output = Path(output)
    output.mkdir(parents=True, exist_ok=True)
    paths = DemoPaths(output / "base_model", output / "train.parquet", output / "heldout.parquet")
    write_parquet(train_problems(settings, train_per_level), "train", paths.train)
    write_parquet(heldout_problems(settings), "heldout", paths.heldout)
    if retrain or not is_trained(paths.model, settings):
        if not retrain and is_trained(SHIPPED_MODEL, settings):
            write_folder(paths.model, lambda folder: shutil.copytree(SHIPPED_MODEL, folder))
        else:
            train_base(paths.model, settings, show_progress)
    return paths


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("outputs/demo"), help="folder for model and data")
    parser.add_argument("--train-per-level", type=int, default=TRAIN_PER_LEVEL, help="training problems of each level")
    parser.add_argument("--retrain", action="store_true", help="train the base model even where it is there")
    parser.add_argument("--steps", type=int, default=WarmupSettings.steps, help="optimizer steps of the warm-up")
    parser.add_argument("--threads", type=int, help="CPU threads of torch; all cores where not given")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    paths = prepare(
        arguments.output,
        WarmupSettings(steps=arguments.steps),
        train_per_level=arguments.train_per_level,
        retrain=arguments.retrain,
    )
    for name, path in asdict(paths).items():
        print(f"{name}: {path}")


if __name__ == "__main__":
    main()
