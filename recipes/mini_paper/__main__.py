"""The paper in miniature: trains and evaluates every row of its tables on a toy task, and writes the results.

    make paper                                      # everything: 14 hours on two cores
    make paper ARGS="--tables table1 --seeds 1"     # one seed of Table 1: about half an hour
    make paper ARGS=--report                        # only writes the results of what is there

A training that is kept in ``results/cells`` is not done again, wherever it was made; one that was cut short goes on
from its checkpoint.
"""

from __future__ import annotations

import argparse
import hashlib
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from rich.console import Console

from lapo_verl.cpu import warm_python
from lapo_verl.evaluate import EvalSettings, evaluate
from lapo_verl.files import settings_key
from lapo_verl.objectives import objective
from lapo_verl.replay.command import write_store
from lapo_verl.runs import verl_process
from lapo_verl.runs.stage import Stage, run_stage
from lapo_verl.store import LengthStore
from mini_paper.cells import is_kept, make_cell, write_cell
from mini_paper.grid import BASE, BUDGET_TABLE, SEEDS, TABLES, TRAININGS, Hyperparameters, Training, needed
from mini_paper.results import RESULTS, cell_path, write_results
from toy.task import PROMPT_LIMIT, RESPONSE_LIMIT
from toy.warmup import ToyPaths, prepare

RUN_STAGE = Path(__file__).resolve().parents[1] / "demo" / "run_stage.sh"
# The instruction of Table 4, in words that the task's tokenizer knows.
CONFLICT_TEXT = " answer the question with {n} tokens."
console = Console()


@dataclass(frozen=True)
class Lab:
    """Where everything is written, and what all trainings share."""

    output: Path
    paths: ToyPaths
    hyper: Hyperparameters

    @property
    def base_key(self) -> str:
        """Of the base model: the settings of its warm-up."""
        return _hash(self.paths.model / "warmup.json")

    def stage(self, training: Training, seed: int) -> Stage:
        """A training's folder; its key covers everything that its weights follow from."""
        made_of = {
            "training": asdict(training),
            "hyperparameters": asdict(self.hyper),
            "response_limit": RESPONSE_LIMIT,
            "seed": seed,
            "train": _hash(self.paths.train),
            "start": self.stage(TRAININGS[training.parent], seed).key
            if training.parent
            else _hash(self.paths.model / "warmup.json"),
        }
        folder = self.output / "runs" / f"seed{seed}" / training.name
        return Stage(
            f"seed {seed}: {training.title}", folder, training.stages * self.hyper.steps, settings_key(made_of)
        )

    def evaluation(self, name: str) -> EvalSettings:
        """As in the paper: no guidance, T 0.6, top-p 0.95; Table 4's rows also in conflict, Table 6's under budgets."""
        return EvalSettings(
            n=self.hyper.samples,
            max_tokens=RESPONSE_LIMIT,
            max_prompt_tokens=PROMPT_LIMIT,
            conflicts=self.hyper.conflict if name in TABLES["table4"] else (),
            conflict_text=CONFLICT_TEXT,
            budgets=self.hyper.budgets if name in TABLES[BUDGET_TABLE] else (),
        )

    def cell_key(self, training: Training | None, seed: int) -> str:
        """A hash of everything that a cell's samples follow from."""
        made_of = {
            "model": self.stage(training, seed).key if training else self.base_key,
            "seed": seed,
            "evaluation": asdict(self.evaluation(training.name if training else BASE)),
            "test": _hash(self.paths.test),
        }
        return settings_key(made_of)


