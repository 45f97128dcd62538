"""Hydra's callback: it reports all faults that can be found before Ray starts, in one message.

It runs in the driver, inside verl's own command, because LAPO's configs name it under ``hydra.callbacks``. The same
checks are run by ``lapo doctor``, which goes on after a failure and collects them all.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, ListConfig, OmegaConf

from lapo_verl import cpu
from lapo_verl.config import LapoConfig
from lapo_verl.data.rows import agent_names, check_rows
from lapo_verl.doctor.agent_names import row_loops
from lapo_verl.doctor.cluster import cluster_findings
from lapo_verl.doctor.config_warnings import config_warnings
from lapo_verl.doctor.custom_code import custom_code_findings, score_function_findings
from lapo_verl.doctor.diagnostic import Finding
from lapo_verl.doctor.environment import accelerator_memory, device_findings, logical_cpu_findings, package_findings
from lapo_verl.doctor.generation import context_findings, kv_cache_findings
from lapo_verl.doctor.model_shape import ModelShape, read_model_config
from lapo_verl.doctor.separate_async import separate_async_findings
from lapo_verl.doctor.sweep import Jobs, check_sweep
from lapo_verl.doctor.tokenizer_round_trip import check_known_words, check_round_trip
from lapo_verl.doctor.verl_paths import VERLS_PATHS, paths_in
from lapo_verl.doctor.verl_settings import has_hooks, setting_findings
from lapo_verl.runs.checkpoints import SNAPSHOT
from lapo_verl.runs.starting_point import stage_one_weights, starting_point
from lapo_verl.store import LengthStore, check_scope

if TYPE_CHECKING:
    from lapo_verl.doctor.model_check import Model
    from lapo_verl.hooks.checkpoint import Checkpoint

PLUGIN = "lapo_verl.plugin"
# The turns that the paper's prompt has; verl's length filter would drop rows with others, one traceback each.
PAPER_ROLES = ("user", "assistant")
# What a check raises where the run cannot work.
FAILURES = (ValueError, OSError, RuntimeError)


class PreflightError(ValueError):
    """A run that cannot work; the message says what is wrong and what to do."""


class Run:
    """A composed config, and what several checks ask about it; each is found out once.

    A property raises one of ``FAILURES`` where the config or the data do not allow an answer.
    """

    def __init__(self, config: DictConfig) -> None:
        self.config = config

    @cached_property
    def settings(self) -> LapoConfig:
        """The node ``lapo:``."""
        return LapoConfig.parse(self.config.lapo)

    @cached_property
    def training(self) -> dict[Path, dict[str, int]]:
        """{training file: {problem id: number of rows}}."""
        seen: dict[str, str] = {}
        return {path: self._check_rows(path, seen) for path in data_files(self.config.data.train_files)}

    @cached_property
    def validation(self) -> dict[Path, dict[str, int]]:
        """{validation file: {problem id: number of rows}}."""
        return {path: self._check_rows(path) for path in data_files(self.config.data.val_files)}

    @cached_property
    def model(self) -> ModelShape | None:
        """The model's size and context; None where its config.json is not on this machine, or of another kind."""
        node = self.config.actor_rollout_ref.model
        config = read_model_config(str(node.hf_config_path or node.path))
        return None if config is None else ModelShape.from_config(config)

    @property
    def problems(self) -> set[str]:
        """The ids of the training problems."""
        return {problem for counts in self.training.values() for problem in counts}

    @cached_property
    def checkpoint(self) -> Checkpoint | None:
        """Where verl would go on from; None from scratch."""
        from lapo_verl.hooks.checkpoint import resume_point

        trainer = self.config.trainer
        return resume_point(str(trainer.default_local_dir), trainer.resume_mode, trainer.resume_from_path)

    @cached_property
    def loaded_model(self) -> Model:
        """Tokenizer, processor and config.json, as verl loads them."""
        from lapo_verl.doctor.model_check import load_model

        return load_model(self.config)

    @property
    def trains(self) -> bool:
        """Whether verl trains, or only validates."""
        from lapo_verl.hooks.checkpoint import trains

        return trains(self.config.trainer.val_only, self.config.trainer.val_before_train)

    @property
    def store_source(self) -> tuple[Path, str]:
        """The store that the run starts from, and the key that names it."""
        if self.settings.init_from is not None:
            return starting_point(self.settings.init_from).store, "lapo.init_from"
        return self.settings.store, "lapo.store"

    @property
    def earlier_store(self) -> Path | None:
        """The store that the run goes on from, a checkpoint's or an earlier run's; None where it starts with none."""
        if not self.has_hooks:
            return None
        if self.checkpoint is not None:
            snapshot = self.checkpoint.folder / SNAPSHOT
            return snapshot if snapshot.exists() else self.settings.store
        return self.store_source[0] if self.starts_from_store else None

    @property
    def starts_from_store(self) -> bool:
        """Whether the run, from scratch, starts with the store of an earlier run."""
        settings = self.settings
        return self.has_hooks and (settings.objective.starts_from_targets or settings.init_from is not None)

    @property
    def has_hooks(self) -> bool:
        """Whether the run trains with LAPO's hooks; the baseline does not."""
        return has_hooks(self.config)

    def _check_rows(self, path: Path, seen: dict[str, str] | None = None) -> dict[str, int]:
        key = self.config.data.get("prompt_key", "prompt")
        if key != "prompt":
            raise PreflightError(
                f"data.prompt_key={key} is not supported: LAPO reads a row's messages from the column 'prompt'. Rename "
                "the column, and leave data.prompt_key out"
            )
        roles = PAPER_ROLES if self.settings.prompt == "paper" else None
        return check_rows(path, self.settings.verifier == "lapo", seen, roles)


