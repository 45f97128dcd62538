"""Toy models for the CPU recipes: a small Llama, its supervised warm-up and sampling, all in plain torch."""

from __future__ import annotations

import json
import math
import random
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

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
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from lapo_verl.files import settings_key, whole_file
from lapo_verl.guidance import guidance_text
from toy.tokenizer import prompt_text

IGNORED = -100


@dataclass(frozen=True)
class TinyLlamaSettings:
    """The model's shape and its warm-up.

    Attributes:
        rows_per_step: rows of an optimizer step, cut by length into ``micro_batches`` parts to save padding.
    """

    steps: int = 1500
    rows_per_step: int = 64
    micro_batches: int = 4
    learning_rate: float = 2e-3
    warmup_steps: int = 100
    hidden_size: int = 128
    layers: int = 3
    heads: int = 4
    intermediate_size: int = 384
    seed: int = 0

    @property
    def key(self) -> str:
        """A hash of the settings, by which a trained model is found again."""
        return settings_key(asdict(self))


@dataclass(frozen=True)
class Row:
    """One supervised example in tokens; the loss is on the response only."""

    prompt: list[int]
    response: list[int]

    def __len__(self) -> int:
        """Tokens in all."""
        return len(self.prompt) + len(self.response)


@dataclass(frozen=True)
class Rollout:
    """One sampled response; ``budget`` is None where the prompt had no guidance."""

    problem_id: str
    level: int
    budget: float | None
    text: str
    tokens: int
    correct: bool
    truncated: bool


def build_model(tokenizer: PreTrainedTokenizerFast, settings: TinyLlamaSettings) -> LlamaForCausalLM:
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


def train(
    output: Path,
    tokenizer: PreTrainedTokenizerFast,
    settings: TinyLlamaSettings,
    draw_rows: Callable[[random.Random], list[Row]],
    on_step: Callable[[int, float], None] | None = None,
    checkpoint: Path | None = None,
    checkpoint_every: int = 100,
) -> None:
    """Train a base model and save it in Hugging Face format, with tokenizer and ``warmup.json`` (the settings).

    Args:
        draw_rows: the rows of one step.
        on_step: called after each step with (steps done, loss per response token).
        checkpoint: a file to go on from where it is there and of the same settings; removed at the end.
    """
    torch.manual_seed(settings.seed)
    rng = random.Random(settings.seed)
    model = build_model(tokenizer, settings)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1.0, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _learning_rate(step, settings))
    done = 0
    if checkpoint is not None and checkpoint.exists():
        # The file is our own, and the state of `random` is a tuple, which torch's safe loading reads.
        saved = torch.load(checkpoint, weights_only=True)
        if saved["key"] == settings.key:
            model.load_state_dict(saved["model"])
            optimizer.load_state_dict(saved["optimizer"])
            schedule.load_state_dict(saved["schedule"])
            rng.setstate(saved["rng"])
            done = saved["step"]
    for step in range(done + 1, settings.steps + 1):
        rows = sorted(draw_rows(rng), key=len)
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
        if checkpoint is not None and step % checkpoint_every == 0:
            _save_checkpoint(
                checkpoint,
                {
                    "key": settings.key,
                    "step": step,
                    "model": model.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "schedule": schedule.state_dict(),
                    "rng": rng.getstate(),
                },
            )
    write_folder(output, lambda folder: _save(model, tokenizer, settings, folder))
    if checkpoint is not None:
        checkpoint.unlink(missing_ok=True)


def train_with_progress(
    output: Path,
    tokenizer: PreTrainedTokenizerFast,
    settings: TinyLlamaSettings,
    draw_rows: Callable[[random.Random], list[Row]],
    show_progress: bool = True,
    checkpoint: Path | None = None,
) -> None:
    """``train`` behind a progress bar."""
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

        def on_step(step: int, loss: float) -> None:
            progress.update(bar, completed=step, loss=loss)

        train(output, tokenizer, settings, draw_rows, on_step, checkpoint)


def is_trained(folder: Path, settings: TinyLlamaSettings) -> bool:
    """Whether the folder holds the model that these settings give."""
    try:
        return bool(json.loads((folder / "warmup.json").read_text())["key"] == settings.key)
    except (OSError, ValueError, KeyError):
        return False


