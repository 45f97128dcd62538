"""What LAPO's part of a training step costs, with few and with very many known problems.

A step is 128 problems x 8 rollouts of 1200 to 2400 tokens: read the budgets, compute rewards and metrics, record the
step (one transaction, on the disk when it returns). The baseline is the reference scheme, at 10^4 problems: one JSON
file {prompt: median} that is rewritten under a lock for each group whose budget changes, and lengths found by encoding
each response's text again, two times. Its dictionary stays in memory here, which the reference reads anew.

The stores are filled in advance, one record a problem, and are in the system's file cache, as after some steps of a
training. Steps of all sizes take turns, so that whatever else the machine does hits them alike.

    python benchmarks/bench_hook.py                      # 10^4, 10^6 and 10^7 problems: about 5 GB of disk
    python benchmarks/bench_hook.py --problems 10000 1000000 --tokenizer path/to/tokenizer.json
"""

from __future__ import annotations

import argparse
import fcntl
import inspect
import json
import os
import random
import sqlite3
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lapo_verl.hooks.step import Rollout, Step, step_metrics
from lapo_verl.objectives import Groups, checked_rewards, float32_scores, objective
from lapo_verl.store import LengthStore

GROUPS, ROLLOUTS, SHORTEST, LONGEST = 128, 8, 1200, 2400
CORRECT = 0.6  # share of rollouts
DISCOVERY, RESPONSE_LIMIT = objective("discovery"), 4096
GOAL_STEP_MS, GOAL_RATIO, GOAL_GROWTH, GOAL_BYTES = 30.0, 160.0, 1.2, 64.0


@dataclass
class Group:
    """The rollouts of one problem: ``correct`` bool and ``lengths`` int, both of shape (ROLLOUTS,)."""

    problem: int
    correct: np.ndarray[Any, Any]
    lengths: np.ndarray[Any, Any]


def make_step(rng: random.Random, problems: int) -> list[Group]:
    draw = np.random.default_rng(rng.randrange(2**32))
    return [
        Group(problem, draw.random(ROLLOUTS) < CORRECT, draw.integers(SHORTEST, LONGEST, ROLLOUTS, endpoint=True))
        for problem in rng.sample(range(problems), GROUPS)
    ]


def problem_name(problem: int) -> str:
    return f"{problem * 0x9E3779B1:032x}"  # 32 digits, as problem_id gives, in rising order, which fills quickly


def fill(path: Path, problems: int) -> None:
    """A store with one record for each of ``problems`` problems, written by SQLite itself."""
    with LengthStore.open(path) as store:
        store.begin_run("discovery", DISCOVERY, {"response_limit": RESPONSE_LIMIT})
    connection = sqlite3.connect(path)
    connection.executescript(
        f"""PRAGMA synchronous = OFF; PRAGMA journal_mode = OFF; BEGIN;
        CREATE TEMP VIEW numbers AS WITH RECURSIVE i (x) AS
            (SELECT 0 UNION ALL SELECT x + 1 FROM i WHERE x + 1 < {problems}) SELECT x FROM i;
        INSERT INTO problems
            SELECT printf('%032x', x * {0x9E3779B1}), 1200 + x % 1200, x + 1 FROM numbers;
        INSERT INTO records
            SELECT x + 1, 1, 1 + x / {GROUPS}, printf('%032x', x * {0x9E3779B1}), {ROLLOUTS}, zeroblob({2 * ROLLOUTS}),
                zeroblob({ROLLOUTS // 8}), NULL, 1200 + x % 1200, NULL, 4294967295 FROM numbers;
        INSERT INTO steps
            SELECT 1, 1 + x, 1 + x * {GROUPS}, NULL, 4294967295 FROM numbers WHERE x * {GROUPS} < {problems};
        COMMIT;"""
    )
    connection.close()


def our_step(store: LengthStore, step: int, groups: list[Group]) -> None:
    """What the replay buffer does between reading the queue and writing to it."""
    names = [problem_name(group.problem) for group in groups]
    before = store.budgets(names)
    rollouts = [
        Rollout(name, name, before[name], bool(correct), int(length))
        for name, group in zip(names, groups, strict=True)
        for correct, length in zip(group.correct, group.lengths, strict=True)
    ]
    sampled, memory = Step(rollouts, RESPONSE_LIMIT), store.memory("discovery")
    rewards = checked_rewards(DISCOVERY, sampled.groups, memory)
    after = store.record_step("discovery", step, sampled.records(), DISCOVERY)
    sampled.by_rollout(float32_scores(rewards))
    step_metrics(sampled, DISCOVERY, rewards, memory, before, after)