# Returns what it finds, errors included, or raises one of ``FAILURES``.
Check = Callable[[Run], Iterable[Finding]]


class Preflight(Callback):
    """Ends the command with a message and exit code 1 where the run could not work."""

    def __init__(self) -> None:
        self._jobs = Jobs()

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Called by Hydra once before the jobs of a sweep."""
        try:
            check_sweep(config)
        except FAILURES as error:
            raise SystemExit(f"lapo: error: {error}") from error

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Called by Hydra before verl's ``main``. Hydra only warns of an Exception in a callback: hence SystemExit."""
        try:
            self._jobs.enter(config)
            for line in check(config):
                print(f"lapo: {line}", file=sys.stderr)
        except FAILURES as error:
            raise SystemExit(f"lapo: error: {' '.join(str(error).split()) or type(error).__name__}") from error


def check(config: DictConfig) -> list[str]:
    """Check a composed config; returns warnings and remarks.

    Raises:
        ValueError, OSError, RuntimeError: the run cannot work; the message says why and what to do.
    """
    run = Run(config)
    lines = []
    for check_one in CHECKS:
        for finding in run_check(check_one, run):
            if finding.level == "error":
                raise PreflightError(finding.text)
            lines.append(str(finding))
    return lines


def run_check(check_one: Check, run: Run) -> list[Finding]:
    """What a check finds. One that breaks down does not let the run pass: its exception becomes an error as well.

    Raises:
        ValueError, OSError, RuntimeError: the run cannot work, or the check could not find out whether it can.
    """
    try:
        return list(check_one(run))
    except FAILURES:
        raise
    except Exception as error:
        raise PreflightError(
            f"{check_one.__name__} failed ({type(error).__name__}: {error}), so this run is not known to work. "
            "Correct the data or the key that it names; if it names none, this is a bug in lapo-verl: report it"
        ) from error


def check_plugin(run: Run, import_module: Callable[[str], Any] = importlib.import_module) -> list[Finding]:
    """verl swallows a plugin's failure, so it is looked for here."""
    if sys.modules.get(PLUGIN) is not None:
        return []
    policy = os.environ.get("VERL_USE_EXTERNAL_PLUGINS", "auto")
    if policy.strip().lower() not in ("auto", "lapo"):
        raise PreflightError(
            f"verl did not load LAPO's plugin: VERL_USE_EXTERNAL_PLUGINS={policy}; unset it, or add lapo to its list"
        )
    try:
        import_module(PLUGIN)
    except Exception as error:
        raise PreflightError(f"LAPO's plugin failed to load: {type(error).__name__}: {error}") from error
    raise PreflightError(
        "verl did not load LAPO's plugin; is lapo-verl installed in this environment (pip show lapo-verl)?"
    )


def check_settings(run: Run) -> list[Finding]:
    """Every key under ``lapo:`` is known, and its value in range."""
    _ = run.settings
    return []


