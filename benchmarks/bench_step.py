"""What LAPO adds to a GRPO step: one real training on the CPU in which every second step is verl's own.

    python benchmarks/bench_step.py [--steps 40] [--output outputs/bench_step]

The learning rate is 0, so that both kinds of steps generate and train on the same lengths. Printed are the medians of
verl's own `timing_s/step`, and their ratio. Baseline: verl 0.9.1's replay buffer and dataset, same poll interval.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

HERE = Path(__file__).resolve().parent
RECIPES = HERE.parent / "recipes"
sys.path.insert(0, str(RECIPES))
# vLLM, Ray and the caches warm up in these.
WARM_UP_STEPS = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=40, help="of which half are verl's own")
    parser.add_argument("--output", type=Path, default=Path("outputs/bench_step"))
    arguments = parser.parse_args()
    metrics = train(arguments.output.resolve(), arguments.steps)
    seconds: dict[bool, list[float]] = {True: [], False: []}
    hook: list[float] = []
    for row in metrics:
        if row["step"] <= WARM_UP_STEPS:
            continue
        seconds[row["step"] % 2 == 1].append(row["data"]["timing_s/step"])
        hook += [row["data"]["lapo/hook_seconds_total"]] if "lapo/hook_seconds_total" in row["data"] else []
    stock, lapo = statistics.median(seconds[True]), statistics.median(seconds[False])
    table = Table("step", "steps", "median s", "minimum s", "maximum s", title="seconds a step")
    for name, values in (("verl's GRPO", seconds[True]), ("LAPO", seconds[False])):
        row = (statistics.median(values), min(values), max(values))
        table.add_row(name, str(len(values)), *(f"{value:.3f}" for value in row))
    console = Console()
    console.print(table)
    console.print(f"LAPO / verl's GRPO: {lapo / stock:.3f} (goal: at most 1.02)")
    console.print(
        f"the group hook itself: median {statistics.median(hook):.3f} s, {statistics.median(hook) / lapo:.1%}"
    )


def train(output: Path, steps: int) -> list[dict[str, dict[str, float]]]:
    """The file logger's rows of a training with alternating steps."""
    from toy.warmup import prepare

    paths = prepare(output)
    log = output / "verl.log"
    metrics = output / "metrics.jsonl"
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "OUTPUT": str(output),
        "STAGE_DIR": str(output),
        "STEPS": str(steps),
        "LEARNING_RATE": "0",
        "MODEL": str(paths.model),
        "HELDOUT": str(paths.validation),
        "VERL_FILE_LOGGER_PATH": str(metrics),
    }
    overrides = [
        f"data.custom_cls.path={HERE / 'step_hooks.py'}",
        "data.custom_cls.name=AlternatingDataset",
        f"trainer.v1.sampler.custom_sampler.path={HERE / 'step_hooks.py'}",
        "trainer.v1.sampler.custom_sampler.name=AlternatingBuffer",
        "trainer.val_before_train=false",
        "trainer.test_freq=-1",
        "trainer.save_freq=-1",
        "trainer.resume_mode=disable",
    ]
    with log.open("wb") as out:
        done = subprocess.run(
            ["bash", str(RECIPES / "demo" / "run_stage.sh"), "lapo_discovery", *overrides],
            env=environment,
            stdout=out,
            stderr=out,
        )
    if done.returncode != 0:
        raise SystemExit(f"the training failed; its output is in {log}")
    return [json.loads(line) for line in metrics.read_text().splitlines()]


if __name__ == "__main__":
    main()
