"""Which store a run starts with: from scratch, resumed, resumed without a snapshot, and after an earlier run."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from omegaconf import OmegaConf

from lapo_verl.config import LapoConfig
from lapo_verl.guidance.config import GuidanceConfig
from lapo_verl.hooks.checkpoint import STARTING_STEP, Checkpoint, StoreSnapshot, open_store, resume_point, trains
from lapo_verl.objectives import objective
from lapo_verl.runs.checkpoints import SNAPSHOT
from lapo_verl.runs.prompt_note import PromptNote, read_prompt_note
from lapo_verl.runs.training_note import KEYS, TrainingNote, read_training_note
from lapo_verl.store import GroupRecord, LengthStore, StoreError

FIRST_SCHEMA = Path(__file__).parents[1] / "unit" / "store" / "first_schema" / "lapo_store.sqlite"
TEMPLATE = {"chat_template": "{{ messages }}"}


def settings(folder: Path, name: str = "discovery", init_from: Path | None = None) -> LapoConfig:
    return LapoConfig.parse(
        {
            "objective": {"name": name},
            "store": str(folder / "lapo_store.sqlite"),
            "init_from": init_from and str(init_from),
        }
    )


def record(store: LengthStore, run: str, step: int) -> None:
    group = GroupRecord("p", (100 - step, 120 - step, 900), (True, True, False), store.budgets(["p"])["p"])
    store.record_step(run, step, [group], objective(run))


def checkpoint(folder: Path, step: int) -> Checkpoint:
    """A folder as verl leaves it: the tracker says that the checkpoint is whole."""
    place = folder / f"global_step_{step}"
    (place / "actor").mkdir(parents=True)
    (folder / "latest_checkpointed_iteration.txt").write_text(str(step))
    return Checkpoint(place, step)


def save(store: LengthStore, place: Checkpoint, objective_name: str = "discovery") -> None:
    config = OmegaConf.create(
        {
            "lapo": {
                "prompt": "paper",
                "prompt_templates": {"paper": "x"},
                "objective": {"name": objective_name},
                "guidance": {"rounding": 10},
            },
            "data": {
                "apply_chat_template_kwargs": TEMPLATE,
                "train_files": ["/data/math.parquet", "gsm8k.parquet"],
                "train_batch_size": 8,
            },
            "actor_rollout_ref": {"model": {"path": "owner/model"}},
        }
    )
    trainer = SimpleNamespace(replay_buffer=SimpleNamespace(store=store), config=config)
    StoreSnapshot().on_save(trainer, place.step, str(place.folder), async_save=False)


def steps(store: LengthStore) -> list[tuple[str, int]]:
    return [(entry.run, entry.step) for entry in store.history("p")]


def test_resume_point_is_verls(tmp_path: Path) -> None:
    assert resume_point(str(tmp_path), "auto", None) is None
    place = checkpoint(tmp_path, 7)
    assert resume_point(str(tmp_path), "auto", None) == place
    assert resume_point(str(tmp_path), "disable", None) is None
    checkpoint(tmp_path, 9)
    assert resume_point(str(tmp_path), "resume_path", str(place.folder)) == place
    with pytest.raises(ValueError, match="global_step_"):
        resume_point(str(tmp_path), "resume_path", str(tmp_path))
    with pytest.raises(ValueError, match=r"needs trainer\.resume_from_path"):
        resume_point(str(tmp_path), "resume_path", None)


def test_a_folder_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    checkpoint(tmp_path, 7)
    with pytest.raises(ValueError, match=r"global_step_2: no such checkpoint \(there are global_step_7\)"):
        resume_point(str(tmp_path), "resume_path", str(tmp_path / "global_step_2"))
    with pytest.raises(ValueError, match="typo has none"):
        resume_point(str(tmp_path), "resume_path", str(tmp_path / "typo" / "global_step_2"))
    (tmp_path / "global_step_7" / "actor").rmdir()
    for mode, folder in (("resume_path", str(tmp_path / "global_step_7")), ("auto", None)):
        with pytest.raises(ValueError, match="is not a checkpoint of verl's: it has no folder actor/"):
            resume_point(str(tmp_path), mode, folder)


def test_resume_puts_the_store_back_to_the_checkpoint(tmp_path: Path) -> None:
    with open_store(settings(tmp_path), None) as store:
        for step in (1, 2):
            record(store, "discovery", step)
        place = checkpoint(tmp_path, 2)
        save(store, place)
        at_checkpoint = store.budgets(["p"])
        record(store, "discovery", 3)
        assert store.budgets(["p"]) != at_checkpoint
    with open_store(settings(tmp_path), resume_point(str(tmp_path), "auto", None)) as store:
        assert store.budgets(["p"]) == at_checkpoint
        assert steps(store) == [("discovery", 1), ("discovery", 2)]


def test_a_checkpoint_notes_the_prompt(tmp_path: Path) -> None:
    with open_store(settings(tmp_path), None) as store:
        place = checkpoint(tmp_path, 1)
        save(store, place)
    assert read_prompt_note(place.folder / "actor" / "huggingface") == PromptNote("paper", TEMPLATE["chat_template"])


@pytest.mark.parametrize(("name", "guidance"), [("discovery", None), ("internalization", GuidanceConfig(rounding=10))])
def test_a_checkpoint_notes_what_it_was_trained_with(
    name: str, guidance: GuidanceConfig | None, tmp_path: Path
) -> None:
    with open_store(settings(tmp_path), None) as store:
        place = checkpoint(tmp_path, 1)
        save(store, place, name)
    note = read_training_note(place.folder / "actor" / "huggingface")
    assert note == TrainingNote(
        "owner/model",
        ("math.parquet", "gsm8k.parquet"),
        guidance,
        {**dict.fromkeys(KEYS), "data.train_batch_size": 8},
    )


def test_after_a_checkpoint_the_stores_file_can_be_copied_alone(tmp_path: Path) -> None:
    with open_store(settings(tmp_path), None) as store:
        record(store, "discovery", 1)
        save(store, checkpoint(tmp_path, 1))
        copy = shutil.copy(tmp_path / "lapo_store.sqlite", tmp_path / "copy")
    with LengthStore.open(copy, read_only=True) as store:
        assert steps(store) == [("discovery", 1)]


def test_resume_from_an_earlier_checkpoint(tmp_path: Path) -> None:
    with open_store(settings(tmp_path), None) as store:
        for step in (1, 2, 3):
            record(store, "discovery", step)
            save(store, checkpoint(tmp_path, step))
    early = resume_point(str(tmp_path), "resume_path", str(tmp_path / "global_step_1"))
    with open_store(settings(tmp_path), early) as store:
        assert steps(store) == [("discovery", 1)]


def test_died_between_verls_checkpoint_and_the_snapshot(tmp_path: Path) -> None:
    with open_store(settings(tmp_path), None) as store:
        for step in (1, 2, 3):
            record(store, "discovery", step)
        budgets = store.history("p")[1].target
    place = checkpoint(tmp_path, 2)
    with open_store(settings(tmp_path), place) as store:
        assert steps(store) == [("discovery", 1), ("discovery", 2)]
        assert store.budgets(["p"]) == {"p": budgets}


def test_a_checkpoint_that_the_store_does_not_reach_is_refused(tmp_path: Path) -> None:
    place = checkpoint(tmp_path, 5)
    with pytest.raises(StoreError, match="resume from another checkpoint"):
        open_store(settings(tmp_path), place)
    with open_store(settings(tmp_path), None) as store:
        record(store, "discovery", 1)
    with pytest.raises(StoreError, match=r"ends at step 1 .* step 5"):
        open_store(settings(tmp_path), place)


def kept(folder: Path) -> list[list[tuple[str, int]]]:
    """Steps of the copies beside the store, the oldest first."""
    found = []
    for number in range(1, len(list(folder.glob("*.old*"))) + 1):
        with LengthStore.open(folder / f"lapo_store.sqlite.old{number}", read_only=True) as store:
            found.append(steps(store))
    return found


def test_starting_again_keeps_the_earlier_records(tmp_path: Path) -> None:
    for step in (1, 2):
        with open_store(settings(tmp_path), None) as store:
            assert steps(store) == []
            record(store, "discovery", step)
    open_store(settings(tmp_path), None).close()
    assert kept(tmp_path) == [[("discovery", 1)], [("discovery", 2)]]
    open_store(settings(tmp_path), None).close()
    assert len(kept(tmp_path)) == 2  # there was nothing to keep


@pytest.mark.parametrize("has_snapshot", [True, False])
def test_whatever_a_resume_forgets_is_kept(tmp_path: Path, has_snapshot: bool) -> None:
    with open_store(settings(tmp_path), None) as store:
        for step in (1, 2, 3):
            record(store, "discovery", step)
            if has_snapshot:
                save(store, checkpoint(tmp_path, step))
            else:
                checkpoint(tmp_path, step)
    for step, copies in ((3, 0), (1, 1)):
        place = resume_point(str(tmp_path), "resume_path", str(tmp_path / f"global_step_{step}"))
        with open_store(settings(tmp_path), place) as store:
            assert len(steps(store)) == step
        assert kept(tmp_path) == [[("discovery", 1), ("discovery", 2), ("discovery", 3)]] * copies


def test_a_store_of_another_run_is_kept_when_stage_one_is_copied_over_it(tmp_path: Path) -> None:
    first, second = tmp_path / "one", tmp_path / "two"
    for folder, step in ((first, 1), (second, 5)):
        with open_store(settings(folder), None) as store:
            record(store, "discovery", step)
    open_store(settings(second, "internalization", first / "lapo_store.sqlite"), None).close()
    assert kept(second) == [[("discovery", 5)]]


def test_stage_two_starts_from_the_end_of_stage_one(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Also where the store of stage 1 has gone on to stage 2, in a pilot for instance."""
    first, second = tmp_path / "one", tmp_path / "two"
    with open_store(settings(first), None) as store:
        record(store, "discovery", 1)
        record(store, "internalization", 1)
        record(store, "internalization", 2)
    with open_store(settings(second, "internalization", first / "lapo_store.sqlite"), None) as store:
        assert steps(store) == [("discovery", 1)]
        assert store.budgets(["p"]) == {"p": 109.0}
        record(store, "internalization", 1)
    (line,) = [message for message in caplog.messages if "has 2 steps of internalization as well" in message]
    assert "starts from what came before" in line
    with LengthStore.open(first / "lapo_store.sqlite", read_only=True) as store:
        assert len(steps(store)) == 3


