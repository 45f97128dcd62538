"""LAPO's replay buffers, which also write down the contents of the queue when they hand a batch to the trainer.

verl reads ``rm_scores`` from the same queue to compute advantages, and the prompts there are what vLLM was given.
Loaded by verl by path: ``trainer.v1.sampler.custom_sampler.path``.
"""

import dataclasses
import json
import os
from typing import Any

import transfer_queue as tq

from lapo_verl.hooks.replay_buffer import LapoReplayBuffer, LapoReplayBufferAsync


class Recording:
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Before the first row is read: what the store was put back to.
        with open(os.environ["LAPO_TEST_RECORD"], "a") as out:
            records = [dataclasses.asdict(record) for record in self.store.records()]
            out.write(json.dumps({"partition": "start", "records": records}) + "\n")

    def sample(self, global_steps: int, partition_id: str, batch_size: int) -> tuple[Any, dict[str, Any]]:
        batch, metrics = super().sample(global_steps, partition_id, batch_size)
        fields = ["prompts", "responses", "response_mask", "rm_scores", "extra_fields"]
        if partition_id == "train":
            fields.append("lapo")
        data = tq.kv_batch_get(keys=batch.keys, partition_id=partition_id, select_fields=fields)
        with open(os.environ["LAPO_TEST_RECORD"], "a") as out:
            for i, key in enumerate(batch.keys):
                row = {
                    "partition": partition_id,
                    "step": global_steps,
                    "key": key,
                    "prompt": data["prompts"][i].tolist(),
                    "response": data["responses"][i].tolist(),
                    "mask": data["response_mask"][i].tolist(),
                    "scores": data["rm_scores"][i].tolist(),
                    "info": data["extra_fields"][i]["reward_extra_info"],
                    "lapo": data["lapo"][i] if partition_id == "train" else None,
                }
                out.write(json.dumps(row) + "\n")
        return batch, metrics


class RecordingBuffer(Recording, LapoReplayBuffer):
    """For the synchronous trainer."""


class RecordingBufferAsync(Recording, LapoReplayBufferAsync):
    """For the asynchronous trainers. Of what is left in the queue it writes down the visits, by verl's uid."""

    def sample(self, global_steps: int, partition_id: str, batch_size: int) -> tuple[Any, dict[str, Any]]:
        batch, metrics = super().sample(global_steps, partition_id, batch_size)
        sampled = {key.split("_")[0] for key in batch.keys}
        left = sorted(self.prompt_global_steps[partition_id].keys() - sampled)
        with open(os.environ["LAPO_TEST_RECORD"], "a") as out:
            out.write(json.dumps({"partition": "left", "step": global_steps, "uids": left}) + "\n")
        return batch, metrics
