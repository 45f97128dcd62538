"""The laboratory's tokenizer, splits, warm-up rows and base model."""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path

import pyarrow.parquet as pq
import pytest

pytest.importorskip("transformers")

import lab_task
import lab_warmup
import torch
from lab_measure import KEYWORDS, is_correct, level_rows, skewness
from lab_tokenizer import build_tokenizer
from toy.llama import Rollout, sample, train
from toy.tokenizer import END, prompt_text
from transformers import AutoTokenizer, LlamaForCausalLM, PreTrainedTokenizerFast

from lapo_verl.guidance import guidance_text

# More threads than one cost a model of this size more than they bring, many times over on a busy machine.
torch.set_num_threads(1)
SETTINGS = lab_warmup.LabWarmupSettings()
TINY = lab_warmup.LabWarmupSettings(steps=6, rows_per_step=4, hidden_size=64, layers=1, heads=2, warmup_steps=2)


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return build_tokenizer()


@pytest.fixture(scope="module")
def splits() -> dict[str, list[lab_task.Problem]]:
    return lab_warmup.draw_splits(SETTINGS)


def test_every_word_of_problems_traces_and_guidance_is_known(tokenizer: PreTrainedTokenizerFast) -> None:
    rng = random.Random(0)
    for level in lab_task.FORKS:
        problem = lab_task.draw_problem(rng, level)
        response = lab_task.draw_trace(rng, problem, SETTINGS.traces).response
        for form in ("exact", "range"):
            text = prompt_text(tokenizer, problem.question) + guidance_text(form, budget=88.0, low=60.0, high=90.0)
            tokens = tokenizer.encode(text + response + END, add_special_tokens=False)
            assert tokenizer.unk_token_id not in tokens
            assert tokenizer.decode(tokens) == text + response + END


def test_words_of_the_keyword_groups_are_tokens(tokenizer: PreTrainedTokenizerFast) -> None:
    vocabulary = tokenizer.get_vocab()
    assert all(" " + word in vocabulary for words in KEYWORDS.values() for word in words)


def test_the_shortest_responses_have_the_tokens_that_are_said(tokenizer: PreTrainedTokenizerFast) -> None:
    def tokens(text: str) -> int:
        return len(tokenizer.encode(text, add_special_tokens=False))

    rng = random.Random(0)
    plain = lab_task.TraceSettings(check_plain=0.0, check_fork=0.0, styles={" quick": (0.0, 0.0)})
    for level in lab_task.FORKS:
        trace = lab_task.draw_trace(rng, lab_task.draw_problem(rng, level), plain)
        assert tokens(trace.response + END) == lab_task.SHORTEST
    assert tokens("b2 check2*3=6,6 ok32") - tokens("b232") == lab_task.CHECK
    assert tokens("b7 check7*3=1,6 no alternatively232") - tokens("b232") == lab_task.CHECK + lab_task.REPAIR
    assert lab_task.needed_tokens(3) == 55


def test_splits_are_disjoint_seeded_and_of_the_levels_named(splits: dict[str, list[lab_task.Problem]]) -> None:
    names = [problem.problem_id for problems in splits.values() for problem in problems]
    assert len(names) == len(set(names))
    assert {problem.level for problem in splits["train"]} == set(lab_task.LEVELS)
    assert {problem.level for problem in splits["test"]} == set(lab_task.FORKS)
    assert sum(problem.level in lab_task.LEVELS for problem in splits["test"]) >= 500
    assert splits == lab_warmup.draw_splits(SETTINGS)


def test_warmup_rows_hold_no_problem_of_a_split(
    tokenizer: PreTrainedTokenizerFast, splits: dict[str, list[lab_task.Problem]]
) -> None:
    seen = {p.problem_id for p in splits["train"][:50]}
    rows = lab_warmup.draw_rows(random.Random(3), tokenizer, SETTINGS, set())
    questions = {tokenizer.decode(row.prompt).split("<|user|>")[1].split("?")[0] for row in rows}
    assert len(questions) == len(rows) == SETTINGS.rows_per_step
    again = lab_warmup.draw_rows(random.Random(3), tokenizer, SETTINGS, seen | questions)
    assert questions.isdisjoint(tokenizer.decode(row.prompt).split("<|user|>")[1].split("?")[0] for row in again)


