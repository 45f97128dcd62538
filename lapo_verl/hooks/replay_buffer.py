"""verl's replay buffer hook: the one place where a step's groups are whole before advantages are computed.

The only change to verl's buffers is what ``sample`` does with a training batch: read the rollouts once, compute the
objective's rewards, commit the step to the store in one transaction, write ``rm_scores`` back once, return metrics.
Which groups are dropped and replaced is verl's to decide (``algorithm.filter_groups``); it judges them by the
objective's whole reward, and a group that it drops is recorded as well, marked as filtered.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transfer_queue as tq
from tensordict import NonTensorStack, TensorDict
from transfer_queue import KVBatchMeta
from verl.trainer.ppo.v1.replay_buffer import FILTER_GROUPS_REWARD_METRIC, ReplayBuffer, ReplayBufferAsync

from lapo_verl.config import LENGTH_FIELDS, LapoConfig
from lapo_verl.hooks.checkpoint import open_store, resume_point, trains
from lapo_verl.hooks.dynamic_sampling import buffer_arguments, check_progress
from lapo_verl.hooks.run_folder import check_run_folder
from lapo_verl.hooks.step import Rollout, Step, step_metrics
from lapo_verl.hooks.tokenizer_check import check_tokenizer
from lapo_verl.hooks.turns import generated_turns
from lapo_verl.objectives import Memory, checked_rewards, float32_scores
from lapo_verl.objectives.lengths import Floats
from lapo_verl.store import GroupRecord, LengthStore, check_scope

FIELDS = ["response_mask", "extra_fields", "lapo"]
# Between two looks at the rollout queue. verl's own 2 s cost more than a whole step of a small model.
POLL_SECONDS = 0.1


class _Sampled:
    """Outputs of whole groups in the queue, read once.

    Attributes:
        step: their groups; of each session the last output counts.
    """

    def __init__(self, partition_id: str, keys: list[str], scope: str, response_limit: int) -> None:
        data = tq.kv_batch_get(keys=keys, partition_id=partition_id, select_fields=FIELDS)
        rollouts, self._masks = _rollouts(keys, data, scope)
        self._partition_id, self._keys, self._final_keys = partition_id, keys, final_outputs(keys)
        self.step = Step([rollouts[key] for key in self._final_keys], response_limit)

    def write(self, rewards: Floats) -> None:
        """Writes rewards of shape (M, N) into ``rm_scores``, as float32."""
        scores = self.step.by_rollout(float32_scores(rewards))
        by_session = dict(zip(map(session_of, self._final_keys), scores, strict=True))
        _write_rewards(self._partition_id, self._keys, self._masks, by_session)


class _LapoSampling:
    """What both buffers add to verl's: the store, and the length reward on whole groups.

    ``store`` is only there where the run trains: one that only validates leaves the store as it is.
    """

    store: LengthStore
    config: LapoConfig
    response_limit: int
    poll_interval: float
    # Of verl's buffers.
    sampler_kwargs: Any
    filter_groups_metric: str | None
    partitions: dict[str, dict[str, dict[str, Any]]]
    finished_keys: dict[str, set[str]]
    _dapo_classification_cache: dict[str, dict[str, float | None]]

    def __init__(self, *args: Any, sampler_kwargs: Any, **kwargs: Any) -> None:
        self.config = LapoConfig.parse(sampler_kwargs.lapo)
        self.response_limit = int(sampler_kwargs.response_limit)
        # Of the step that is sampled now: the groups that verl has dropped, and how many of them had no signal.
        self._dropped: list[GroupRecord] = []
        self._without_signal = 0
        arguments = {**buffer_arguments(sampler_kwargs), **kwargs}
        super().__init__(*args, sampler_kwargs=sampler_kwargs, **arguments)  # type: ignore[call-arg]
        if trains(sampler_kwargs.val_only, sampler_kwargs.val_before_train):
            self._open_store(sampler_kwargs)

    def _open_store(self, sampler_kwargs: Any) -> None:
        check_run_folder(Path(sampler_kwargs.default_local_dir))
        checkpoint = resume_point(
            sampler_kwargs.default_local_dir, sampler_kwargs.resume_mode, sampler_kwargs.resume_from_path
        )
        self.store = open_store(self.config, checkpoint)
        check_scope(self.store, self.config.length.scope)
        settings = {
            "response_limit": self.response_limit,
            "length_scope": self.config.length.scope,
            "guidance_rounding": self.config.guidance.rounding,
        }
        self.store.begin_run(self.config.objective.name, self.config.objective, settings)
        check_tokenizer(self.store, sampler_kwargs.tokenizer_path or sampler_kwargs.model_path)

    def sample(self, global_steps: int, partition_id: str, batch_size: int) -> tuple[KVBatchMeta, dict[str, Any]]:
        """verl's batch with the objective's rewards in ``rm_scores``; of validation, only lengths are counted."""
        batch, metrics = super().sample(global_steps, partition_id, batch_size)  # type: ignore[misc]
        if partition_id == "val":
            _count_generated(batch)
            return batch, metrics
        started = time.perf_counter()
        lapo_metrics = self._reward_and_record(global_steps, batch)
        lapo_metrics["lapo/hook_seconds_total"] = time.perf_counter() - started
        return batch, {**metrics, **lapo_metrics}

    def _dapo_filtered_keys(self, partition_id: str) -> Any:
        """verl's groups to drop; with the metric ``reward``, by the objective's reward, which is put where verl looks.

        Until then ``rm_scores`` has what the reward manager gave, correctness alone.
        """
        if self.filter_groups_metric == FILTER_GROUPS_REWARD_METRIC and partition_id != "val":
            known = self._dapo_classification_cache[partition_id]
            keys = self._outputs_of(partition_id, self.finished_keys[partition_id] - known.keys())
            if keys:
                sampled = self._read(partition_id, keys)
                sampled.write(self._rewards(sampled.step, self._memory()))
        return super()._dapo_filtered_keys(partition_id)  # type: ignore[misc]

    def _evict_terminal_groups(self, global_steps: int, partition_id: str, eviction_reasons: Any) -> Any:
        """verl's; warns where no group has a signal, since verl would go on forever in silence."""
        found = super()._evict_terminal_groups(global_steps, partition_id, eviction_reasons)  # type: ignore[misc]
        before, self._without_signal = self._without_signal, self._without_signal + found[2]
        check_progress(global_steps, before, self._without_signal, self.sampler_kwargs)
        return found

    def _clear_groups(self, partition_id: str, uids: set[str]) -> None:
        """verl's end of a group that is not trained on: it was visited all the same, and is to be recorded."""
        keys = self._outputs_of(partition_id, uids)
        if keys:
            self._dropped += self._read(partition_id, keys).step.records(filtered=True)
        super()._clear_groups(partition_id, uids)  # type: ignore[misc]

    def _outputs_of(self, partition_id: str, uids: set[str]) -> list[str]:
        return [key for key in self.partitions[partition_id] if key.split("_")[0] in uids]

    def _wait_for_next_poll(self, partition_id: str, last_debug_time: float) -> float:
        """verl's wait, of ``POLL_SECONDS``.

        The attribute ``poll_interval`` stays verl's: separate_async with hybrid_rollout takes a step for idle where
        sampling, this hook included, took longer.
        """
        verls_own = self.poll_interval
        self.poll_interval = POLL_SECONDS
        try:
            return float(super()._wait_for_next_poll(partition_id, last_debug_time))  # type: ignore[misc]
        finally:
            self.poll_interval = verls_own

    def _reward_and_record(self, step: int, batch: KVBatchMeta) -> dict[str, float]:
        sampled, dropped = self._read(batch.partition_id, batch.keys), self._dropped
        records = [*dropped, *sampled.step.records()]
        objective = self.config.objective
        memory, before = self._memory(), self.store.budgets([record.problem_id for record in records])
        # Before anything is recorded: a reward that cannot be used ends the step, and the store is as it was.
        rewards = self._rewards(sampled.step, memory)
        after = self.store.record_step(objective.name, step, records, objective)
        sampled.write(rewards)
        self._dropped, self._without_signal = [], 0
        if objective.keeps_memory:  # it has changed, and with it the rewards of the groups that wait
            self._dapo_classification_cache.clear()
        metrics = step_metrics(sampled.step, objective, rewards, memory, before, after)
        return {**metrics, "lapo/filtered_groups_total": float(len(dropped))}

    def _read(self, partition_id: str, keys: list[str]) -> _Sampled:
        return _Sampled(partition_id, keys, self.config.length.scope, self.response_limit)

    def _memory(self) -> Memory | None:
        return self.store.memory(self.config.objective.name)

    def _rewards(self, step: Step, memory: Memory | None) -> Floats:
        return checked_rewards(self.config.objective, step.groups, memory)


