"""What the laboratory trains: the paper's tables as a list of trainings, and the settings that all of them share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Hyperparameters:
    """The same for every method; chosen on the validation split (README.md, "How the settings were chosen").

    Attributes:
        steps: of each stage; Acc-Only, which has one stage, takes as many as both together.
        train_problems: drawn of the training split by ``seed``; a stage visits each of them four times.
        decay, sigma: tokens; about what one check takes.
        validate_every: steps between two validations, for the curves of Fig. 5.
        conflict: lengths that Table 4's contradicting instruction asks for: far below and far above what is needed.
    """

    steps: int = 20
    learning_rate: float = 2e-4
    train_problems: int = 160
    train_batch_size: int = 32
    rollouts: int = 8
    temperature: float = 1.0
    decay: float = 10
    sigma: float = 10
    validate_every: int = 5
    conflict: tuple[int, int] = (40, 250)


@dataclass(frozen=True)
class Training:
    """One row of a table.

    Attributes:
        title: as the tables call it.
        config: of verl's command.
        stages: how many stages' steps it takes.
        parent: the training whose weights it starts with; None for the base model.
        rebuilt: stage 1's store is first replayed with these settings (``lapo replay --write``): Discovery's rewards do
            not depend on them, so one Discovery serves all.
        overrides: of verl's command, beside those that all share.
    """

    name: str
    title: str
    config: str
    stages: int = 1
    parent: str | None = None
    rebuilt: Mapping[str, str] = field(default_factory=dict)
    overrides: tuple[str, ...] = ()


def _internalization(
    name: str, title: str, *overrides: str, parent: str = "lapo_d", rebuilt: Mapping[str, str] | None = None
) -> Training:
    return Training(name, title, "lapo_internalization", 1, parent, rebuilt or {}, overrides)


BASE = "base"
TRAININGS = {
    training.name: training
    for training in (
        Training("acc_only", "Acc-Only", "acc_only", stages=2),
        Training("lapo_d", "LAPO-D", "lapo_discovery"),
        _internalization("lapo_i", "LAPO-I (exact, median)"),
        _internalization("range", "range", "lapo.guidance.form=range"),
        _internalization("outside", "outside", "lapo.guidance.place=outside"),
        _internalization("implicit", "implicit", "lapo.guidance.form=implicit"),
        _internalization("mean", "mean", "lapo.objective.statistic=mean", rebuilt={"statistic": "mean"}),
        _internalization("minimum", "minimum", "lapo.objective.statistic=minimum", rebuilt={"statistic": "minimum"}),
        _internalization("keep", "on_unsolved: keep", rebuilt={"on_unsolved": "keep"}),
        _internalization("share", "guidance share 0.5", "lapo.guidance.share=0.5"),
        Training("reference_d", "LAPO-D, preset reference", "lapo_discovery", overrides=("preset=reference",)),
        _internalization("reference_i", "LAPO-I, preset reference", "preset=reference", parent="reference_d"),
    )
}
# Rows of each table, and of the experiments that the paper does not have.
TABLES = {
    "table1": (BASE, "acc_only", "lapo_d", "lapo_i"),
    "table2": ("lapo_i", "range", "outside", "implicit"),
    "table3": ("lapo_i", "mean", "minimum"),
    "table4": ("lapo_i", "outside"),
    "presets": ("lapo_d", "lapo_i", "reference_d", "reference_i"),
    "unsolved": ("lapo_i", "keep"),
    "share": ("lapo_i", "share"),
}
SEEDS = (1, 2, 3)


def needed(table: str) -> list[Training]:
    """The trainings that a table takes, each after the one that it starts from."""
    found: dict[str, Training] = {}

    def take(name: str) -> None:
        training = TRAININGS[name]
        if training.parent:
            take(training.parent)
        found[name] = training

    for name in TABLES[table]:
        if name != BASE:
            take(name)
    return list(found.values())
