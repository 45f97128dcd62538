"""What ``lapo doctor`` finds out about a training before it is started: one prompt, and what is wrong."""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationResolutionError

from lapo_verl.config import unknown_keys, unknown_override
from lapo_verl.data.rows import read_rows, row_problem_id
from lapo_verl.doctor import preflight
from lapo_verl.doctor.compose import compose_config
from lapo_verl.doctor.config_warnings import saving_warnings
from lapo_verl.doctor.diagnostic import Finding
from lapo_verl.doctor.environment import accelerator_memory
from lapo_verl.doctor.estimate import RunEstimate, disk_free, estimate_findings, estimate_run
from lapo_verl.store import LengthStore, StoreError

if TYPE_CHECKING:  # verl is imported late: where its import fails, the checks before have said why
    from lapo_verl.doctor.example_prompt import Example
    from lapo_verl.doctor.model_check import Model

Say = Callable[[str], None]


class DoctorError(ValueError):
    """There is no prompt to show; the message says why, and what to do."""


@dataclass(frozen=True)
class Request:
    """What to look at: the arguments of verl's training command, and which training row.

    Attributes:
        config_name, overrides, config_path, config_dir: as verl's command takes them.
        row: counted from 0 over all training files; None for the first one that is trained on.
        problem_id: instead of ``row``.
    """

    config_name: str
    overrides: Sequence[str] = ()
    config_path: str | None = None
    config_dir: Path | None = None
    row: int | None = None
    problem_id: str | None = None


@dataclass
class RowFacts:
    """A split's rows.

    Attributes:
        dropped: rows that verl's length filter leaves out.
        guidance_room: tokens that it keeps for the longest sentence.
    """

    rows: int
    problems: int
    dropped: int | None = None
    guidance_room: int = 0


@dataclass
class Facts:
    """What the training would be; None where it could not be found out. Lengths and budgets in tokens.

    Attributes:
        objective: its name and fields.
        has_hooks: whether LAPO's hooks are in place; the baseline trains without.
        checkpoint: that verl goes on from; None from scratch.
        steps: of training.
        known, solved: training problems that the store knows, and has a budget for.
        budgets: percentiles 10, 50 and 90 over them.
        length_scope: what |r| counts.
        estimate: what the run will take.
    """

    config_name: str
    objective: dict[str, Any] | None = None
    has_hooks: bool = True
    model: str | None = None
    checkpoint: str | None = None
    training: RowFacts | None = None
    validation: RowFacts | None = None
    steps: int | None = None
    validation_n: int | None = None
    validation_temperature: float | None = None
    validation_top_p: float | None = None
    max_prompt_length: int | None = None
    max_response_length: int | None = None
    store: str | None = None
    known: int | None = None
    solved: int | None = None
    budgets: list[float] | None = None
    length_scope: str | None = None
    estimate: RunEstimate | None = None


@dataclass
class Diagnosis:
    """All that was found. ``training`` and ``validation`` are one prompt each, where they can be made."""

    facts: Facts
    findings: list[Finding] = field(default_factory=list)
    training: Example | None = None
    validation: Example | None = None

    def texts(self, level: str) -> list[str]:
        """What was found at ``level``, in order, each once."""
        return list(dict.fromkeys(finding.text for finding in self.findings if finding.level == level))

    def as_json(self) -> dict[str, Any]:
        """For scripts."""
        levels = {f"{level}s": self.texts(level) for level in ("error", "warning", "remark")}
        prompts = {
            name: None if example is None else asdict(example)
            for name, example in (("training", self.training), ("validation", self.validation))
        }
        return {**levels, "facts": asdict(self.facts), **prompts}

    @contextlib.contextmanager
    def collecting(self) -> Iterator[None]:
        """What fails in the block becomes an error of this diagnosis."""
        try:
            yield
        except preflight.FAILURES as error:
            # A resolver of ours has said all; OmegaConf puts its own words around it.
            wrapped = error.__context__ if isinstance(error, InterpolationResolutionError) else None
            self.findings.append(Finding("error", str(wrapped or error)))


