"""``lapo export``: Hugging Face folders, verl's checkpoints, shards and adapters into folders that libraries load."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import GEMMA3, LLAMA3, QWEN3, R1_DISTILL_LLAMA
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig
from typer.testing import CliRunner

from lapo_verl.cli.main import app
from lapo_verl.evaluate.models import resolve_model
from lapo_verl.guidance.config import GuidanceConfig
from lapo_verl.objectives import objective
from lapo_verl.runs.checkpoints import SNAPSHOT
from lapo_verl.runs.prompt_note import PromptNote
from lapo_verl.runs.training_note import KEYS, TrainingNote
from lapo_verl.store import GroupRecord, LengthStore

SERVING = Path(__file__).resolve().parents[2] / "docs" / "serving.md"
ASK = [{"role": "user", "content": "What is 3 + 4?"}]
EXACT = "lapo.guidance.form=exact"


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["export", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def error(*arguments: object) -> str:
    """The one line that a refused export prints."""
    code, output = run(*arguments)
    assert code == 1, output
    lines = [line for line in output.splitlines() if not line.startswith("weights: ")]
    assert len(lines) == 1 and lines[0].startswith("lapo: error: "), output
    return lines[0]


def logits(folder: Path) -> torch.Tensor:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto")
    with torch.no_grad():
        result: torch.Tensor = model(torch.arange(20, 52).reshape(2, 16)).logits
    return result


def prompt(folder: Path, **arguments: Any) -> str:
    text: str = AutoTokenizer.from_pretrained(folder).apply_chat_template(
        ASK, tokenize=False, add_generation_prompt=True, **arguments
    )
    return text


def checkpoint(run_folder: Path, step: int, note: TrainingNote | None, prompt_note: PromptNote | None = None) -> Path:
    """A folder as a training with ``hf_model`` leaves it."""
    folder = run_folder / f"global_step_{step}"
    QWEN3.save(folder / "actor" / "huggingface")
    if note is not None:
        note.write(folder)
    if prompt_note is not None:
        prompt_note.write(folder)
    with LengthStore.open(run_folder / "store.sqlite") as store:
        store.record_step("discovery", step, [GroupRecord("p", (30, 40), (True, True))], objective("discovery"))
        store.snapshot(folder / SNAPSHOT)
    return folder


def note(model: str = "owner/base", guidance: GuidanceConfig | None = None) -> TrainingNote:
    return TrainingNote(model, ("math.parquet",), guidance, {**dict.fromkeys(KEYS), "data.train_batch_size": 8})


@pytest.mark.parametrize("tiny", [QWEN3, LLAMA3, GEMMA3], ids=lambda tiny: tiny.name)
def test_the_exported_model_is_the_checkpoints(tiny: Any, tmp_path: Path) -> None:
    model, out = tiny.save(tmp_path / "model"), tmp_path / "out"
    before = prompt(model)
    code, output = run(model, "-o", out, EXACT)
    assert code == 0, output
    assert "prompt ids equal training's in 4 of 4 conversations" in output
    assert (logits(out) - logits(model)).abs().max() == 0
    assert prompt(out) == before
    assert prompt(out, token_budget=40).endswith("I will answer the question with 40 tokens.")
    # One template in one place, for those who read tokenizer_config.json first.
    assert "chat_template" not in json.loads((out / "tokenizer_config.json").read_text())
    assert GenerationConfig.from_pretrained(out).eos_token_id is not None
    assert not list(tmp_path.glob(".out*"))


def test_the_pages_lines_for_transformers_run_as_they_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(QWEN3.save(tmp_path / "model"), "-o", tmp_path / "my-model", EXACT)[0] == 0
    blocks = re.findall(r"```python\n(.*?)```", SERVING.read_text(encoding="utf-8"), flags=re.DOTALL)
    (lines,) = (block for block in blocks if "from transformers import" in block)
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    made: dict[str, Any] = {}
    exec(compile(lines, str(SERVING), "exec"), made)
    ids, guided = made["inputs"]["input_ids"][0].tolist(), prompt(tmp_path / "my-model", token_budget=512)
    assert ids == made["tokenizer"].encode(guided, add_special_tokens=False)
    before, sentence, answer = capsys.readouterr().out.partition("I will answer the question with 512 tokens.")
    assert before.endswith("<think>\n") and sentence
    assert len(answer) > 100  # random weights end nothing


def test_a_runs_newest_checkpoint_with_its_own_sentence_and_prompt(tmp_path: Path) -> None:
    first = checkpoint(tmp_path / "one", 1, note())
    guidance = GuidanceConfig(text=" Think for {budget} tokens.", rounding=10)
    template = "{% for m in messages %}Q: {{ m.content }}{% endfor %} A: <think>"
    for step in (1, 2):
        second = note(str(first / "actor" / "huggingface"), guidance)
        checkpoint(tmp_path / "two", step, second, PromptNote("mine", template))
    out = tmp_path / "my-model"
    code, output = run(tmp_path / "two", "-o", out)
    assert code == 0, output
    assert "global_step_2" in output and "as noted in lapo_training.json" in output
    assert prompt(out, token_budget=44) == "Q: What is 3 + 4? A: <think> Think for 40 tokens."
    card = (out / "README.md").read_text()
    assert "base_model: owner/base\n" in card
    assert "| discovery, 2 steps | alpha 0.7, low 30" in card
    assert "| data | math.parquet |" in card and "| `data.train_batch_size` | 8 |" in card
    assert '"Think for 510 tokens."' in card
    assert str(tmp_path) not in card


@pytest.mark.parametrize("guidance", [None, GuidanceConfig(form="implicit"), GuidanceConfig(text=" Be brief.")])
def test_a_model_without_a_sentence_refuses_a_budget(guidance: GuidanceConfig | None, tmp_path: Path) -> None:
    folder, out = checkpoint(tmp_path, 1, note(guidance=guidance)), tmp_path / "out"
    code, output = run(folder, "-o", out)
    assert code == 0 and "token_budget is refused" in output
    assert prompt(out) == prompt(folder / "actor" / "huggingface")
    with pytest.raises(Exception, match="token_budget cannot be used: the model was trained without a sentence"):
        prompt(out, token_budget=40)
    assert "refuses `token_budget`" in (out / "README.md").read_text()


def test_an_evaluation_of_this_model_is_in_the_card_and_one_of_another_is_refused(tmp_path: Path) -> None:
    model = QWEN3.save(tmp_path / "model")
    made = {
        "checkpoints": {
            "base": {"fingerprint": "other"},
            "mine": {"fingerprint": resolve_model("mine", model).fingerprint},
        },
        "results": [
            {
                "checkpoint": name,
                "benchmark": "math",
                "condition": "",
                "problems": 5,
                "n": 4,
                "summary": {"pass@1": score, "tokens": 120.25, "truncated": 0.0},
            }
            for name, score in (("base", 50.0), ("mine", 62.5))
        ],
    }
    (tmp_path / "eval.json").write_text(json.dumps(made))
    assert run(model, "-o", tmp_path / "out", "--eval", tmp_path, EXACT)[0] == 0
    card = (tmp_path / "out" / "README.md").read_text()
    assert "| math |  | **mine** (this model) | 5 | 4 | 62.5 | 120.2 | 0.0 |" in card
    assert "| math |  | base | 5 | 4 | 50.0 |" in card
    made["checkpoints"]["mine"]["fingerprint"] = "changed"
    (tmp_path / "eval.json").write_text(json.dumps(made))
    assert "is of other models than the exported one (base, mine)" in error(
        model, "-o", tmp_path / "out2", "--eval", tmp_path, EXACT
    )
    (tmp_path / "eval.json").write_text("{}")
    assert "is not a folder of lapo eval" in error(model, "-o", tmp_path / "out2", "--eval", tmp_path, EXACT)
    assert not (tmp_path / "out2").exists()


def test_weights_of_the_older_format_are_converted(tmp_path: Path) -> None:
    model = QWEN3.save(tmp_path / "model")
    expected = logits(model)
    state = AutoModelForCausalLM.from_pretrained(model, dtype="auto").state_dict()
    (model / "model.safetensors").unlink()
    torch.save(state, model / "pytorch_model.bin")
    code, output = run(model, "-o", tmp_path / "out", EXACT)
    assert code == 0 and "converted to safetensors" in output
    assert (logits(tmp_path / "out") - expected).abs().max() == 0
    assert not list((tmp_path / "out").glob("*.bin"))


def shards(tmp_path: Path, state: dict[str, torch.Tensor]) -> Path:
    """A checkpoint of verl's without ``hf_model``: config, tokenizer, and one rank's part of the weights."""
    folder = tmp_path / "global_step_3"
    QWEN3.save(folder / "actor" / "huggingface", weights=False)
    (folder / "actor" / "fsdp_config.json").write_text(json.dumps({"FSDP_version": 2, "world_size": 1}))
    torch.save(state, folder / "actor" / "model_world_size_1_rank_0.pt")
    return folder


def test_verls_shards_are_merged(tmp_path: Path) -> None:
    model = QWEN3.save(tmp_path / "model")
    state = AutoModelForCausalLM.from_pretrained(model, dtype=torch.bfloat16).state_dict()
    folder = shards(tmp_path, state)
    code, output = run(folder, "-o", tmp_path / "out", EXACT)
    assert code == 0, output
    assert "by verl's merger, in bfloat16" in output
    AutoModelForCausalLM.from_pretrained(model, dtype=torch.bfloat16).save_pretrained(tmp_path / "half")
    assert (logits(tmp_path / "out") - logits(tmp_path / "half")).abs().max() == 0
    assert not (tmp_path / "out" / "merged").exists()
    (folder / "actor" / "model_world_size_1_rank_0.pt").rename(folder / "actor" / "model_world_size_1_rank_1.pt")
    assert "model_world_size_1_rank_0.pt: this part of the weights is missing" in error(
        folder, "-o", tmp_path / "out2", EXACT
    )


def test_a_lora_adapter_is_merged_or_kept(tmp_path: Path) -> None:
    from peft import LoraConfig, PeftModel, get_peft_model

    model = QWEN3.save(tmp_path / "model")
    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.bfloat16)
    torch.manual_seed(1)
    adapted = get_peft_model(base, LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"]))
    for name, weight in adapted.named_parameters():
        if "lora_" in name:
            # Values that bfloat16 has: verl's merger writes all weights in it.
            weight.data = torch.randn(weight.shape).mul(0.3).bfloat16().float()
    folder = shards(tmp_path, adapted.state_dict())
    (folder / "actor" / "lora_train_meta.json").write_text(
        json.dumps({"r": 4, "lora_alpha": 8, "task_type": "CAUSAL_LM"})
    )
    code, output = run(folder, "-o", tmp_path / "out", EXACT)
    assert code == 0 and "with the adapter" in output
    expected = adapted.merge_and_unload()
    expected.save_pretrained(tmp_path / "expected")
    assert (logits(tmp_path / "out") - logits(tmp_path / "expected")).abs().max() == 0
    assert (logits(tmp_path / "out") - logits(model)).abs().max() > 0.01

    assert "give it with --base-model" in error(folder, "-o", tmp_path / "kept", "--keep-adapter", EXACT)
    code, output = run(folder, "-o", tmp_path / "kept", "--keep-adapter", "--base-model", "owner/base", EXACT)
    assert code == 0, output
    assert not list((tmp_path / "kept").glob("model*.safetensors"))
    adapter = json.loads((tmp_path / "kept" / "adapter_config.json").read_text())
    assert adapter["base_model_name_or_path"] == "owner/base"
    again = AutoModelForCausalLM.from_pretrained(model, dtype=torch.bfloat16)
    PeftModel.from_pretrained(again, tmp_path / "kept").merge_and_unload().save_pretrained(tmp_path / "again")
    assert (logits(tmp_path / "again") - logits(tmp_path / "expected")).abs().max() == 0
    assert "leave --keep-adapter out" in error(
        model, "-o", tmp_path / "x", "--keep-adapter", "--base-model", "owner/base", EXACT
    )


def test_a_folder_that_is_not_empty_is_kept(tmp_path: Path) -> None:
    model, out = QWEN3.save(tmp_path / "model"), tmp_path / "out"
    out.mkdir()
    assert run(model, "-o", out, EXACT)[0] == 0  # an empty one is fine
    assert "is not empty; give another folder, or replace it with --force" in error(model, "-o", out, EXACT)
    (out / "model.safetensors").unlink()
    assert run(model, "-o", out, "--force", EXACT)[0] == 0
    assert (out / "model.safetensors").exists()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("x")
    assert "is not an earlier export" in error(model, "-o", tmp_path / "other", "--force", EXACT)
    assert (tmp_path / "other" / "thesis.tex").exists()
    assert "is, or contains, the checkpoint" in error(out, "-o", out, "--force", EXACT)
    # What fails leaves the earlier export as it was.
    (model / "model.safetensors").write_bytes(b"cut off")
    assert "cannot be read" in error(model, "-o", out, "--force", EXACT)
    assert (out / "model.safetensors").exists() and not list(tmp_path.glob(".out*"))


def test_what_is_no_whole_model_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert "no such folder" in error(tmp_path / "nothing", "-o", out)
    model = QWEN3.save(tmp_path / "model", weights=False)
    assert "has no Hugging Face weights" in error(model, "-o", out, EXACT)
    big = QWEN3.save(tmp_path / "big")
    AutoModelForCausalLM.from_pretrained(big).save_pretrained(big, max_shard_size="50KB")
    (big / "model.safetensors").unlink(missing_ok=True)
    part = max(big.glob("model-*-of-*.safetensors"))
    part.rename(tmp_path / "part")
    assert f"{part.name}: this part of the weights is missing" in error(big, "-o", out, EXACT)
    (tmp_path / "part").rename(part)
    (big / "model.safetensors.index.json").unlink()
    assert "model.safetensors.index.json: this part of the weights is missing" in error(big, "-o", out, EXACT)
    assert not out.exists()


def test_the_sentence_is_never_guessed(tmp_path: Path) -> None:
    model, out = QWEN3.save(tmp_path / "model"), tmp_path / "out"
    assert "so the sentence that it was trained with is not known" in error(model, "-o", out)
    noted = checkpoint(tmp_path / "run", 1, note(guidance=GuidanceConfig()))
    assert "the checkpoint notes its sentence" in error(noted, "-o", out, EXACT)
    assert "unknown key lapo.guidance.fom: did you mean lapo.guidance.form" in error(
        model, "-o", out, "lapo.guidance.fom=exact"
    )
    assert "only the sentence can be given here" in error(model, "-o", out, "lapo.verifier=verl")
    assert "form must be one of" in error(model, "-o", out, "lapo.guidance.form=loud")
    (noted / "lapo_training.json").write_text("{}")
    assert "lapo_training.json: cannot be read" in error(noted, "-o", out)


def test_a_tokenizer_that_loses_text_and_one_without_a_template(tmp_path: Path) -> None:
    model, out = R1_DISTILL_LLAMA.save(tmp_path / "model"), tmp_path / "out"
    assert "reads texts differently from its tokenizer.json" in error(model, "-o", out, EXACT)
    plain = QWEN3.save(tmp_path / "plain")
    config = json.loads((plain / "tokenizer_config.json").read_text())
    del config["chat_template"]
    (plain / "tokenizer_config.json").write_text(json.dumps(config))
    assert "neither the tokenizer nor the training's note has a chat template" in error(plain, "-o", out, EXACT)
    (plain / "tokenizer.json").write_text("{}")
    assert "the tokenizer cannot be loaded" in error(plain, "-o", out, EXACT)
    (plain / "tokenizer.json").unlink()
    assert "has no tokenizer.json" in error(plain, "-o", out, EXACT)
    closing = QWEN3.save(tmp_path / "closing")
    config = json.loads((closing / "tokenizer_config.json").read_text())
    config["chat_template"] += "{{ '<think>\n\n</think>\n\n' }}"
    (closing / "tokenizer_config.json").write_text(json.dumps(config))
    assert "the chat template closes the think block" in error(closing, "-o", out, EXACT)
    assert not out.exists()
