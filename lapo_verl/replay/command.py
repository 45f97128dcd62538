"""``lapo replay``: rewards and budgets of recorded rollouts under other settings. Is a hyperparameter worth a training?

A replay gives the same rollouts other rewards. What the model would have written for these rewards it cannot say;
it says what GRPO would have been told about the rollouts that there were.
"""

from __future__ import annotations

import itertools
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.markup import escape
from rich.table import Table

from lapo_verl.console import progress
from lapo_verl.method import float32_scores
from lapo_verl.replay import recorded as reading
from lapo_verl.replay.measure import Replay
from lapo_verl.replay.settings import (
    BUDGET_KEYS,
    DISCOVERY_KEYS,
    INTERNALIZATION_KEYS,
    ReplaySetting,
    ReplaySettingError,
    other_settings,
    run_setting,
)
from lapo_verl.runs.jsonl import DumpError
from lapo_verl.store import GroupRecord, LengthStore, note_settings, noted_rounding, noted_settings
from lapo_verl.store.records import STAGES

# Metric, heading, and how to show a value and a change of it.
REWARD_COLUMNS = (
    ("reward", "reward", "{:.3f}", "{:+.3f}"),
    ("reward_spread", "spread", "{:.3f}", "{:+.3f}"),
    ("no_signal_share", "no signal", "{:.1%}", "{:+.1%}"),
    ("rank_correlation", "rank corr.", "{:.2f}", "{:+.2f}"),
    ("length_reward", "length reward", "{:.3f}", "{:+.3f}"),
    ("in_band_share", "in band", "{:.1%}", "{:+.1%}"),
    ("length_push", "push", "{:.2f}", "{:+.2f}"),
)
BUDGET_COLUMNS = (
    ("budget_mean", "mean", "{:.1f}", "{:+.1f}"),
    ("budget_p10", "p10", "{:.1f}", "{:+.1f}"),
    ("budget_p50", "p50", "{:.1f}", "{:+.1f}"),
    ("budget_p90", "p90", "{:.1f}", "{:+.1f}"),
    ("budget_solved_share", "solved", "{:.1%}", "{:+.1%}"),
    ("budget_changed_share", "changed", "{:.1%}", "{:+.1%}"),
)
LEGEND = (
    "spread: std inside a group. no signal: groups with one reward throughout. rank corr.: Spearman of reward and "
    "length among a group's correct rollouts. push: advantage x (tokens - group's mean), below 0 shortens. "
    "Second line: change against the run's own settings."
)


@dataclass(frozen=True)
class Source:
    """What a replay reads: visits, which of them are wanted, and what the run says of itself.

    Attributes:
        visits: all that there are.
        measured: shape (V,) bool, those whose rewards are wanted.
        run: the settings that the run was made with.
        scores: {step: rewards of each group} as verl trained on them; None where there is no training dump.
        notes: what a user should know of the source.
        rounding: what the run's prompts rounded budgets to, in tokens; None where they did not.
    """

    visits: reading.Visits
    measured: NDArray[np.bool_]
    run: ReplaySetting
    scores: dict[int, list[tuple[float, ...]]] | None
    notes: list[str]
    rounding: int | None = None


def read_source(path: Path, stage: str | None, run: str | None, store: Path | None) -> Source:
    """Reads a store, a validation dump, an evaluation's samples, or a training dump with its store.

    Args:
        path: a store's file, a .jsonl, or a folder of ``{step}.jsonl``.
        stage: of which stage; None for what the source suggests.
        run: "key=value,..." that the run was made with, where its store has not noted them.
        store: of the run that wrote a training dump.

    Raises:
        DumpError, StoreError, ReplaySettingError: what is wrong with the source.
    """
    if stage not in (None, *STAGES):
        raise ReplaySettingError(f"--stage must be one of {', '.join(STAGES)}, got {stage!r}")
    is_store = path.suffix != ".jsonl" and not path.is_dir()
    files = [] if is_store else reading.dump_files(path)
    if files and reading.is_training_dump(files[0]):
        return _read_training_dump(path, files, stage, run, store)
    if store is not None:
        raise ReplaySettingError(f"{path} is no training dump, and --store goes with these alone: leave it out")
    if is_store:
        return _read_store(path, stage, run)
    notes = (
        [] if run else [f"{path} does not say what its run was made with: the paper's settings are taken, see --run"]
    )
    visits = reading.read_sample_visits(files, stage or "discovery", notes)
    return Source(visits, np.ones(len(visits.n), dtype=bool), run_setting(None, None, run), None, notes)


