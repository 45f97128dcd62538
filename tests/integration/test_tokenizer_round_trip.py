"""A tokenizer that loses text is found, repaired, and found whole; one that is whole is left alone."""

from __future__ import annotations

import dataclasses
import importlib
import json
from pathlib import Path

import pytest
import tiny_models
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_preflight import Refusal, overrides, refusal, rows, write  # noqa: F401
from tiny_models import LLAMA3, R1_DISTILL_LLAMA, R1_DISTILL_QWEN, TINY_MODELS, TinyModel
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast
from typer.testing import CliRunner

from lapo_verl.cli.main import app
from lapo_verl.doctor.compose import compose_config
from lapo_verl.doctor.preflight import check
from lapo_verl.doctor.tokenizer_repair import repair_tokenizer
from lapo_verl.doctor.tokenizer_round_trip import TokenizerError, find_difference, unknown_share

WHOLE = [model for model in TINY_MODELS if model is not R1_DISTILL_LLAMA]
# transformers puts Qwen's way to split numbers in the place of Llama's: no text is lost, the tokens are others.
OTHER_TOKENS = dataclasses.replace(R1_DISTILL_QWEN, name="other tokens", backend=tiny_models.llama)


@pytest.mark.parametrize(
    "model", [model for model in TINY_MODELS if model is not R1_DISTILL_LLAMA], ids=lambda model: model.name
)
def test_whole_tokenizers_have_no_difference(model: TinyModel, tmp_path: Path) -> None:
    folder = model.save(tmp_path, weights=False)
    assert find_difference(AutoTokenizer.from_pretrained(folder), folder / "tokenizer.json") is None


def test_a_faulty_tokenizer_is_repaired_by_one_command(tmp_path: Path) -> None:
    folder, copy = R1_DISTILL_LLAMA.save(tmp_path / "model", weights=False), tmp_path / "copy"
    (folder / "model.safetensors").write_bytes(b"weights")
    difference = find_difference(AutoTokenizer.from_pretrained(folder), folder / "tokenizer.json")
    assert "comes back as 'Iwillanswer" in str(difference)

    done = CliRunner().invoke(app, ["repair-tokenizer", str(folder), str(copy)])
    assert (done.exit_code, done.output) == (0, f"{copy}: train with actor_rollout_ref.model.path={copy}\n")
    repaired = AutoTokenizer.from_pretrained(copy)
    assert find_difference(repaired, folder / "tokenizer.json") is None
    assert repaired.chat_template and repaired.bos_token == R1_DISTILL_LLAMA.bos
    assert (copy / "model.safetensors").read_bytes() == b"weights"
    assert (copy / "model.safetensors").is_symlink(), "weights are not copied"
    assert json.loads((folder / "tokenizer_config.json").read_text())["tokenizer_class"] == "LlamaTokenizerFast"
    # As verl's checkpoint keeps it, and stage 2 loads it.
    repaired.save_pretrained(tmp_path / "checkpoint")
    (tmp_path / "checkpoint" / "config.json").write_text((folder / "config.json").read_text())
    assert find_difference(AutoTokenizer.from_pretrained(tmp_path / "checkpoint"), folder / "tokenizer.json") is None


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.characters(exclude_categories=("Cs",))))
def test_a_repaired_tokenizer_agrees_on_any_text(text: str, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    if not copy.exists():
        repair_tokenizer(str(R1_DISTILL_LLAMA.save(tmp_path / "model", weights=False)), copy)
    assert find_difference(AutoTokenizer.from_pretrained(copy), copy / "tokenizer.json", [text]) is None


def test_what_cannot_be_repaired_is_said(tmp_path: Path) -> None:
    folder = LLAMA3.save(tmp_path / "model", weights=False)
    with pytest.raises(TokenizerError, match="there is nothing to repair"):
        repair_tokenizer(str(folder), tmp_path / "copy")
    with pytest.raises(TokenizerError, match=r"cannot be repaired: transformers has .* of its own .* is split"):
        repair_tokenizer(str(OTHER_TOKENS.save(tmp_path / "other", weights=False)), tmp_path / "copy")
    faulty = R1_DISTILL_LLAMA.save(tmp_path / "faulty", weights=False)
    with pytest.raises(TokenizerError, match=r"model: is not empty; give a new folder"):
        repair_tokenizer(str(faulty), folder)
    (faulty / "tokenizer.json").unlink()
    with pytest.raises(TokenizerError, match=r"faulty: has no tokenizer\.json"):
        repair_tokenizer(str(faulty), tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_preflight_names_the_loss_and_the_repair(refusal: Refusal, tmp_path: Path) -> None:  # noqa: F811
    folder = R1_DISTILL_LLAMA.save(tmp_path / "r1_llama", weights=False)
    message = refusal("lapo_discovery", f"actor_rollout_ref.model.path={folder}")
    assert "'Iwillanswerthequestionwith512tokens.'" in message
    assert "loads the tokenizer as LlamaTokenizer" in message
    assert f"lapo repair-tokenizer {folder} FOLDER" in message


def test_other_tokens_are_a_warning(
    overrides: list[str],  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    importlib.import_module("lapo_verl.plugin")
    monkeypatch.setenv("VERL_PLATFORM", "cpu")
    folder = OTHER_TOKENS.save(tmp_path / "other", weights=False)
    changes = [f"actor_rollout_ref.model.path={folder}", f"trainer.default_local_dir={tmp_path / 'run'}"]
    said = check(compose_config("acc_only", [*overrides, *changes]))
    (warning,) = [line for line in said if line.startswith("warning: ")]
    assert "512 tokens.' is split into" in warning and "lapo repair-tokenizer" in warning
    assert any("verl's DeepSeekContinuousTokenBuilder" in line and "'<|im_end|>'" in line for line in said)


def test_a_prompt_of_unknown_tokens_is_an_error(refusal: Refusal, tmp_path: Path) -> None:  # noqa: F811
    words = {word: index for index, word in enumerate(["[UNK]", "[END]", "the", "of"])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    loaded = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="[UNK]", eos_token="[END]", pad_token="[END]", chat_template=TEMPLATE
    )
    loaded.save_pretrained(tmp_path / "words")
    config = {"model_type": "llama", "architectures": ["LlamaForCausalLM"]}
    (tmp_path / "words" / "config.json").write_text(json.dumps(config))
    message = refusal("lapo_discovery", f"actor_rollout_ref.model.path={tmp_path / 'words'}")
    assert "train.parquet, row 0: 100% of the prompt's 4 tokens are unknown" in message
    assert unknown_share(loaded, loaded.encode("the of the")) == 0


TEMPLATE = "{% for message in messages %}{{ message.content }}{% endfor %}"
