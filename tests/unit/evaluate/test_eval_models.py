from pathlib import Path

import pytest
from eval_inputs import model_folder

from lapo_verl.evaluate import EvalError
from lapo_verl.evaluate.models import resolve_model


def test_a_hugging_face_folder_is_taken_as_it_is(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "model")
    assert resolve_model("base", folder).path == str(folder)


@pytest.mark.parametrize("named", ["global_step_20", "global_step_20/actor", "global_step_20/actor/huggingface"])
def test_a_checkpoint_of_verls_leads_to_its_weights(tmp_path: Path, named: str) -> None:
    weights = model_folder(tmp_path / "global_step_20" / "actor" / "huggingface")
    assert resolve_model("lapo_d", tmp_path / named).path == str(weights)


def test_a_name_on_the_hub_is_left_to_verl() -> None:
    model = resolve_model("base", "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B")
    assert model.path == "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B"
    assert model.fingerprint != resolve_model("base", "owner/other").fingerprint


def test_a_checkpoint_without_hugging_face_weights_names_both_ways_out(tmp_path: Path) -> None:
    # As verl writes it without hf_model: config and tokenizer only.
    actor = tmp_path / "global_step_20" / "actor"
    (actor / "huggingface").mkdir(parents=True)
    (actor / "huggingface" / "config.json").write_text("{}")
    (actor / "model_world_size_1_rank_0.pt").touch()
    with pytest.raises(EvalError, match=r"save_contents='\[model,optimizer,extra,hf_model\]'") as error:
        resolve_model("lapo_d", tmp_path / "global_step_20")
    assert "python -m verl.model_merger merge --backend fsdp" in str(error.value)
    assert f"--local_dir {actor} --target_dir {actor / 'huggingface'}" in str(error.value)


def test_a_megatron_checkpoint_is_converted_by_megatrons_merger(tmp_path: Path) -> None:
    actor = tmp_path / "global_step_20" / "actor"
    (actor / "model" / "dist_ckpt").mkdir(parents=True)
    (actor / "ckpt_contents.json").write_text("{}")
    with pytest.raises(EvalError, match="merge --backend megatron") as error:
        resolve_model("lapo_d", tmp_path)
    assert f"--local_dir {actor} --target_dir {actor / 'model' / 'huggingface'}" in str(error.value)


def test_the_folder_of_a_run_stands_for_its_newest_weights(tmp_path: Path) -> None:
    for step in (9, 20, 100):
        (tmp_path / f"global_step_{step}").mkdir()
    with pytest.raises(EvalError, match=r"global_step_100 has no Hugging Face weights"):
        resolve_model("lapo_d", tmp_path)
    weights = {step: model_folder(tmp_path / f"global_step_{step}" / "actor" / "huggingface") for step in (9, 20)}
    assert resolve_model("lapo_d", tmp_path).path == str(weights[20])


@pytest.mark.parametrize("given", ["gone", "./gone/model", "/gone/model", "a/b/c"])
def test_a_folder_that_is_not_there_is_named(given: str) -> None:
    with pytest.raises(EvalError, match=f"model base: {given}: no such folder"):
        resolve_model("base", given)


def test_an_empty_folder_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(EvalError, match="is not a Hugging Face model: it needs"):
        resolve_model("base", tmp_path)


@pytest.mark.parametrize("name", ["", "a b", "../up", "a/b", ".hidden"])
def test_a_name_that_makes_no_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(EvalError, match="model name"):
        resolve_model(name, tmp_path)


def test_the_fingerprint_is_that_of_the_content(tmp_path: Path) -> None:
    one, twin = model_folder(tmp_path / "one"), model_folder(tmp_path / "twin")
    other = model_folder(tmp_path / "other", b"other weights")
    assert resolve_model("m", one).fingerprint == resolve_model("m", twin).fingerprint
    assert resolve_model("m", one).fingerprint != resolve_model("m", other).fingerprint
    (twin / "chat_template.jinja").write_text("another")
    assert resolve_model("m", one).fingerprint != resolve_model("m", twin).fingerprint


def test_the_context_is_read_from_the_configuration(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "model")
    assert resolve_model("m", folder).context is None
    (folder / "config.json").write_text('{"max_position_embeddings": 4096}')
    assert resolve_model("m", folder).context == 4096
    (folder / "config.json").write_text("[")
    with pytest.raises(EvalError, match=r"config\.json: is not a model's configuration"):
        resolve_model("m", folder)
