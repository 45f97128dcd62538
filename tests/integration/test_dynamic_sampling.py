"""Groups that verl drops and replaces (``algorithm.filter_groups``) under LAPO's buffers, sync and async."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from step_queue import Buffers, Queue, plain
from verl.trainer.ppo.v1.replay_buffer import DAPO_FILTERED_REWARD_COUNTS_KEY
from verl.trainer.ppo.v1.utils import MetricsAggregator

from lapo_verl.hooks import replay_buffer
from lapo_verl.objectives import Groups, objective

FILTERED = "training/filter_groups/evicted_samples"
SURPLUS = "training/filter_groups/discarded_surplus_samples"
ASYNC = ["colocate_async", "separate_async"]
every_mode = pytest.mark.parametrize("mode", ["sync", *ASYNC])

# Under discovery: one reward throughout, none, and two that differ although both are correct.
ALL_RIGHT, ALL_WRONG = [plain(60), plain(60)], [plain(60, correct=False), plain(90, correct=False)]
MIXED, LONG_AND_SHORT = [plain(60), plain(60, correct=False)], [plain(60), plain(60), plain(900)]


class Refill:
    """verl's refill: on ``refill(k)`` k new visits come into the queue, finished or still running.

    ``step`` is later than that of the others, for verl takes the oldest ones first.
    """

    def __init__(self, queue: Queue, responses: Any, status: str = "finished", step: int = 2) -> None:
        self.queue, self.responses, self.status, self.step = queue, responses, status, step
        self.calls: list[int] = []
        self.uids: list[str] = []

    def __call__(self, count: int) -> None:
        self.calls.append(count)
        for _ in range(count):
            uid = f"new{len(self.uids)}"
            self.uids.append(uid)
            self.queue.add("train", f"of {uid}", uid, self.responses, self.status, self.step)

    def finish(self) -> None:
        for uid in self.uids:
            if uid in self.queue.tags["train"]:
                self.queue.tags["train"][uid]["status"] = "finished"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay_buffer, "POLL_SECONDS", 0.001)


@pytest.fixture
def filtering(queue: Queue, buffers: Buffers) -> Iterator[Callable[..., Any]]:
    """``filtering(refill, mode, metric, **lapo)``: a buffer that filters groups."""

    def make(refill: Any, mode: str = "sync", metric: str = "reward", groups: Any = None, **lapo: Any) -> Any:
        buffers.sampler = {"filter_groups": {"enable": True, "metric": metric, **(groups or {})}, **buffers.sampler}
        buffers.verl["refill_fn"] = refill
        return buffers(mode, **lapo)

    yield make


def recorded(buffer: Any) -> dict[str, bool]:
    """{problem: whether its visit is marked as filtered}."""
    return {record.problem_id: record.filtered for record in buffer.store.records()}


def uids_of(batch: Any) -> set[str]:
    return {key.split("_")[0] for key in batch.keys}


@every_mode
def test_a_group_is_dropped_where_the_whole_reward_is_one(
    queue: Queue, filtering: Callable[..., Any], mode: str
) -> None:
    """All are correct in ``long``, so correctness has no signal there, and the whole reward does."""
    for uid, group in (("right", ALL_RIGHT), ("wrong", ALL_WRONG), ("mixed", MIXED), ("long", LONG_AND_SHORT)):
        queue.add("train", uid, uid, group)
    refill = Refill(queue, MIXED)
    buffer = filtering(refill, mode)
    batch, metrics = buffer.sample(1, "train", 2)
    assert uids_of(batch) == {"mixed", "long"}
    assert metrics[FILTERED] == metrics["lapo/filtered_groups_total"] == 2
    assert metrics[DAPO_FILTERED_REWARD_COUNTS_KEY] == {round(1.7 * 2**16) / 2**16: 1, 0.0: 1}
    # Sync has a whole batch without them; an async trainer is always owed what was dropped.
    assert sum(refill.calls) == (0 if mode == "sync" else 2)
    assert recorded(buffer) == {"right": True, "wrong": True, "mixed": False, "long": False}
    assert [queue.reward("long", session) for session in range(3)] == pytest.approx([1.7, 1.7, 1.0], abs=1e-4)


@every_mode
def test_another_metric_is_verls_own(queue: Queue, filtering: Callable[..., Any], mode: str) -> None:
    queue.add("train", "long", "long", LONG_AND_SHORT)
    queue.add("train", "mixed", "mixed", MIXED)
    buffer = filtering(Refill(queue, MIXED), mode, metric="acc")
    batch, metrics = buffer.sample(1, "train", 1)
    assert (uids_of(batch), metrics[FILTERED]) == ({"mixed"}, 1)
    assert recorded(buffer) == {"long": True, "mixed": False}


def test_without_filtering_all_groups_are_trained_on(queue: Queue, buffers: Buffers) -> None:
    queue.add("train", "right", "u", ALL_RIGHT)
    buffer = buffers()
    batch, metrics = buffer.sample(1, "train", 1)
    assert uids_of(batch) == {"u"} and metrics["lapo/filtered_groups_total"] == 0
    assert recorded(buffer) == {"right": False}


@every_mode
def test_no_visit_is_lost_or_recorded_twice(queue: Queue, filtering: Callable[..., Any], mode: str) -> None:
    """Thirty steps of random groups: each is trained on and has a signal, or is marked as filtered, or still waits."""
    draw, visited = random.Random(0), 0

    def visit(step: int) -> None:
        nonlocal visited
        visited += 1
        responses = [plain(draw.choice([50, 60, 900]), draw.random() < 0.6) for _ in range(draw.choice([2, 3]))]
        queue.add("train", f"v{visited}", f"v{visited}", responses, step=step)

    buffer = filtering(lambda count: [visit(step) for _ in range(count)], mode)
    trained: set[str] = set()
    for step in range(1, 31):
        for _ in range(draw.randint(2, 5)):
            visit(step)
        batch, metrics = buffer.sample(step, "train", 2)
        assert len(uids_of(batch)) == 2
        for uid in uids_of(batch):
            rewards = {queue.rows[key]["rm_scores"][-1].item() for key in batch.keys if key.split("_")[0] == uid}
            assert len(rewards) > 1
        trained |= uids_of(batch)
        now = [record for record in buffer.store.records() if record.step == step]
        assert sum(record.filtered for record in now) == metrics["lapo/filtered_groups_total"]
    marks = recorded(buffer)
    assert len(list(buffer.store.records())) == len(marks)
    assert {name for name, filtered in marks.items() if not filtered} == trained
    assert marks.keys() | queue.uids("train") == {f"v{number}" for number in range(1, visited + 1)}
    assert not marks.keys() & queue.uids("train") and sum(marks.values()) > 20


@every_mode
def test_validation_drops_nothing(queue: Queue, filtering: Callable[..., Any], mode: str) -> None:
    queue.add("val", "right", "u", ALL_RIGHT)
    queue.add("val", "gone", "v", ALL_WRONG, status="failure")
    refill = Refill(queue, MIXED)
    buffer = filtering(refill, mode)
    batch, metrics = buffer.sample(1, "val", 2)
    assert (uids_of(batch), metrics, refill.calls, recorded(buffer)) == ({"u", "v"}, {}, [], {})


@pytest.mark.parametrize("mode", ASYNC)
def test_async_replaces_exactly_what_was_dropped(queue: Queue, filtering: Callable[..., Any], mode: str) -> None:
    queue.add("train", "right", "u", ALL_RIGHT)
    queue.add("train", "mixed", "v", MIXED)
    refill = Refill(queue, MIXED)
    buffer = filtering(refill, mode)
    batch, _ = buffer.sample(1, "train", 2)
    assert (refill.calls, uids_of(batch)) == ([1], {"v", "new0"})


def test_sync_replaces_twice_and_what_is_too_much_was_visited_as_well(
    queue: Queue, filtering: Callable[..., Any]
) -> None:
    queue.add("train", "right", "u", ALL_RIGHT)
    queue.add("train", "mixed", "v", MIXED)
    refill = Refill(queue, MIXED)
    buffer = filtering(refill)
    batch, metrics = buffer.sample(1, "train", 2)
    assert refill.calls == [2] and len(uids_of(batch)) == 2 and "v" in uids_of(batch)
    assert (metrics[FILTERED], metrics[SURPLUS], metrics["lapo/filtered_groups_total"]) == (1, 1, 2)
    (surplus,) = set(refill.uids) - uids_of(batch)
    # Of the queue only the batch's rollouts are left, without a prompt that could be sampled again.
    assert queue.uids("train") == set() and {key.split("_")[0] for key in queue.tags["train"]} == uids_of(batch)
    assert recorded(buffer) == {"right": True, "mixed": False, f"of {surplus}": True} | {
        f"of {uid}": False for uid in uids_of(batch) - {"v"}
    }


def test_sync_never_has_more_in_flight_than_a_batch(
    queue: Queue, filtering: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One is running, so of the two that are owed one is sent, and the other when there is room."""
    queue.add("train", "right", "u", ALL_RIGHT)
    queue.add("train", "slow", "slow", MIXED, status="running")
    refill = Refill(queue, MIXED, status="running")
    buffer = filtering(refill)
    wait, waits = buffer._wait_for_next_poll, 0

    def finish(*args: Any) -> float:
        nonlocal waits
        waits += 1
        running = [tag for tag in queue.tags["train"].values() if tag.get("status") == "running"]
        assert len(running) <= 2
        if waits == 3:
            queue.tags["train"]["slow"]["status"] = "finished"
        if waits == 6:
            refill.finish()
        return float(wait(*args))

    monkeypatch.setattr(buffer, "_wait_for_next_poll", finish)
    batch, metrics = buffer.sample(1, "train", 2)
    assert refill.calls == [1, 1] and "slow" in uids_of(batch)
    assert (metrics[FILTERED], metrics[SURPLUS]) == (1, 1)


