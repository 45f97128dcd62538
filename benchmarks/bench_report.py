"""What ``lapo report`` costs: 500 problems x 32 samples x 4 checkpoints, responses of about 2 kB.

The evaluation is made up (lengths and accuracy by level, texts of sentences as reasoning models write them) and written
as ``lapo eval`` writes it, one JSONL of all samples; then the command runs in a process of its own, once.

    python benchmarks/bench_report.py
    python benchmarks/bench_report.py --problems 2000 --checkpoints 8
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

GOAL_SECONDS, GOAL_BYTES = 20.0, 1e9
SENTENCES = (
    "Let me first recall what the problem asks for.",
    "We need to find the number of integers n such that n^2 + 3n + 2 is divisible by 6.",
    "So \\frac{{n(n+1)}}{{2}} = {0}, and therefore n = {1}.",
    "Wait, that does not look right: {0} + {1} is not {2}.",
    "Hmm, let me check this again with n = {0}.",
    "Alternatively, maybe there is another way: consider the equation modulo {0}.",
    "Expanding the product gives {0}x^2 - {1}x + {2} = 0.",
    "Using the identity from before, the sum over k from 1 to {0} equals {1}.",
    "Thus the remaining cases are {0}, {1} and {2}.",
    "Since {0} is prime, one of the factors has to be {1}.",
)


def response(draw: random.Random, characters: int) -> str:
    """A text of about so many characters that ends in a boxed answer."""
    parts: list[str] = []
    length = 0
    while length < characters:
        sentence = draw.choice(SENTENCES).format(draw.randrange(100), draw.randrange(100), draw.randrange(100))
        parts.append(sentence)
        length += len(sentence) + 1
    return f"<think> {' '.join(parts)}</think>The final answer is \\boxed{{{draw.randrange(100)}}}."


def write_evaluation(path: Path, problems: int, samples: int, checkpoints: int) -> None:
    """Checkpoint k is shorter and a little better than the one before."""
    draw = random.Random(0)
    with path.open("w", encoding="utf-8") as file:
        for checkpoint in range(checkpoints):
            for problem in range(problems):
                level = 1 + problem % 5
                for sample in range(samples):
                    tokens = int(draw.lognormvariate(5.6, 0.4) * (0.5 + level / 5) * 0.85**checkpoint)
                    row = {
                        "checkpoint": f"step {checkpoint}",
                        "benchmark": "math500",
                        "condition": "",
                        "problem_id": f"math500/{problem}",
                        "level": str(level),
                        "sample": sample,
                        "prompt": f"Problem {problem}: how many integers n satisfy the condition? " * 3,
                        "response": response(draw, 6 * tokens),
                        "ground_truth": str(problem),
                        "acc": float(draw.random() < 0.95 - 0.1 * level + 0.01 * checkpoint),
                        "tokens": tokens,
                        "truncated": tokens > 2000,
                    }
                    file.write(json.dumps(row) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=500)
    parser.add_argument("--samples", type=int, default=32)
    parser.add_argument("--checkpoints", type=int, default=4)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = folder / "samples.jsonl"
        write_evaluation(source, arguments.problems, arguments.samples, arguments.checkpoints)
        rows, size = arguments.problems * arguments.samples * arguments.checkpoints, source.stat().st_size
        command = [
            sys.executable,
            "-m",
            "lapo_verl.cli.main",
            "report",
            f"evaluation={source}",
            "-o",
            str(folder / "report"),
        ]
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        if status:
            print(f"lapo report failed with status {status}")
            return 1
        made = sorted(path.name for path in (folder / "report").iterdir())
    print(f"{rows:,} samples of {arguments.checkpoints} checkpoints, {size / 1e6:.0f} MB, {size / rows:.0f} bytes each")
    print(f"made {len(made)} files: {', '.join(made)}")
    met = True
    for what, value, goal, unit in (
        ("wall time", seconds, GOAL_SECONDS, "s"),
        ("processor time", usage.ru_utime + usage.ru_stime, None, "s"),
        ("peak resident memory", usage.ru_maxrss * 1024 / 1e6, GOAL_BYTES / 1e6, "MB"),
    ):
        verdict = "" if goal is None else f"   goal <= {goal:g}: {'met' if value <= goal else 'MISSED'}"
        print(f"{what:<22} {value:>8.1f} {unit}{verdict}")
        met = met and (goal is None or value <= goal)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
