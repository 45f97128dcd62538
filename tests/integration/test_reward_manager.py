"""verl's reward manager class with LAPO's verdict, on real batches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from verl import DataProto
from verl.experimental.agent_loop.agent_loop import AgentLoopMetrics, AgentLoopOutput, AgentLoopWorker

from lapo_verl.hooks.reward_manager import LapoRewardManager, correct_from_score
from toy.tokenizer import build_tokenizer

LIMIT = 12
ROW = {
    "data_source": "test",
    "reward_model": {"ground_truth": "7"},
    "extra_info": {"problem_id": "3+4", "level": 2},
    "prompt": [{"role": "user", "content": "3+4=?"}],
}


def manager(verifier: str = "lapo", compute_score: Any = None, **lapo: Any) -> LapoRewardManager:
    config = OmegaConf.create(
        {
            "lapo": {"objective": {"name": "discovery"}, "verifier": verifier, **lapo},
            "data": {"max_response_length": LIMIT},
            "reward": {"custom_reward_function": {"path": "scores.py"}},
        }
    )
    return LapoRewardManager(config, build_tokenizer(), compute_score)


def score(hook: LapoRewardManager, response: str, truth: str = "7", padding: int = 3) -> dict[str, Any]:
    ids = hook.tokenizer.encode(response, add_special_tokens=False)
    responses = torch.tensor([ids + [hook.tokenizer.pad_token_id] * padding])
    prompts = torch.ones(1, 4, dtype=torch.int64)
    mask = torch.tensor([[1] * 4 + [1] * len(ids) + [0] * padding])
    row = {**ROW, "reward_model": {"ground_truth": truth}}
    tensors = {"prompts": prompts, "responses": responses, "attention_mask": mask}
    non_tensors = {key: np.array([value], dtype=object) for key, value in row.items()}
    non_tensors["response_len"] = np.array([len(ids)])
    data = DataProto.from_dict(tensors=tensors, non_tensors=non_tensors)
    return hook.loop.run_until_complete(hook.run_single(data))


class Judge:
    """A reward worker's place in verl's ``_compute_score``: scores in this process what a worker is sent."""

    def __init__(self, hook: LapoRewardManager) -> None:
        self.hook = hook
        self.compute_score = self

    async def remote(self, data: DataProto) -> dict[str, Any]:
        return await self.hook.run_single(data)


def score_session(hook: LapoRewardManager, outputs: list[tuple[int, str]]) -> dict[str, Any]:
    """By verl's own code: a session's outputs, each with the length of its prompt and its response."""
    worker = AgentLoopWorker.__new__(AgentLoopWorker)
    worker.reward_loop_worker_handles = [Judge(hook)]
    worker.processor = None
    made = [
        AgentLoopOutput(
            prompt_ids=[5] * prompt_length,
            response_ids=(ids := hook.tokenizer.encode(response, add_special_tokens=False)),
            response_mask=[1] * len(ids),
            num_turns=2,
            metrics=AgentLoopMetrics(),
            mm_processor_kwargs={},
        )
        for prompt_length, response in outputs
    ]
    hook.loop.run_until_complete(worker._compute_score(made, ROW))
    info: dict[str, Any] = made[-1].extra_fields["reward_extra_info"]
    return info


@pytest.mark.parametrize("outputs", [[(4, 1), (4, 1)], [(40, 2), (4, 1)], [(4, 1), (40, 3)], [(4, 3), (30, 1)]])
def test_a_sessions_last_output_is_counted_whole_and_alone(outputs: list[tuple[int, int]]) -> None:
    """Prompts and responses of several lengths, which verl pads to one size."""
    answer = "3+4=7</think>\\boxed{7}<|end|>"
    session = [(prompt_length, "," * 10 * (times - 1) + answer) for prompt_length, times in outputs]
    info = score_session(manager(), session)
    assert info["tokens"] == 10 * outputs[-1][1]
    assert info["think_tokens"] == info["tokens"] - 4
    assert info["acc"] == 1.0


def test_a_right_answer() -> None:
    result = score(manager(), "3+4=7</think>\\boxed{7}<|end|>")
    assert result["reward_score"] == 1.0
    info = result["reward_extra_info"]
    assert info == {
        "acc": 1.0,
        "tokens": 10,
        "think_tokens": 6,
        "final_turn_tokens": 10,
        "truncated": 0.0,
        "verify_timed_out": 0.0,
        "problem_id": "3+4",
        "data_source": "test",
        "length_scope": "response",
        "level": "2",
    }


def test_a_wrong_answer() -> None:
    assert score(manager(), "3+4=8</think>\\boxed{8}<|end|>")["reward_score"] == 0.0


def test_other_forms_of_the_answer_are_asked_for() -> None:
    row = {"reward_model": {"ground_truth": "7"}}
    for forms, correct in ((["boxed"], False), (["boxed", "sentence"], True), ("hash", False)):
        hook = manager(answer_forms=forms)
        assert hook.loop.run_until_complete(hook._judge("So the answer is 7.", row)) == (correct, False)


def test_cut_off_at_the_response_limit() -> None:
    result = score(manager(), "3+4=7,3+4=7,", padding=0)
    assert result["reward_score"] == 0.0
    assert result["reward_extra_info"]["truncated"] == 1.0


def test_ended_exactly_at_the_limit_is_not_truncated() -> None:
    result = score(manager(), "3+4=7,,</think>\\boxed{7}<|end|>", padding=0)
    assert result["reward_extra_info"]["tokens"] == LIMIT
    assert result["reward_extra_info"]["truncated"] == 0.0


def test_a_custom_score_function_decides() -> None:
    def compute_score(data_source: str, solution_str: str, ground_truth: str, extra_info: dict[str, Any]) -> Any:
        return {"score": 0.1, "acc": "3*4" in solution_str}

    assert score(manager("custom", compute_score), "3*4=8")["reward_score"] == 1.0
    assert score(manager("custom", compute_score), "4*3=8")["reward_score"] == 0.0


def test_an_asynchronous_score_function() -> None:
    async def compute_score(**_: Any) -> float:
        return 1.0

    assert score(manager("custom", compute_score), "?")["reward_score"] == 1.0


@pytest.mark.parametrize(
    ("result", "correct"), [(1.0, True), (0.5, False), ({"score": 1}, True), ({"acc": 0, "score": 1}, False)]
)
def test_correctness_from_a_score(result: Any, correct: bool) -> None:
    assert correct_from_score(result) is correct


def test_a_score_that_is_none_is_an_error() -> None:
    with pytest.raises(TypeError, match="score function"):
        correct_from_score(None)
