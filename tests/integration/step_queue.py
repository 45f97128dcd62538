"""verl's queue of rollouts, on dictionaries, and LAPO's replay buffers on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from tensordict import TensorDict
from verl.utils.tensordict_utils import list_of_dict_to_tensordict

from lapo_verl.config import LENGTH_FIELDS
from lapo_verl.hooks.replay_buffer import LapoReplayBuffer, LapoReplayBufferAsync, build

LIMIT = 4096  # tokens of a response
UNGUIDED = {"target": None, "budget_age": None, "prompt_budget": None, "guided": False}


class Queue:
    """TransferQueue's functions that verl's buffers and LAPO's hook call, on dictionaries."""

    def __init__(self) -> None:
        self.tags: dict[str, dict[str, dict[str, Any]]] = {}
        self.rows: dict[str, dict[str, Any]] = {}

    def add(
        self,
        partition: str,
        problem: str,
        uid: str,
        responses: list[list[dict[str, Any]]],
        status: str = "finished",
        step: int = 1,
        lapo: dict[str, Any] | None = None,
    ) -> None:
        """A visit: for each session its outputs, each {mask, acc, and what else the reward manager says}.

        Args:
            status: of the visit, in verl's words.
            step: at which it was sent to the rollout.
            lapo: the dataset's column, of an unguided visit where it is None.
        """
        tags = self.tags.setdefault(partition, {})
        tags[uid] = {"is_prompt": True, "status": status, "global_steps": step}
        for session, outputs in enumerate(responses):
            info = {"truncated": 0.0, "verify_timed_out": 0.0, **outputs[-1]}
            mask = info.pop("mask")
            info = {**dict.fromkeys(LENGTH_FIELDS.values(), len(mask)), **info}
            for index, output in enumerate(outputs):
                tags[f"{uid}_{session}_{index}"] = {"status": "success"}
                scores = torch.zeros(len(output["mask"]))
                scores[-1] = outputs[-1]["acc"]
                self.rows[f"{uid}_{session}_{index}"] = {
                    "response_mask": torch.tensor(output["mask"]),
                    "rm_scores": scores,
                    "extra_fields": {"reward_extra_info": dict(info), "turn_scores": []},
                    "lapo": lapo or {"problem_id": problem, **UNGUIDED},
                }

    def uids(self, partition: str) -> set[str]:
        """The visits that are in the queue."""
        return {key for key, tag in self.tags[partition].items() if tag.get("is_prompt")}

    def reward(self, uid: str, session: int) -> float:
        """What verl is given for a session of one output."""
        found: float = self.rows[f"{uid}_{session}_0"]["rm_scores"][-1].item()
        return found

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


class Buffers:
    """Makes buffers of one run's folder.

    Attributes:
        made: those with a store, which has to be closed.
        sampler: changes of ``sampler_kwargs``.
        verl: changes of what verl gives beside them.
    """

    def __init__(self, folder: Path, model: Path) -> None:
        self.folder, self.model = folder, model
        self.made: list[LapoReplayBuffer | LapoReplayBufferAsync] = []
        self.sampler: dict[str, Any] = {}
        self.verl: dict[str, Any] = {}

    def __call__(
        self, mode: str = "sync", val_only: bool = False, resume_mode: str = "auto", **lapo: Any
    ) -> LapoReplayBuffer | LapoReplayBufferAsync:
        sampler_kwargs = {
            "lapo": {"objective": {"name": "discovery"}, "store": str(self.folder / "store.sqlite"), **lapo},
            "response_limit": LIMIT,
            "filter_groups": {
                "enable": False,
                "metric": "reward",
                "max_num_gen_batches": 0,
                "max_inflight_gen_batches": 1,
            },
            "sync_refill_failed_groups": False,
            "train_batch_size": 2,
            "model_path": str(self.model),
            "tokenizer_path": None,
            "default_local_dir": str(self.folder),
            "resume_mode": resume_mode,
            "resume_from_path": None,
            "val_only": val_only,
            "val_before_train": True,
        }
        arguments = {
            "trainer_config": OmegaConf.create({}),
            "max_off_policy_threshold": None,
            "max_off_policy_strategy": "drop",
            "refill_fn": lambda count: None,
            **self.verl,
        }
        merged = OmegaConf.merge(OmegaConf.create(sampler_kwargs), OmegaConf.create(self.sampler))
        buffer = build(mode, sampler_kwargs=merged, **arguments)
        if not val_only:
            self.made.append(buffer)
        return buffer


def plain(length: int, correct: bool = True, **info: Any) -> list[dict[str, Any]]:
    """A session of one output without tools."""
    return [{"mask": [1] * length, "acc": float(correct), **info}]
