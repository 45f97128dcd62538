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
from lapo_verl.store import GroupRecord, LengthStore

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


# --- visits in flight: rows are read before the rollouts of earlier ones are trained on ---


def stage_two(buffers: Buffers, problems: list[str]) -> dict[str, Any]:
    """The node ``lapo`` of Internalization, which starts from targets of 900 tokens."""
    earlier = buffers.folder / "earlier.sqlite"
    with LengthStore.open(earlier) as store:
        visits = [GroupRecord(name, (900,), (True,)) for name in problems]
        store.record_step("discovery", 1, visits, objective("discovery"))
    return {"objective": {"name": "internalization"}, "init_from": str(earlier)}


def arrive(queue: Queue, row: dict[str, Any], uid: str, lengths: tuple[int, int], step: int) -> None:
    """The rollouts of a visit, both correct; ``step`` is that at which it was sent."""
    queue.add("train", "", uid, [plain(length) for length in lengths], step=step, lapo=row["lapo"])


@pytest.mark.parametrize("parts", [1, 2])
def test_two_visits_of_a_problem_in_flight(queue: Queue, buffers: Buffers, parts: int) -> None:
    """Eq. 8 counts both, whether they are in one part of a step or in two; each is rewarded by what it was shown."""
    lapo = stage_two(buffers, PROBLEMS)
    buffer = buffers("separate_async", **lapo)
    first, second = rows_of(buffers, lapo)[0], rows_of(buffers, lapo)[0]
    assert first["lapo"] == second["lapo"]
    assert (first["lapo"]["prompt_budget"], first["lapo"]["budget_age"]) == (900, 1)

    metrics = {}
    for part, (row, lengths) in enumerate([(first, (700, 800)), (second, (900, 500))]):
        arrive(queue, row, f"visit{part}", lengths, step=1)
        if parts == 2 or part == 1:
            _, metrics[part] = buffer.sample(1, "train", 2 // parts)
    # min(900, median(700, 800, 900, 500)): one step, joined, whatever its parts.
    assert buffer.store.budgets(["p0"]) == {"p0": 750}
    assert [record.step for record in buffer.store.history("p0")] == [1, 1, 1]
    assert buffer.store.runs()[-1].steps == 1
    assert {m["lapo/budget_age"] for m in metrics.values()} == {1}
    around_900 = [queue.reward("visit1", session) for session in (0, 1)]
    assert around_900[0] == pytest.approx(1.7, abs=1e-4) and around_900[1] < 1.01

    third = rows_of(buffers, lapo)[0]
    assert (third["lapo"]["prompt_budget"], third["lapo"]["budget_age"]) == (750, 1)


def test_a_visit_that_comes_late_is_rewarded_by_what_it_was_shown(queue: Queue, buffers: Buffers) -> None:
    lapo = stage_two(buffers, PROBLEMS)
    buffer = buffers("separate_async", **lapo)
    early, late = rows_of(buffers, lapo)[0], rows_of(buffers, lapo)[0]
    arrive(queue, early, "early", (600, 600), step=1)
    buffer.sample(1, "train", 1)
    assert buffer.store.budgets(["p0"]) == {"p0": 600}
    arrive(queue, late, "late", (900, 600), step=1)
    _, metrics = buffer.sample(2, "train", 1)
    assert queue.reward("late", 0) == pytest.approx(1.7, abs=1e-4)  # its prompt said 900
    assert metrics["lapo/budget_age"] == 1
    # Eq. 8 with the target of now, not with the one that was shown.
    assert buffer.store.budgets(["p0"]) == {"p0": 600}
    # A problem that no step has changed since the first stage: two steps of this one came since.
    untouched = rows_of(buffers, lapo)[1]
    assert (untouched["lapo"]["prompt_budget"], untouched["lapo"]["budget_age"]) == (900, 3)


def test_a_budget_that_is_not_asked_for_has_no_age(queue: Queue, buffers: Buffers) -> None:
    lapo: dict[str, Any] = {"objective": {"name": "discovery"}}
    buffer = buffers(**lapo)
    train(queue, buffer, rows_of(buffers, lapo), 1)
    assert {row["lapo"]["budget_age"] for row in rows_of(buffers, lapo)} == {None}
    assert rows_of(buffers, lapo)[0]["lapo"]["target"] is not None


def test_a_resume_shows_the_age_again(queue: Queue, buffers: Buffers) -> None:
    lapo = stage_two(buffers, PROBLEMS)
    buffer = buffers(**lapo)
    ages = {}
    for step in (1, 2, 3):
        train(queue, buffer, rows_of(buffers, lapo), step, length=900)
        ages[step] = [row["lapo"]["budget_age"] for row in rows_of(buffers, lapo)]
        if step == 2:
            (buffers.folder / "global_step_2" / "actor").mkdir(parents=True)
            (buffers.folder / "latest_checkpointed_iteration.txt").write_text("2")
            buffer.store.snapshot(buffers.folder / "global_step_2" / SNAPSHOT)
    assert ages == {step: [step + 1] * len(PROBLEMS) for step in (1, 2, 3)}
    buffer.store.close()
    buffers(**lapo)
    assert [row["lapo"]["budget_age"] for row in rows_of(buffers, lapo)] == ages[2]