def _read_store(path: Path, stage: str | None, run: str | None) -> Source:
    notes: list[str] = []
    with LengthStore.open(path, read_only=True) as store:
        noted, rounding = noted_settings(store), noted_rounding(store)
        visits = reading.visits_of(progress(store.records(), "reading the store", store.totals()["visits"]))
    if not len(visits.n):
        raise DumpError(f"{path}: no step is recorded in it yet")
    for name, config in zip(STAGES, noted, strict=True):
        if config is None and run is None and name in reading.stages_of(visits):
            notes.append(f"{path} does not note the settings of {name}: the paper's are taken for the run's, see --run")
    measured = reading.measured_visits(visits, stage)
    if not measured.any():
        raise DumpError(f"{path}: has no records of {stage}")
    return Source(visits, measured, run_setting(*noted, run), None, notes, rounding)


def _read_training_dump(
    path: Path, files: list[Path], stage: str | None, run: str | None, store: Path | None
) -> Source:
    if store is None:
        raise DumpError(
            f"{path}: verl's training dump has neither token counts nor problem ids, the run's store has them; "
            "add --store <run>/lapo_store.sqlite"
        )
    # A store of stage 2 begins with the records of stage 1.
    whole = _read_store(store, None, run)
    stage = stage or reading.stages_of(whole.visits)[-1]
    scores = reading.read_scores(files, whole.notes)
    measured = reading.measured_visits(whole.visits, stage, scores)
    if not measured.any():
        raise DumpError(f"{path}: {store} has no {stage} record of its steps; see --store and --stage")
    absent = sorted(set(scores) - set(whole.visits.step[measured].tolist()))
    if absent:
        whole.notes.append(f"{path}: {store} has no {stage} record of step {', '.join(map(str, absent))}")
    return Source(whole.visits, measured, whole.run, scores, whole.notes, whole.rounding)


def run_replay(
    path: Path,
    options: Mapping[str, str | None],
    named: Sequence[str] = (),
    run: str | None = None,
    stage: str | None = None,
    store: Path | None = None,
    write: Path | None = None,
) -> dict[str, Any]:
    """The whole of ``lapo replay``: what to show, as JSON has it.

    Args:
        path, run, stage, store: see ``read_source``. With internalization, its budgets start from those that discovery
            ended with in the run: the settings are stage 2's alone.
        options, named: see ``replay_settings.other_settings``.
        write: where to write the store that the one setting makes.

    Returns:
        ``{source, notes, check: {budgets, rewards}, stages: {stage: ...}, written}``; see ``compare``,
        ``check_budgets`` and ``check_rewards``.

    Raises:
        DumpError, StoreError, ReplaySettingError, OSError: what is wrong, and the way out.
    """
    source = read_source(path, stage, run, store)
    settings = other_settings(source.run, options, named)
    _check_effect(path, source, settings)
    if stage == "internalization":
        settings = [replace(setting, discovery=source.run.discovery) for setting in settings]
    if write is not None:
        _check_write(source, settings, write)
    replay = Replay(source.visits, source.measured, source.run, source.rounding)
    report: dict[str, Any] = {
        "source": str(path),
        "notes": source.notes,
        "check": {
            "budgets": check_budgets(replay),
            "rewards": None if source.scores is None else check_rewards(replay, source.scores),
        },
        "stages": compare(replay, settings),
        "written": None,
    }
    if write is not None:
        with LengthStore.open(path, read_only=True) as opened:
            report["written"] = {"path": str(write), "records": write_store(opened, write, settings[0], stage)}
    return report


def compare(replay: Replay, settings: Sequence[ReplaySetting]) -> dict[str, Any]:
    """The run's own settings and each of ``settings``: ``{stage: {groups, rollouts, correct, steps, settings}}``.

    ``settings`` is a list of ``{name, settings, metrics, change}``; ``change`` is the difference to the run's metrics.
    """
    visits, report = replay.visits, {}
    stages = [stage for number, stage in enumerate(STAGES) if (replay.measured & (visits.stage == number)).any()]
    for stage in stages:
        here = replay.measured & (visits.stage == STAGES.index(stage))
        of_the_run = replay.metrics(replay.run, stage)
        rows = [{"name": replay.run.name, "settings": replay.run.as_dict(), "metrics": of_the_run, "change": None}]
        for setting in progress(settings, f"replaying {stage}", len(settings)):
            metrics = replay.metrics(setting, stage)
            change = {key: _difference(value, of_the_run[key]) for key, value in metrics.items()}
            rows.append({"name": setting.name, "settings": setting.as_dict(), "metrics": metrics, "change": change})
        report[stage] = {
            "groups": int(here.sum()),
            "rollouts": int(visits.n[here].sum()),
            "correct": int(visits.correct[here].sum()),
            "steps": [int(visits.step[here].min()), int(visits.step[here].max())],
            "settings": rows,
        }
    return report