class LapoReplayBuffer(_LapoSampling, ReplayBuffer):  # type: ignore[misc]
    """For the synchronous trainer."""


class LapoReplayBufferAsync(_LapoSampling, ReplayBufferAsync):  # type: ignore[misc]
    """For the asynchronous trainers."""


def build(trainer_mode: str, **kwargs: Any) -> LapoReplayBuffer | LapoReplayBufferAsync:
    """The buffer of ``trainer.v1.trainer_mode``; verl calls this where its config names a class."""
    buffer = LapoReplayBuffer if trainer_mode == "sync" else LapoReplayBufferAsync
    return buffer(trainer_mode=trainer_mode, **kwargs)


def session_of(key: str) -> str:
    """The session of a key ``{uid}_{session}_{index}``."""
    return key.rsplit("_", 1)[0]


def final_outputs(keys: list[str]) -> list[str]:
    """Of each session's outputs the last one: it is the one that counts."""
    last: dict[str, str] = {}
    for key in keys:
        held = last.get(session_of(key))
        if held is None or int(key.rsplit("_", 1)[1]) > int(held.rsplit("_", 1)[1]):
            last[session_of(key)] = key
    return list(last.values())


def _rollouts(keys: list[str], data: TensorDict, scope: str) -> tuple[dict[str, Rollout], list[torch.Tensor]]:
    masks = list(data["response_mask"].unbind())
    extra_fields, columns = list(data["extra_fields"]), list(data["lapo"])
    rollouts: dict[str, Rollout] = {}
    for key, mask, extra, lapo in zip(keys, masks, extra_fields, columns, strict=True):
        info = generated_lengths(extra["reward_extra_info"], mask)
        rollouts[key] = Rollout(
            group=key.split("_")[0],
            problem_id=lapo["problem_id"],
            target=lapo["target"],
            guided=lapo["guided"],
            prompt_budget=lapo["prompt_budget"],
            budget_age=lapo["budget_age"],
            correct=bool(info["acc"]),
            tokens=info[LENGTH_FIELDS[scope]],
            truncated=bool(info["truncated"]),
            timed_out=bool(info["verify_timed_out"]),
        )
    return rollouts, masks


