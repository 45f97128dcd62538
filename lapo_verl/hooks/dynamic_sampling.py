"""Dynamic sampling (DAPO): its settings, and a word where it does not get on."""

from __future__ import annotations

import logging
from typing import Any

logger = logging.getLogger(__name__)


def buffer_arguments(sampler_kwargs: Any) -> dict[str, Any]:
    """What ``PPOTrainer._build_replay_buffer`` gives to verl's own buffers and to no custom one.

    Raises:
        ValueError: groups are to be filtered, and no metric is named.
    """
    groups = sampler_kwargs.filter_groups
    if groups.enable and not groups.metric:
        raise ValueError(
            "algorithm.filter_groups.enable=true needs algorithm.filter_groups.metric, reward for instance"
        )
    return {
        "filter_groups_metric": str(groups.metric) if groups.enable else None,
        "sync_refill_failed_groups": bool(sampler_kwargs.sync_refill_failed_groups),
        "train_batch_size": int(sampler_kwargs.train_batch_size),
        # Read where groups are replaced only, and there verl's data loader gives one prompt at a time.
        "gen_batch_size": 1,
        "max_inflight_gen_batches": int(groups.max_inflight_gen_batches),
    }


def check_progress(step: int, before: int, now: int, sampler_kwargs: Any) -> None:
    """Says with each batch's worth of groups without a signal that they were dropped; verl would go on in silence.

    Args:
        before, now: how many groups the step had dropped because all of their rollouts have one value of the metric.

    Raises:
        RuntimeError: they are ``algorithm.filter_groups.max_num_gen_batches`` batches, where that is above 0.
    """
    groups = sampler_kwargs.filter_groups
    batch, limit = int(sampler_kwargs.train_batch_size), int(groups.max_num_gen_batches)
    if now // batch == before // batch:
        return
    text = (
        f"step {step}: {now} groups were dropped, because all rollouts of each have one {groups.metric} "
        f"(data.train_batch_size={batch})"
    )
    if 0 < limit <= now // batch:
        raise RuntimeError(
            f"{text}, which is algorithm.filter_groups.max_num_gen_batches={limit}. The problems are too hard or too "
            "easy for the model: train on others, raise the limit, or set it to 0 for none"
        )
    logger.warning("lapo: %s", text)
