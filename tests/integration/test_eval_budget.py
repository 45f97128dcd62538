"""``lapo eval --budget``: what verl's own dataset and LAPO's agent loop make of the questions is training's prompt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from omegaconf import OmegaConf
from prompt_cases import PROMPT_CASES, PromptCase
from rollout_server import rollout

from lapo_verl.evaluate.benchmarks import questions, read_benchmark, write_questions
from lapo_verl.evaluate.conditions import conditions_of
from lapo_verl.evaluate.models import Model
from lapo_verl.evaluate.settings import EvalSettings
from lapo_verl.export.seam import Chat, training_ids
from lapo_verl.guidance.config import GuidanceConfig
from lapo_verl.hooks.plain_dataset import RLHFDataset
from lapo_verl.runs.training_note import TrainingNote

ROW = {
    "prompt": [{"role": "user", "content": "What is 3 + 4?"}],
    "data_source": "test",
    "reward_model": {"ground_truth": "7"},
    "extra_info": {"index": 0, "problem_id": "p"},
}


def asked(file: Path, tokenizer: Any, guidance: GuidanceConfig) -> list[list[int]]:
    """The prompts of a problem as the rollout server receives them: the model's own, and with a budget of 40."""
    model = Model("m", "m", "m", training=TrainingNote("owner/base", (), guidance, {}))
    benchmark = read_benchmark("b", file, "lapo")
    conditions = conditions_of(model, EvalSettings(budgets=(40,)))
    questions_file = file.with_name("questions.parquet")
    write_questions([q for condition in conditions for q in questions(benchmark, condition, n=1)], questions_file)
    base = OmegaConf.load(Path(__file__).parents[2] / "hydra_configs" / "lapo_base.yaml")
    base.data.cache_dir = str(file.parent / "cache")
    # verl's filter starts a process.
    base.data.filter_overlong_prompts = False
    data = OmegaConf.create(OmegaConf.to_container(base.data, resolve=True))
    dataset = RLHFDataset(str(questions_file), tokenizer, data)
    return [rollout(tokenizer, dataset[position], data)[0] for position in range(len(dataset))]


@pytest.mark.parametrize("place", ["inside", "outside"])
@pytest.mark.parametrize("case", PROMPT_CASES, ids=lambda case: case.name)
def test_the_prompts_are_the_trainings(case: PromptCase, place: Any, tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist([ROW]), tmp_path / "b.parquet")
    tokenizer, guidance = case.tokenizer(), GuidanceConfig(place=place)
    own = Chat(tokenizer, case.template)
    plain, budgeted = asked(tmp_path / "b.parquet", tokenizer, guidance)
    assert plain == own.ids(ROW["prompt"])
    assert budgeted == training_ids(own, ROW["prompt"], guidance, 40)
    assert plain != budgeted
