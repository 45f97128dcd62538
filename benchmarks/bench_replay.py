"""What `lapo replay` takes for a million rollouts: to read them, to get ready, and for each setting.

A store with LAPO's two runs (groups of 8, 60 % correct) and the samples of an evaluation are written first. The
baseline calls the same methods for one group at a time, on a part of the groups, scaled up. All times are CPU seconds.

    python benchmarks/bench_replay.py
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from lapo_verl.objectives import Groups, objective
from lapo_verl.replay.command import check_budgets, compare, read_source
from lapo_verl.replay.measure import Replay
from lapo_verl.replay.settings import other_settings
from lapo_verl.store import GroupRecord, LengthStore

ROLLOUTS, CORRECT, PROBLEMS, GROUPS_A_STEP = 8, 0.6, 20_000, 1000
TRIED = ("alpha=0.3,1.0", "low=20,40", "sigma=60,240", "statistic=mean")
DISCOVERY, INTERNALIZATION = objective("discovery"), objective("internalization")
BASELINE_GROUPS = 2000
GOAL_TOTAL_S, GOAL_SETTING_S, GOAL_RATIO = 4.0, 1.0, 10.0


def draw(rng: np.random.Generator, groups: int) -> list[tuple[int, list[int], list[bool]]]:
    """Problem, tokens and c_i of each group."""
    middles = rng.integers(300, 3000, PROBLEMS)
    problems = np.arange(groups) % PROBLEMS
    tokens = rng.lognormal(np.log(middles[problems])[:, None], 0.3, (groups, ROLLOUTS)).astype(int)
    correct = rng.random((groups, ROLLOUTS)) < CORRECT
    return list(zip(problems.tolist(), tokens.tolist(), correct.tolist(), strict=True))


def write_store(path: Path, groups: list[tuple[int, list[int], list[bool]]]) -> None:
    """Half of the groups in each of two runs; prompts name the budgets as the store gives them."""
    with LengthStore.open(path) as store:
        for start in range(0, len(groups), GROUPS_A_STEP):
            step = groups[start : start + GROUPS_A_STEP]
            run = DISCOVERY if start < len(groups) / 2 else INTERNALIZATION
            shown = store.budgets([f"p{problem}" for problem, _, _ in step])
            records = [
                GroupRecord(
                    f"p{problem}",
                    tuple(tokens),
                    tuple(correct),
                    shown[f"p{problem}"] if run is INTERNALIZATION else None,
                )
                for problem, tokens, correct in step
            ]
            store.record_step(run.name, 1 + start // GROUPS_A_STEP, records, run)


def write_samples(path: Path, groups: list[tuple[int, list[int], list[bool]]]) -> None:
    with path.open("w") as out:
        for number, (_, tokens, correct) in enumerate(groups):
            for length, flag in zip(tokens, correct, strict=True):
                row = {"output": "x" * 200, "problem_id": f"p{number}", "acc": float(flag), "tokens": length, "step": 1}
                out.write(json.dumps(row) + "\n")


def seconds(call: Callable[[], Any]) -> tuple[float, Any]:
    """CPU time, which another program's work does not change, and the call's result."""
    start = time.process_time()
    result = call()
    return time.process_time() - start, result


def one_by_one(groups: list[tuple[int, list[int], list[bool]]]) -> None:
    """The rewards and targets of both objectives, group after group."""
    for _, tokens, correct in groups:
        group = Groups.of([correct], [tokens], target=[1000.0])
        for each in (DISCOVERY, INTERNALIZATION):
            each.rewards(group)
            each.update(group)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rollouts", type=int, default=10**6)
    arguments = parser.parse_args()
    groups = draw(np.random.default_rng(0), arguments.rollouts // ROLLOUTS)
    with tempfile.TemporaryDirectory() as name:
        store, samples = Path(name) / "lapo_store.sqlite", Path(name) / "samples.jsonl"
        write_store(store, groups)
        write_samples(samples, groups)
        read_samples, _ = seconds(lambda: read_source(samples))
        read, source = seconds(lambda: read_source(store))
    prepare, replay = seconds(lambda: Replay(source.visits, source.measured, source.runs))
    first, _ = seconds(lambda: compare(replay, []))
    check, budgets = seconds(lambda: check_budgets(replay))
    settings = other_settings(source.own, TRIED)
    grid, _ = seconds(lambda: compare(replay, settings))
    setting = (grid - first) / len(settings)
    part, _ = seconds(lambda: one_by_one(groups[:BASELINE_GROUPS]))
    baseline = part * len(groups) / min(BASELINE_GROUPS, len(groups))
    print(f"{arguments.rollouts:,} rollouts in groups of {ROLLOUTS}, {len(settings)} settings beside the run's own")
    for what, value in (
        ("read the samples of an evaluation (JSONL)", read_samples),
        ("read the store", read),
        ("get ready", prepare),
        ("the run's own settings", first),
        ("check the budgets", check),
        ("each further setting", setting),
        ("baseline: group by group, one setting", baseline),
    ):
        print(f"{what:<45} {value:>8.2f} s")
    total = read + prepare + first + check + grid
    met = budgets["equal"] == budgets["visits"]
    for what, value, sign, goal in (
        (f"lapo replay STORE with {len(settings)} settings, s", total, "<=", GOAL_TOTAL_S),
        ("each further setting, s", setting, "<=", GOAL_SETTING_S),
        ("baseline / each further setting", baseline / setting, ">=", GOAL_RATIO),
    ):
        reached = value <= goal if sign == "<=" else value >= goal
        met = met and reached
        print(f"{what:<45} {value:>8.2f}   goal {sign} {goal:g}: {'met' if reached else 'MISSED'}")
    print(f"budgets as recorded: {budgets['equal']:,} of {budgets['visits']:,}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