@pytest.mark.parametrize("has_snapshot", [True, False])
def test_stage_two_in_stage_ones_folder_is_refused(tmp_path: Path, has_snapshot: bool) -> None:
    with open_store(settings(tmp_path), None) as store:
        record(store, "discovery", 1)
        place = checkpoint(tmp_path, 1)
        if has_snapshot:
            save(store, place)
    with pytest.raises(StoreError, match=r"global_step_1: is a checkpoint of discovery, .*trainer\.default_local_dir"):
        open_store(settings(tmp_path, "internalization"), place)
    with LengthStore.open(tmp_path / "lapo_store.sqlite", read_only=True) as store:
        assert steps(store) == [("discovery", 1)]


def test_a_run_trains_nothing_where_verl_ends_after_validation() -> None:
    assert not trains(val_only=True, val_before_train=True)
    assert trains(val_only=True, val_before_train=False)
    assert trains(val_only=False, val_before_train=True)


def test_stage_two_starts_from_a_copy_of_stage_ones_store(tmp_path: Path) -> None:
    first, second = tmp_path / "one", tmp_path / "two"
    with open_store(settings(first), None) as store:
        record(store, "discovery", 1)
    stage_two = settings(second, "internalization", first / "lapo_store.sqlite")
    with open_store(stage_two, None) as store:
        assert store.budgets(["p"]) == {"p": 109.0}
        record(store, "internalization", 1)
        save(store, checkpoint(second, 1))
        record(store, "internalization", 2)
    with LengthStore.open(first / "lapo_store.sqlite", read_only=True) as store:
        assert steps(store) == [("discovery", 1)]
    with open_store(stage_two, resume_point(str(second), "auto", None)) as store:
        assert steps(store) == [("discovery", 1), ("internalization", 1)]