def diagnose(request: Request, say: Say = lambda _: None) -> Diagnosis:
    """Look at a training without starting it: no Ray, no weights, and nothing is written.

    Args:
        say: told what is being done, for a progress display.
    """
    diagnosis = Diagnosis(Facts(request.config_name))
    with _quiet(), diagnosis.collecting():
        say("loading verl and composing its config")
        _import_verl()
        run = preflight.Run(_compose(request, diagnosis))
        say("checking config, data and store")
        store_is_good = _check(run, diagnosis)
        diagnosis.findings += saving_warnings(run.config)
        OmegaConf.resolve(run.config)  # as verl does before it makes its dataset
        _note_config(run, diagnosis.facts)
        say(f"loading the tokenizer of {run.config.actor_rollout_ref.model.path}")
        model = _load(run, diagnosis)
        with tempfile.TemporaryDirectory() as folder:
            store = _starting_store(run, Path(folder), store_is_good)
            with store:
                if run.has_hooks:
                    _check_store(run, model, store, diagnosis)
            say("making the prompts")
            _show_prompts(request, run, model, store.path, diagnosis)
        _estimate(run, diagnosis)
    return diagnosis


def _import_verl() -> None:
    """Which loads its plugins; preflight then looks whether LAPO's is among them."""
    try:
        import verl  # noqa: F401
    except Exception as error:  # plugins and what verl brings along are imported with it
        raise DoctorError(
            f"verl cannot be imported ({type(error).__name__}: {error}); is it installed here?"
        ) from error


def _compose(request: Request, diagnosis: Diagnosis) -> DictConfig:
    """The config without the arguments that set unknown keys of LAPO's: each is an error, and none hides the rest."""
    good = []
    for argument in request.overrides:
        message = unknown_override(argument)
        if message is None:
            good.append(argument)
        else:
            diagnosis.findings.append(Finding("error", message))
    config = compose_config(request.config_name, good, request.config_path, request.config_dir)
    if "lapo" not in config:
        raise DoctorError(
            f"--config-name={request.config_name} is not one of LAPO's configs: lapo_discovery, lapo_internalization, "
            "length_control, acc_only"
        )
    return config


def _check(run: preflight.Run, diagnosis: Diagnosis) -> bool:
    """All of preflight's checks and verl's own; returns whether stage 2's store passed."""
    unknown = unknown_keys("lapo", OmegaConf.to_container(run.config.lapo, resolve=False))  # type: ignore[arg-type]
    diagnosis.findings += [Finding("error", message) for message in unknown]
    passed: set[preflight.Check] = set()
    for check in (*preflight.CHECKS, _check_by_verl):
        with diagnosis.collecting():
            found = preflight.run_check(check, run)
            diagnosis.findings += found
            if not any(finding.level == "error" for finding in found):
                passed.add(check)
    return preflight.check_store in passed


def _check_by_verl(run: preflight.Run) -> list[Finding]:
    """What verl's ``main`` checks of its own keys, batch sizes above all."""
    from verl.trainer.ppo.utils import need_critic, need_reference_policy
    from verl.utils.config import validate_config

    try:
        validate_config(run.config, need_reference_policy(run.config), need_critic(run.config))
    except Exception as error:  # assertions, and whatever verl's config classes raise
        raise DoctorError(f"verl refuses the config: {' '.join(str(error).split())}") from error
    return []


def _note_config(run: preflight.Run, facts: Facts) -> None:
    config, settings = run.config, run.settings
    facts.objective, facts.has_hooks = settings.objective.config(), run.has_hooks
    facts.length_scope = settings.length.scope
    facts.model = str(config.actor_rollout_ref.model.path)
    facts.checkpoint = str(run.checkpoint.folder) if run.checkpoint is not None else None
    facts.max_prompt_length = int(config.data.max_prompt_length)
    facts.max_response_length = int(config.data.max_response_length)
    validation = config.actor_rollout_ref.rollout.val_kwargs
    facts.validation_n = int(validation.n)
    facts.validation_temperature, facts.validation_top_p = float(validation.temperature), float(validation.top_p)


