"""``lapo replay``: rewards and budgets of recorded rollouts under other objectives. Is a change worth a training?

A replay gives the same rollouts other rewards. What the model would have written for these rewards it cannot say;
it says what GRPO would have been told about the recorded rollouts.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.markup import escape
from rich.table import Table

from lapo_verl.console import progress
from lapo_verl.objectives import (
    Groups,
    Objective,
    default_objective,
    float32_scores,
    objective,
    objective_class,
    objective_names,
)
from lapo_verl.objectives.fields import nearest
from lapo_verl.replay import recorded as reading
from lapo_verl.replay.measure import RecordedRun, Replay
from lapo_verl.replay.settings import RUN, ReplaySettingError, Setting, other_settings, parse_assignments
from lapo_verl.runs.jsonl import DumpError
from lapo_verl.store import GroupRecord, LengthStore

# Metric, heading, and how to show a value and a change of it.
REWARD_COLUMNS = (
    ("reward", "reward", "{:.3f}", "{:+.3f}"),
    ("reward_spread", "spread", "{:.3f}", "{:+.3f}"),
    ("no_signal_share", "no signal", "{:.1%}", "{:+.1%}"),
    ("rank_correlation", "rank corr.", "{:.2f}", "{:+.2f}"),
    ("length_share", "length share", "{:.1%}", "{:+.1%}"),
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
ALL = "all"
LEGEND = (
    "spread: std inside a group. no signal: groups with one reward throughout. rank corr.: Spearman of reward and "
    "length among a group's correct rollouts. length share: part of the rewards' variation inside groups that "
    "correctness does not explain. push: advantage x (tokens - group's mean), below 0 shortens. Second line: change "
    "against the run's own objective."
)


@dataclass(frozen=True)
class Source:
    """What a replay reads: visits, which of them are wanted, and the runs that made them.

    Attributes:
        visits: all of the source's.
        measured: shape (V,) bool, those whose rewards are wanted.
        runs: in the order of training.
        scores: {step: rewards of each group} as verl trained on them; None where there is no training dump.
        notes: what a user should know of the source.
    """

    visits: reading.Visits
    measured: NDArray[np.bool_]
    runs: list[RecordedRun]
    scores: dict[int, list[tuple[float, ...]]] | None
    notes: list[str]

    @property
    def own(self) -> Setting:
        """What the wanted runs were made with."""
        wanted = np.unique(self.visits.run[self.measured]).tolist()
        return Setting(RUN, {self.runs[number].name: self.runs[number].objective for number in wanted})


def read_source(path: Path, of: str | None = None, run: str | None = None, store: Path | None = None) -> Source:
    """Reads a store, a validation dump, an evaluation's samples, or a training dump with its store.

    Args:
        path: a store's file, a .jsonl, or a folder of ``{step}.jsonl``.
        of: of which run of a store; None for all, of a training dump for the last one.
        run: "field=value,..." that the run was made with, where its store says otherwise or there is none.
        store: of the run that wrote a training dump.

    Raises:
        DumpError, StoreError, ReplaySettingError: what is wrong with the source.
    """
    is_store = path.suffix != ".jsonl" and not path.is_dir()
    files = [] if is_store else reading.dump_files(path)
    if files and reading.is_training_dump(files[0]):
        return _read_training_dump(path, files, of, run, store)
    if store is not None:
        raise ReplaySettingError(f"{path} is not a training dump, and --store is for training dumps only: leave it out")
    if is_store:
        return _read_store(path, of, run)
    if of is not None:
        raise ReplaySettingError(f"--of goes with a store: {path} is of one run; name its objective with --run name=")
    notes = [] if run else [f"{path} does not say how its run was trained: discovery's defaults are taken, see --run"]
    visits = reading.read_sample_visits(files, notes)
    (own,) = _changed({RUN: default_objective()}, run).values()
    return Source(visits, np.ones(len(visits.run), dtype=bool), [RecordedRun(own.name, own)], None, notes)


def _read_store(path: Path, of: str | None, run: str | None) -> Source:
    with LengthStore.open(path, read_only=True) as store:
        noted, totals = store.runs(), store.totals()
        visits = reading.visits_of(
            progress(store.records(), "reading the store", totals["visits"]),
            [each.name for each in noted],
        )
    if not len(visits.run):
        raise DumpError(f"{path}: no step is recorded in it yet")
    try:
        objectives: Mapping[str, Objective] = {each.name: objective(**each.objective) for each in noted}
    except ValueError as error:
        raise ReplaySettingError(f"{path}: {error}") from error
    notes = [
        f"{path} does not note the settings of {each.name}: the defaults are taken for the run's, see --run"
        for each in noted
        if run is None and each.objective.keys() != objectives[each.name].config().keys()
    ]
    if totals["filtered"]:
        notes.append(
            f"{totals['filtered']:,} of {totals['visits']:,} groups were filtered: their run was not trained on them. "
            "They are replayed like all others"
        )
    objectives = _changed(objectives, run)
    limits = [(each.settings.get("response_limit"), each.settings.get("guidance_rounding")) for each in noted]
    runs = [RecordedRun(*own, *numbers) for own, numbers in zip(objectives.items(), limits, strict=True)]
    if of is not None and of not in objectives:
        raise ReplaySettingError(f"--of: {path} has no run {of!r}: {nearest(of, objectives)}")
    measured = np.ones(len(visits.run), dtype=bool) if of is None else visits.run == list(objectives).index(of)
    return Source(visits, measured, runs, None, notes)


def _read_training_dump(path: Path, files: list[Path], of: str | None, run: str | None, store: Path | None) -> Source:
    if store is None:
        raise DumpError(
            f"{path}: verl's training dump has neither token counts nor problem ids, the run's store has them; "
            "add --store <run>/lapo_store.sqlite"
        )
    # A store that began with another run's has that run's records first.
    whole = _read_store(store, of, run)
    last = whole.runs[-1].name if of is None else of
    scores = reading.read_scores(files, whole.notes)
    is_run = whole.visits.run == [each.name for each in whole.runs].index(last)
    measured = is_run & np.isin(whole.visits.step, list(scores))
    if not measured.any():
        raise DumpError(f"{path}: {store} has no {last} record of its steps; see --store and --of")
    absent = sorted(set(scores) - set(whole.visits.step[measured].tolist()))
    if absent:
        whole.notes.append(f"{path}: {store} has no {last} record of step {', '.join(map(str, absent))}")
    return Source(whole.visits, measured, whole.runs, scores, whole.notes)


def _changed(objectives: Mapping[str, Objective], run: str | None) -> Mapping[str, Objective]:
    """The objectives of a source with what ``--run`` says of them."""
    return Setting(RUN, objectives).changed(RUN, parse_assignments("--run", run or "")).objectives


def run_replay(
    path: Path,
    tried: Sequence[str] = (),
    named: Sequence[str] = (),
    objectives: str | None = None,
    run: str | None = None,
    of: str | None = None,
    store: Path | None = None,
    write: Path | None = None,
) -> dict[str, Any]:
    """The whole of ``lapo replay``: what to show, as JSON has it.

    Args:
        path, of, run, store: see ``read_source``. Of a run that is left out, the targets are those that it had.
        tried, named: see ``settings.other_settings``.
        objectives: "NAME,NAME", each for every run, with its defaults; "all" for all that the source allows.
        write: where to write the store that the one setting makes.

    Returns:
        ``{source, notes, check: {budgets, rewards}, runs: {run: ...}, written}``; see ``compare``, ``check_budgets``
        and ``check_rewards``.

    Raises:
        ValueError (DumpError, ReplaySettingError), StoreError, OSError: what is wrong, and what to do.
    """
    source = read_source(path, of, run, store)
    settings = other_settings(source.own, tried, named, _names(source, objectives))
    _note_unnamed_budgets(source, settings)
    if write is not None:
        _check_write(source, settings, write)
    replay = Replay(source.visits, source.measured, source.runs)
    report: dict[str, Any] = {
        "source": str(path),
        "notes": source.notes,
        "check": {
            "budgets": check_budgets(replay),
            "rewards": None if source.scores is None else check_rewards(replay, source.scores),
        },
        "runs": compare(replay, settings),
        "written": None,
    }
    if write is not None:
        report["written"] = {"path": str(write), "records": write_store(path, write, settings[0].objectives)}
    return report


def _names(source: Source, objectives: str | None) -> list[str]:
    """The objectives that ``--objective`` names; of "all", those that the source has the lengths for, and a note."""
    if objectives != ALL:
        return objectives.split(",") if objectives else []
    visits = source.visits
    wanted = visits.valid & np.isin(visits.run, visits.run[source.measured])[:, None]
    if not np.isnan(visits.lengths[wanted]).any():
        return objective_names()
    needing = [name for name in objective_names() if objective_class(name).needs_wrong_lengths]
    source.notes.append(
        f"left out, because a store of the first schema lacks the lengths of wrong rollouts: {', '.join(needing)}"
    )
    return [name for name in objective_names() if name not in needing]


def _note_unnamed_budgets(source: Source, settings: Sequence[Setting]) -> None:
    """Notes which settings would have named a budget in the prompt, where no prompt of the source named one."""
    if not np.isnan(source.visits.prompt_budget[source.measured]).all():
        return
    telling = [each.name for each in settings if any(o.names_budget for o in each.objectives.values())]
    if telling:
        source.notes.append(
            f"the prompts of these rollouts named no budget, and training with {', '.join(telling)} names one: the "
            "rewards here are those without a budget in the prompt"
        )


def compare(replay: Replay, settings: Sequence[Setting]) -> dict[str, Any]:
    """The runs' own objectives and each of ``settings``: ``{run: {groups, rollouts, correct, steps, settings}}``.

    ``settings`` is a list of ``{name, objective, metrics, change}``; ``change`` is the difference to the run's metrics.
    """
    visits = replay.visits
    report: dict[int, dict[str, Any]] = {}
    for number in np.unique(visits.run[replay.measured]).tolist():
        here = replay.measured & (visits.run == number)
        metrics = replay.metrics(number, replay.own)
        own = replay.runs[number]
        report[number] = {
            "groups": int(here.sum()),
            "rollouts": int(visits.valid[here].sum()),
            "correct": int(visits.correct[here].sum()),
            "steps": [int(visits.step[here].min()), int(visits.step[here].max())],
            "settings": [{"name": RUN, "objective": own.objective.config(), "metrics": metrics, "change": None}],
        }
    for setting in progress(settings, "replaying", len(settings)):
        outcomes = replay.under(setting.objectives)
        for number, part in report.items():
            own_metrics = part["settings"][0]["metrics"]
            same = outcomes[number] is replay.own[number]
            metrics = own_metrics if same else replay.metrics(number, outcomes)
            part["settings"].append(
                {
                    "name": setting.name,
                    "objective": outcomes[number].objective.config(),
                    "metrics": metrics,
                    "change": {key: _difference(value, own_metrics.get(key)) for key, value in metrics.items()},
                }
            )
    return {replay.runs[number].name: part for number, part in report.items()}


def check_budgets(replay: Replay) -> dict[str, int] | None:
    """How many targets the runs' objectives give back as they were recorded; None where the source records none."""
    recorded = replay.visits.target
    if recorded is None:
        return None
    replayed = np.concatenate([outcome.after for outcome in replay.own])
    same = (replayed == recorded) | (np.isnan(replayed) & np.isnan(recorded))
    return {"visits": int(same.size), "equal": int(same.sum())}


