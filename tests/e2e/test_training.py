"""Both stages and the baseline, trained for real; what reached the trainer is recomputed from the rollouts."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoTokenizer
from verl_runs import Inputs, Run, correct_and_lengths, groups_of, rewards_of

from lapo_verl.guidance import guidance_text
from lapo_verl.replay.command import run_replay
from lapo_verl.store import LengthStore
from lapo_verl.verify import is_correct

RESPONSE_LIMIT = 96


def test_discovery_rewards_are_eq_4(discovery: Run) -> None:
    assert discovery.returncode == 0, discovery.faults
    groups = groups_of(discovery.recorded())
    assert len(groups) == 2 * 8
    for rows in groups.values():
        expected = rewards_of(rows, None, "discovery", decay=8)
        assert [sum(row["scores"]) for row in rows] == pytest.approx(expected, abs=2**-16)
        # On the last token, as verl's advantage estimators expect it.
        assert all(not any(row["scores"][:-1]) for row in rows)


def test_rewards_reach_the_end_of_the_step(discovery: Run) -> None:
    """verl dumps ``rm_scores`` after the update: what it trained on is what the hook wrote."""
    for step in (1, 2):
        written = {row["key"]: sum(row["scores"]) for row in discovery.recorded() if row["step"] == step}
        dumped = {row["uid"]: row["score"] for row in discovery.dump("rollouts", step)}
        assert dumped == pytest.approx(written)


def test_correctness_is_the_verifiers(discovery: Run) -> None:
    tokenizer = AutoTokenizer.from_pretrained(discovery.weights(2))
    truths = {row["uid"]: row["gts"] for step in (1, 2) for row in discovery.dump("rollouts", step)}
    rows = discovery.recorded()
    verdicts = {bool(row["info"]["acc"]) for row in rows}
    assert verdicts == {True, False}, "the base model is neither always right nor always wrong"
    for row in rows:
        text = tokenizer.decode(row["response"], skip_special_tokens=True)
        assert bool(row["info"]["acc"]) == is_correct(text, truths[row["key"]])
        assert row["info"]["tokens"] == sum(row["mask"]) == len(row["response"])


def test_the_store_holds_what_was_trained(discovery: Run) -> None:
    with LengthStore.open(discovery.store, read_only=True) as store:
        for (step, _), rows in groups_of(discovery.recorded()).items():
            correct, lengths = correct_and_lengths(rows)
            (record,) = [r for r in store.history(rows[0]["lapo"]["problem_id"]) if r.step == step]
            right = sorted(length for length, flag in zip(lengths, correct, strict=True) if flag)
            assert sorted(record.correct_lengths) == right
            assert record.n == len(rows)
            assert record.target == (float(np.median(right)) if right else None)


def test_stage_two_shows_the_budget_in_the_prompt(discovery: Run, internalization: Run) -> None:
    assert internalization.returncode == 0, internalization.faults
    tokenizer = AutoTokenizer.from_pretrained(discovery.weights(2))
    rows = internalization.recorded()
    assert {row["step"] for row in rows} == {1, 2, 3, 4}
    seen_budgets = set()
    for row in rows:
        budget = row["lapo"]["target"]
        seen_budgets.add(budget)
        sentence = guidance_text("exact", float(RESPONSE_LIMIT) if budget is None else budget)
        ids = tokenizer.encode(sentence, add_special_tokens=False)
        assert row["prompt"][-len(ids) :] == ids
        assert tokenizer.decode(row["prompt"][: -len(ids)]).endswith("<think>")
    assert None in seen_budgets, "problems that stage 1 did not visit are unsolved"
    assert len(seen_budgets) > 3


def test_a_budget_that_changes_shows_in_what_vllm_is_sent_at_the_next_visit(
    discovery: Run, internalization: Run
) -> None:
    """From vLLM's own side: each prompt that its engine got, in the order of the steps."""
    tokenizer = AutoTokenizer.from_pretrained(discovery.weights(2))
    rows = internalization.recorded()
    got = [tokenizer.decode(ids) for ids in internalization.server_prompts()]
    changed = 0
    with LengthStore.open(internalization.store, read_only=True) as store:
        for problem in {row["lapo"]["problem_id"] for row in rows}:
            visits = [record for record in store.history(problem) if record.run == "internalization"]
            sent = [text for text in got if text.startswith(f"<|user|>{problem}?") and "I will" in text]
            # Where stage 1 did not visit the problem, it is unsolved at its first visit.
            before = [None, *(r.target for r in store.history(problem) if r.run == "discovery")][-1]
            expected = []
            for budget, visit in zip([before, *(v.target for v in visits)], visits, strict=False):
                shown = guidance_text("exact", float(RESPONSE_LIMIT) if budget is None else budget)
                expected += [shown] * visit.n
            changed += len(set(expected)) - 1
            assert [text[text.index("<think>") + len("<think>") :] for text in sent] == expected
    assert changed > 0


