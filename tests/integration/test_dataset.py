"""verl's dataset class with LAPO's column, on the toy's tokenizer and problems."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from lapo_verl.hooks.dataset import LapoDataset
from lapo_verl.objectives import objective
from lapo_verl.store import GroupRecord, LengthStore
from toy.llama import write_problems
from toy.task import draw_problems
from toy.tokenizer import build_tokenizer

INTERNALIZATION = objective("internalization")


def group(problem: str, correct: tuple[int, ...], n: int = 4) -> GroupRecord:
    """``n`` rollouts, the correct ones of these lengths first."""
    lengths = (*correct, *[4000] * (n - len(correct)))
    return GroupRecord(problem, lengths, tuple(place < len(correct) for place in range(n)))


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return build_tokenizer()


@pytest.fixture
def data(tmp_path: Path) -> DictConfig:
    problems = draw_problems(random.Random(0), 3)
    write_problems(problems[:10], "toy", "train", tmp_path / "train.parquet")
    write_problems(problems[10:], "toy", "validation", tmp_path / "val.parquet")
    LengthStore.open(tmp_path / "store.sqlite").close()
    return OmegaConf.create(
        {
            "train_files": str(tmp_path / "train.parquet"),
            "val_files": str(tmp_path / "val.parquet"),
            "max_prompt_length": 80,
            "max_response_length": 96,
            "cache_dir": str(tmp_path / "cache"),
            "filter_overlong_prompts": False,
            "lapo": {"objective": {"name": "internalization"}, "store": str(tmp_path / "store.sqlite")},
        }
    )


def test_a_row_holds_the_budget_of_the_moment_it_is_fetched(data: DictConfig, tokenizer: Any) -> None:
    dataset = LapoDataset(data.train_files, tokenizer, data)
    problem = dataset[0]["lapo"]["problem_id"]
    assert dataset[0]["lapo"]["target"] is None
    with LengthStore.open(data.lapo.store) as store:
        for step, length in ((1, 50), (2, 40)):
            store.record_step("internalization", step, [group(problem, (length,))], INTERNALIZATION)
            row = dataset[0]["lapo"]
            assert row["target"] == length
            assert row["guidance"] == f" I will answer the question with {length} tokens."
    assert dataset[1]["lapo"]["target"] is None


def test_an_unsolved_problem_is_shown_the_response_limit(data: DictConfig, tokenizer: Any) -> None:
    dataset = LapoDataset(data.train_files, tokenizer, data)
    assert dataset[0]["lapo"]["guidance"] == " I will answer the question with 96 tokens."
    silent = OmegaConf.merge(data, {"lapo": {"guidance": {"unsolved": "silent"}}})
    assert LapoDataset(data.train_files, tokenizer, silent)[0]["lapo"]["guidance"] == ""


def test_a_range_is_the_band_of_the_visit_that_set_the_budget(data: DictConfig, tokenizer: Any) -> None:
    data.lapo.guidance = {"form": "range"}
    dataset = LapoDataset(data.train_files, tokenizer, data)
    problem = dataset[0]["lapo"]["problem_id"]
    with LengthStore.open(data.lapo.store) as store:
        store.record_step("discovery", 1, [group(problem, (490, 500, 510))], objective("discovery"))
        store.record_step("internalization", 1, [group(problem, (1480, 1500, 1520))], INTERNALIZATION)
    row = dataset[0]["lapo"]
    assert row["guidance"] == " I will answer the question with 496 to 504 tokens."
    assert (row["target"], row["prompt_budget"]) == (500, 500)
    assert dataset[1]["lapo"]["guidance"] == " I will answer the question with 96 to 96 tokens."
    assert dataset[1]["lapo"]["prompt_budget"] is None


def test_a_row_says_which_number_its_prompt_shows(data: DictConfig, tokenizer: Any) -> None:
    data.lapo.guidance = {"rounding": 100}
    dataset = LapoDataset(data.train_files, tokenizer, data)
    problem = dataset[0]["lapo"]["problem_id"]
    with LengthStore.open(data.lapo.store) as store:
        store.record_step("discovery", 1, [group(problem, (12,))], objective("discovery"))
    row = dataset[0]["lapo"]
    assert row["guidance"] == " I will answer the question with 100 tokens."
    assert (row["target"], row["prompt_budget"]) == (12, 100)


def test_discovery_shows_no_guidance(data: DictConfig, tokenizer: Any) -> None:
    data.lapo.objective.name = "discovery"
    assert LapoDataset(data.train_files, tokenizer, data)[0]["lapo"]["guidance"] == ""


def test_validation_rows_are_verls(data: DictConfig, tokenizer: Any) -> None:
    assert "lapo" not in LapoDataset(data.val_files, tokenizer, data)[0]


def test_one_file_for_both_is_refused(data: DictConfig, tokenizer: Any) -> None:
    data.val_files = data.train_files
    with pytest.raises(ValueError, match="copy of the file"):
        LapoDataset(data.train_files, tokenizer, data)


def test_outside_the_think_block_the_sentence_ends_the_users_turn(data: DictConfig, tokenizer: Any) -> None:
    data.lapo.guidance = {"place": "outside"}
    row = LapoDataset(data.train_files, tokenizer, data)[0]
    assert row["raw_prompt"][-1]["content"].endswith("? I will answer the question with 96 tokens.")
    assert row["lapo"]["guidance"] == ""
