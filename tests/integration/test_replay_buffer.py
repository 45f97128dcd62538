"""verl's replay buffers with LAPO's hook, on a queue in memory."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import transfer_queue as tq
from step_queue import LIMIT, Buffers, Queue, plain
from verl.trainer.ppo.v1.trainer_separate_async import PPOTrainerSeparateAsync
from verl.trainer.ppo.v1.utils import MetricsAggregator

from lapo_verl.hooks import replay_buffer
from lapo_verl.objectives import Groups, objective
from lapo_verl.store import GroupRecord, LengthStore, StoreError

TOOL = 0  # in a response mask


def lengths_of(store: LengthStore, problem: str) -> tuple[int, ...]:
    (record,) = store.history(problem)
    return record.correct_lengths


def test_a_group_without_signal_gets_the_scores_that_verl_makes_zero_of(queue: Queue, buffers: Buffers) -> None:
    queue.add("train", "p", "u", [plain(6)] * 8)
    buffers().sample(1, "train", 1)
    assert {queue.rows[f"u_{session}_0"]["rm_scores"][-1].item() for session in range(8)} == {
        round(1.7 * 2**16) / 2**16
    }


def test_a_length_is_the_tokens_that_the_model_generated(queue: Queue, buffers: Buffers) -> None:
    # Three of its own, four of a tool, two of its own; </think> is the last but one.
    mask = [1, 1, 1, TOOL, TOOL, TOOL, TOOL, 1, 1]
    session = [{"mask": mask, "acc": 1.0, "think_tokens": 8}]
    queue.add("train", "p", "u", [session])
    queue.add("val", "p", "v", [session, plain(7, think_tokens=2)])
    buffer = buffers()
    buffer.sample(1, "train", 1)
    assert lengths_of(buffer.store, "p") == (5,)
    buffer.sample(1, "val", 1)
    for key, tokens, thought in (("v_0_0", 5, 4), ("v_1_0", 7, 2)):
        assert (queue.info(key)["tokens"], queue.info(key)["think_tokens"]) == (tokens, thought)
    assert queue.rows["v_0_0"]["extra_fields"]["turn_scores"] == []


def test_thought_is_counted_alike(queue: Queue, buffers: Buffers) -> None:
    queue.add("train", "p", "u", [[{"mask": [1, 1, 1, TOOL, TOOL, 1, 1, 1], "acc": 1.0, "think_tokens": 6}]])
    buffer = buffers(length={"scope": "think"})
    buffer.sample(1, "train", 1)
    assert lengths_of(buffer.store, "p") == (4,)


@pytest.mark.parametrize(("scope", "length"), [("response", 6), ("think", 4), ("final_turn", 2)])
def test_a_loop_that_says_where_its_turns_are_is_believed(
    queue: Queue, buffers: Buffers, scope: str, length: int
) -> None:
    mask = [1, 1, 1, 1, TOOL, TOOL, 1, 1]
    counted = {"tokens": 6, "think_tokens": 4, "final_turn_tokens": 2}
    queue.add("train", "p", "u", [[{"mask": mask, "acc": 1.0, **counted}]])
    queue.add("train", "q", "v", [[{"mask": mask, "acc": 1.0, "think_tokens": 5}]])  # by verl's own tool loop
    buffer = buffers(length={"scope": scope})
    buffer.sample(1, "train", 2)
    assert lengths_of(buffer.store, "p") == lengths_of(buffer.store, "q") == (length,)


def test_of_several_outputs_the_last_one_counts(queue: Queue, buffers: Buffers) -> None:
    session = [{"mask": [1] * 50}, {"mask": [1] * 20, "acc": 1.0}]
    queue.add("train", "p", "u", [session])
    queue.add("val", "p", "v", [session])
    buffer = buffers()
    buffer.sample(1, "train", 1)
    assert lengths_of(buffer.store, "p") == (20,)
    assert queue.rows["u_0_0"]["rm_scores"][-1] == queue.rows["u_0_1"]["rm_scores"][-1] == pytest.approx(1.7, abs=1e-4)
    buffer.sample(1, "val", 1)
    assert queue.info("v_0_1")["tokens"] == 20


def test_two_visits_of_a_problem_in_a_step_are_two_groups(queue: Queue, buffers: Buffers) -> None:
    queue.add("train", "p", "u", [plain(10), plain(10)])
    queue.add("train", "p", "v", [plain(300), plain(500)])
    buffer = buffers()
    buffer.sample(1, "train", 2)
    assert sorted(record.correct_lengths for record in buffer.store.history("p")) == [(10, 10), (300, 500)]
    assert buffer.store.budgets(["p"]) == {"p": 155.0}
    for session in ("u_0_0", "u_1_0"):
        assert queue.rows[session]["rm_scores"][-1] == pytest.approx(1.7, abs=1e-4)


def test_verl_adds_up_the_counts_of_a_steps_parts(queue: Queue, buffers: Buffers) -> None:
    buffer, aggregator = buffers("separate_async"), MetricsAggregator()
    for part in ("one", "two"):
        queue.tags.clear()
        for number, correct in enumerate((False, False, True)):
            visit = f"{part}{number}"
            queue.add("train", visit, visit, [plain(5, correct, verify_timed_out=float(not correct))] * 2)
        batch, metrics = buffer.sample(1, "train", 3)
        aggregator.add_step_metrics(metrics, sample_count=len(batch.keys))
    step = aggregator.get_aggregated_metrics()
    assert step["lapo/unsolved_groups_total"] == 4
    assert step["lapo/newly_solved_total"] == 2
    assert step["lapo/verify_timeouts_total"] == 8
    assert step["lapo/solved_share"] == pytest.approx(1 / 3)
    assert step["lapo/accuracy"] == pytest.approx(1 / 3)


def is_idle(buffer: Any, seconds: float) -> bool:
    """Whether verl's hybrid rollout takes a step for idle that sampled for ``seconds``."""
    trainer = SimpleNamespace(replay_buffer=buffer, _step_sample_wait_seconds=seconds)
    return bool(PPOTrainerSeparateAsync._step_had_idle(trainer))