def test_stage_two_rewards_are_eq_6(internalization: Run) -> None:
    for rows in groups_of(internalization.recorded()).values():
        budget = rows[0]["lapo"]["prompt_budget"]  # None of an unsolved problem
        expected = rewards_of(rows, budget, "internalization", sigma=6)
        assert [sum(row["scores"]) for row in rows] == pytest.approx(expected, abs=2**-16)


def test_a_budget_shows_in_the_next_visit_also_after_a_resume(internalization: Run) -> None:
    """Eq. 8 from one step is what the next visit of the problem was shown, across the resume after step 1."""
    rows = internalization.recorded()
    again = 0
    with LengthStore.open(internalization.store, read_only=True) as store:
        for problem in {row["lapo"]["problem_id"] for row in rows}:
            history = [record for record in store.history(problem) if record.run == "internalization"]
            ours = [row for row in rows if row["lapo"]["problem_id"] == problem]
            shown = {row["step"]: row["lapo"]["target"] for row in ours}
            in_prompt = {row["step"]: row["lapo"]["prompt_budget"] for row in ours}
            assert {record.step: record.prompt_budget for record in history} == in_prompt
            for earlier, later in itertools.pairwise(history):
                again += 1
                assert shown[later.step] == earlier.target
    assert again > 0


def test_the_age_of_a_budget_is_the_steps_since_it_changed(internalization: Run) -> None:
    known: dict[int, list[int]] = {}
    with LengthStore.open(internalization.store, read_only=True) as store:
        for (step, _), rows in groups_of(internalization.recorded()).items():
            earlier = [r for r in store.history(rows[0]["lapo"]["problem_id"]) if r.run == "discovery" or r.step < step]
            targets = [None, *(record.target for record in earlier)]
            changed = [r for before, r in zip(targets, earlier, strict=False) if r.target != before]
            age = rows[0]["lapo"]["budget_age"]
            if targets[-1] is None:
                assert age is None
            else:
                # Discovery's two steps came before.
                assert age == step - (changed[-1].step - 2 if changed[-1].run == "discovery" else changed[-1].step)
                known.setdefault(step, []).append(age)
    for step, metrics in internalization.metrics().items():  # of the last start
        logged = {key: value for key, value in metrics.items() if key == "lapo/budget_age"}
        assert logged == ({"lapo/budget_age": pytest.approx(np.mean(known[step]))} if step in known else {})
    assert len({age for ages in known.values() for age in ages}) > 1


def test_a_replay_gives_back_what_was_trained_on(discovery: Run, internalization: Run) -> None:
    """With the settings that each training noted in its store; the rewards are those of verl's own dumps."""
    for run, stage, steps in ((discovery, "discovery", 2), (internalization, "internalization", 4)):
        check = run_replay(run.folder / "rollouts", of=stage, store=run.store)["check"]
        assert check["rewards"] == {"rollouts": steps * 8 * 4, "equal": steps * 8 * 4}
        assert check["budgets"]["visits"] == check["budgets"]["equal"]


def test_validation_has_no_guidance(internalization: Run, inputs: Inputs) -> None:
    tokenizer = AutoTokenizer.from_pretrained(inputs.model)
    rows = internalization.recorded("val")
    assert len(rows) == 6 * 2
    assert all(tokenizer.decode(row["prompt"]).endswith("<think>") for row in rows)
    assert {row["problem_id"] for row in internalization.dump("validation", 4)} != {""}


def test_each_checkpoint_has_the_store_as_it_was(discovery: Run, tmp_path: Path) -> None:
    copy = tmp_path / "store.sqlite"
    for step in (1, 2):
        LengthStore.restore(discovery.checkpoints / f"global_step_{step}" / "lapo_store.sqlite", copy)
        with LengthStore.open(copy, read_only=True) as store:
            assert store.last_step("discovery") == step


def test_metrics_reach_verls_log(discovery: Run, internalization: Run) -> None:
    for run, step in ((discovery, 2), (internalization, 4)):
        metrics = run.metrics()[step]
        assert 0 <= metrics["lapo/accuracy"] <= 1
        assert metrics["lapo/tokens_correct"] > 0
        assert metrics["lapo/hook_seconds_total"] > 0
    rows = [row for row in discovery.recorded() if row["step"] == 2]
    assert discovery.metrics()[2]["lapo/accuracy"] == pytest.approx(np.mean([row["info"]["acc"] for row in rows]))


def test_acc_only_rewards_correctness_alone(run_verl: Callable[..., Run], tmp_path: Path) -> None:
    run = run_verl("acc_only", tmp_path, "trainer.total_training_steps=2", "trainer.test_freq=2")
    assert run.returncode == 0, run.faults
    scores = [row["score"] for step in (1, 2) for row in run.dump("rollouts", step)]
    assert len(scores) == 2 * 8 * 4
    assert set(scores) <= {0.0, 1.0}
    assert not run.store.exists()
