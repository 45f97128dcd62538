"""One checkpoint through verl's own command: ``trainer.val_only``, watched by way of its log."""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from subprocess import Popen
from typing import Any

from rich.console import Console

from lapo_verl import cpu
from lapo_verl.console import bar_with_state
from lapo_verl.evaluate.benchmarks import Question, write_questions
from lapo_verl.evaluate.models import Model
from lapo_verl.evaluate.prompts import prompt_keys
from lapo_verl.evaluate.settings import EvalError, EvalSettings
from lapo_verl.runs import verl_process
from lapo_verl.runs.jsonl import final_lines, json_lines

# Lines of verl's log: the dataset without its overlong prompts, the start of the validation, and its replay buffer's
# count of finished prompts.
_KEPT = re.compile(r"filter dataset len: (\d+)")
_READY = "all initialize finished, ready to fit"
_FINISHED = re.compile(r"pending: \d+, running: \d+, finished: (\d+)")
# Seconds between two such counts, and between two looks at the log.
_COUNT_INTERVAL = 5
_LOOK_INTERVAL = 1.0
# Seconds between two lines where there is no terminal for a bar.
_LINE_INTERVAL = 60


def answer(
    model: Model, asked: Sequence[Question], settings: EvalSettings, platform: str, folder: Path, console: Console
) -> dict[int, dict[str, Any]]:
    """Let a model answer, in one start of verl.

    Args:
        folder: of this run alone: what an earlier one left there is removed.

    Returns:
        {position in ``asked``: verl's row of the validation dump}; failed rollouts are absent.

    Raises:
        EvalError: verl failed, or leaves prompts out as too long.
    """
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    data = folder / "questions.parquet"
    write_questions(asked, data)
    log = folder / "verl.log"
    with verl_process.running(
        verl_command(model, data, settings, platform, folder), log, _environment(platform)
    ) as process:
        _watch(process, log, model.name, len(asked), console)
    if process.returncode != 0:
        console.print(verl_process.last_lines(log), markup=False, highlight=False, soft_wrap=True)
        raise EvalError(
            f"model {model.name}: verl failed with exit code {process.returncode}; its whole output is in {log}"
        )
    return _read_dump(folder / "validation" / "0.jsonl", log)


def verl_command(model: Model, data: Path, settings: EvalSettings, platform: str, folder: Path) -> list[str]:
    """verl's validation with the stock trainer and LAPO's reward manager; it has no length store and saves nothing.

    Raises:
        EvalError: an override of what the evaluation sets itself.
    """
    keys: dict[str, object] = {
        "platform": platform,
        "data.train_files": data,
        "data.val_files": data,
        # Nothing is trained; the data loader must not be empty.
        "data.train_batch_size": 1,
        "data.max_prompt_length": settings.max_prompt_tokens,
        "data.max_response_length": settings.max_tokens,
        # Without it the model's context would cut responses short of the limit, and they would not count as truncated.
        "actor_rollout_ref.rollout.max_model_len": settings.max_prompt_tokens + settings.max_tokens,
        "actor_rollout_ref.model.path": model.path,
        # Without it there is no reference model to be loaded.
        "actor_rollout_ref.actor.use_kl_loss": "false",
        "actor_rollout_ref.rollout.seed": settings.seed,
        "actor_rollout_ref.rollout.val_kwargs.n": 1,
        "actor_rollout_ref.rollout.val_kwargs.temperature": settings.temperature,
        "actor_rollout_ref.rollout.val_kwargs.top_p": settings.top_p,
        "trainer.val_only": "true",
        "trainer.val_before_train": "true",
        "trainer.resume_mode": "disable",
        "trainer.total_training_steps": 1,
        "trainer.default_local_dir": folder,
        "trainer.validation_data_dir": folder / "validation",
        "hydra.run.dir": folder / "hydra",
    }
    if settings.prompt is None:
        keys |= prompt_keys(model)
    for override in settings.verl_overrides:
        key = override.partition("=")[0].lstrip("+~")
        if key in keys:
            raise EvalError(f"{override!r}: lapo eval sets {key} itself; see lapo eval --help")
    defaults = {"trainer.n_gpus_per_node": max(1, cpu.accelerators())} if platform == "gpu" else {}
    written = [f"{key}={_quoted(value)}" for key, value in {**keys, **defaults}.items()]
    python = os.environ.get(cpu.WARM_PYTHON, sys.executable) if platform == "cpu" else sys.executable
    return [python, "-m", "verl.trainer.main_ppo", "--config-name=acc_only", *written, *settings.verl_overrides]