def test_a_step_that_did_not_wait_is_not_idle(queue: Queue, buffers: Buffers, monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = buffers("separate_async")
    monkeypatch.setattr(replay_buffer, "POLL_SECONDS", 0.01)
    polls = 0

    def kv_list() -> dict[str, dict[str, dict[str, Any]]]:
        nonlocal polls
        polls += 1
        if polls == 4:
            queue.add("train", "p", "u", [plain(6)] * 2)
        return queue.tags

    tq.kv_list = kv_list  # the fixture puts verl's own back
    started = time.monotonic()
    buffer.sample(1, "train", 1)
    assert time.monotonic() - started < 1, "three looks at the queue that had nothing, 0.01 s apart"
    # Reading the queue, rewards and the commit take tenths of a second with large batches.
    assert not is_idle(buffer, 0.5)
    assert is_idle(buffer, 2.5)


@pytest.mark.parametrize("name", ["discovery", "internalization"])
def test_a_store_that_counts_other_tokens_is_refused(buffers: Buffers, name: str, tmp_path: Path) -> None:
    earlier, discovery = tmp_path / "of_stage_one.sqlite", objective("discovery")
    with LengthStore.open(earlier) as store:
        store.begin_run("discovery", discovery, {"length_scope": "think"})
        store.record_step("discovery", 1, [GroupRecord("p", (10,), (True,))], discovery)
    if name == "discovery":  # a resume
        save(earlier, tmp_path, 1)
    message = r"lapo\.length\.scope=think in the run discovery, this run has lapo\.length\.scope=response"
    with pytest.raises(StoreError, match=message):
        buffers(objective={"name": name}, init_from=str(earlier))


def save(store: Path, folder: Path, step: int) -> None:
    """A checkpoint with the store as it is now, as verl and LAPO leave one."""
    place = folder / f"global_step_{step}"
    (place / "actor").mkdir(parents=True)
    (folder / "latest_checkpointed_iteration.txt").write_text(str(step))
    with LengthStore.open(store, read_only=True) as opened:
        opened.snapshot(place / "lapo_store.sqlite")


def test_a_run_notes_what_its_numbers_depend_on(buffers: Buffers) -> None:
    noted = {"name": "discovery", "alpha": 0.3}
    (run,) = buffers(objective=noted, length={"scope": "think"}, guidance={"rounding": 10}).store.runs()
    assert run.name == "discovery"
    assert objective(**run.objective) == objective(**noted)
    assert (run.settings["length_scope"], run.settings["response_limit"]) == ("think", LIMIT)
    assert run.settings["guidance_rounding"] == 10


# --- an objective of the user's own ---

MINE = """
from dataclasses import dataclass

import numpy as np

from lapo_verl.objectives import Objective


@dataclass(frozen=True)
class MyObjective(Objective):
    fault: str = "none"

    def rewards(self, groups, memory=None):
        values = groups.masked(groups.correct * 2.0)
        if self.fault == "shape":
            return values[:, :1]
        if self.fault in ("nan", "inf", "-inf"):
            values[groups.valid & ~groups.correct] = float(self.fault)
        return values

    def update(self, groups):
        return np.full(len(groups), -1.0 if self.fault == "target" else 70.0)

    def adapt(self, memory, groups):
        return {"steps": 1 if memory is None else memory["steps"] + 1, "bad": {1} if self.fault == "memory" else 0}
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "my_objective.py").write_text(MINE)
    monkeypatch.syspath_prepend(tmp_path / "modules")
    yield {"path": "pkg://my_objective", "name": "MyObjective"}
    sys.modules.pop("my_objective", None)


def state(store: LengthStore) -> tuple[Any, ...]:
    """All that the store has of its runs."""
    memories = [store.memory(run.name) for run in store.runs()]
    return list(store.records()), store.runs(), memories, store.totals(), store.budgets(["p", "q", "r"])


def test_an_objective_of_the_users_own_rewards_and_keeps_targets(
    queue: Queue, buffers: Buffers, mine: dict[str, Any]
) -> None:
    queue.add("train", "p", "u", [plain(6), plain(9, correct=False)])
    buffer = buffers(objective=mine)
    buffer.sample(1, "train", 1)
    assert [queue.rows[f"u_{session}_0"]["rm_scores"][-1].item() for session in (0, 1)] == [2.0, 0.0]
    assert (buffer.store.budgets(["p"]), buffer.store.memory("MyObjective")) == ({"p": 70.0}, {"steps": 1, "bad": 0})


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("shape", r"objective MyObjective: rewards must return numbers of the shape \(2, 2\)"),
        ("nan", r"objective MyObjective: the reward of group 0, rollout 1 is nan"),
        ("inf", r"objective MyObjective: the reward of group 0, rollout 1 is inf"),
        ("-inf", r"objective MyObjective: the reward of group 0, rollout 1 is -inf"),
        ("target", r"objective MyObjective: the target of group 0 is -1"),
        ("memory", r"objective MyObjective: its memory cannot be written as JSON"),
    ],
)
def test_an_objective_with_a_fault_stops_the_step_and_the_store_is_as_before_it(
    fault: str, message: str, queue: Queue, buffers: Buffers, mine: dict[str, Any], tmp_path: Path
) -> None:
    queue.add("train", "p", "u", [plain(6), plain(9, correct=False)])
    buffer = buffers(objective=mine)
    buffer.sample(1, "train", 1)
    buffer.store.close()
    save(tmp_path / "store.sqlite", tmp_path, 1)

    queue.tags.clear()
    queue.add("train", "q", "v", [plain(6), plain(9, correct=False)])
    queue.add("train", "r", "w", [plain(6), plain(9)])
    faulty = buffers(objective={**mine, "fault": fault})
    before = state(faulty.store)
    with pytest.raises(ValueError, match=message):
        faulty.sample(2, "train", 2)
    assert state(faulty.store) == before
    # What the reward manager gave is still there.
    assert [queue.reward(*session) for session in (("v", 0), ("v", 1), ("w", 0), ("w", 1))] == [1, 0, 1, 1]


# --- the memory of a run ---

LASER_D = {"name": "laser_d", "target_length": 60, "lower_bound": 10, "spacing": 10, "interval": 1}


def laser_d_step(queue: Queue, buffer: Any, step: int, lengths: list[int]) -> list[float]:
    """A step of one group whose last rollout is wrong; the scores that verl gets."""
    queue.tags.clear()
    queue.add("train", "p", f"u{step}", [*map(plain, lengths[:-1]), plain(lengths[-1], correct=False)])
    buffer.sample(step, "train", 1)
    return [queue.rows[f"u{step}_{session}_0"]["rm_scores"][-1].item() for session in range(len(lengths))]


def test_a_memory_is_handed_to_the_next_step(queue: Queue, buffers: Buffers) -> None:
    buffer, chosen = buffers(objective=LASER_D), objective(**LASER_D)
    # Three quarters are correct: a group that is solved often. The first step goes by target_length.
    assert laser_d_step(queue, buffer, 1, [15, 25, 61, 25]) == [1.5, 1.5, 1.0, -0.5]
    remembered = buffer.store.memory("laser_d")
    groups = Groups.of(correct=[[True, True, True, False]], lengths=[[15, 25, 61, 25]], response_limit=LIMIT)
    assert remembered == chosen.adapt(None, groups)
    assert remembered["targets"]["high"] == 30
    assert laser_d_step(queue, buffer, 2, [15, 40, 61, 25]) == [1.5, 1.0, 1.0, -0.5]
    assert buffer.store.memory("laser_d")["steps"] == 2


def test_a_resume_puts_the_memory_back(queue: Queue, buffers: Buffers, tmp_path: Path) -> None:
    """Back to the checkpoint of step 1, by its snapshot; and by a rewind, where the run died before the snapshot."""
    buffer = buffers(objective=LASER_D)
    laser_d_step(queue, buffer, 1, [15, 25, 61, 25])
    save(tmp_path / "store.sqlite", tmp_path, 1)
    remembered = buffer.store.memory("laser_d")
    second = laser_d_step(queue, buffer, 2, [55, 55, 61, 55])
    assert buffer.store.memory("laser_d")["targets"] != remembered["targets"]
    for has_snapshot in (True, False):
        buffer.store.close()
        if not has_snapshot:
            (tmp_path / "global_step_1" / "lapo_store.sqlite").unlink()
        buffer = buffers(objective=LASER_D)
        assert buffer.store.memory("laser_d") == remembered
        assert laser_d_step(queue, buffer, 2, [55, 55, 61, 55]) == second == [1.0, 1.0, 1.0, -0.5]
