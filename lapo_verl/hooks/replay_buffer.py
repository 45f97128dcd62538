"""verl's replay buffer hook: the one place where a step's groups are whole before advantages are computed.

The only change to verl's buffers is what ``sample`` does with a training batch: read the rollouts once, compute the
objective's rewards, commit the step to the store in one transaction, write ``rm_scores`` back once, return metrics.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import torch
import transfer_queue as tq
from tensordict import NonTensorStack, TensorDict
from transfer_queue import KVBatchMeta
from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer, ReplayBufferAsync

from lapo_verl.config import LapoConfig
from lapo_verl.hooks.checkpoint import open_store, resume_point, trains
from lapo_verl.hooks.step import Rollout, Step, step_metrics
from lapo_verl.hooks.tokenizer_check import check_tokenizer
from lapo_verl.objectives import checked_rewards, float32_scores
from lapo_verl.store import LengthStore, check_scope

FIELDS = ["response_mask", "extra_fields", "lapo"]
# Between two looks at the rollout queue. verl's own 2 s cost more than a whole step of a small model.
POLL_SECONDS = 0.1


class _LapoSampling:
    """What both buffers add to verl's: the store, and the length reward on whole groups.

    ``store`` is only there where the run trains: one that only validates leaves the store as it is.
    """

    store: LengthStore
    config: LapoConfig
    response_limit: int
    poll_interval: float

    def __init__(self, *args: Any, sampler_kwargs: Any, **kwargs: Any) -> None:
        self.config = LapoConfig.parse(sampler_kwargs.lapo)
        self.response_limit = int(sampler_kwargs.response_limit)
        super().__init__(*args, sampler_kwargs=sampler_kwargs, **kwargs)  # type: ignore[call-arg]
        if trains(sampler_kwargs.val_only, sampler_kwargs.val_before_train):
            self._open_store(sampler_kwargs)

    def _open_store(self, sampler_kwargs: Any) -> None:
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
        data = tq.kv_batch_get(keys=batch.keys, partition_id=batch.partition_id, select_fields=FIELDS)
        final_keys = final_outputs(batch.keys)
        rollouts, masks = _rollouts(batch.keys, data, self.config.length.scope)
        sampled = Step([rollouts[key] for key in final_keys], self.response_limit)
        objective, run = self.config.objective, self.config.objective.name
        memory, before = self.store.memory(run), self.store.budgets([first.problem_id for first in sampled.first])
        # Before anything is recorded: a reward that cannot be used ends the step, and the store is as it was.
        rewards = checked_rewards(objective, sampled.groups, memory)
        after = self.store.record_step(run, step, sampled.records(), objective)
        scores = sampled.by_rollout(float32_scores(rewards))
        _write_rewards(batch, masks, dict(zip(map(session_of, final_keys), scores, strict=True)))
        return step_metrics(sampled, objective, rewards, memory, before, after)


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
            correct=bool(info["acc"]),
            tokens=info["think_tokens" if scope == "think" else "tokens"],
            truncated=bool(info["truncated"]),
            timed_out=bool(info["verify_timed_out"]),
        )
    return rollouts, masks


def generated_lengths(info: Mapping[str, Any], mask: torch.Tensor) -> dict[str, Any]:
    """A rollout's ``reward_extra_info`` with the one definition of |r|: the tokens that the model generated.

    Args:
        info: from the reward manager, which is given no response mask, and so counts the output of tools too.
        mask: verl's response mask, shape (R,): 1 where the model generated the token, 0 where a tool did.
    """
    return {**info, "tokens": int(mask.sum()), "think_tokens": int(mask[: info["think_tokens"]].sum())}


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


def _write_rewards(batch: KVBatchMeta, masks: list[torch.Tensor], rewards: dict[str, float]) -> None:
    """Write ``rm_scores`` back: the reward on each output's last token, as verl's agent loop does."""
    scores = []
    for key, mask in zip(batch.keys, masks, strict=True):
        score = torch.zeros(len(mask), dtype=torch.float32)
        score[-1] = rewards[session_of(key)]
        scores.append(score)
    fields = TensorDict(
        {"rm_scores": torch.nested.as_nested_tensor(scores, layout=torch.jagged)}, batch_size=len(scores)
    )
    tq.kv_batch_put(keys=batch.keys, partition_id=batch.partition_id, fields=fields)
