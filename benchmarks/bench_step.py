"""What LAPO adds to a GRPO step, and where a step's time goes: one real training on the CPU.

    python benchmarks/bench_step.py [--steps 40] [--model path/to/model] [--output outputs/bench_step]

Every second step is verl's own: its replay buffer and its dataset, in the same training. The learning rate is 0, so
that both kinds of steps generate and train on the same lengths. Three tables: seconds a step and their ratio, the parts
of a step as verl times them, and the processor seconds that each process takes for a step.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from lapo_verl.cpu import warm_python

HERE = Path(__file__).resolve().parent
RECIPES = HERE.parent / "recipes"
sys.path.insert(0, str(RECIPES))
# Every second step is verl's own.
ALTERNATING = (
    f"data.custom_cls.path={HERE / 'step_hooks.py'}",
    "data.custom_cls.name=AlternatingDataset",
    f"trainer.v1.sampler.custom_sampler.path={HERE / 'step_hooks.py'}",
    "trainer.v1.sampler.custom_sampler.name=AlternatingBuffer",
)
# vLLM, Ray and the caches warm up in these.
WARM_UP_STEPS = 4
# As verl names its timings, and what happens in each.
PARTS = {
    "gen": "generation, agent loop, rewards",
    "old_log_prob": "log-probabilities",
    "adv": "advantages",
    "update_actor": "update",
    "update_weights": "weight sync",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=40, help="of which half are verl's own")
    parser.add_argument("--model", type=Path, help="a model that knows the toy's tokens; the toy's base by default")
    parser.add_argument("--output", type=Path, default=Path("outputs/bench_step"))
    arguments = parser.parse_args()
    with warm_python.offered():
        metrics, processes = train(arguments.output.resolve(), arguments.steps, arguments.model)
    rows = [row for row in metrics if row["step"] > WARM_UP_STEPS]
    stock = [row["data"] for row in rows if row["step"] % 2 == 1]
    lapo = [row["data"] for row in rows if row["step"] % 2 == 0]
    console = Console()
    print_steps(console, stock, lapo)
    print_parts(console, stock, lapo)
    print_processes(console, processes, len(rows))


def print_steps(console: Console, stock: list[dict[str, float]], lapo: list[dict[str, float]]) -> None:
    """Seconds a step, and the ratio."""
    table = Table("step", "steps", "median s", "minimum s", "maximum s", title="seconds a step")
    for name, steps in (("verl's GRPO", stock), ("LAPO", lapo)):
        seconds = [step["timing_s/step"] for step in steps]
        row = (statistics.median(seconds), min(seconds), max(seconds))
        table.add_row(name, str(len(seconds)), *(f"{value:.3f}" for value in row))
    console.print(table)
    ratio = median(lapo, "timing_s/step") / median(stock, "timing_s/step")
    hook = median(lapo, "lapo/hook_seconds_total")
    console.print(f"LAPO / verl's GRPO: {ratio:.3f} (goal: at most 1.02)")
    console.print(f"the group hook itself: median {hook:.3f} s, {hook / median(lapo, 'timing_s/step'):.1%}")
    tokens = median(lapo, "response_length/mean")
    console.print(f"mean response: {tokens:.0f} tokens; load average: {os.getloadavg()[0]:.1f}")


def print_parts(console: Console, stock: list[dict[str, float]], lapo: list[dict[str, float]]) -> None:
    """verl's own timings; what none of them covers is the step's rest."""
    table = Table("part", "verl's GRPO, s", "LAPO, s", "share of a LAPO step", title="where a step's time goes")
    whole = median(lapo, "timing_s/step")
    for name, what in PARTS.items():
        key = f"timing_s/{name}"
        table.add_row(what, f"{median(stock, key):.2f}", f"{median(lapo, key):.2f}", f"{median(lapo, key) / whole:.0%}")
    rest = [statistics.median(step["timing_s/step"] - parts(step) for step in steps) for steps in (stock, lapo)]
    table.add_row("rest", *(f"{seconds:.2f}" for seconds in rest), f"{rest[1] / whole:.0%}")
    console.print(table)


def print_processes(console: Console, seconds: Counter[str], steps: int) -> None:
    """The processes that take most, summed by name."""
    table = Table("process", "processor s a step", title="who computes")
    for name, value in seconds.most_common(12):
        table.add_row(name, f"{value / steps:.2f}")
    table.add_row("all", f"{seconds.total() / steps:.2f}")
    console.print(table)


def parts(step: dict[str, float]) -> float:
    return sum(step[f"timing_s/{name}"] for name in PARTS)


def median(steps: list[dict[str, float]], key: str) -> float:
    return statistics.median(step[key] for step in steps)


def processor_seconds(folder: Path) -> dict[tuple[int, str], float]:
    """{(pid, name): seconds} of the training's processes: those that run in its session or name its folder."""
    found = {}
    for process in psutil.process_iter(["pid", "cmdline", "cpu_times"]):
        command = process.info["cmdline"] or []
        title = command[0] if command else ""
        is_fork, line = warm_python.__name__ in command, " ".join(command)
        if not (is_fork or re.match(r"ray::|VLLM::", title) or str(folder) in line or "/ray/" in line):
            continue
        name = re.split(r"[.:]", title.removeprefix("ray::").removeprefix("VLLM::"))[0]
        # A fork of the warm Python has its name until it takes another one, and vLLM's engine takes none.
        name = "vLLM's engine" if is_fork else name
        times = process.info["cpu_times"]
        found[process.info["pid"], name if not name.startswith("/") else Path(title).name] = times.user + times.system
    return found


def train(output: Path, steps: int, model: Path | None) -> tuple[list[dict[str, dict[str, float]]], Counter[str]]:
    """The file logger's rows of a training with alternating steps; processor seconds by process after the warm-up."""
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
        "MODEL": str(model or paths.model),
        "HELDOUT": str(paths.validation),
        "VERL_FILE_LOGGER_PATH": str(metrics),
    }
    overrides = [
        *ALTERNATING,
        "trainer.val_before_train=false",
        "trainer.test_freq=-1",
        "trainer.save_freq=-1",
        "trainer.resume_mode=disable",
    ]
    command = ["bash", str(RECIPES / "demo" / "run_stage.sh"), "lapo_discovery", *overrides]
    metrics.unlink(missing_ok=True)
    before, last = None, {}
    with log.open("wb") as out, subprocess.Popen(command, env=environment, stdout=out, stderr=out) as process:
        while process.poll() is None:
            time.sleep(0.5)
            done = len(metrics.read_bytes().splitlines()) if metrics.exists() else 0
            if done >= WARM_UP_STEPS and before is None:
                before = processor_seconds(output)
            if done < steps:
                last = processor_seconds(output)
    if process.returncode != 0 or before is None:
        raise SystemExit(f"the training failed; its output is in {log}")
    taken: Counter[str] = Counter()
    for key, seconds in last.items():
        taken[key[1]] += seconds - before.get(key, 0.0)
    return [json.loads(line) for line in metrics.read_text().splitlines()], taken


if __name__ == "__main__":
    main()