def test_the_guidance_of_a_warmup_row_is_roughly_its_length(tokenizer: PreTrainedTokenizerFast) -> None:
    settings = lab_warmup.LabWarmupSettings(rows_per_step=400, guided_share=1.0)
    ratios = []
    for row in lab_warmup.draw_rows(random.Random(0), tokenizer, settings, set()):
        words = tokenizer.decode(row.prompt).split("<think>")[1].split()
        ratios.append(int(words[-2]) / len(row.response))
    ratios.sort()
    assert ratios[200] == pytest.approx(1.0, abs=0.03)
    assert 0.05 < (ratios[336] - ratios[64]) / 2 < 0.11


def test_data_files_are_what_verl_reads(tmp_path: Path) -> None:
    paths = lab_warmup.prepare(tmp_path, TINY, show_progress=False)
    rows = pq.read_table(paths.test).to_pylist()
    row = rows[0]
    assert row["prompt"][0]["role"] == "user"
    assert row["prompt"][0]["content"] == row["extra_info"]["problem_id"] + "?"
    assert len(row["reward_model"]["ground_truth"]) == 2
    assert {r["extra_info"]["level"] for r in rows} == set(lab_task.FORKS)
    assert lab_warmup.is_trained(paths.model, TINY)


def test_a_warmup_cut_off_ends_in_the_weights_of_one_that_was_not(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    def rows(rng: random.Random) -> list:  # type: ignore[type-arg]
        return lab_warmup.draw_rows(rng, tokenizer, TINY, set())

    class CutOffError(Exception):
        pass

    def cut(step: int, loss: float) -> None:
        if step == 5:
            raise CutOffError

    checkpoint = tmp_path / "checkpoint"
    with pytest.raises(CutOffError):
        train(tmp_path / "cut", tokenizer, TINY, rows, cut, checkpoint, checkpoint_every=2)
    assert checkpoint.exists()
    steps: list[int] = []
    train(tmp_path / "cut", tokenizer, TINY, rows, lambda step, loss: steps.append(step), checkpoint)
    train(tmp_path / "whole", tokenizer, TINY, rows)
    assert steps == [5, 6]
    assert not checkpoint.exists()
    one, other = (LlamaForCausalLM.from_pretrained(tmp_path / name).state_dict() for name in ("cut", "whole"))
    assert all(one[name].equal(other[name]) for name in one)


def test_skewness_and_level_rows_of_known_rollouts() -> None:
    assert skewness([1, 2, 3]) == pytest.approx(0.0)
    assert skewness([1, 1, 1, 5]) == pytest.approx(1.1547, abs=1e-4)
    problem = lab_task.draw_problem(random.Random(0), 1).problem_id
    rollouts = [Rollout(problem, 1, None, "", tokens, tokens > 10, False) for tokens in (10, 20, 20, 50)]
    (level, accuracy, best, tokens, *_), _ = level_rows(rollouts)
    assert (level, accuracy, best, tokens) == ("1", 75.0, 100.0, 25.0)


@pytest.mark.skipif(not lab_warmup.SHIPPED_MODEL.exists(), reason="no base model is shipped")
def test_the_shipped_base_is_that_of_the_settings_and_answers(
    splits: dict[str, list[lab_task.Problem]], tmp_path: Path
) -> None:
    assert lab_warmup.is_trained(lab_warmup.SHIPPED_MODEL, SETTINGS), "the task is frozen: see base.md"
    record = json.loads((lab_warmup.SHIPPED_MODEL / "warmup.json").read_text())
    assert record["steps"] == SETTINGS.steps
    lab_warmup.write_problems([p for p in splits["validation"] if p.level <= 2][:20], "x", "validation", tmp_path / "v")
    rollouts = sample(
        LlamaForCausalLM.from_pretrained(lab_warmup.SHIPPED_MODEL).eval(),
        AutoTokenizer.from_pretrained(lab_warmup.SHIPPED_MODEL),
        pq.read_table(tmp_path / "v").to_pylist(),
        is_correct,
        lab_warmup.RESPONSE_LIMIT,
        n=2,
    )
    assert sum(rollout.correct for rollout in rollouts) > 0.75 * len(rollouts)


def test_the_task_is_frozen(tokenizer: PreTrainedTokenizerFast, splits: dict[str, list[lab_task.Problem]]) -> None:
    """Problems, splits and traces are those that the shipped base and every result in this recipe were made with."""
    problems = [(name, p.problem_id, p.answer) for name, chosen in splits.items() for p in chosen]
    rows = lab_warmup.draw_rows(random.Random(0), tokenizer, SETTINGS, set())
    text = json.dumps([problems, [(row.prompt, row.response) for row in rows]])
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "9699878f6ab34e22"