def test_stage_two_without_any_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"lapo\.init_from"):
        open_store(settings(tmp_path, "internalization"), None)


def test_the_step_that_the_run_starts_from_is_noted(tmp_path: Path) -> None:
    first = tmp_path / "one"
    with open_store(settings(first), None) as store:
        record(store, "discovery", 1)
        place = checkpoint(first, 1)
        save(store, place)
    (place.folder / "actor" / "huggingface").mkdir(exist_ok=True)
    (place.folder / "actor" / "huggingface" / "config.json").write_text("{}")
    (place.folder / "actor" / "huggingface" / "model.safetensors").write_text("")
    with open_store(settings(tmp_path / "two", "internalization", place.folder), None) as store:
        assert store.meta[STARTING_STEP] == 1


@pytest.mark.parametrize("name", ["kimi", "hapo", "discovery"])
def test_an_objective_that_needs_no_targets_starts_with_an_empty_store(tmp_path: Path, name: str) -> None:
    """Targets of another objective are not its own."""
    with open_store(settings(tmp_path), None) as store:
        record(store, "discovery", 1)
        record(store, "internalization", 1)
    with open_store(settings(tmp_path, name), None) as store:
        assert (store.runs(), store.budgets(["p"])) == ([], {"p": None})
    assert kept(tmp_path) == [[("discovery", 1), ("internalization", 1)]]


def test_one_that_is_told_where_to_start_keeps_what_is_there(tmp_path: Path) -> None:
    with open_store(settings(tmp_path / "one"), None) as store:
        record(store, "discovery", 1)
    hapo = settings(tmp_path / "two", "hapo", tmp_path / "one" / "lapo_store.sqlite")
    with open_store(hapo, None) as store:
        assert store.budgets(["p"]) == {"p": 109.0}


def test_a_resumed_run_has_its_memory_back(tmp_path: Path) -> None:
    with open_store(settings(tmp_path, "laser_d"), None) as store:
        record(store, "laser_d", 1)
        save(store, checkpoint(tmp_path, 1))
        at_checkpoint = store.memory("laser_d")
        record(store, "laser_d", 2)
        assert store.memory("laser_d") != at_checkpoint
    with open_store(settings(tmp_path, "laser_d"), resume_point(str(tmp_path), "auto", None)) as store:
        assert store.memory("laser_d") == at_checkpoint


def test_a_checkpoint_whose_snapshot_is_of_the_first_schema_is_resumed(tmp_path: Path) -> None:
    place = checkpoint(tmp_path, 5)
    shutil.copy(FIRST_SCHEMA, place.folder / SNAPSHOT)
    with pytest.raises(StoreError, match="is a checkpoint of internalization, and this run is kimi"):
        open_store(settings(tmp_path, "kimi"), place)
    with open_store(settings(tmp_path, "internalization"), place) as store:
        assert store.last_step("internalization") == 5
        record(store, "internalization", 6)
    with LengthStore.open(place.folder / SNAPSHOT, read_only=True) as store:
        assert store.last_step("internalization") == 5
