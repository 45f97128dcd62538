"""verl's reward manager hook: is this rollout correct, and how many tokens did it take.

It sees one rollout at a time (verl scores each as it finishes), so it gives c_i alone; the length reward needs the
whole group and is added by ``replay_buffer``.
"""

from __future__ import annotations

import inspect
from functools import partial
from typing import Any

from verl import DataProto
from verl.experimental.reward_loop.reward_manager.base import RewardManagerBase

from lapo_verl.config import LapoConfig
from lapo_verl.data.rows import row_problem_id
from lapo_verl.guidance.think import think_length
from lapo_verl.hooks.turns import FIELD
from lapo_verl.verify import verify


class LapoRewardManager(RewardManagerBase):  # type: ignore[misc]
    """Correctness by ``lapo.verifier``: LAPO's own, verl's score function of the data source, or a custom one."""

    def __init__(
        self,
        config: Any,
        tokenizer: Any,
        compute_score: Any,
        reward_router_address: str | None = None,
        reward_model_tokenizer: Any = None,
    ) -> None:
        super().__init__(config, tokenizer, compute_score)
        self.settings = LapoConfig.parse(config.lapo)
        self.response_limit = int(config.data.max_response_length)
        if self.settings.verifier == "custom" and not config.reward.custom_reward_function.path:
            raise ValueError("lapo.verifier=custom needs reward.custom_reward_function.path")

    async def run_single(self, data: DataProto) -> dict[str, Any]:
        """Score one rollout; of several outputs of a session the last one counts.

        Returns:
            reward_score: c_i, 1.0 or 0.0. reward_extra_info: ``acc`` (c_i), ``tokens`` (response tokens),
            ``think_tokens`` (of each turn those up to and with ``</think>``), ``final_turn_tokens``, ``truncated``,
            ``verify_timed_out``, and as text ``problem_id``, ``data_source``, ``length_scope`` and the row's
            ``extra_info.level``. verl writes them into validation dumps, and the numbers into validation metrics.
            What a tool wrote is neither judged nor counted. Of loops that do not say where their turns are, as verl's
            own tool loop, it is both; LAPO's replay buffer takes it out of the counts.
        """
        item = data[-1:][0]
        # Of several outputs, padded to one size, the attention mask does not end with the response: hence this count.
        tokens = int(item.non_tensor_batch["response_len"])
        response_ids = item.batch["responses"][:tokens].tolist()
        agent = item.non_tensor_batch.get("tool_extra_fields", {}).get(
            FIELD, {"turns": [[0, tokens]], "cut_off": False}
        )
        turns = [response_ids[start:end] for start, end in agent["turns"]]
        text = await self.loop.run_in_executor(None, self._text_of, turns)
        correct, timed_out = await self._judge(text, item.non_tensor_batch)
        level = (item.non_tensor_batch.get("extra_info") or {}).get("level")
        ended = tokens > 0 and response_ids[-1] == self.tokenizer.eos_token_id
        return {
            "reward_score": float(correct),
            "reward_extra_info": {
                "acc": float(correct),
                "tokens": sum(map(len, turns)),
                "think_tokens": sum(think_length(turn, self.tokenizer) for turn in turns),
                "final_turn_tokens": len(turns[-1]) if turns else 0,
                "truncated": float(agent["cut_off"] or (tokens >= self.response_limit and not ended)),
                "verify_timed_out": float(timed_out),
                "problem_id": row_problem_id(item.non_tensor_batch),
                "data_source": str(item.non_tensor_batch["data_source"]),
                "length_scope": self.settings.length.scope,
                "level": "" if level is None else str(level),
            },
        }

    def _text_of(self, turns: list[list[int]]) -> str:
        """What the model wrote, a turn a line."""
        return "\n".join(self.tokenizer.decode(turn, skip_special_tokens=True) for turn in turns)

    async def _judge(self, text: str, row: dict[str, Any]) -> tuple[bool, bool]:
        """Whether the response is correct, and whether the verifier gave up on it."""
        ground_truth = row["reward_model"]["ground_truth"]
        if self.settings.verifier == "lapo":
            verdict = await self.loop.run_in_executor(
                None,
                partial(
                    verify,
                    text,
                    str(ground_truth),
                    timeout_s=self.settings.verify_timeout,
                    forms=self.settings.answer_forms,
                ),
            )
            return verdict.correct, verdict.timed_out
        score = partial(
            self.compute_score,
            data_source=row["data_source"],
            solution_str=text,
            ground_truth=ground_truth,
            extra_info=row.get("extra_info") or {},
        )
        if inspect.iscoroutinefunction(self.compute_score):
            return correct_from_score(await score()), False
        return correct_from_score(await self.loop.run_in_executor(None, score)), False


def correct_from_score(result: Any) -> bool:
    """c_i from what a score function returns: its ``acc`` where it has one, else its score, is above one half.

    Raises:
        TypeError: neither a number nor a dict with ``acc`` or ``score``.

    >>> correct_from_score({"score": 0.1, "acc": True})
    True
    """
    value = result
    if isinstance(result, dict):
        value = result.get("acc", result.get("score"))
    try:
        return float(value) > 0.5
    except (TypeError, ValueError) as error:
        raise TypeError(f"a score function must return a number or a dict with acc or score, got {result!r}") from error
