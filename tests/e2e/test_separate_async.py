"""Internalization with vLLM apart from the trainer, killed with visits in flight and resumed.

There are as many problems as a batch has, and verl asks for the next batch before it trains on one: at every moment a
problem has two visits in flight. Before the kill a step is sampled in one part (``parameter_sync_step=1``), after the
resume in two.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
import pytest
from transformers import AutoTokenizer
from verl_runs import Inputs, Run, correct_and_lengths, groups_of, kill_after_checkpoint, rewards_of

from lapo_verl.guidance import guidance_text
from lapo_verl.objectives import objective
from lapo_verl.replay.command import run_replay
from lapo_verl.store import GroupRecord, LengthStore

BATCH, STEPS, BUDGET = 8, 3, 90
SETTINGS = (
    "trainer.v1.trainer_mode=separate_async",
    "trainer.v1.sampler.custom_sampler.name=RecordingBufferAsync",
    "actor_rollout_ref.hybrid_engine=false",
    # vLLM generates half a batch at a time, so that weights change and the kill comes amid responses.
    f"actor_rollout_ref.rollout.max_num_seqs={BATCH * 2}",
    "lapo.objective.sigma=6",
    f"trainer.total_training_steps={STEPS}",
    f"trainer.total_epochs={STEPS + 2}",
    "trainer.save_freq=1",
)
# verl 0.9.1 ends with a TypeError in a log line of level INFO where hybrid_engine is false.
ENVIRONMENT = {"VERL_LOGGING_LEVEL": "WARNING"}


def in_parts(parts: int) -> tuple[str, str]:
    """How often the model is updated between two updates of vLLM's weights, each time with a part of the batch."""
    return (
        f"trainer.v1.separate_async.parameter_sync_step={parts}",
        f"actor_rollout_ref.actor.ppo_mini_batch_size={BATCH // parts}",
    )


class Training(NamedTuple):
    """What counts of both starts: of the killed one its first step.

    Attributes:
        in_flight: visits that were in the queue when the checkpoint was made, by verl's uid.
        left: those that are there at the end.
        samples: how many times verl asked the buffer for rollouts, by step.
    """

    run: Run
    rows: list[dict[str, Any]]
    in_flight: set[str]
    left: set[str]
    samples: dict[int, int]


@pytest.fixture(scope="module")
def training(inputs: Inputs, run_verl: Callable[..., Run], tmp_path_factory: pytest.TempPathFactory) -> Training:
    folder = tmp_path_factory.mktemp("separate")
    problems = pq.read_table(inputs.train).slice(0, BATCH)
    pq.write_table(problems, folder / "train.parquet")
    with LengthStore.open(folder / "stage_one.sqlite") as store:
        known = [GroupRecord(row["extra_info"]["problem_id"], (BUDGET,), (True,)) for row in problems.to_pylist()]
        store.record_step("discovery", 1, known, objective("discovery"))
    settings = (f"data.train_files={folder}/train.parquet", f"lapo.init_from={folder}/stage_one.sqlite", *SETTINGS)

    arguments = ("lapo_internalization", folder, *settings)
    kill_after_checkpoint(1, inputs, *arguments, *in_parts(1), env=ENVIRONMENT)
    run = run_verl(*arguments, *in_parts(2), env=ENVIRONMENT)
    assert run.returncode == 0, run.faults

    written = [json.loads(line) for line in (folder / "record.jsonl").read_text().splitlines()]
    second = [place for place, row in enumerate(written) if row["partition"] == "start"][1]
    kept = [row for place, row in enumerate(written) if place > second or row.get("step") == 1]
    samples = [row for row in kept if row["partition"] == "left"]
    return Training(
        run,
        [row for row in kept if row["partition"] == "train"],
        set(next(row["uids"] for row in samples if row["step"] == 1)),
        set(samples[-1]["uids"]),
        {step: sum(row["step"] == step for row in samples) for step in range(1, STEPS + 1)},
    )