def check_ignored_keys(run: Run) -> Iterable[Finding]:
    """Keys under ``lapo:`` that do nothing in this run."""
    return config_warnings(run.config, run.settings, run.checkpoint is not None)


def check_verl_settings(run: Run) -> Iterable[Finding]:
    """Settings of verl's that LAPO's hooks make do nothing, or that would end the run later."""
    return setting_findings(run.config, run.settings)


def check_separate_async(run: Run) -> Iterable[Finding]:
    """What verl's trainer with vLLM apart from it asks for."""
    return separate_async_findings(run.config)


def check_custom_code(run: Run) -> Iterable[Finding]:
    """The user's own functions and classes are where the config says; verl looks after minutes."""
    return custom_code_findings(run.config)


def check_packages(run: Run) -> Iterable[Finding]:
    """What verl imports minutes after the start is installed."""
    return package_findings(run.config)


def check_platform(run: Run) -> list[Finding]:
    """The config group and the environment variable have to say the same."""
    if not run.config.trainer.use_v1:
        raise PreflightError("LAPO needs verl's V1 trainer: trainer.use_v1=true")
    if (run.config.trainer.device == "cpu") != cpu.is_chosen():
        chosen = "platform=cpu" if run.config.trainer.device == "cpu" else "platform=gpu"
        raise PreflightError(
            f"{chosen} does not fit VERL_PLATFORM={os.environ.get('VERL_PLATFORM', '')!r}: to train on a CPU give both "
            "VERL_PLATFORM=cpu and platform=cpu, on a GPU neither"
        )
    return []


def check_devices(run: Run) -> Iterable[Finding]:
    """There are as many devices as the run asks for."""
    return device_findings(run.config, cpu.accelerators)


def check_logical_cpus(run: Run) -> Iterable[Finding]:
    """Ray has the logical CPUs that verl's actors reserve."""
    return logical_cpu_findings(run.config)


def check_cluster(run: Run) -> Iterable[Finding]:
    """A run that joins a Ray cluster names no size for it, and absolute paths."""
    return cluster_findings(run.config)


def check_paths(run: Run) -> list[Finding]:
    """One rule for ``~``: verl takes it for a folder's name, so it is refused in verl's paths, data files included."""
    for key, path in paths_in(run.config, VERLS_PATHS):
        if path.startswith("~"):
            raise PreflightError(
                f"{key}={path}: verl does not take ~ for your home folder, it would make or look for a folder of "
                f"this name. Write {Path(path).expanduser()}, or $HOME in place of ~"
            )
    return []


def check_writable(run: Run) -> list[Finding]:
    """The folder of checkpoints and store can be made and written to; nothing is left in it."""
    folder = Path(str(run.config.trainer.default_local_dir)).absolute()
    try:
        there = next(parent for parent in (folder, *folder.parents) if parent.exists())
        with tempfile.NamedTemporaryFile(dir=there):
            pass
    except OSError as error:
        raise PreflightError(
            f"{folder}: cannot be written to ({error.strerror}); set trainer.default_local_dir"
        ) from error
    return []


def check_workers(run: Run) -> list[Finding]:
    """Prompts show budgets of the moment."""
    workers = int(run.config.data.dataloader_num_workers)
    if run.settings.objective.names_budget and workers != 0:
        raise PreflightError(
            f"data.dataloader_num_workers={workers}: workers read rows ahead, with budgets "
            f"that are out of date by the time they are shown; {run.settings.objective.name} needs 0"
        )
    return []


def check_verifier(run: Run) -> list[Finding]:
    """A custom score function has to be named."""
    if run.settings.verifier == "custom" and not OmegaConf.select(run.config, "reward.custom_reward_function.path"):
        raise PreflightError("lapo.verifier=custom needs reward.custom_reward_function.path")
    return []


def check_group_size(run: Run) -> list[Finding]:
    """GRPO compares the rollouts of a group."""
    if int(run.config.actor_rollout_ref.rollout.n) > 1:
        return []
    text = "actor_rollout_ref.rollout.n=1: a group of one rollout gives GRPO no signal; the paper uses 8"
    return [Finding("warning", text)]


