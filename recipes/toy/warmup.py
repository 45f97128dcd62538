"""The toy's base model and data: splits, supervised warm-up, parquet files for verl.

    PYTHONPATH=recipes python -m toy.warmup --output outputs/toy               # the shipped base model and the data
    PYTHONPATH=recipes python -m toy.warmup --output outputs/toy --retrain     # trains the base model anew
    PYTHONPATH=recipes python -m toy.measure --model outputs/toy/base_model --data outputs/toy

A warm-up that was cut off goes on from its last checkpoint.
"""

from __future__ import annotations

import argparse
import random
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerFast

from lapo_verl.guidance import guidance_text
from toy.llama import (
    Row,
    TinyLlamaSettings,
    is_trained,
    train_with_progress,
    write_folder,
    write_problems,
)
from toy.task import HARDER_LEVELS, LEVELS, Problem, TraceSettings, draw_problem, draw_problems, draw_trace
from toy.tokenizer import END, build_tokenizer, prompt_text

SHIPPED_MODEL = Path(__file__).parent / "base_model"
# Part of the data files, whose hashes the kept results of recipes/mini_paper name.
DATA_SOURCE = "lapo_mini_paper"


@dataclass(frozen=True)
class SplitSizes:
    """Problems of each level in each split; validation and test also hold the harder levels."""

    train: int = 128
    validation: int = 40
    test: int = 120


@dataclass(frozen=True)
class WarmupSettings(TinyLlamaSettings):
    """Everything that the base model's weights follow from.

    Attributes:
        guided_share: share of the rows whose prompt carries the guidance sentence.
        guidance_noise: the number in it is the trace's own length times a factor of 1 with this standard deviation:
            the base follows budgets roughly only.
        split_seed, sizes: which problems appear in no warm-up row.
    """

    steps: int = 2000
    rows_per_step: int = 32
    micro_batches: int = 2
    learning_rate: float = 3e-3
    guided_share: float = 0.3
    guidance_noise: float = 0.08
    split_seed: int = 7
    sizes: SplitSizes = field(default_factory=SplitSizes)
    traces: TraceSettings = field(default_factory=TraceSettings)


@dataclass(frozen=True)
class ToyPaths:
    """What ``prepare`` leaves behind."""

    model: Path
    train: Path
    validation: Path
    test: Path


def draw_splits(settings: WarmupSettings) -> dict[str, list[Problem]]:
    """The problems of ``train``, ``validation`` and ``test``, and of ``screening``; no problem is in two of them.

    On ``screening`` methods were measured while the base model was chosen (base.md); it has no other use, and ``test``
    is of problems that had no part in that choice.
    """
    every = (*LEVELS, *HARDER_LEVELS)
    sizes = settings.sizes
    splits: dict[str, list[Problem]] = {}
    taken: set[str] = set()
    plan = (
        ("screening", every, sizes.test),
        ("validation", every, sizes.validation),
        ("train", LEVELS, sizes.train),
        ("test", every, sizes.test),
    )
    for offset, (name, levels, size) in enumerate(plan):
        rng = random.Random(settings.split_seed * 1000 + offset)
        splits[name] = draw_problems(rng, size, levels, exclude=taken)
        taken |= {problem.problem_id for problem in splits[name]}
    return splits


def draw_rows(
    rng: random.Random, tokenizer: PreTrainedTokenizerFast, settings: WarmupSettings, exclude: set[str]
) -> list[Row]:
    """The supervised rows of one step over all training levels alike."""
    rows: list[Row] = []
    while len(rows) < settings.rows_per_step:
        problem = draw_problem(rng, rng.choice(LEVELS))
        if problem.problem_id in exclude:
            continue
        trace = draw_trace(rng, problem, settings.traces)
        prompt = prompt_text(tokenizer, problem.question)
        response = tokenizer.encode(trace.response + END, add_special_tokens=False)
        if rng.random() < settings.guided_share:
            factor = max(0.5, rng.gauss(1.0, settings.guidance_noise))
            prompt += guidance_text("exact", budget=len(response) * factor)
        rows.append(Row(tokenizer.encode(prompt, add_special_tokens=False), response))
    return rows


def train_base(output: Path, settings: WarmupSettings, show_progress: bool = True) -> None:
    """Train the base model; one that was cut off goes on from its last checkpoint."""
    tokenizer = build_tokenizer()
    exclude = {problem.problem_id for problems in draw_splits(settings).values() for problem in problems}
    train_with_progress(
        output,
        tokenizer,
        settings,
        lambda rng: draw_rows(rng, tokenizer, settings, exclude),
        show_progress,
        checkpoint=output.with_name(output.name + ".checkpoint"),
    )


def prepare(
    output: str | Path,
    settings: WarmupSettings | None = None,
    retrain: bool = False,
    show_progress: bool = True,
) -> ToyPaths:
    """The base model and the data files, under ``output``; a model that is there already is not trained again.

    The model shipped beside this file is copied where the settings are those that it was trained with.
    """
    settings = settings or WarmupSettings()
    output = Path(output)
    output.mkdir(parents=True, exist_ok=True)
    splits = draw_splits(settings)
    data = [output / f"{name}.parquet" for name in ("train", "validation", "test")]
    for path in data:
        write_problems(splits[path.stem], DATA_SOURCE, path.stem, path)
    model = output / "base_model"
    if retrain or not is_trained(model, settings):
        if not retrain and is_trained(SHIPPED_MODEL, settings):
            write_folder(model, lambda folder: shutil.copytree(SHIPPED_MODEL, folder))
        else:
            train_base(model, settings, show_progress)
    return ToyPaths(model, *data)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("outputs/toy"), help="folder for model and data")
    parser.add_argument("--retrain", action="store_true", help="train the base model even where it is there")
    parser.add_argument("--steps", type=int, default=WarmupSettings.steps, help="optimizer steps of the warm-up")
    parser.add_argument("--threads", type=int, help="CPU threads of torch; all cores where not given")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    paths = prepare(arguments.output, WarmupSettings(steps=arguments.steps), retrain=arguments.retrain)
    for name, path in asdict(paths).items():
        print(f"{name}: {path}")


if __name__ == "__main__":
    main()