def check_budgets(replay: Replay) -> dict[str, int] | None:
    """How many budgets the run's settings give back as they were recorded; None where the source records none."""
    recorded = replay.visits.recorded
    if recorded is None:
        return None
    replayed = replay.budgets(replay.run)
    same = (replayed == recorded) | (np.isnan(replayed) & np.isnan(recorded))
    return {"visits": int(same.size), "equal": int(same.sum())}


def check_rewards(replay: Replay, scores: Mapping[int, Sequence[tuple[float, ...]]]) -> dict[str, int]:
    """How many rollouts get back the reward that verl trained on, bit for bit, under the run's settings.

    verl is given rewards in float32, see ``method.scores``. Its dumps do not name the problem, so a dumped group counts
    as given back where its step has a group of the same rewards.

    Args:
        scores: {step: rewards of each group}, from ``visits.read_scores``.
    """
    replayed: dict[int, Counter[tuple[float, ...]]] = {step: Counter() for step in scores}
    wrong_only = replay.measured & (replay.visits.correct == 0)
    rewardless = (np.flatnonzero(wrong_only), np.empty((int(wrong_only.sum()), 0)))
    for visits, values in (rewardless, *replay.rewards(replay.run)):
        for visit, row in zip(visits.tolist(), values.tolist(), strict=True):
            wrong = int(replay.visits.n[visit]) - len(row)
            replayed[int(replay.visits.step[visit])][_as_scored((*row, *(0.0,) * wrong))] += 1
    rollouts = equal = 0
    for step, groups in scores.items():
        dumped = Counter(_as_scored(group) for group in groups)
        rollouts += sum(len(group) for group in groups)
        equal += sum(count * len(group) for group, count in (dumped & replayed[step]).items())
    return {"rollouts": rollouts, "equal": equal}


def _as_scored(rewards: Sequence[float]) -> tuple[float, ...]:
    """A group's scores, sorted; those of a dump that is older than the grid come out as those of a new one."""
    return tuple(sorted(float32_scores(rewards).tolist()))


def write_store(source: LengthStore, target: Path, setting: ReplaySetting, stage: str | None = None) -> int:
    """Writes a store with the records of ``source`` and the budgets that they make under ``setting``.

    Stage 2 goes on from the budgets that stage 1 ended with: with ``stage`` internalization, stage 1's records and
    budgets are those of ``source``. The budgets that prompts named stay as they were. What is noted of the training
    goes along, with the setting's statistic and on_unsolved. ``low`` and ``high`` make the recorded band, which
    lapo.guidance.form=range shows.

    Args:
        target: a file that is not there yet; there whole or not at all.
        stage: whose budgets ``setting`` makes; None for both. With discovery, stage 2 is left out.

    Returns:
        The number of records.

    Raises:
        StoreError: a store cannot be read or written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=target.parent) as folder,
        _beginning(source, Path(folder) / target.name, stage) as store,
    ):
        count = int(store.totals()["visits"])
        records = progress(source.records(), f"writing {target.name}", source.totals()["visits"])
        for (its_stage, step), visits in groupby(records, key=lambda record: (record.stage, record.step)):
            if stage not in (None, its_stage):
                continue
            groups = [GroupRecord(v.problem_id, v.n, v.correct_lengths, v.budget_shown) for v in visits]
            discovery, internalization = setting.discovery, setting.internalization
            store.record_step(
                its_stage,
                step,
                groups,
                statistic=(discovery if its_stage == "discovery" else internalization).statistic,
                on_unsolved=discovery.on_unsolved,
                low=discovery.low,
                high=discovery.high,
            )
            count += len(groups)
        noted_discovery, noted_internalization = noted_settings(source)
        # Of the settings, those that made the budgets; the rollouts were still rewarded in the band of the run.
        if noted_discovery is not None and stage != "internalization":
            statistic, on_unsolved = setting.discovery.statistic, setting.discovery.on_unsolved
            note_settings(store, replace(noted_discovery, statistic=statistic, on_unsolved=on_unsolved))
        if noted_internalization is not None:
            note_settings(store, replace(noted_internalization, statistic=setting.internalization.statistic))
        store.snapshot(target)
    return count


def _beginning(source: LengthStore, path: Path, stage: str | None) -> LengthStore:
    """The store at ``path`` as it is before the first record is written anew."""
    if stage == "internalization":
        source.snapshot(path)
        store = LengthStore.open(path)
        store.rewind("internalization", -1)
        return store
    return LengthStore.open(path, meta=source.meta)


def _check_effect(path: Path, source: Source, settings: Sequence[ReplaySetting]) -> None:
    """ReplaySettingError where a setting changes a key of a stage whose rollouts are not there, or are left out."""
    keys_of = dict(zip(STAGES, (DISCOVERY_KEYS, INTERNALIZATION_KEYS), strict=True))
    recorded = reading.stages_of(source.visits)
    shown = [STAGES[number] for number in np.unique(source.visits.stage[source.measured])]
    run = source.run.as_dict()
    for setting, stage in itertools.product(settings, STAGES):
        others = {key for other, keys in keys_of.items() if other != stage for key in keys}
        for key in keys_of[stage]:
            if key not in others and stage not in shown and setting.as_dict()[stage][key] != run[stage][key]:
                why = f"--stage leaves {stage} out" if stage in recorded else f"{path} has no rollouts of {stage}"
                raise ReplaySettingError(f"setting {setting.name!r}: {key} changes nothing, because {why}; drop it")


def _check_writable(setting: ReplaySetting, run: ReplaySetting) -> None:
    """ReplaySettingError where ``setting`` differs from the run's in more than what budgets are made of."""
    for ours, theirs in zip(setting.as_dict().values(), run.as_dict().values(), strict=True):
        others = [key for key in ours if key not in BUDGET_KEYS and ours[key] != theirs[key]]
        if others:
            raise ReplaySettingError(
                f"--write takes {', '.join(BUDGET_KEYS)}, not {others[0]}: no budget depends on it"
            )