def check_training_rows(run: Run) -> list[Finding]:
    """Every training row can be trained on."""
    remarks = []
    times = Counter(data_files(run.config.data.train_files))
    for path, counts in run.training.items():
        rows = sum(counts.values())
        text = f"{path}: {rows} rows, {len(counts)} problems"
        if rows > len(counts):
            text += f"; {rows - len(counts)} rows repeat a problem of the file, and are trained on as well"
        if times[path] > 1:
            text += f"; data.train_files names the file {times[path]} times, and each time counts"
        remarks.append(Finding("remark", text))
    return remarks


def check_context(run: Run) -> Iterable[Finding]:
    """Prompt and response fit the model's context together."""
    return () if run.model is None else context_findings(run.config, run.model)


def check_kv_cache(run: Run) -> Iterable[Finding]:
    """The step's rollouts fit vLLM's KV cache, by a rough estimate."""
    return () if run.model is None else kv_cache_findings(run.config, run.model, accelerator_memory)


def check_validation_rows(run: Run) -> list[Finding]:
    """Every validation row can be scored."""
    _ = run.validation
    return []


def check_agent_names(run: Run) -> list[Finding]:
    """No row takes another agent loop than the one that it needs."""
    data, guidance = run.config.data, run.settings.guidance
    appended = guidance.place == "inside" and guidance.form != "implicit"
    guided = run.settings.objective.names_budget and appended
    loop = str(run.config.actor_rollout_ref.rollout.agent.default_agent_loop)
    return [
        *row_loops("training", agent_names(data_files(data.train_files)), loop, guided),
        *row_loops("validation", agent_names(data_files(data.val_files)), loop, guided and guidance.validation),
    ]


def check_tools(run: Run) -> Iterable[Finding]:
    """Rows that use tools have some, and the model can be told what they answer."""
    from lapo_verl.doctor.tool_loop import tool_findings

    data, default = run.config.data, str(run.config.actor_rollout_ref.rollout.agent.default_agent_loop)
    loops: set[str] = set()
    for files in (data.train_files, data.val_files):
        loops.update(str(name) for name in agent_names(data_files(files)) or (default,))
    return tool_findings(run.config, run.settings, loops, lambda: run.loaded_model)


def check_score_functions(run: Run) -> Iterable[Finding]:
    """With ``lapo.verifier=verl``, verl has a score function for every data source."""
    if run.settings.verifier != "verl":
        return []
    return score_function_findings([*run.training, *run.validation])


def check_length_scope(run: Run) -> Iterable[Finding]:
    """The lengths of a store that the run goes on from count what this run's do."""
    source = run.earlier_store
    if source is None or not source.exists() or not run.trains:
        return []
    with LengthStore.open(source, read_only=True) as store:
        check_scope(store, run.settings.length.scope)
    return []


def check_resume(run: Run) -> list[Finding]:
    """A run that is resumed goes on with its own objective, and on its own problems."""
    from lapo_verl.hooks.checkpoint import check_run

    if run.checkpoint is None or not run.trains:
        return []
    source = run.checkpoint.folder / SNAPSHOT
    if not source.exists():
        source = run.settings.store
    if not source.exists():
        if not run.has_hooks:
            return []
        raise PreflightError(f"{run.checkpoint.folder}: has no {SNAPSHOT}, and there is no store {source} either")
    with LengthStore.open(source, read_only=True) as store:
        check_run(store, run.settings.objective, run.checkpoint)
        match = _match(store, run.problems)
    if not run.problems or match.unknown <= run.settings.max_unknown_share:
        return []
    text = (
        f"{run.checkpoint.folder}: was made on other data: {source.name} has {match.recorded} problems, "
        f"data.train_files has {len(run.problems)}, and they share {match.known}; the others count as unsolved. Check "
        "data.train_files"
    )
    return [Finding("warning", text)]


def check_starting_point(run: Run) -> list[Finding]:
    """Where ``lapo.init_from`` names a run, takes its newest checkpoint and prints its step.

    A run that is resumed keeps the reference model of the KL term that it began with.
    """
    if not run.starts_from_store:
        return []
    model, init_from = run.config.actor_rollout_ref.model, run.settings.init_from
    of_stage_one = OmegaConf.is_interpolation(model, "path")
    if of_stage_one:
        stage_one_weights(None if init_from is None else str(init_from))
    if init_from is None or (start := starting_point(init_from)).step is None:
        return []
    began = _starting_step(run.checkpoint)
    if of_stage_one and began not in (None, start.step):
        raise PreflightError(
            f"{run.config.trainer.default_local_dir} began with step {began} of stage 1, and the newest checkpoint of "
            f"{init_from} is of step {start.step}: name the one that it began with, lapo.init_from={init_from}/"
            f"global_step_{began}, or start in another trainer.default_local_dir"
        )
    name = run.settings.objective.name
    text = f"{init_from}: {name} starts from step {start.step}, store {start.store}, weights {model.path}"
    return [Finding("remark", text)]


