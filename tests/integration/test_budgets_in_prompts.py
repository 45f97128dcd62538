"""What objectives of others tell the model of a budget: their configs, verl's dataset and LAPO's replay buffer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from step_queue import LIMIT, Buffers, Queue, plain
from transformers import AutoTokenizer

from lapo_verl.data.problems import Problem
from lapo_verl.data.write import write_problems
from lapo_verl.doctor.compose import compose_config
from lapo_verl.guidance.sentence import visit_draw
from lapo_verl.hooks.dataset import LapoDataset
from lapo_verl.objectives import objective
from lapo_verl.runs.checkpoints import SNAPSHOT
from lapo_verl.store import LengthStore

PROBLEMS = [f"p{i}" for i in range(20)]


def configured(*arguments: str) -> dict[str, Any]:
    """The node ``lapo`` of length_control, but for the store."""
    lapo = OmegaConf.to_container(compose_config("length_control", arguments).lapo, resolve=True)
    assert isinstance(lapo, dict)
    del lapo["store"]
    return lapo


def rows_of(buffers: Buffers, lapo: dict[str, Any], limit: int = LIMIT) -> list[dict[str, Any]]:
    """What verl reads of the training set now, from a dataset that is made anew."""
    files = {}
    for split in ("train", "val"):
        files[f"{split}_files"] = str(buffers.folder / f"{split}.parquet")
        problems = [Problem(name, "How much is 1 + 1?", "2", "sums") for name in PROBLEMS]
        write_problems(problems, split, Path(files[f"{split}_files"]))
    config = {
        **files,
        "max_prompt_length": 256,
        "max_response_length": limit,
        "filter_overlong_prompts": False,
        "cache_dir": str(buffers.folder),
        "lapo": {**lapo, "store": str(buffers.folder / "store.sqlite")},
    }
    dataset = LapoDataset(files["train_files"], AutoTokenizer.from_pretrained(buffers.model), OmegaConf.create(config))
    return [dataset[i] for i in range(len(PROBLEMS))]


def users_turns(rows: list[dict[str, Any]]) -> list[str]:
    return [row["raw_prompt"][-1]["content"] for row in rows]


def train(queue: Queue, buffer: Any, rows: list[dict[str, Any]], step: int, length: int = 300) -> list[float]:
    """A step of the first rows, all correct: the rewards of their first rollouts."""
    queue.tags.clear()
    for place, row in enumerate(rows[:2]):
        queue.add("train", "", f"s{step}p{place}", [plain(length), plain(length + 100)], step=step, lapo=row["lapo"])
    buffer.sample(step, "train", 2)
    return [queue.reward(f"s{step}p{place}", 0) for place in range(2)]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("objective=l1",), "Think for {} tokens."),
        (("objective=l1", "guidance=l1_max"), "Think for maximum {} tokens."),
    ],
)
def test_l1_draws_a_budget_for_each_visit_and_a_resume_draws_it_again(
    arguments: tuple[str, ...], words: str, queue: Queue, buffers: Buffers
) -> None:
    lapo = configured(*arguments)
    scorer, shown = objective(**lapo["objective"]), {}
    buffer = buffers(**lapo)
    for step in (0, 1, 2):
        if step:
            rewards = train(queue, buffer, rows_of(buffers, lapo), step)
        rows = rows_of(buffers, lapo)
        shown[step] = users_turns(rows)
        for problem, row in zip(PROBLEMS, rows, strict=True):
            budget = scorer.prompt_budget(None, LIMIT, visit_draw(problem, step))
            assert row["lapo"]["prompt_budget"] == budget
            # At the end of the user's turn, and nothing in the think block.
            assert row["raw_prompt"][-1]["content"].endswith(" " + words.format(int(budget or 0)))
            assert row["lapo"]["guidance"] == ""
        if step == 1:
            (buffers.folder / "global_step_1" / "actor").mkdir(parents=True)
            (buffers.folder / "latest_checkpointed_iteration.txt").write_text("1")
            buffer.store.snapshot(buffers.folder / "global_step_1" / SNAPSHOT)
    # Drawn anew for each problem and each visit.
    assert len({text for texts in shown.values() for text in texts}) > 50
    buffer.store.close()
    buffer = buffers(**lapo)
    again = rows_of(buffers, lapo)
    assert users_turns(again) == shown[1]
    assert train(queue, buffer, again, 2) == rewards
    assert users_turns(rows_of(buffers, lapo)) == shown[2]


def test_truncation_in_stages_each_with_its_limit_in_the_prompt(
    queue: Queue, tokenizer_folder: Path, tmp_path: Path
) -> None:
    """ThinkPrune: 3500 tokens are within the first limit alone, 2500 within the first two."""
    rewarded, weights = [], "base"
    for limit in (4000, 3000, 2000):
        folder = tmp_path / str(limit)
        folder.mkdir()
        buffers = Buffers(folder, tokenizer_folder)
        arguments = ("objective=truncation", f"lapo.objective.limit={limit}")
        model = compose_config("length_control", [*arguments, f"actor_rollout_ref.model.path={weights}"])
        assert Path(model.actor_rollout_ref.model.path).exists() or weights == "base"
        lapo = configured(*arguments)
        with buffers(**lapo).store as store:
            # A stage goes on from the model alone: nothing is known of a problem.
            assert store.totals()["visits"] == 0
            rows = rows_of(buffers, lapo)
            assert all(text.endswith(f" Answer within {limit} tokens.") for text in users_turns(rows))
            steps = enumerate((3500, 2500), start=1)
            rewarded.append([train(queue, buffers.made[0], rows, step, length)[0] for step, length in steps])
            weights = f"${{lapo_weights:{checkpoint_of(store, folder)}}}"
    assert rewarded == [[1, 1], [0, 1], [0, 0]]


def checkpoint_of(store: LengthStore, folder: Path) -> Path:
    """The run's folder, with a checkpoint of it."""
    place = folder / "global_step_2"
    (place / "actor" / "huggingface").mkdir(parents=True)
    for name in ("config.json", "model.safetensors"):
        (place / "actor" / "huggingface" / name).write_text("{}")
    store.snapshot(place / SNAPSHOT)
    return folder


def test_a_limit_above_the_response_limit_is_named_as_that(buffers: Buffers) -> None:
    lapo = configured("objective=truncation")
    buffers(**lapo)
    assert all(text.endswith(" Answer within 512 tokens.") for text in users_turns(rows_of(buffers, lapo, limit=512)))


def test_a_prompt_may_name_no_limit_as_in_dler(buffers: Buffers) -> None:
    lapo = configured("objective=truncation", "lapo.guidance.form=implicit")
    buffers(**lapo)
    assert not [text for text in users_turns(rows_of(buffers, lapo)) if "tokens" in text]