class ReferenceScheme:
    """{prompt: median} in one JSON file, and lengths from the text."""

    def __init__(self, folder: Path, problems: int, tokenizer: Any, text: str) -> None:
        self.path, self.tokenizer = folder / "mapping.json", tokenizer
        self.tokens = tokenizer.encode(text).ids
        rng = random.Random(0)
        # Prompts of about 150 tokens, as a question with the paper's instructions has.
        self.prompts = [f"{i} {text[(at := rng.randrange(len(text) - 600)) : at + 600]}" for i in range(problems)]
        self.medians: dict[str, float] = dict.fromkeys(self.prompts, 4096.0)

    def texts(self, groups: list[Group]) -> list[list[str]]:
        """Responses of the wanted lengths; made before the clock starts."""
        rng = random.Random(1)
        starts = range(len(self.tokens) - LONGEST)
        return [
            [self.tokenizer.decode(self.tokens[(at := rng.choice(starts)) : at + length]) for length in group.lengths]
            for group in groups
        ]

    def step(self, groups: list[Group], texts: list[list[str]]) -> None:
        for group, responses in zip(groups, texts, strict=True):
            for _ in range(2):
                lengths = np.array([len(self.tokenizer.encode(response).ids) for response in responses])
            one = Groups(group.correct[None], lengths[None])
            DISCOVERY.rewards(one)
            median = float(np.nan_to_num(DISCOVERY.update(one)[0], nan=4096.0))
            prompt = self.prompts[group.problem]
            if self.medians[prompt] != median:
                self.medians[prompt] = median
                with open(self.path, "a+") as file:
                    fcntl.flock(file, fcntl.LOCK_EX)
                    file.seek(0)
                    file.truncate()
                    json.dump(self.medians, file)


def corpus() -> str:
    """Some megabytes of text that every Python has: its own sources."""
    folder = Path(inspect.getsourcefile(json) or "").parent.parent
    return "".join(path.read_text(errors="ignore") for path in sorted(folder.glob("*.py")))[:3_000_000]


def load_tokenizer(path: Path | None, text: str) -> Any:
    """The tokenizer at ``path``; else a byte-level BPE, the kind that Qwen has, trained here."""
    import tokenizers

    if path is not None:
        return tokenizers.Tokenizer.from_file(str(path))
    tokenizer = tokenizers.ByteLevelBPETokenizer()
    tokenizer.train_from_iterator([text[:1_000_000]], vocab_size=8000, show_progress=False)
    return tokenizer


def memory() -> int:
    """Resident memory of this process in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def milliseconds(call: Any, *values: Any) -> float:
    start = time.perf_counter()
    call(*values)
    return (time.perf_counter() - start) * 1e3


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, nargs="+", default=[10**4, 10**6, 10**7])
    parser.add_argument("--steps", type=int, default=60, help="timed steps of each size")
    parser.add_argument("--reference-steps", type=int, default=2, help="timed steps of the reference scheme")
    parser.add_argument("--tokenizer", type=Path, help="a tokenizer.json; without, one is trained")
    parser.add_argument("--folder", type=Path, help="where the stores are written; the disk that counts")
    arguments = parser.parse_args()
    rng = random.Random(0)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        stores, grown, times = {}, {}, {}
        for problems in arguments.problems:
            fill(folder / str(problems), problems)
            before = memory()
            store = stores[problems] = LengthStore.open(folder / str(problems))
            first = (store.last_step("discovery") or 0) + 1
            for step in range(first, first + 5):
                our_step(store, step, make_step(rng, problems))
            grown[problems], times[problems] = memory() - before, []
        os.sync()  # or the timed commits would wait for what filling has left to be written
        for _ in range(arguments.steps):
            for problems, store in stores.items():
                groups, step = make_step(rng, problems), (store.last_step("discovery") or 0) + 1
                times[problems].append(milliseconds(our_step, store, step, groups))
        for store in stores.values():
            store.close()
        reference_times = []
        if arguments.reference_steps:
            text = corpus()
            reference = ReferenceScheme(folder, 10**4, load_tokenizer(arguments.tokenizer, text), text)
            for _ in range(arguments.reference_steps):
                groups = make_step(rng, 10**4)
                reference_times.append(milliseconds(reference.step, groups, reference.texts(groups)))
    print(f"one step: {GROUPS} x {ROLLOUTS} rollouts, {SHORTEST}-{LONGEST} tokens, commit with fsync")
    print(f"{'problems':>12} {'median ms':>10} {'p95 ms':>10} {'max ms':>10} {'bytes/problem':>14}")
    for problems, taken in times.items():
        p95, worst = np.percentile(taken, 95), max(taken)
        row = f"{problems:>12} {statistics.median(taken):>10.2f} {p95:>10.2f} {worst:>10.2f}"
        print(f"{row} {grown[problems] / problems:>14.2f}")
    smallest, largest = min(times), max(times)
    medians = {problems: statistics.median(taken) for problems, taken in times.items()}
    goals = [
        (f"median step at {largest} problems, ms", max(medians.values()), "<=", GOAL_STEP_MS),
        (f"{largest} problems / {smallest} problems", medians[largest] / medians[smallest], "<=", GOAL_GROWTH),
        (f"memory at {largest} problems, bytes each", grown[largest] / largest, "<=", GOAL_BYTES),
    ]
    if reference_times:
        reference_ms = statistics.median(reference_times)
        print(f"{'reference':>12} {reference_ms:>10.2f}   (10000 problems)")
        goals.append(("reference scheme / ours, at the smallest", reference_ms / medians[smallest], ">=", GOAL_RATIO))
    met = True
    for what, value, sign, goal in goals:
        reached = value <= goal if sign == "<=" else value >= goal
        met = met and reached
        print(f"{what:<45} {value:>10.2f}   goal {sign} {goal:g}: {'met' if reached else 'MISSED'}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