def _starting_step(checkpoint: Checkpoint | None) -> int | None:
    """The step of stage 1 that the run of this checkpoint began with; None where that is not noted."""
    from lapo_verl.hooks.checkpoint import STARTING_STEP

    if checkpoint is None or not (checkpoint.folder / SNAPSHOT).exists():
        return None
    with LengthStore.open(checkpoint.folder / SNAPSHOT, read_only=True) as store:
        step: int | None = store.meta.get(STARTING_STEP)
    return step


def check_store(run: Run) -> list[Finding]:
    """Stage 2 from scratch needs a store that was made with these problems."""
    objective = run.settings.objective
    if not run.starts_from_store or run.checkpoint is not None or not run.trains:
        return []
    source, key = run.store_source
    if not source.exists():
        raise PreflightError(
            f"{objective.name} starts from the length store of an earlier run (stage 2 from stage 1's), and {source} "
            f"({key}) does not exist; set lapo.init_from to the folder of that run"
        )
    problems = run.problems
    if not problems:  # the data files are not local
        return []
    with LengthStore.open(source, read_only=True) as store:
        match, later = _match(store, problems), store.totals()["steps"].get(objective.name, 0)
    if match.recorded == 0:
        raise PreflightError(f"{source} ({key}) is empty: stage 1 recorded no step in it")
    if match.unknown > run.settings.max_unknown_share:
        raise PreflightError(
            f"{source} ({key}) was made with another problem set: it has {match.recorded} problems, data.train_files "
            f"has {len(problems)}, and they share {match.known} ({match.unknown:.0%} unknown). Train on stage 1's "
            "problems, or raise lapo.max_unknown_share (unknown problems count as unsolved)"
        )
    remarks = []
    if later:
        remarks.append(f"{source}: has {later} steps of {objective.name} as well; this run starts without them")
    if match.known < len(problems):
        remarks.append(
            f"{source}: knows {match.known} of the {len(problems)} training problems; the others count as unsolved"
        )
    return [Finding("remark", text) for text in remarks]


@dataclass(frozen=True)
class _Match:
    """How many problems a store has recorded, how many training problems it knows, and the share that is unknown."""

    recorded: int
    known: int
    unknown: float


def _match(store: LengthStore, problems: set[str]) -> _Match:
    known, recorded = len(store.known(problems)), int(store.totals()["problems"])
    # A short stage 1 visits a part of the problems only: the smaller of the two sets should be part of the other.
    smaller = min(recorded, len(problems))
    return _Match(recorded, known, 1 - known / smaller if smaller else 0.0)


def check_token_builder(run: Run) -> list[Finding]:
    """Says which of verl's token builders makes the prompts, and why."""
    from lapo_verl.hooks.token_builder import choose_builder

    model = run.loaded_model
    builder = choose_builder(model.tokenizer, model.hf_model_type, model.processor)
    return [Finding("remark", f"prompts are made by verl's {builder.name}: {builder.why}")]


# In the order in which a training is stopped by them.
CHECKS: tuple[Check, ...] = (
    check_plugin,
    check_settings,
    check_starting_point,
    check_packages,
    check_platform,
    check_verl_settings,
    check_separate_async,
    check_ignored_keys,
    check_custom_code,
    check_devices,
    check_logical_cpus,
    check_cluster,
    check_paths,
    check_writable,
    check_workers,
    check_verifier,
    check_group_size,
    check_training_rows,
    check_validation_rows,
    check_agent_names,
    check_tools,
    check_score_functions,
    check_context,
    check_kv_cache,
    check_length_scope,
    check_resume,
    check_store,
    check_round_trip,
    check_token_builder,
    check_known_words,
)


def data_files(value: Any) -> list[Path]:
    """The local ones of verl's ``data.train_files`` or ``data.val_files``."""
    names = value if isinstance(value, list | ListConfig) else [value]
    return [Path(str(name)).expanduser() for name in names if "://" not in str(name)]