def _check_write(source: Source, settings: Sequence[ReplaySetting], target: Path) -> None:
    """Before any work: can this be written?"""
    if source.visits.recorded is None or source.scores is not None:
        raise ReplaySettingError("--write needs a store as SOURCE")
    if len(settings) != 1:
        raise ReplaySettingError(f"--write needs exactly one setting, got {len(settings)}")
    _check_writable(settings[0], source.run)
    if target.exists():
        raise ReplaySettingError(f"{target}: is there already; give the name of a new file")


def tables(report: Mapping[str, Any]) -> Iterator[Table]:
    """What ``run_replay`` returns, for the terminal: rewards and budgets of each stage."""
    for stage, part in report["stages"].items():
        first, last = part["steps"]
        counts = f"{part['groups']:,} groups, {part['rollouts']:,} rollouts, {part['correct']:,} correct"
        steps = f"step {first}" if first == last else f"steps {first} to {last}"
        rewards = _table(part["settings"], REWARD_COLUMNS, f"{stage}, {steps}: {counts}")
        rewards.caption = LEGEND
        yield rewards
        others = [row for row in part["settings"] if row["change"] is None or row["metrics"]["budget_changed_share"]]
        budgets = _table(others, BUDGET_COLUMNS, f"{stage}: budgets after step {last}, tokens")
        if len(others) < len(part["settings"]):
            budgets.caption = "Settings that are not shown make the budgets of the run."
        yield budgets


def check_lines(check: Mapping[str, Any]) -> Iterator[str]:
    """Whether the run's settings give back what was recorded, in words."""
    for what, unit in (("budgets", "visits"), ("rewards", "rollouts")):
        found = check[what]
        if found is not None:
            line = f"{what} under the run's settings: {found['equal']:,} of {found[unit]:,} {unit} as recorded"
            yield line if found["equal"] == found[unit] else f"{line}; were these its settings? (see --run)"


def _table(settings: Sequence[Mapping[str, Any]], columns: Sequence[tuple[str, str, str, str]], title: str) -> Table:
    table = Table(title=title, title_justify="left", caption_justify="left", show_lines=len(settings) > 1)
    # A name breaks between its settings: never "alpha=0." above "3".
    words = [word for setting in settings for word in setting["name"].split(" ")]
    table.add_column("setting", overflow="fold", min_width=max(map(len, words)))
    for _, heading, _, _ in columns:
        table.add_column(heading, justify="right")
    for setting in settings:
        change = setting["change"]
        cells = []
        for key, _, shown, shown_change in columns:
            value = setting["metrics"][key]
            cell = "-" if value is None else _shown(shown, value)
            if change and change[key]:
                cell += f"\n[dim]{_shown(shown_change, change[key])}[/dim]"
            cells.append(cell)
        table.add_row(escape(setting["name"]), *cells)
    return table


def _shown(form: str, value: float) -> str:
    # What rounds to zero has no sign: sums of floats that cancel out end a little beside it.
    return form.format(round(value, 6) + 0.0)


def _difference(value: float | None, other: float | None) -> float | None:
    return None if value is None or other is None else value - other