def _load(run: preflight.Run, diagnosis: Diagnosis) -> Model:
    from lapo_verl.doctor.model_check import model_findings

    model = run.loaded_model
    if run.model is None:  # of the hub, and not on this machine before
        run.model = model.shape
        for check in (preflight.check_context, preflight.check_kv_cache):
            diagnosis.findings += preflight.run_check(check, run)
    diagnosis.findings += model_findings(model, run.settings)
    if not model.template:
        raise DoctorError("without a chat template there is no prompt to show")
    return model


def _starting_store(run: preflight.Run, folder: Path, is_good: bool) -> LengthStore:
    """The store as the first row of the training finds it, made in ``folder`` by what makes it for the training.

    Where stage 2's store did not pass its check, and for the baseline, an empty one.
    """
    from lapo_verl.hooks.checkpoint import open_store

    settings, copy = run.settings, folder / run.settings.store.name
    if not run.has_hooks or not is_good:
        return LengthStore.open(copy)
    if settings.store.exists():
        with LengthStore.open(settings.store, read_only=True) as store:
            store.snapshot(copy)
    try:
        return open_store(replace(settings, store=copy), run.checkpoint)
    except StoreError as error:
        raise StoreError(str(error).replace(str(copy), str(settings.store))) from error


def _check_store(run: preflight.Run, model: Model, store: LengthStore, diagnosis: Diagnosis) -> None:
    """Whether the store's budgets are those of this model, and can be kept."""
    from lapo_verl.doctor.store_check import budget_findings, checkpoint_store, other_run
    from lapo_verl.hooks.tokenizer_check import other_tokenizer, tokenizer_fingerprint

    facts, problems = diagnosis.facts, run.problems
    budgets = [budget for budget in store.budgets(problems).values() if budget is not None]
    facts.known, facts.solved = len(store.known(problems)), len(budgets)
    facts.budgets = np.percentile(budgets, (10, 50, 90)).tolist() if budgets else None
    messages = [other_tokenizer(store, model.tokenizer_path, tokenizer_fingerprint(model.tokenizer))]
    if run.settings.objective.starts_from_targets:
        facts.store = str(run.store_source[0] if run.checkpoint is None else run.settings.store)
        diagnosis.findings += budget_findings(budgets, int(run.config.data.max_response_length))
        snapshot = checkpoint_store(model.path) if run.checkpoint is None else None
        if snapshot is not None:
            messages.append(other_run(store, snapshot, problems))
    diagnosis.findings += [Finding("warning", message) for message in messages if message is not None]


def _show_prompts(request: Request, run: preflight.Run, model: Model, store: Path, diagnosis: Diagnosis) -> None:
    """One training and one validation prompt, from verl's own datasets, and what is wrong with the rows."""
    config, facts = run.config, diagnosis.facts
    if "lapo" in config.data:
        config.data.lapo.store = str(store)
    with diagnosis.collecting():
        rows = _read(preflight.data_files(config.data.train_files))
        facts.training = RowFacts(len(rows), len(run.problems))
        diagnosis.training = _show_prompt(rows, _wanted(request, rows), True, config, model, diagnosis)
    with diagnosis.collecting():
        rows = _read(preflight.data_files(config.data.val_files))
        facts.validation = RowFacts(len(rows), len({row_problem_id(row) for row in rows}))
        diagnosis.validation = _show_prompt(rows, None, False, config, model, diagnosis)


