"""Every ``lapo/`` metric: its unit, what it measures, and how it looks in a healthy run.

The report and ``docs/reference/metrics.md`` are made from this table. A test holds that the hooks and the objectives
log these metrics and no others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

PREFIX: Final = "lapo/"


@dataclass(frozen=True)
class Metric:
    """One metric of the log, one value a step.

    Attributes:
        unit: of the value.
        meaning: what it measures, in one phrase.
        healthy: how it moves, or which values it has, in a run that works; "" where no value is wrong.
        objectives: the objectives that log it; empty: all.
    """

    unit: str
    meaning: str
    healthy: str = ""
    objectives: tuple[str, ...] = ()


METRICS: Final[dict[str, Metric]] = {
    PREFIX + name: metric
    for name, metric in {
        # Of every objective.
        "accuracy": Metric("share of rollouts", "correct rollouts", "rises or holds"),
        "tokens_correct": Metric("tokens", "mean length of correct rollouts", "falls"),
        "tokens_wrong": Metric("tokens", "mean length of wrong rollouts", "falls; stays above the correct ones"),
        "truncated_share": Metric("share of rollouts", "cut off at the response limit", "below 0.05"),
        "solved_share": Metric("share of groups", "groups with a correct rollout", "rises or holds"),
        "unsolved_groups_total": Metric("groups", "groups without a correct rollout", "falls"),
        "no_signal_share": Metric("share of groups", "groups whose rollouts all have one reward", "below 0.5"),
        "verify_timeouts_total": Metric(
            "answers", "answers that the verifier gave up on; they count as wrong", "near 0"
        ),
        "filtered_groups_total": Metric(
            "groups", "groups that verl dropped and did not train on", "0 without filter_groups"
        ),
        "hook_seconds_total": Metric("seconds", "time of the group hook", "below 1 % of a step"),
        # Of most objectives.
        "length_reward": Metric("reward", "what length adds to a correct rollout, mean", "rises"),
        # Of objectives that keep a target for each problem.
        "newly_solved_total": Metric("problems", "problems that got their first target", "falls to 0"),
        "budget_mean": Metric("tokens", "mean target of the step's problems", "falls slowly"),
        "budget_p10": Metric("tokens", "10th percentile of these targets", "falls slowly"),
        "budget_p50": Metric("tokens", "median of these targets", "falls slowly"),
        "budget_p90": Metric("tokens", "90th percentile of these targets", "falls slowly"),
        "budget_change": Metric("tokens", "mean change of a target at this visit", "below 0, towards 0"),
        # Of one objective or a few.
        "in_band_share": Metric(
            "share of correct rollouts",
            "inside the group's 30th to 70th percentile (Eq. 2)",
            "near 0.4 or above",
            ("discovery", "internalization"),
        ),
        "guided_share": Metric(
            "share of groups", "groups whose prompt named the budget", "near lapo.guidance.share", ("internalization",)
        ),
        "budget_age": Metric(
            "steps",
            "from the step that gave a problem its target to the one whose prompt uses it",
            "1 right after a change; grows between the visits of a problem, and where its target no longer changes",
            ("internalization",),
        ),
        "adherence_tokens": Metric(
            "tokens",
            "distance from the budget that the prompt named, correct rollouts",
            "falls",
            ("internalization", "l1"),
        ),
        "adherence_relative": Metric(
            "share of the budget", "the same distance, relative to the budget", "falls", ("internalization",)
        ),
        "unguided_adherence_tokens": Metric(
            "tokens",
            "distance from the budget where the prompt did not name it",
            "follows adherence_tokens",
            ("internalization",),
        ),
        "unguided_adherence_relative": Metric(
            "share of the budget",
            "the same distance, relative to the budget",
            "follows adherence_relative",
            ("internalization",),
        ),
        "over_budget_share": Metric(
            "share of correct rollouts", "longer than the budget that the prompt named", "falls", ("l1",)
        ),
        "over_limit_share": Metric(
            "share of correct rollouts",
            "longer than the limit (truncation) or the target length",
            "falls; above 0 in the first step, else length changes nothing",
            ("laser", "truncation"),
        ),
        "overlong_share": Metric("share of rollouts", "inside the punished last tokens", "falls", ("overlong",)),
        "above_gate_share": Metric(
            "share of groups", "groups in which length counts", "above 0 at first", ("grpo_lead",)
        ),
        "optimal_length": Metric("tokens", "shortest correct length of a group, mean", "falls", ("shorterbetter",)),
        "exploration_reward": Metric("reward", "what length adds to a wrong rollout, mean", "", ("laser_de",)),
        "correct_reward": Metric("reward", "mean reward of correct rollouts", "rises", ("cosine",)),
        "wrong_reward": Metric("reward", "mean reward of wrong rollouts", "", ("cosine",)),
        "alpha": Metric("weight", "weight of the length bonus in this step", "", ("acoer",)),
        "budget": Metric("tokens", "length below which the bonus begins", "falls", ("acoer",)),
        "lambda": Metric("weight", "price of length in this step", "", ("controller",)),
    }.items()
}
