"""The demo's base model and data: problems, supervised warm-up, parquet files for verl.

    python warmup.py --output outputs/demo               # the shipped base model and the data, in seconds
    python warmup.py --output outputs/demo --retrain     # trains the base model anew
    python measure_base.py --model outputs/demo/base_model    # accuracy, lengths, obedience to the guidance

The base is a Llama of 0.6 M parameters, trained on traces that differ much in length (``task.py``). In a
part of the rows the prompt ends in LAPO's guidance sentence with the trace's own length: without it, stage 2
breaks accuracy and transfers nothing to prompts that have no guidance.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import random
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from task import LEVELS, Problem, TraceSettings, draw_problem, draw_problems, draw_trace, hard_cells
from tokenizer import END, build_tokenizer, prompt_text
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from lapo_verl.method import guidance_text

SHIPPED_MODEL = Path(__file__).parent / "base_model"
# Response tokens. By measure_base.py, 0.4 % of the base's responses are longer at T = 1.0, none at T = 0.6; were
# there many, a reward for accuracy alone would shorten more than LAPO does.
RESPONSE_LIMIT = 256
# 640 problems over five levels: 20 steps of 32 prompts see each of them once.
TRAIN_PER_LEVEL = 128
IGNORED = -100


@dataclass(frozen=True)
class WarmupSettings:
    """Everything that the base model's weights follow from.

    Attributes:
        rows_per_step: rows of an optimizer step, cut by length into ``micro_batches`` parts to save padding.
        guided_share: share of the rows whose prompt carries the guidance sentence.
        guidance_noise: in half of the guided rows the number is off by up to this many tokens: budgets are
            medians, which need not be a length that a trace can have.
        heldout_per_level, heldout_seed: which problems appear neither here nor in the RL stages' data.
    """

    steps: int = 1500
    rows_per_step: int = 64
    micro_batches: int = 4
    learning_rate: float = 2e-3
    warmup_steps: int = 100
    guided_share: float = 0.3
    guidance_noise: int = 2
    hidden_size: int = 128
    layers: int = 3
    heads: int = 4
    intermediate_size: int = 384
    seed: int = 0
    heldout_per_level: int = 56
    heldout_seed: int = 0
    traces: TraceSettings = field(default_factory=TraceSettings)

    @property
    def key(self) -> str:
        """A hash of the settings, by which a trained model is found again."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class DemoPaths:
    """What ``prepare`` leaves behind."""

    model: Path
    train: Path
    heldout: Path


@dataclass(frozen=True)
class Row:
    """One supervised example in tokens; the loss is on the response only."""

    prompt: list[int]
    response: list[int]

    def __len__(self) -> int:
        """Tokens in all."""
        return len(self.prompt) + len(self.response)


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
    rows = [
        {
            "prompt": [{"role": "user", "content": problem.question}],
            "data_source": "lapo_demo",
            "reward_model": {"style": "rule", "ground_truth": str(problem.answer)},
            "extra_info": {
                "index": index,
                "split": split,
                "problem_id": problem.problem_id,
                "level": problem.level,
            },
        }
        for index, problem in enumerate(problems)
    ]
    pq.write_table(pa.Table.from_pylist(rows), path)


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


def train_base(output: Path, settings: WarmupSettings, on_step: Callable[[int, float], None] | None = None) -> None:
    """Train the base model and save it in Hugging Face format, tokenizer included.

    Args:
        on_step: called after each step with (steps done, loss per response token).
    """
    tokenizer = build_tokenizer()
    torch.manual_seed(settings.seed)
    rng = random.Random(settings.seed)
    heldout = {problem.problem_id for problem in heldout_problems(settings)}
    model = build_model(tokenizer, settings)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1.0, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _learning_rate(step, settings))
    for step in range(1, settings.steps + 1):
        rows = sorted(draw_rows(rng, tokenizer, settings, settings.rows_per_step, heldout), key=len)
        tokens = sum(len(row.response) for row in rows)
        size = math.ceil(len(rows) / settings.micro_batches)
        loss = 0.0
        for start in range(0, len(rows), size):
            inputs, labels = _collate(rows[start : start + size], tokenizer.pad_token_id)
            # No attention mask: padding is on the right, where a causal model's real tokens do not look.
            logits = model(inputs).logits[:, :-1]
            part = torch.nn.functional.cross_entropy(
                logits.flatten(0, 1), labels[:, 1:].flatten(), ignore_index=IGNORED, reduction="sum"
            )
            (part / tokens).backward()
            loss += part.item() / tokens
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        if on_step is not None:
            on_step(step, loss)
    _write_folder(output, lambda folder: _save(model, tokenizer, settings, folder))


def build_model(tokenizer: PreTrainedTokenizerFast, settings: WarmupSettings) -> LlamaForCausalLM:
    """A small Llama with random weights; vLLM's CPU attention wants a head size of 32 or more."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=settings.hidden_size,
        intermediate_size=settings.intermediate_size,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        num_key_value_heads=settings.heads,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        dtype="float32",
    )
    return LlamaForCausalLM(config)


def _learning_rate(step: int, settings: WarmupSettings) -> float:
    """Linear rise, then half a cosine down to a twentieth."""
    if step < settings.warmup_steps:
        return settings.learning_rate * (step + 1) / settings.warmup_steps
    done = (step - settings.warmup_steps) / max(1, settings.steps - settings.warmup_steps)
    return settings.learning_rate * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))


def _collate(rows: Sequence[Row], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    width = max(len(row) for row in rows)
    inputs = torch.full((len(rows), width), pad)
    labels = torch.full((len(rows), width), IGNORED)
    for index, row in enumerate(rows):
        inputs[index, : len(row)] = torch.tensor(row.prompt + row.response)
        labels[index, len(row.prompt) : len(row)] = torch.tensor(row.response)
    return inputs, labels


def _save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, settings: WarmupSettings, folder: Path) -> None:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    record = {"key": settings.key, **asdict(settings)}
    (folder / "warmup.json").write_text(json.dumps(record, indent=2) + "\n")


def _write_folder(output: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a folder beside ``output``, then move it there: interrupted, it leaves no half a model."""
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent) as scratch:
        folder = Path(scratch) / output.name
        write(folder)
        shutil.rmtree(output, ignore_errors=True)
        folder.rename(output)


def is_trained(folder: Path, settings: WarmupSettings) -> bool:
    """Whether the folder holds the model that these settings give."""
    try:
        return bool(json.loads((folder / "warmup.json").read_text())["key"] == settings.key)
    except (OSError, ValueError, KeyError):
        return False


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
            _write_folder(paths.model, lambda folder: shutil.copytree(SHIPPED_MODEL, folder))
        else:
            _train_with_progress(paths.model, settings, show_progress)
    return paths


def _train_with_progress(output: Path, settings: WarmupSettings, show_progress: bool) -> None:
    columns = (
        TextColumn("warm-up of the base model"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("loss {task.fields[loss]:.3f}"),
    )
    with Progress(*columns, disable=not show_progress) as progress:
        bar = progress.add_task("warm-up", total=settings.steps, loss=float("nan"))
        train_base(output, settings, lambda step, loss: progress.update(bar, completed=step, loss=loss))


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