def test_sync_keeps_what_it_owes_to_itself_where_the_batch_is_full(queue: Queue, filtering: Callable[..., Any]) -> None:
    queue.add("train", "right", "u", ALL_RIGHT)
    queue.add("train", "slow", "slow", MIXED, status="running")
    refill = Refill(queue, MIXED)

    def and_finish(count: int) -> None:
        refill(count)
        queue.tags["train"]["slow"]["status"] = "finished"

    batch, metrics = filtering(and_finish).sample(1, "train", 2)
    assert refill.calls == [1] and uids_of(batch) == {"slow", "new0"} and SURPLUS not in metrics


@every_mode
def test_a_target_follows_from_a_dropped_visit_and_the_next_one_is_rewarded_by_it(
    queue: Queue, filtering: Callable[..., Any], mode: str
) -> None:
    """HAPO's target is the shortest correct length so far."""
    queue.add("train", "p", "u", ALL_RIGHT)
    queue.add("train", "q", "v", MIXED)
    buffer = filtering(Refill(queue, MIXED), mode, objective={"name": "hapo"})
    buffer.sample(1, "train", 1)
    assert recorded(buffer)["p"] and buffer.store.budgets(["p"]) == {"p": 60.0}


@every_mode
def test_a_memory_is_made_of_every_group_that_was_visited(
    queue: Queue, filtering: Callable[..., Any], mode: str
) -> None:
    """Accuracy of the groups that are trained on is near one half by choice; a controller is to follow the model's."""
    queue.add("train", "p", "u", ALL_RIGHT)
    queue.add("train", "q", "v", MIXED)
    buffer = filtering(Refill(queue, MIXED), mode, objective={"name": "controller"})
    buffer.sample(1, "train", 1)
    step = Groups.of([[True, True], [True, False]], [[60, 60], [60, 60]])
    assert buffer.store.memory("controller") == objective("controller").adapt(None, step)