def check_rewards(replay: Replay, scores: Mapping[int, Sequence[tuple[float, ...]]]) -> dict[str, int]:
    """How many measured rollouts get back the reward that verl trained on, bit for bit, under the run's objective.

    verl is given rewards in float32, see ``objectives.signal``. Its dumps do not name the problem, so a dumped group
    counts as given back where its step has a group of the same rewards.

    Args:
        scores: {step: rewards of each group}, from ``recorded.read_scores``.
    """
    replayed: dict[int, Counter[tuple[float, ...]]] = {step: Counter() for step in scores}
    rewards = np.concatenate([outcome.rewards for outcome in replay.own])[replay.measured]
    for step, group in zip(replay.visits.step[replay.measured].tolist(), _as_scored(rewards), strict=True):
        replayed[step][group] += 1
    rollouts = equal = 0
    for step, groups in scores.items():
        # A dump that is older than the grid of float32_scores comes out as a new one.
        dumped = Counter(_as_scored(np.array(list(zip_longest(*groups, fillvalue=np.nan))).T))
        rollouts += sum(len(group) for group in groups)
        equal += sum(count * len(group) for group, count in (dumped & replayed[step]).items())
    return {"rollouts": rollouts, "equal": equal}


def _as_scored(rewards: NDArray[np.float64]) -> Iterator[tuple[float, ...]]:
    """Each group's scores, sorted."""
    for row in np.sort(float32_scores(rewards), axis=1):
        yield tuple(row[~np.isnan(row)].tolist())