def test_the_parts_of_a_step_are_one_step(training: Training) -> None:
    assert training.samples == {1: 1, 2: 2, 3: 2}
    with LengthStore.open(training.run.store, read_only=True) as store:
        assert store.runs()[-1].steps == STEPS
        recorded = [(r.step, r.problem_id, r.prompt_budget) for r in store.records() if r.run == "internalization"]
    groups = groups_of(training.rows)
    assert [step for step, _ in groups] == sorted(step for step, _, _ in recorded) == sorted([1, 2, 3] * BATCH)
    trained = [
        (step, rows[0]["lapo"]["problem_id"], rows[0]["lapo"]["prompt_budget"]) for (step, _), rows in groups.items()
    ]
    assert sorted(trained) == sorted(recorded)


def test_the_reward_is_around_the_budget_that_the_prompt_named(training: Training, inputs: Inputs) -> None:
    tokenizer = AutoTokenizer.from_pretrained(inputs.model)
    for rows in groups_of(training.rows).values():
        budget = rows[0]["lapo"]["prompt_budget"]
        sentence = tokenizer.encode(guidance_text("exact", budget), add_special_tokens=False)
        assert all(row["prompt"][-len(sentence) :] == sentence for row in rows)
        expected = rewards_of(rows, budget, "internalization", sigma=6)
        assert [sum(row["scores"]) for row in rows] == pytest.approx(expected, abs=2**-16)


def test_rewards_reach_the_end_of_the_step(training: Training) -> None:
    """verl dumps ``rm_scores`` after all parts of a step: what it trained on is what the hook wrote."""
    for step in (2, 3):
        written = {row["key"]: sum(row["scores"]) for row in training.rows if row["step"] == step}
        dumped = {row["uid"]: row["score"] for row in training.run.dump("rollouts", step)}
        assert len(dumped) == BATCH * 4
        assert dumped == pytest.approx(written)


def test_a_replay_gives_back_what_was_trained_on(training: Training) -> None:
    check = run_replay(training.run.folder / "rollouts", of="internalization", store=training.run.store)["check"]
    assert check["rewards"]["equal"] == check["rewards"]["rollouts"] >= 2 * BATCH * 4
    assert check["budgets"]["equal"] == check["budgets"]["visits"]


def test_eq_8_counts_visits_that_were_shown_an_older_budget(training: Training) -> None:
    lengths: dict[tuple[int, str], list[int]] = defaultdict(list)
    shown: dict[tuple[int, str], set[float]] = defaultdict(set)
    for (step, _), rows in groups_of(training.rows).items():
        visit = step, rows[0]["lapo"]["problem_id"]
        shown[visit].add(rows[0]["lapo"]["target"])
        lengths[visit] += [n for right, n in zip(*correct_and_lengths(rows), strict=True) if right]
    late = 0
    with LengthStore.open(training.run.store, read_only=True) as store:
        for problem in {problem for _, problem in shown}:
            target = float(BUDGET)
            for step in sorted(step for step, other in shown if other == problem):
                late += shown[step, problem] != {target}
                if lengths[step, problem]:
                    target = min(target, float(np.median(lengths[step, problem])))
                last = [r for r in store.history(problem) if (r.run, r.step) == ("internalization", step)][-1]
                assert last.target == target
    assert late > 0, "no problem had two visits in flight"


def test_visits_in_flight_outlive_a_kill(training: Training) -> None:
    groups = groups_of(training.rows)
    before = {uid for step, uid in groups if step == 1}
    after = {uid for step, uid in groups if step > 1}
    assert not before & after
    restored = training.in_flight & after
    assert restored and training.in_flight <= after | training.left
    # They keep the budget that they were shown, before the first step was trained.
    for (_, uid), rows in groups.items():
        if uid in restored:
            assert (rows[0]["lapo"]["prompt_budget"], rows[0]["lapo"]["budget_age"]) == (BUDGET, 1)


def test_the_age_of_the_budgets_is_in_the_log(training: Training) -> None:
    groups = groups_of(training.rows)
    for step in (2, 3):
        ages = [rows[0]["lapo"]["budget_age"] for (other, _), rows in groups.items() if other == step]
        assert training.run.metrics()[step]["lapo/budget_age"] == pytest.approx(np.mean(ages))


def test_vllm_has_the_trainers_weights(training: Training) -> None:
    """vLLM starts with random ones; the trainer's probability of a token differs by one update at most."""
    for step in (2, 3):
        assert training.run.metrics()[step]["training/rollout_probs_diff_mean"] < 0.01
