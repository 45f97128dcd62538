"""Where stage 2 starts, from one key."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf
from omegaconf.errors import InterpolationResolutionError

from lapo_verl.config import LapoConfig
from lapo_verl.runs.checkpoints import model_in
from lapo_verl.runs.prompt_note import PromptNote, read_prompt_note
from lapo_verl.runs.starting_point import StartingPoint, StartingPointError, register_resolver, starting_point


def checkpoint(run: Path, step: int, weights: bool = True, store: bool = True) -> Path:
    """As verl and LAPO leave one behind; without ``hf_model`` there is no file of weights."""
    folder = run / f"global_step_{step}"
    (folder / "actor" / "huggingface").mkdir(parents=True)
    (folder / "actor" / "huggingface" / "config.json").write_text("{}")
    if weights:
        (folder / "actor" / "huggingface" / "model.safetensors").touch()
    if store:
        (folder / "lapo_store.sqlite").touch()
    return folder


def test_a_run_stands_for_its_newest_whole_checkpoint(tmp_path: Path) -> None:
    for step in (9, 20, 100):
        checkpoint(tmp_path, step)
    checkpoint(tmp_path, 120, weights=False)
    checkpoint(tmp_path, 140, store=False)
    (tmp_path / "global_step_none").mkdir()
    newest = tmp_path / "global_step_100"
    expected = StartingPoint(newest / "lapo_store.sqlite", newest / "actor" / "huggingface", 100)
    assert starting_point(tmp_path) == starting_point(newest) == expected


def test_megatrons_weights_are_a_folder_deeper(tmp_path: Path) -> None:
    """As verl's MegatronCheckpointManager lays a checkpoint out."""
    folder = checkpoint(tmp_path, 20)
    weights = folder / "actor" / "model" / "huggingface"
    weights.parent.mkdir()
    (folder / "actor" / "huggingface").rename(weights)
    assert starting_point(tmp_path) == StartingPoint(folder / "lapo_store.sqlite", weights, 20)
    PromptNote("mine", "template").write(folder)
    assert read_prompt_note(weights) == PromptNote("mine", "template")


def test_weights_of_a_training_with_lora_have_to_be_exported_first(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, 20)
    (folder / "actor" / "lora_train_meta.json").write_text("{}")
    with pytest.raises(StartingPointError) as caught:
        starting_point(tmp_path)
    assert "trained with LoRA" in str(caught.value) and f"lapo export {folder} -o MODEL" in str(caught.value)
    assert f"actor_rollout_ref.model.path, with lapo.init_from={folder / 'lapo_store.sqlite'}" in str(caught.value)
    assert model_in(folder) is model_in(folder / "actor" / "huggingface") is None


def test_a_checkpoint_stands_for_itself(tmp_path: Path) -> None:
    for step in (20, 40):
        checkpoint(tmp_path, step)
    assert starting_point(tmp_path / "global_step_20").step == 20


def test_a_stores_file_says_nothing_of_the_weights(tmp_path: Path) -> None:
    assert starting_point(tmp_path / "s.sqlite") == StartingPoint(tmp_path / "s.sqlite")


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        (None, r"has no checkpoint \(a folder global_step_<number>\)"),
        ("weights", r"global_step_20 has no Hugging Face weights\. Train with .*model_merger"),
        ("store", r"global_step_20 has no lapo_store\.sqlite"),
    ],
)
def test_a_folder_without_a_whole_checkpoint_is_refused(missing: str | None, message: str, tmp_path: Path) -> None:
    if missing:
        checkpoint(tmp_path, 20, **{missing: False})
    with pytest.raises(StartingPointError, match=message):
        starting_point(tmp_path)


def test_the_config_takes_weights_and_store_from_the_one_key(tmp_path: Path) -> None:
    newest = checkpoint(tmp_path, 20)
    register_resolver()
    config = OmegaConf.create({"lapo": {"objective": {"name": "internalization"}, "init_from": str(tmp_path)}})
    config.path = "${lapo_weights:${lapo.init_from}}"
    assert config.path == str(newest / "actor" / "huggingface")
    init_from = LapoConfig.parse(config.lapo).init_from
    assert init_from is not None
    assert starting_point(init_from).store == newest / "lapo_store.sqlite"
    for given, message in (
        (None, "set lapo.init_from to the folder"),
        (str(newest / "lapo_store.sqlite"), "is a store's file and has no weights"),
        ("runs/typo", "does not exist"),
    ):
        config.lapo.init_from = given
        with pytest.raises(InterpolationResolutionError, match=message):
            _ = config.path
