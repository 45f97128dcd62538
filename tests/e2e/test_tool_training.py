"""A training whose rows use a tool, or none: what vLLM was sent, what was counted, and what was rewarded."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from transformers import AutoTokenizer
from verl_runs import Inputs, Run, rewards_of, run_to_end

from lapo_verl.guidance import guidance_text
from lapo_verl.hooks.turns import generated_turns
from lapo_verl.objectives import objective
from lapo_verl.store import GroupRecord, LengthStore

TOOL = Path(__file__).parent / "toy_calculator.py"
# A tool's answer goes on in the assistant's turn, as the toy's traces do.
TEMPLATE = (
    "{% for message in messages %}{% if message.role == 'tool' %}{{ message.content }}{% else %}"
    "{{ '<|assistant|><think>' if message.role == 'assistant' else '<|user|>' }}{{ message.content }}<|end|>"
    "{% endif %}{% endfor %}"
    "{% if add_generation_prompt and messages[-1].role != 'tool' %}<|assistant|><think>{% endif %}"
)
STEPS = 2


@dataclasses.dataclass(frozen=True)
class Training:
    run: Run
    rows: list[dict[str, Any]]
    budgets: dict[str, float]
    with_tool: set[str]
    tokenizer: Any


@pytest.fixture(scope="module")
def training(inputs: Inputs, tmp_path_factory: pytest.TempPathFactory) -> Training:
    """Internalization on problems that the store knows; every second one's rollouts may use the tool."""
    folder = tmp_path_factory.mktemp("tools")
    model = folder / "model"
    model.mkdir()
    for path in inputs.model.iterdir():
        (model / path.name).write_bytes(path.read_bytes())
    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(model)

    problems = pq.read_table(inputs.train).to_pylist()
    loops = [("lapo_tool_agent", "lapo_single_turn")[place % 2] for place in range(len(problems))]
    ids = [row["extra_info"]["problem_id"] for row in problems]
    train = folder / "train.parquet"
    pq.write_table(
        pa.Table.from_pylist([{**row, "agent_name": loop} for row, loop in zip(problems, loops, strict=True)]), train
    )
    budgets = {problem: 40.0 + place for place, problem in enumerate(ids)}
    with LengthStore.open(folder / "stage_one.sqlite") as store:
        known = [GroupRecord(problem, (int(budget),), (True,)) for problem, budget in budgets.items()]
        store.record_step("discovery", 1, known, objective("discovery"))

    run = run_to_end(
        Inputs(model, train, inputs.heldout),
        "lapo_internalization",
        folder,
        f"lapo.init_from={folder}/stage_one.sqlite",
        "lapo.objective.sigma=6",
        f"actor_rollout_ref.rollout.multi_turn.function_tool_path={TOOL}",
        "actor_rollout_ref.rollout.multi_turn.format=toy",
        f"trainer.total_training_steps={STEPS}",
    )
    assert run.returncode == 0, run.faults
    with_tool = {problem for problem, loop in zip(ids, loops, strict=True) if loop == "lapo_tool_agent"}
    return Training(run, run.recorded(), budgets, with_tool, tokenizer)


def visits(rows: list[dict[str, Any]]) -> Iterator[tuple[int, str, list[dict[str, Any]]]]:
    """(step, problem, rollouts) of each visit."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        found[row["key"].split("_")[0]].append(row)
    for group in found.values():
        yield group[0]["step"], group[0]["lapo"]["problem_id"], group


def test_both_agent_loops_run_and_only_one_has_the_tool(training: Training) -> None:
    assert "agent loop: lapo_tool_agent 12, lapo_single_turn 12" in training.run.output
    turns: dict[bool, list[int]] = {True: [], False: []}
    for row in training.rows:
        turns[row["lapo"]["problem_id"] in training.with_tool].append(len(generated_turns(row["mask"])))
    assert set(turns[False]) == {1}
    assert len(turns[True]) >= 8 and np.mean(turns[True]) > 1.3


def test_vllm_is_sent_the_budget_first_and_each_turn_goes_on_from_it(training: Training) -> None:
    sent = sorted(training.run.server_prompts())
    expected = []
    for row in training.rows:
        budget = training.budgets[row["lapo"]["problem_id"]]
        sentence = training.tokenizer.encode(guidance_text("exact", budget), add_special_tokens=False)
        assert row["prompt"][-len(sentence) :] == sentence
        expected += [row["prompt"] + row["response"][:start] for start, _ in generated_turns(row["mask"])]
    assert sorted(expected) == sent


def test_the_tools_answers_are_right_and_are_not_counted(training: Training) -> None:
    answers = 0
    for row in training.rows:
        turns = generated_turns(row["mask"])
        for (_, end), (following, _) in pairwise(turns):
            *_, a, times, b, equals = training.tokenizer.decode(row["response"][:end])
            assert times + equals == "*="
            assert training.tokenizer.decode(row["response"][end:following]) == str(int(a) * int(b) % 10)
            answers += 1
        assert row["info"]["tokens"] == sum(row["mask"]) == sum(end - start for start, end in turns)
        assert row["info"]["final_turn_tokens"] == turns[-1][1] - turns[-1][0]
    assert answers > 10


def test_rewards_are_around_the_trajectorys_budget(training: Training) -> None:
    """Recomputed from the tokens, and the same in verl's dump, which it writes after the update."""
    dumped = {row["uid"]: row["score"] for step in range(1, STEPS + 1) for row in training.run.dump("rollouts", step)}
    right = set()
    with LengthStore.open(training.run.store, read_only=True) as store:
        for step, problem, rows in visits(training.rows):
            expected = rewards_of(rows, training.budgets[problem], "internalization", sigma=6)
            assert [sum(row["scores"]) for row in rows] == pytest.approx(expected, abs=2**-16)
            assert [dumped[row["key"]] for row in rows] == pytest.approx(expected, abs=2**-16)
            records = [r for r in store.history(problem) if (r.run, r.step) == ("internalization", step)]
            lengths = sorted(sum(row["mask"]) for row in rows if row["info"]["acc"])
            assert [sorted(record.correct_lengths) for record in records] == [lengths]
            right.update((problem in training.with_tool, bool(row["info"]["acc"])) for row in rows)
    assert len(right) == 4, "with and without the tool, some are right and some are wrong"