def generated_lengths(info: Mapping[str, Any], mask: torch.Tensor) -> dict[str, Any]:
    """A rollout's ``reward_extra_info`` with the one definition of |r|: the tokens that the model generated.

    Args:
        info: from the reward manager. Of another loop than LAPO's own it does not know the turns, and counts the
            output of tools too: then ``think_tokens`` is where the first ``</think>`` is.
        mask: verl's response mask, shape (R,): 1 where the model generated the token, 0 where a tool did.
    """
    generated = int(mask.sum())
    if info["tokens"] == generated:
        return dict(info)
    start, end = (generated_turns(mask.tolist()) or [[0, 0]])[-1]
    thought = int(mask[: info["think_tokens"]].sum())
    return {**info, "tokens": generated, "think_tokens": thought, "final_turn_tokens": end - start}


def _count_generated(batch: KVBatchMeta) -> None:
    """Puts ``generated_lengths`` in the place of the reward manager's, for validation's metrics and dumps."""
    keys = final_outputs(batch.keys)
    fields = ["response_mask", "extra_fields"]
    data = tq.kv_batch_get(keys=keys, partition_id=batch.partition_id, select_fields=fields)
    changed: dict[str, dict[str, Any]] = {}
    for key, mask, extra in zip(keys, data["response_mask"].unbind(), data["extra_fields"], strict=True):
        info = generated_lengths(extra["reward_extra_info"], mask)
        if info != extra["reward_extra_info"]:
            changed[key] = {**extra, "reward_extra_info": info}
    if changed:
        extra_fields = TensorDict({"extra_fields": NonTensorStack(*changed.values())}, batch_size=len(changed))
        tq.kv_batch_put(keys=list(changed), partition_id=batch.partition_id, fields=extra_fields)


def _write_rewards(partition_id: str, keys: list[str], masks: list[torch.Tensor], rewards: dict[str, float]) -> None:
    """Write ``rm_scores`` back: the reward on each output's last token, as verl's agent loop does."""
    scores = []
    for key, mask in zip(keys, masks, strict=True):
        score = torch.zeros(len(mask), dtype=torch.float32)
        score[-1] = rewards[session_of(key)]
        scores.append(score)
    fields = TensorDict(
        {"rm_scores": torch.nested.as_nested_tensor(scores, layout=torch.jagged)}, batch_size=len(scores)
    )
    tq.kv_batch_put(keys=keys, partition_id=partition_id, fields=fields)