def main() -> None:
    """The command line."""
    arguments = _arguments()
    verl_process.exit_on_sigterm()
    lab = Lab(arguments.output, prepare(arguments.output), Hyperparameters())
    cells = [] if arguments.report else list(_cells(arguments.tables, arguments.seeds))
    keys = {
        cell_path(arguments.results, training.name if training else BASE, seed): lab.cell_key(training, seed)
        for training, seed in _cells(list(TABLES), list(SEEDS))
    }
    with warm_python.offered():
        for number, (training, seed) in enumerate(cells, start=1):
            name, title = (training.name, training.title) if training else (BASE, BASE)
            kept = cell_path(arguments.results, name, seed)
            key = keys[kept]
            console.rule(f"{number} of {len(cells)}: {title}, seed {seed}")
            if is_kept(kept, key):
                console.print(f"done before, kept in {kept}")
                continue
            model = train(lab, training, seed).weights if training else lab.paths.model
            folder = lab.output / "eval" / f"seed{seed}" / name
            settings = replace(lab.evaluation(name), seed=seed)
            started = time.monotonic()
            evaluation = evaluate({name: model}, {"test": lab.paths.test}, settings, folder, "cpu", console)
            seconds = time.monotonic() - started
            stage = lab.stage(training, seed) if training else None
            write_cell(make_cell(key, name, evaluation.samples, seconds, stage), kept)
            write_results(lab.hyper, keys, arguments.results, console)
    write_results(lab.hyper, keys, arguments.results, console)


def _cells(tables: list[str], seeds: list[int]) -> Iterator[tuple[Training | None, int]]:
    """Every training and the base, once each, a table of one seed after the other."""
    seen = set()
    for table in tables:
        for seed in seeds:
            rows: list[Training | None] = [None] if BASE in TABLES[table] else []
            for training in (*rows, *needed(table)):
                cell = (training.name if training else BASE, seed)
                if cell not in seen:
                    seen.add(cell)
                    yield training, seed


def train(lab: Lab, training: Training, seed: int) -> Stage:
    """One training by verl's command, after the one that it starts from; what is there already is not trained again."""
    stage = lab.stage(training, seed)
    hyper, overrides = lab.hyper, list(training.overrides)
    model = lab.paths.model
    if training.parent:
        parent = train(lab, TRAININGS[training.parent], seed)
        model = parent.weights
        overrides.append(f"lapo.init_from={_starting_store(lab, training, parent, stage)}")
    environment = {
        "OUTPUT": str(lab.output),
        "MODEL": str(model),
        "TRAIN": str(lab.paths.train),
        "HELDOUT": str(lab.paths.validation),
        "LEARNING_RATE": str(hyper.learning_rate),
        "TRAIN_BATCH_SIZE": str(hyper.train_batch_size),
        "ROLLOUTS": str(hyper.rollouts),
        "PROMPT_LIMIT": str(PROMPT_LIMIT),
        "RESPONSE_LIMIT": str(RESPONSE_LIMIT),
        "DECAY": str(hyper.decay),
        "SIGMA": str(hyper.sigma),
    }
    shared = [
        f"data.train_max_samples={hyper.train_problems}",
        f"data.seed={seed}",
        "actor_rollout_ref.rollout.calculate_log_probs=false",
        f"actor_rollout_ref.rollout.seed={seed}",
        f"actor_rollout_ref.rollout.temperature={hyper.temperature}",
        # One sample of each validation problem, for the curves of Fig. 5; the tables are of the test split.
        "actor_rollout_ref.rollout.val_kwargs.n=1",
        f"trainer.test_freq={hyper.validate_every}",
        f"trainer.val_before_train={'false' if training.parent else 'true'}",
    ]
    run_stage(stage, ["bash", str(RUN_STAGE), training.config, *shared, *overrides], environment, console)
    return stage


def _starting_store(lab: Lab, training: Training, parent: Stage, stage: Stage) -> Path:
    """Stage 1's store; rebuilt under other settings where the training asks for them."""
    if not training.rebuilt:
        return parent.store
    rebuilt = stage.folder.with_name(f"{training.name}.{stage.key}.sqlite")
    if not rebuilt.exists():
        rebuilt.parent.mkdir(parents=True, exist_ok=True)
        with LengthStore.open(parent.store, read_only=True) as store:
            (run,) = store.runs()
        write_store(parent.store, rebuilt, {run.name: objective(**{**run.objective, **training.rebuilt})})
    return rebuilt


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="mini_paper", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=Path("outputs/paper"), help="folder of everything that it makes")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the result files")
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES), help="all where not given")
    parser.add_argument("--seeds", nargs="+", type=int, choices=SEEDS, default=list(SEEDS))
    parser.add_argument("--report", action="store_true", help="train nothing")
    return parser.parse_args()


if __name__ == "__main__":
    main()