def write_store(source: Path, target: Path, objectives: Mapping[str, Objective]) -> int:
    """Writes a store with the records of ``source`` and the targets that they make under ``objectives``.

    The runs before the first of ``objectives`` are those of ``source``, its targets go on from theirs; the other runs
    are left out. What prompts named stays as it was.

    Args:
        target: a file that is not there yet; there whole or not at all.
        objectives: {run: its objective}, one run or more that follow each other.

    Returns:
        The number of records.

    Raises:
        StoreError: a store cannot be read or written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=target.parent) as folder,
        LengthStore.open(source, read_only=True) as opened,
    ):
        new = Path(folder) / target.name
        opened.snapshot(new)
        with LengthStore.open(new) as store:
            settings = {run.name: run.settings for run in opened.runs()}
            store.rewind(next(name for name in settings if name in objectives), -1)
            for run in (name for name in settings if name in objectives):
                store.begin_run(run, objectives[run], settings[run])
            records = progress(opened.records(), f"writing {target.name}", opened.totals()["visits"])
            for (run, step), visits in groupby(records, key=lambda record: (record.run, record.step)):
                if run in objectives:
                    groups = [
                        GroupRecord(v.problem_id, v.lengths, v.correct, v.prompt_budget, v.filtered) for v in visits
                    ]
                    store.record_step(run, step, groups, objectives[run])
            store.snapshot(target)
            return int(store.totals()["visits"])


def _check_write(source: Source, settings: Sequence[Setting], target: Path) -> None:
    """Before any work: can this be written?"""
    if source.visits.target is None or source.scores is not None:
        raise ReplaySettingError("--write needs a store as SOURCE")
    if len(settings) != 1:
        raise ReplaySettingError(f"--write needs exactly one setting, got {len(settings)}")
    for run, own in source.own.objectives.items():
        if type(settings[0].objectives[run]) is not type(own):
            raise ReplaySettingError(f"--write takes other fields of {own.name}, not another objective")
        _check_makes_budgets(own, settings[0].objectives[run])
    if target.exists():
        raise ReplaySettingError(f"{target}: exists already; give the name of a new file")


def _check_makes_budgets(own: Objective, changed: Objective) -> None:
    """ReplaySettingError where a field is changed that no target depends on: tried on random groups."""
    rng = np.random.default_rng(0)
    correct = rng.random((100, 8)) < rng.random((100, 1))
    groups = Groups(correct, rng.integers(1, 2**15, (100, 8)), target=rng.integers(1, 2**15, 100))
    before = own.config()
    for key, value in changed.config().items():
        alone = objective(**before | {key: value})
        if value != before[key] and np.array_equal(alone.update(groups), own.update(groups), equal_nan=True):
            raise ReplaySettingError(f"--write takes fields that budgets are made with, not {key}")


def tables(report: Mapping[str, Any]) -> Iterator[Table]:
    """What ``run_replay`` returns, for the terminal: rewards and budgets of each run."""
    for run, part in report["runs"].items():
        first, last = part["steps"]
        counts = f"{part['groups']:,} groups, {part['rollouts']:,} rollouts, {part['correct']:,} correct"
        steps = f"step {first}" if first == last else f"steps {first} to {last}"
        rewards = _table(part["settings"], REWARD_COLUMNS, f"{run}, {steps}: {counts}")
        rewards.caption = LEGEND
        yield rewards
        of_the_run, *others = part["settings"]
        metrics = [row["metrics"] for row in others]
        others = [row for row, m in zip(others, metrics, strict=True) if m["budget_changed_share"] and m["budget_mean"]]
        if others or of_the_run["metrics"]["budget_mean"] is not None:
            budgets = _table([of_the_run, *others], BUDGET_COLUMNS, f"{run}: budgets after step {last}, tokens")
            if len(others) < len(metrics):
                budgets.caption = "Settings that are missing here make the same budgets as the run, or none."
            yield budgets


def check_lines(check: Mapping[str, Any]) -> Iterator[str]:
    """Whether the run's objective gives back what was recorded, in words."""
    for what, unit in (("budgets", "visits"), ("rewards", "rollouts")):
        found = check[what]
        if found is not None:
            line = f"{what} under the run's settings: {found['equal']:,} of {found[unit]:,} {unit} as recorded"
            yield line if found["equal"] == found[unit] else f"{line}; was it trained with these settings? (see --run)"


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