def _environment(platform: str) -> dict[str, str]:
    environment = {**os.environ, "VERL_REPLAY_BUFFER_DEBUG_INTERVAL_SECONDS": str(_COUNT_INTERVAL)}
    environment.pop("VERL_PLATFORM", None)
    return {**environment, "VERL_PLATFORM": "cpu"} if platform == "cpu" else environment


def _quoted(value: object) -> str:
    """A value for Hydra's command line; paths and templates may have anything in them."""
    text = str(value)
    if re.fullmatch(r"[\w./:-]+", text, re.ASCII):
        return text
    # OmegaConf would take ${ for an interpolation. In both notations a backslash counts twice before the mark that it
    # escapes, and once elsewhere; Hydra's mark is the quote.
    text = re.sub(r"(\\*)\$\{", lambda found: found[1] * 2 + "\\${", text)
    text = re.sub(r"(\\*)('|\Z)", lambda found: found[1] * 2 + found[2].replace("'", "\\'"), text)
    return f"'{text}'"


class _Log:
    """What verl's log says of a run so far."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._rest = ""
        self.state = "starting verl, Ray and vLLM"
        self.finished = 0
        self.kept: int | None = None

    def update(self) -> None:
        """Read what is new, whole lines only."""
        with self._path.open("rb") as file:
            file.seek(self._offset)
            new = file.read()
        self._offset += len(new)
        *lines, self._rest = (self._rest + new.decode(errors="replace")).split("\n")
        for line in lines:
            if found := _KEPT.search(line):
                self.kept = int(found.group(1))
            elif _READY in line:
                self.state = "answering"
            elif found := _FINISHED.search(line):
                self.finished = int(found.group(1))


def _watch(process: Popen[bytes], path: Path, name: str, total: int, console: Console) -> None:
    """A progress bar, fed by verl's log, until the process ends.

    Raises:
        EvalError: verl leaves prompts out; that is known before anything is answered.
    """
    log = _Log(path)
    started = time.monotonic()
    said, said_at = "", started
    with bar_with_state(console, disable=not console.is_terminal) as progress:
        bar = progress.add_task(name, total=total, state=log.state)
        while True:
            ended = process.poll() is not None
            log.update()
            if log.kept is not None and log.kept < total:
                raise EvalError(
                    f"model {name}: {total - log.kept} of {total} prompts are longer than max_prompt_tokens, and verl "
                    "would leave them out; give a larger --max-prompt-tokens"
                )
            if process.returncode == 0:
                log.state, log.finished = "done", total
            progress.update(bar, completed=log.finished, state=log.state)
            now = time.monotonic()
            if not console.is_terminal and (log.state != said or now - said_at > _LINE_INTERVAL):
                said, said_at = log.state, now
                console.print(f"{name}: {log.state}, {log.finished} of {total} samples, {now - started:.0f} s")
            if ended:
                return
            time.sleep(_LOOK_INTERVAL)


def _read_dump(path: Path, log: Path) -> dict[int, dict[str, Any]]:
    if not path.is_file():
        raise EvalError(f"verl ended without an error and wrote no samples to {path}; see {log}")
    return {int(line.row["problem_id"]): line.row for line in final_lines(json_lines(path))}