def write_folder(output: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a folder beside ``output``, then move it there: interrupted, it leaves no half a model."""
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent) as scratch:
        folder = Path(scratch) / output.name
        write(folder)
        shutil.rmtree(output, ignore_errors=True)
        folder.rename(output)


def write_problems(problems: Sequence[Any], data_source: str, split: str, path: Path) -> None:
    """Problems (with ``question``, ``answer``, ``problem_id`` and ``level``) as a data file of verl."""
    rows = [
        {
            "prompt": [{"role": "user", "content": problem.question}],
            "data_source": data_source,
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
    with whole_file(path) as partial:
        pq.write_table(pa.Table.from_pylist(rows), partial)


def sample(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    rows: Sequence[dict[str, Any]],
    is_correct: Callable[[str, str], bool],
    limit: int,
    n: int = 4,
    budgets: Sequence[float] | None = None,
    temperature: float = 0.6,
    top_p: float = 0.95,
    seed: int = 0,
    rows_per_batch: int | None = None,
) -> list[Rollout]:
    """``n`` responses of at most ``limit`` tokens to each row of a data file, those of one row beside each other.

    Args:
        is_correct: of (response, ground truth).
        budgets: one a row, shown in the prompt by the guidance sentence; None for no guidance.
        rows_per_batch: rows generated at once; a level's all where not given.
    """
    torch.manual_seed(seed)
    rollouts: list[Rollout] = []
    shown: Sequence[float | None] = [None] * len(rows) if budgets is None else budgets
    # By level: short problems are done early, and a batch runs until its last response ends.
    for level in sorted({row["extra_info"]["level"] for row in rows}):
        of_level = [pair for pair in zip(rows, shown, strict=True) if pair[0]["extra_info"]["level"] == level]
        size = rows_per_batch or len(of_level)
        for start in range(0, len(of_level), size):
            chosen = of_level[start : start + size]
            prompts = [
                prompt_text(tokenizer, row["prompt"][0]["content"])
                + ("" if budget is None else guidance_text("exact", budget=budget))
                for row, budget in chosen
            ]
            encoded = tokenizer(
                prompts, return_tensors="pt", padding=True, padding_side="left", add_special_tokens=False
            )
            with torch.inference_mode():
                output = model.generate(
                    input_ids=encoded["input_ids"],
                    attention_mask=encoded["attention_mask"],
                    do_sample=True,
                    temperature=temperature,
                    top_p=top_p,
                    top_k=0,
                    num_return_sequences=n,
                    max_new_tokens=limit,
                    # A cache that grows is copied at every token, which takes longer than the model.
                    cache_implementation="static",
                )
            responses = output[:, encoded["input_ids"].shape[1] :]
            for index, response in enumerate(responses.tolist()):
                row, budget = chosen[index // n]
                truncated = tokenizer.eos_token_id not in response
                length = len(response) if truncated else response.index(tokenizer.eos_token_id) + 1
                text = tokenizer.decode(response[:length], skip_special_tokens=True)
                rollouts.append(
                    Rollout(
                        problem_id=row["extra_info"]["problem_id"],
                        level=level,
                        budget=budget,
                        text=text,
                        tokens=length,
                        correct=is_correct(text, row["reward_model"]["ground_truth"]),
                        truncated=truncated,
                    )
                )
    return rollouts


def by_level(rollouts: Sequence[Rollout]) -> dict[str, list[Rollout]]:
    """The rollouts of each level, and all of them under ``all``."""
    levels = sorted({rollout.level for rollout in rollouts})
    return {str(level): [r for r in rollouts if r.level == level] for level in levels} | {"all": list(rollouts)}


def _learning_rate(step: int, settings: TinyLlamaSettings) -> float:
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


def _save(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, settings: TinyLlamaSettings, folder: Path
) -> None:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    record = {"key": settings.key, **asdict(settings)}
    (folder / "warmup.json").write_text(json.dumps(record, indent=2) + "\n")


def _save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(path.name + ".half")
    torch.save(state, half)
    half.replace(path)
