"""The toy's tokenizer, splits, warm-up rows and base model."""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path

import pyarrow.parquet as pq
import pytest

pytest.importorskip("transformers")

import torch
from transformers import AutoTokenizer, LlamaForCausalLM, PreTrainedTokenizerFast

from lapo_verl.guidance import guidance_text
from toy import task, warmup
from toy.llama import Rollout, sample, train
from toy.measure import KEYWORDS, is_correct, level_rows, skewness
from toy.tokenizer import END, build_tokenizer, prompt_text

# More threads than one cost a model of this size more than they bring, many times over on a busy machine.
torch.set_num_threads(1)
SETTINGS = warmup.WarmupSettings()
TINY = warmup.WarmupSettings(steps=6, rows_per_step=4, hidden_size=64, layers=1, heads=2, warmup_steps=2)


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return build_tokenizer()


@pytest.fixture(scope="module")
def splits() -> dict[str, list[task.Problem]]:
    return warmup.draw_splits(SETTINGS)


def test_every_word_of_problems_traces_and_guidance_is_known(tokenizer: PreTrainedTokenizerFast) -> None:
    rng = random.Random(0)
    for level in task.FORKS:
        problem = task.draw_problem(rng, level)
        response = task.draw_trace(rng, problem, SETTINGS.traces).response
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
    plain = task.TraceSettings(check_plain=0.0, check_fork=0.0, styles={" quick": (0.0, 0.0)})
    for level in task.FORKS:
        trace = task.draw_trace(rng, task.draw_problem(rng, level), plain)
        assert tokens(trace.response + END) == task.SHORTEST
    assert tokens("b2 check2*3=6,6 ok32") - tokens("b232") == task.CHECK
    assert tokens("b7 check7*3=1,6 no alternatively232") - tokens("b232") == task.CHECK + task.REPAIR
    assert task.needed_tokens(3) == 55


def test_splits_are_disjoint_seeded_and_of_the_levels_named(splits: dict[str, list[task.Problem]]) -> None:
    names = [problem.problem_id for problems in splits.values() for problem in problems]
    assert len(names) == len(set(names))
    assert {problem.level for problem in splits["train"]} == set(task.LEVELS)
    assert {problem.level for problem in splits["test"]} == set(task.FORKS)
    assert sum(problem.level in task.LEVELS for problem in splits["test"]) >= 500
    assert splits == warmup.draw_splits(SETTINGS)


def test_warmup_rows_hold_no_problem_of_a_split(
    tokenizer: PreTrainedTokenizerFast, splits: dict[str, list[task.Problem]]
) -> None:
    seen = {p.problem_id for p in splits["train"][:50]}
    rows = warmup.draw_rows(random.Random(3), tokenizer, SETTINGS, set())
    questions = {tokenizer.decode(row.prompt).split("<|user|>")[1].split("?")[0] for row in rows}
    assert len(questions) == len(rows) == SETTINGS.rows_per_step
    again = warmup.draw_rows(random.Random(3), tokenizer, SETTINGS, seen | questions)
    assert questions.isdisjoint(tokenizer.decode(row.prompt).split("<|user|>")[1].split("?")[0] for row in again)


def test_the_guidance_of_a_warmup_row_is_roughly_its_length(tokenizer: PreTrainedTokenizerFast) -> None:
    settings = warmup.WarmupSettings(rows_per_step=400, guided_share=1.0)
    ratios = []
    for row in warmup.draw_rows(random.Random(0), tokenizer, settings, set()):
        words = tokenizer.decode(row.prompt).split("<think>")[1].split()
        ratios.append(int(words[-2]) / len(row.response))
    ratios.sort()
    assert ratios[200] == pytest.approx(1.0, abs=0.03)
    assert 0.05 < (ratios[336] - ratios[64]) / 2 < 0.11


def test_data_files_are_what_verl_reads(tmp_path: Path, splits: dict[str, list[task.Problem]]) -> None:
    path = tmp_path / "test.parquet"
    problems = splits["test"][:2]
    warmup.write_problems(problems, "toy", "test", path)
    assert pq.read_table(path).to_pylist() == [
        {
            "prompt": [{"role": "user", "content": problem.problem_id + "?"}],
            "data_source": "toy",
            "reward_model": {"style": "rule", "ground_truth": problem.answer},
            "extra_info": {"index": index, "split": "test", "problem_id": problem.problem_id, "level": problem.level},
        }
        for index, problem in enumerate(problems)
    ]


def test_prepare_trains_once_and_then_takes_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = warmup.prepare(tmp_path / "one", TINY, show_progress=False)
    assert warmup.is_trained(paths.model, TINY)
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == [
        "base_model",
        "test.parquet",
        "train.parquet",
        "validation.parquet",
    ]
    monkeypatch.setattr(warmup, "train_base", lambda *_: pytest.fail("trained twice"))
    assert warmup.prepare(tmp_path / "one", TINY, show_progress=False) == paths
    # The shipped model is taken where the settings are its own.
    monkeypatch.setattr(warmup, "SHIPPED_MODEL", paths.model)
    other = warmup.prepare(tmp_path / "other", TINY, show_progress=False)
    assert warmup.is_trained(other.model, TINY)


def test_other_settings_are_another_model() -> None:
    assert SETTINGS.key == warmup.WarmupSettings().key != TINY.key


def test_a_warmup_cut_off_ends_in_the_weights_of_one_that_was_not(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    def rows(rng: random.Random) -> list:  # type: ignore[type-arg]
        return warmup.draw_rows(rng, tokenizer, TINY, set())

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
    problem = task.draw_problem(random.Random(0), 1).problem_id
    rollouts = [Rollout(problem, 1, None, "", tokens, tokens > 10, False) for tokens in (10, 20, 20, 50)]
    (level, accuracy, best, tokens, *_), _ = level_rows(rollouts)
    assert (level, accuracy, best, tokens) == ("1", 75.0, 100.0, 25.0)


@pytest.mark.skipif(not warmup.SHIPPED_MODEL.exists(), reason="no base model is shipped")
def test_the_shipped_base_is_that_of_the_settings_and_answers(
    splits: dict[str, list[task.Problem]], tmp_path: Path
) -> None:
    assert warmup.is_trained(warmup.SHIPPED_MODEL, SETTINGS), "the task is frozen: see base.md"
    record = json.loads((warmup.SHIPPED_MODEL / "warmup.json").read_text())
    assert record["steps"] == SETTINGS.steps
    warmup.write_problems([p for p in splits["validation"] if p.level <= 2][:20], "x", "validation", tmp_path / "v")
    rollouts = sample(
        LlamaForCausalLM.from_pretrained(warmup.SHIPPED_MODEL).eval(),
        AutoTokenizer.from_pretrained(warmup.SHIPPED_MODEL),
        pq.read_table(tmp_path / "v").to_pylist(),
        is_correct,
        task.RESPONSE_LIMIT,
        n=2,
    )
    assert sum(rollout.correct for rollout in rollouts) > 0.75 * len(rollouts)


def test_the_task_is_frozen(tokenizer: PreTrainedTokenizerFast, splits: dict[str, list[task.Problem]]) -> None:
    """Problems, splits and traces are those that the shipped base and every result in this recipe were made with."""
    problems = [(name, p.problem_id, p.answer) for name, chosen in splits.items() for p in chosen]
    rows = warmup.draw_rows(random.Random(0), tokenizer, SETTINGS, set())
    text = json.dumps([problems, [(row.prompt, row.response) for row in rows]])
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "9699878f6ab34e22"