@pytest.mark.parametrize("mode", ASYNC)
def test_a_group_that_waits_is_judged_by_the_memory_of_its_step(
    queue: Queue, filtering: Callable[..., Any], mode: str
) -> None:
    """Its rewards differ by length while the controller has a price, and are one where the price has come to 0."""
    waits = [plain(60), plain(90)]
    queue.add("train", "now", "now", [plain(100, correct=False), plain(60)], step=1)
    queue.add("train", "waits", "waits", waits, step=2)
    fields = {"name": "controller", "start": 0.001, "rate": 1.0, "target_accuracy": 1.0}
    buffer = filtering(Refill(queue, MIXED, step=3), mode, objective=fields)
    batch, metrics = buffer.sample(1, "train", 1)
    assert uids_of(batch) == {"now"} and FILTERED not in metrics
    assert buffer.store.memory("controller") == {"lambda": 0.0}
    batch, metrics = buffer.sample(2, "train", 1)
    assert uids_of(batch) == {"new0"} and metrics[FILTERED] == 1
    assert recorded(buffer)["waits"]


@pytest.mark.parametrize("mode", ASYNC)
def test_what_is_dropped_while_the_trainer_waits_is_recorded_with_the_step(
    queue: Queue, filtering: Callable[..., Any], mode: str
) -> None:
    """separate_async with a hybrid rollout waits for groups before it samples them."""
    queue.add("train", "right", "u", ALL_RIGHT)
    buffer = filtering(Refill(queue, MIXED), mode)
    buffer.wait_for_sampleable(1, "train", 1)
    assert recorded(buffer) == {}
    _, metrics = buffer.sample(1, "train", 1)
    assert recorded(buffer) == {"right": True, "of new0": False} and metrics["lapo/filtered_groups_total"] == 1


