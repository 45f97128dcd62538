"""The demo's task, tokenizer and data: what the RL stages and the verifier take for granted."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

pytest.importorskip("transformers")
sys.path.insert(0, str(Path(__file__).parents[3] / "recipes" / "cpu_demo"))

import task
import tokenizer as demo_tokenizer
import warmup
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from lapo_verl.guidance import guidance_text

TRACE = "3+8=1,wait 3+8=1 ok,1-5=6 let me check: 3+8=1,1-5=6 check again: 3+8=1,1-5=6"
RESPONSE = TRACE + "</think>\\boxed{6}"
WITHOUT_GUIDANCE_NOISE = warmup.WarmupSettings(guidance_noise=0, guided_share=1.0)


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return demo_tokenizer.build_tokenizer()


def encode(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    return tokenizer.encode(text, add_special_tokens=False)


def test_a_problem_is_worked_from_the_left_modulo_ten() -> None:
    problem = task.Problem((3, 8, 5), "+-")
    assert (problem.question, problem.problem_id, problem.answer, problem.level) == ("3+8-5=?", "3+8-5", 6, 3)
    assert task.Problem((2, 5), "-").answer == 7


def test_decoding_gives_the_response_back_without_the_end_token(tokenizer: PreTrainedTokenizerFast) -> None:
    tokens = encode(tokenizer, RESPONSE + demo_tokenizer.END)
    assert tokens[-1] == tokenizer.eos_token_id
    assert tokenizer.decode(tokens, skip_special_tokens=True) == RESPONSE
    assert tokenizer.unk_token_id not in tokens


def test_saved_and_loaded_by_auto_tokenizer_it_is_the_same(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    messages = [{"role": "user", "content": "3+8-5=?"}]
    for text in (RESPONSE + demo_tokenizer.END, demo_tokenizer.prompt_text(tokenizer, "3+8-5=?")):
        assert loaded.encode(text) == encode(tokenizer, text)
        assert loaded.decode(encode(loaded, text)) == text
    assert loaded.get_vocab() == tokenizer.get_vocab()
    assert (loaded.eos_token, loaded.pad_token) == (demo_tokenizer.END, demo_tokenizer.PAD)
    prompt = loaded.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert prompt == "<|user|>3+8-5=?<|end|><|assistant|><think>"


@pytest.mark.parametrize("form", ["exact", "range"])
def test_guidance_alone_has_the_tokens_that_it_has_in_the_prompt(tokenizer: PreTrainedTokenizerFast, form: str) -> None:
    prompt = demo_tokenizer.prompt_text(tokenizer, "3+8-5=?")
    guidance = guidance_text(form, budget=37.0, low=30.0, high=45.0)
    tokens = encode(tokenizer, guidance)
    assert encode(tokenizer, prompt + guidance) == encode(tokenizer, prompt) + tokens
    assert tokenizer.unk_token_id not in tokens
    assert len(tokens) <= 16


def test_a_check_pass_is_right_and_a_trace_ends_in_the_box_of_its_answer() -> None:
    rng = random.Random(0)
    settings = task.TraceSettings()
    hard = task.hard_cells(settings.hard_share)
    wrong = 0
    for _ in range(500):
        problem = task.draw_problem(rng, rng.choice(task.LEVELS))
        trace = task.draw_trace(rng, problem, hard, settings)
        assert task.boxed_answer(trace.response) == str(trace.answer)
        assert trace.text.endswith(f"={trace.answer}") or trace.text.endswith(f"={trace.answer} ok")
        if "check" in trace.text:
            assert trace.answer == problem.answer
        wrong += trace.answer != problem.answer
    assert 0 < wrong < 250


def test_without_hard_cells_every_trace_is_right() -> None:
    rng = random.Random(0)
    for _ in range(200):
        problem = task.draw_problem(rng, 6)
        assert task.draw_trace(rng, problem, (), task.TraceSettings()).answer == problem.answer


def test_hard_cells_are_a_fixed_share_of_those_that_carry_or_borrow() -> None:
    cells = task.hard_cells(0.3)
    assert cells == task.hard_cells(0.3)
    assert len(cells) == 27
    assert all(a + b > 9 if sign == "+" else a < b for a, sign, b in cells)


@pytest.mark.parametrize("text", ["", "\\boxed{6}", "3+8=1", "</think>\\boxed{", "</think>6"])
def test_no_answer_without_a_whole_box_after_the_think_block(text: str) -> None:
    assert task.boxed_answer(text) is None


def test_the_guidance_names_the_number_of_response_tokens(tokenizer: PreTrainedTokenizerFast) -> None:
    rows = warmup.draw_rows(random.Random(0), tokenizer, WITHOUT_GUIDANCE_NOISE, 100, set())
    for row in rows:
        assert tokenizer.decode(row.prompt).endswith(guidance_text("exact", budget=float(len(row.response))))
        assert row.response[-1] == tokenizer.eos_token_id


def test_guidance_stands_in_the_asked_share_of_rows_near_the_length(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    settings = warmup.WarmupSettings()
    rows = warmup.draw_rows(random.Random(0), tokenizer, settings, 1000, set())
    budgets = [(tokenizer.decode(row.prompt), len(row.response)) for row in rows]
    guided = [(int(prompt.split(" tokens")[0].split()[-1]), length) for prompt, length in budgets if "tokens" in prompt]
    assert 0.25 < len(guided) / len(rows) < 0.35
    assert all(abs(shown - length) <= settings.guidance_noise for shown, length in guided)
    assert all(length < warmup.RESPONSE_LIMIT * 1.5 for _, length in budgets)


def test_splits_are_balanced_disjoint_and_the_same_every_time() -> None:
    settings = warmup.WarmupSettings()
    train, heldout = warmup.train_problems(settings, 100), warmup.heldout_problems(settings)
    assert not {problem.problem_id for problem in train} & {problem.problem_id for problem in heldout}
    for problems, size in ((train, 100), (heldout, settings.heldout_per_level)):
        assert len({problem.problem_id for problem in problems}) == len(problems)
        assert [sum(p.level == level for p in problems) for level in task.LEVELS] == [size] * len(task.LEVELS)
    assert train == warmup.train_problems(settings, 100)
    assert heldout == warmup.heldout_problems(settings)


def test_the_warm_up_sees_no_held_out_problem(tokenizer: PreTrainedTokenizerFast) -> None:
    settings = warmup.WarmupSettings()
    heldout = {problem.question for problem in warmup.heldout_problems(settings)}
    names = {question.removesuffix("=?") for question in heldout}
    rows = warmup.draw_rows(random.Random(0), tokenizer, settings, 500, names)
    prompts = [tokenizer.decode(row.prompt) for row in rows]
    assert not any(prompt.split("<|user|>")[1].split("<|end|>")[0] in heldout for prompt in prompts)


def test_more_problems_than_a_level_has_are_refused() -> None:
    with pytest.raises(ValueError, match="level 2 has 200"):
        task.draw_problems(random.Random(0), 201)


def test_the_data_file_has_the_columns_that_verl_reads(tmp_path: Path) -> None:
    path = tmp_path / "train.parquet"
    warmup.write_parquet([task.Problem((3, 8, 5), "+-"), task.Problem((1, 2), "+")], "train", path)
    rows = pq.read_table(path).to_pylist()
    assert rows[0] == {
        "prompt": [{"role": "user", "content": "3+8-5=?"}],
        "data_source": "lapo_demo",
        "reward_model": {"style": "rule", "ground_truth": "6"},
        "extra_info": {"index": 0, "split": "train", "problem_id": "3+8-5", "level": 3},
    }
    assert rows[1]["extra_info"]["index"] == 1


def test_another_setting_is_another_model() -> None:
    assert warmup.WarmupSettings().key == warmup.WarmupSettings().key
    assert warmup.WarmupSettings(steps=7).key != warmup.WarmupSettings().key


def test_prepare_trains_once_and_then_takes_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = warmup.WarmupSettings(steps=1, rows_per_step=4, hidden_size=64, layers=1, heads=2)
    paths = warmup.prepare(tmp_path, settings, show_progress=False)
    assert (paths.model / "model.safetensors").is_file() and paths.train.is_file() and paths.heldout.is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "base_model",
        "heldout.parquet",
        "train.parquet",
    ]

    monkeypatch.setattr(warmup, "train_base", lambda *_: pytest.fail("trained twice"))
    assert warmup.prepare(tmp_path, settings, train_per_level=10, show_progress=False) == paths
    assert pq.read_table(paths.train).num_rows == 10 * len(task.LEVELS)
    # The shipped model is taken where the settings are its own.
    monkeypatch.setattr(warmup, "SHIPPED_MODEL", paths.model)
    other = warmup.prepare(tmp_path / "other", settings, show_progress=False)
    assert warmup.is_trained(other.model, settings)


def test_the_shipped_model_is_the_one_of_the_default_settings() -> None:
    assert warmup.is_trained(warmup.SHIPPED_MODEL, warmup.WarmupSettings())
