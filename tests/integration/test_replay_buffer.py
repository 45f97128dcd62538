"""verl's replay buffers with LAPO's hook, on a queue in memory."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tokenizer as demo_tokenizer
import torch
import transfer_queue as tq
from omegaconf import OmegaConf
from tensordict import TensorDict
from verl.trainer.ppo.v1.trainer_separate_async import PPOTrainerSeparateAsync
from verl.trainer.ppo.v1.utils import MetricsAggregator
from verl.utils.tensordict_utils import list_of_dict_to_tensordict

from lapo_verl.hooks.replay_buffer import LapoReplayBuffer, LapoReplayBufferAsync, build
from lapo_verl.store import GroupRecord, LengthStore, StoreError

TOOL = 0  # in a response mask


class Queue:
    """TransferQueue's functions that verl's buffers and LAPO's hook call, on dictionaries."""

    def __init__(self) -> None:
        self.tags: dict[str, dict[str, dict[str, Any]]] = {}
        self.rows: dict[str, dict[str, Any]] = {}

    def add(self, partition: str, problem: str, uid: str, responses: list[list[dict[str, Any]]]) -> None:
        """A finished visit: for each session its outputs, each {mask, acc, and what else the reward manager says}."""
        tags = self.tags.setdefault(partition, {})
        tags[uid] = {"is_prompt": True, "status": "finished", "global_steps": 1}
        for session, outputs in enumerate(responses):
            info = {"truncated": 0.0, "verify_timed_out": 0.0, **outputs[-1]}
            mask = info.pop("mask")
            info = {"tokens": len(mask), "think_tokens": len(mask), **info}
            for index, output in enumerate(outputs):
                tags[f"{uid}_{session}_{index}"] = {"status": "success"}
                self.rows[f"{uid}_{session}_{index}"] = {
                    "response_mask": torch.tensor(output["mask"]),
                    "extra_fields": {"reward_extra_info": dict(info), "turn_scores": []},
                    "lapo": {"problem_id": problem, "budget": None, "prompt_budget": None, "guided": False},
                }

    def kv_list(self) -> dict[str, dict[str, dict[str, Any]]]:
        return self.tags

    def kv_batch_get(self, keys: list[str], partition_id: str, select_fields: list[str]) -> TensorDict:
        return list_of_dict_to_tensordict([{name: self.rows[key][name] for name in select_fields} for key in keys])

    def kv_batch_put(self, keys: list[str], partition_id: str, fields: TensorDict) -> None:
        for name, column in fields.items():
            values = column.unbind() if isinstance(column, torch.Tensor) else column.tolist()
            for key, value in zip(keys, values, strict=True):
                self.rows[key][name] = value

    def kv_clear(self, partition_id: str, keys: list[str]) -> None:
        for key in keys:
            del self.tags[partition_id][key]

    def info(self, key: str) -> dict[str, Any]:
        found: dict[str, Any] = self.rows[key]["extra_fields"]["reward_extra_info"]
        return found


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> Queue:
    made = Queue()
    for name in ("kv_list", "kv_batch_get", "kv_batch_put", "kv_clear"):
        monkeypatch.setattr(tq, name, getattr(made, name))
    return made


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    demo_tokenizer.build_tokenizer().save_pretrained(folder)
    return folder


class Buffers:
    """Makes buffers of one run's folder, and closes their stores."""

    def __init__(self, folder: Path, model: Path) -> None:
        self.folder, self.model = folder, model
        self.made: list[LapoReplayBuffer | LapoReplayBufferAsync] = []

    def __call__(
        self, mode: str = "sync", val_only: bool = False, resume_mode: str = "auto", **lapo: Any
    ) -> LapoReplayBuffer | LapoReplayBufferAsync:
        sampler_kwargs = {
            "lapo": {"stage": "discovery", "store": str(self.folder / "store.sqlite"), **lapo},
            "model_path": str(self.model),
            "tokenizer_path": None,
            "default_local_dir": str(self.folder),
            "resume_mode": resume_mode,
            "resume_from_path": None,
            "val_only": val_only,
            "val_before_train": True,
        }
        buffer = build(
            mode,
            trainer_config=OmegaConf.create({}),
            max_off_policy_threshold=None,
            max_off_policy_strategy="drop",
            sampler_kwargs=OmegaConf.create(sampler_kwargs),
            refill_fn=lambda count: None,
        )
        if not val_only:
            self.made.append(buffer)
        return buffer


@pytest.fixture
def buffers(tmp_path: Path, model: Path) -> Iterator[Buffers]:
    made = Buffers(tmp_path, model)
    yield made
    for buffer in made.made:
        buffer.store.close()


def plain(length: int, correct: bool = True, **info: Any) -> list[dict[str, Any]]:
    """A session of one output without tools."""
    return [{"mask": [1] * length, "acc": float(correct), **info}]


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


def test_a_step_that_did_not_wait_is_not_idle(queue: Queue, buffers: Buffers) -> None:
    buffer = buffers("separate_async", poll_interval=0.01)
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


@pytest.mark.parametrize("stage", ["discovery", "internalization"])
def test_a_store_that_counts_other_tokens_is_refused(buffers: Buffers, stage: str, tmp_path: Path) -> None:
    with LengthStore.open(tmp_path / "of_stage_one.sqlite", meta={"length.scope": "think"}) as store:
        store.record_step("discovery", 1, [GroupRecord("p", 1, (10,))])
    if stage == "discovery":  # a resume
        folder = tmp_path / "global_step_1"
        (folder / "actor").mkdir(parents=True)
        (tmp_path / "of_stage_one.sqlite").rename(folder / "lapo_store.sqlite")
        (tmp_path / "latest_checkpointed_iteration.txt").write_text("1")
    with pytest.raises(StoreError, match=r"lapo\.length\.scope=think, this run has lapo\.length\.scope=response"):
        buffers(stage=stage, init_from=str(tmp_path / "of_stage_one.sqlite"))


def test_a_run_notes_what_its_lengths_count(buffers: Buffers) -> None:
    assert buffers(length={"scope": "think"}).store.meta["length.scope"] == "think"


def test_a_run_that_only_validates_leaves_the_store_as_it_is(buffers: Buffers, tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    with LengthStore.open(path) as store:
        store.record_step("discovery", 1, [GroupRecord("p", 2, (10,))])
    before, files = path.read_bytes(), sorted(tmp_path.iterdir())
    for mode in ("sync", "colocate_async"):
        buffer = buffers(mode, val_only=True, resume_mode="disable")
        assert not hasattr(buffer, "store")
    assert (path.read_bytes(), sorted(tmp_path.iterdir())) == (before, files)