@pytest.mark.parametrize("mode", ASYNC)
def test_a_stale_group_is_replaced_once_and_recorded_once(
    queue: Queue, buffers: Buffers, filtering: Callable[..., Any], mode: str
) -> None:
    buffers.verl["max_off_policy_threshold"] = 1
    queue.add("train", "both", "u", ALL_RIGHT, step=1)
    queue.add("train", "stale", "v", MIXED, step=1)
    refill = Refill(queue, MIXED, step=5)
    buffer = filtering(refill, mode)
    batch, metrics = buffer.sample(5, "train", 1)
    (uid,) = uids_of(batch)
    assert sum(refill.calls) == metrics["training/off_policy/evicted_samples"] == 2 and metrics[FILTERED] == 1
    assert recorded(buffer) == {"both": True, "stale": True, f"of {uid}": False}


def test_the_parts_of_a_step_add_up_in_verls_log(queue: Queue, filtering: Callable[..., Any]) -> None:
    buffer, aggregator = filtering(Refill(queue, MIXED), "separate_async"), MetricsAggregator()
    for part in ("a", "b"):
        queue.add("train", part, part, ALL_RIGHT)
        batch, metrics = buffer.sample(1, "train", 1)
        aggregator.add_step_metrics(metrics, sample_count=len(batch.keys))
    step = aggregator.get_aggregated_metrics()
    assert step[FILTERED] == step["lapo/filtered_groups_total"] == 2


def test_a_resume_forgets_what_was_dropped_after_the_checkpoint(
    queue: Queue, filtering: Callable[..., Any], tmp_path: Path
) -> None:
    refill = Refill(queue, MIXED)
    buffer = filtering(refill)
    for step in (1, 2):
        queue.add("train", f"right {step}", f"u{step}", ALL_RIGHT, step=step)
        queue.add("train", f"mixed {step}", f"v{step}", MIXED, step=step)
        buffer.sample(step, "train", 1)
        if step == 1:
            (tmp_path / "global_step_1" / "actor").mkdir(parents=True)
            (tmp_path / "latest_checkpointed_iteration.txt").write_text("1")
            buffer.store.snapshot(tmp_path / "global_step_1" / "lapo_store.sqlite")
    assert recorded(buffer)["right 2"]
    buffer.store.close()
    assert recorded(filtering(refill)) == {"right 1": True, "mixed 1": False}


# --- failed groups ---


def failing(queue: Queue, buffers: Buffers, mode: str, refill: Refill) -> Any:
    buffers.sampler, buffers.verl["refill_fn"] = {"sync_refill_failed_groups": True}, refill
    queue.add("train", "failed", "failed", [], status="failure")
    queue.add("train", "mixed", "v", MIXED)
    return buffers(mode)


@every_mode
def test_a_failed_group_is_replaced(queue: Queue, buffers: Buffers, mode: str) -> None:
    refill = Refill(queue, MIXED)
    buffer = failing(queue, buffers, mode, refill)
    batch, metrics = buffer.sample(1, "train", 2)
    assert (refill.calls, uids_of(batch)) == ([1], {"v", "new0"})
    assert metrics["training/rollout_failure/evicted_samples"] == 1
    # Nothing came of it, so nothing is known of its problem.
    assert recorded(buffer) == {"mixed": False, "of new0": False}


def test_sync_trains_on_what_a_failed_group_has(queue: Queue, buffers: Buffers) -> None:
    refill = Refill(queue, MIXED)
    buffer = failing(queue, buffers, "sync", refill)
    queue.add("train", "part", "w", MIXED, status="failure")
    batch, _ = buffer.sample(1, "train", 2)
    assert (refill.calls, uids_of(batch)) == ([], {"v", "w"})


# --- where it does not get on ---


def test_a_step_without_a_signal_says_so_with_each_batch(
    queue: Queue, filtering: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    waits = iter([ALL_WRONG] * 5 + [MIXED] * 9)

    class Hard(Refill):
        def __call__(self, count: int) -> None:
            for _ in range(count):
                self.responses = next(waits)
                super().__call__(1)

    queue.add("train", "p", "u", ALL_WRONG)
    with caplog.at_level(logging.WARNING):
        filtering(Hard(queue, None)).sample(7, "train", 2)
    said = [record.message for record in caplog.records if "were dropped" in record.message]
    assert len(said) == 3 and "step 7: 3 groups were dropped, because all rollouts of each have one reward" in said[0]


def test_a_limit_of_batches_ends_the_step_and_keeps_the_store(queue: Queue, filtering: Callable[..., Any]) -> None:
    queue.add("train", "p", "u", ALL_WRONG)
    buffer = filtering(Refill(queue, ALL_WRONG), groups={"max_num_gen_batches": 3})
    with pytest.raises(RuntimeError, match=r"step 1: \d groups .*max_num_gen_batches=3.*raise the limit"):
        buffer.sample(1, "train", 2)
    assert recorded(buffer) == {}


def test_filtering_needs_a_metric(filtering: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match=r"needs algorithm\.filter_groups\.metric"):
        filtering(None, metric=None)
