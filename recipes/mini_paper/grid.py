"""What the laboratory trains: the paper's tables as a list of trainings, and the settings that all of them share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

# Tokens: half of the base's mean length on the validation split (140). What a method of Table 5 aims at.
LENGTH_SCALE = 70
# L1's sentence and ThinkPrune's, in words that the task's tokenizer knows.
USER_SENTENCE = "lapo.guidance.text=' answer the question with {budget} tokens.'"


@dataclass(frozen=True)
class Hyperparameters:
    """The same for every method (README.md, "How the settings were chosen").

    Attributes:
        steps: of each stage; a method that has one stage takes as many as both together.
        train_problems: drawn of the training split by ``seed``; a stage visits each of them four times.
        decay, sigma: tokens; about what one check takes.
        validate_every: steps between two validations, for the curves of Fig. 5.
        samples: of each test problem.
        conflict: lengths that Table 4's contradicting instruction asks for: far below and far above what is needed.
        budgets: tokens that Table 6 asks for.
    """

    steps: int = 8
    learning_rate: float = 2e-4
    train_problems: int = 64
    train_batch_size: int = 32
    rollouts: int = 8
    temperature: float = 1.0
    decay: float = 10
    sigma: float = 10
    validate_every: int = 4
    samples: int = 1
    conflict: tuple[int, ...] = (40, 250)
    budgets: tuple[int, ...] = (20, 40, 80, 160)


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


# Budgets of 100 to 4,000 tokens there, on average half of the longest.
_L1_SCALE = (
    f"lapo.objective.low={2 * LENGTH_SCALE // 40}",
    f"lapo.objective.high={2 * LENGTH_SCALE}",
    f"lapo.objective.alpha={0.0003 * 4000 / (2 * LENGTH_SCALE):.3g}",
    USER_SENTENCE,
)


def _peer(name: str, title: str, *overrides: str) -> Training:
    return Training(name, title, "length_control", stages=2, overrides=overrides)


# Each has its published settings, apart from numbers of tokens and of steps. The length that it aims at is
# LENGTH_SCALE: a fixed target or limit, the mean of drawn budgets, the length from which on tokens cost. Its other
# lengths keep their ratio to that one; a price per token is multiplied by 4,096 / LENGTH_SCALE. A number of steps fits
# the 16 that are trained.
PEERS = (
    _peer(
        "overlong",
        "DAPO soft overlong",
        "objective=overlong",
        f"lapo.objective.limit={2 * LENGTH_SCALE}",
        f"lapo.objective.buffer={LENGTH_SCALE}",
    ),
    _peer(
        "truncation",
        "truncation (ThinkPrune)",
        "objective=truncation",
        f"lapo.objective.limit={LENGTH_SCALE}",
        USER_SENTENCE,
    ),
    _peer("kimi", "Kimi k1.5", "objective=kimi"),
    _peer("arora_zanette", "Arora & Zanette", "objective=arora_zanette"),
    _peer("l1_exact", "L1, exact", "objective=l1", *_L1_SCALE),
    _peer("l1_max", "L1, max", "objective=l1", "guidance=l1_max", *_L1_SCALE),
    _peer("alp", "ALP", "objective=alp", f"lapo.objective.beta={1e-7 * 4096 / LENGTH_SCALE:.3g}"),
    _peer("laser", "LASER", "objective=laser", f"lapo.objective.target_length={LENGTH_SCALE}"),
    _peer(
        "laser_d",
        "LASER-D",
        "objective=laser_d",
        f"lapo.objective.target_length={2 * LENGTH_SCALE}",
        f"lapo.objective.lower_bound={LENGTH_SCALE}",
        f"lapo.objective.spacing={LENGTH_SCALE // 4}",
        "lapo.objective.interval=4",
    ),
    _peer("gr3", "GR3", "objective=gr3"),
    _peer("hapo", "HAPO", "objective=hapo"),
    _peer(
        "shorterbetter",
        "ShorterBetter",
        "objective=shorterbetter",
        f"lapo.objective.beta={0.001 * 4096 / LENGTH_SCALE:.3g}",
    ),
    _peer(
        "acoer",
        "ACOER",
        "objective=acoer",
        f"lapo.objective.budget={LENGTH_SCALE}",
        f"lapo.objective.lowest_budget={LENGTH_SCALE // 8}",
        "lapo.objective.warmup=4",
        "lapo.objective.window=4",
    ),
)
BASE = "base"
BUDGET_TABLE = "table6"
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
        *PEERS,
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
    "table5": ("acc_only", "lapo_d", "lapo_i", *(training.name for training in PEERS)),
    # Not of trainings but of budgets that a trained model is asked for: see budgets.py.
    BUDGET_TABLE: ("lapo_i", "l1_exact"),
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