def _show_prompt(
    rows: list[dict[str, Any]],
    wanted: int | None,
    is_training: bool,
    config: DictConfig,
    model: Model,
    diagnosis: Diagnosis,
) -> Example:
    """The prompt of the ``wanted`` one of a split's rows, or of the first one that is used."""
    from lapo_verl.doctor.example_prompt import load_dataset, make_example, prompt_ids, row_findings

    # verl's length filter takes a row that the template refuses for one that is too long.
    first = rows[wanted or 0]
    prompt_ids(config, model, first["prompt"], "", row_problem_id(first))
    dataset = load_dataset(config, model, is_training)
    _note_rows(rows, dataset, is_training, config, diagnosis)
    kept = enumerate(row_problem_id(row) for row in dataset.dataframe)
    index = 0 if wanted is None else next((i for i, problem in kept if problem == row_problem_id(first)), None)
    if index is None:
        raise DoctorError(
            f"row {wanted} (problem {row_problem_id(first)}) is not one of the {len(dataset)} rows of the training: "
            "its prompt is too long, or data.train_max_samples left it out"
        )
    row = dataset[index]
    example = make_example(config, model, row, row_problem_id(row))
    if is_training:
        diagnosis.findings += row_findings(config, model, row, example)
    return example


def _note_rows(
    rows: list[dict[str, Any]], dataset: Any, is_training: bool, config: DictConfig, diagnosis: Diagnosis
) -> None:
    """How many rows verl's length filter leaves, and how many steps they make."""
    from lapo_verl.doctor.example_prompt import guidance_room

    facts = diagnosis.facts
    split, key = (facts.training, "train") if is_training else (facts.validation, "val")
    assert split is not None
    samples = int(config.data.get(f"{key}_max_samples", -1))
    split.dropped = (min(samples, len(rows)) if samples > 0 else len(rows)) - len(dataset)
    split.guidance_room = guidance_room(dataset)
    limit = f"data.max_prompt_length={config.data.max_prompt_length}"
    if split.guidance_room:
        limit += f", of which {split.guidance_room} tokens are kept for the guidance"
    if len(dataset) == 0:
        raise DoctorError(f"data.{key}_files: not one of {len(rows)} rows fits {limit}; raise the limit")
    if split.dropped:
        text = f"data.{key}_files: {split.dropped} of {len(rows)} rows are left out, because their prompts do not fit "
        diagnosis.findings.append(Finding("warning", f"{text}{limit}; raise the limit to keep them"))
    if not is_training:
        return
    batch = int(config.data.train_batch_size)
    facts.steps = config.trainer.total_training_steps or len(dataset) // batch * int(config.trainer.total_epochs)
    if len(dataset) < batch:
        text = f"data.train_files: {len(dataset)} rows make no batch of data.train_batch_size={batch}; lower it"
        diagnosis.findings.append(Finding("error", text))


def _estimate(run: preflight.Run, diagnosis: Diagnosis) -> None:
    """What the run will take, where the number of its steps is known."""
    facts, done = diagnosis.facts, 0 if run.checkpoint is None else run.checkpoint.step
    if facts.steps is None or facts.validation is None or facts.steps <= done:
        return
    validation = facts.validation.rows - (facts.validation.dropped or 0)
    facts.estimate = estimate_run(run.config, run.model, done, facts.steps, validation)
    free = disk_free(Path(str(run.config.trainer.default_local_dir)))
    diagnosis.findings += estimate_findings(facts.estimate, free, accelerator_memory())


def _read(files: Sequence[Path]) -> list[dict[str, Any]]:
    rows = [row for path in files for row in read_rows(path)]
    if not rows:
        raise DoctorError("data.train_files and data.val_files: only local files can be looked at")
    return rows


def _wanted(request: Request, rows: list[dict[str, Any]]) -> int | None:
    if request.problem_id is not None:
        for index, row in enumerate(rows):
            if row_problem_id(row) == request.problem_id:
                return index
        raise DoctorError(f"--problem={request.problem_id}: no training row is of this problem")
    if request.row is not None and not 0 <= request.row < len(rows):
        raise DoctorError(f"--row={request.row}: there are {len(rows)} training rows, counted from 0")
    return request.row


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """What verl and its libraries print while they load and filter is not about the run."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield
