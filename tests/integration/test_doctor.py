"""``lapo doctor`` on real configs and real tokenizers: one good run of each stage, and one fault at a time."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import fingerprint
from omegaconf import OmegaConf
from prompt_cases import PROMPT_CASES, PromptCase
from rich.console import Console
from rollout_server import rollout
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from lapo_verl.cpu import WARM_PYTHON
from lapo_verl.doctor import preflight
from lapo_verl.doctor.compose import compose_config
from lapo_verl.doctor.config_warnings import config_warnings
from lapo_verl.doctor.diagnosis import Diagnosis, Request, diagnose
from lapo_verl.doctor.diagnostic import Finding
from lapo_verl.doctor.preflight import Run
from lapo_verl.doctor.view import print_diagnosis
from lapo_verl.hooks.dataset import LapoDataset
from lapo_verl.hooks.tokenizer_check import META_KEY, tokenizer_fingerprint
from lapo_verl.objectives import objective
from lapo_verl.store import GroupRecord, LengthStore

QWEN3, R1 = (next(case for case in PROMPT_CASES if case.name == name) for name in ("qwen3", "r1_distill_qwen"))
PLAIN = next(case for case in PROMPT_CASES if case.name == "plain")
Doctor = Callable[..., Diagnosis]


def rows(n: int, **changes: Any) -> list[dict[str, Any]]:
    return [
        {
            "prompt": [{"role": "user", "content": f"What is {i} + 1?"}],
            "data_source": "test",
            "reward_model": {"style": "rule", "ground_truth": str(i + 1)},
            "extra_info": {"index": i, "problem_id": f"p{i}"},
            **changes,
        }
        for i in range(n)
    ]


def write(path: Path, content: list[dict[str, Any]]) -> None:
    pq.write_table(pa.Table.from_pylist(content), path)


def save_model(folder: Path, tokenizer: PreTrainedTokenizerFast, weights: bool = True) -> Path:
    """A model in Hugging Face format, as small as one can be."""
    tokenizer.save_pretrained(folder)
    shape = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    shape["max_position_embeddings"] = 8192
    config = LlamaConfig(vocab_size=len(tokenizer), architectures=["LlamaForCausalLM"], **shape)
    config.save_pretrained(folder)
    if weights:
        LlamaForCausalLM(config).save_pretrained(folder)
    return folder


DISCOVERY = objective("discovery")
WRONG = 4000  # tokens


def visit(problem: str, correct: tuple[int, ...], n: int = 8) -> GroupRecord:
    """``n`` rollouts, the correct ones of these lengths first."""
    lengths = (*correct, *[WRONG] * (n - len(correct)))
    return GroupRecord(problem, lengths, tuple(place < len(correct) for place in range(n)))


def save_store(path: Path, lengths: tuple[int, ...] = (100, 200, 300, 400)) -> Path:
    """Of a Discovery step that saw all eight problems; p7 stayed unsolved."""
    with LengthStore.open(path) as store:
        store.record_step("discovery", 1, [visit(f"p{i}", lengths if i < 7 else ()) for i in range(8)], DISCOVERY)
    return path


@pytest.fixture
def doctor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Doctor:
    """``doctor(config, *changes)``: the diagnosis of a run with nothing wrong but what ``changes`` make wrong."""
    importlib.import_module("lapo_verl.plugin")
    monkeypatch.setenv("VERL_PLATFORM", "cpu")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    # verl's filter of long prompts is hashed, with all that it refers to, for a cache on disk that no test reads.
    monkeypatch.setattr(fingerprint, "update_fingerprint", lambda *_: fingerprint.generate_random_fingerprint())
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "train.parquet", rows(8))
    write(tmp_path / "val.parquet", rows(2))

    def run(config: str, *changes: str, model: Any = QWEN3, **request: Any) -> Diagnosis:
        if isinstance(model, PromptCase):
            model = model.tokenizer()
        if model is not None:
            save_model(tmp_path / "model", model)
        if config == "lapo_internalization" and not (tmp_path / "store.sqlite").exists():
            save_store(tmp_path / "store.sqlite")
        return diagnose(Request(config, [*good_overrides(config), *changes], **request))

    return run


def good_overrides(config: str) -> list[str]:
    return [
        "platform=cpu",
        "data.train_files=train.parquet",
        "data.val_files=val.parquet",
        "data.train_batch_size=4",
        "actor_rollout_ref.model.path=model",
        "actor_rollout_ref.actor.checkpoint.save_contents=[model,hf_model]",
        "trainer.default_local_dir=checkpoints",
        "trainer.save_freq=1",
        *(["lapo.init_from=store.sqlite"] if config == "lapo_internalization" else []),
    ]


def says(texts: list[str], *words: str) -> None:
    """One of the texts has all the words."""
    assert [text for text in texts if all(word in text for word in words)], texts


def shown(diagnosis: Diagnosis, width: int = 100, colour: bool = False) -> str:
    console = Console(width=width, force_terminal=colour, color_system="truecolor" if colour else None, record=True)
    with console.capture() as capture:
        print_diagnosis(diagnosis, console)
    return capture.get()


@pytest.mark.parametrize("place", ["inside", "outside"])
@pytest.mark.parametrize("case", PROMPT_CASES, ids=lambda case: case.name)
def test_a_good_run_shows_the_tokens_that_the_server_would_receive(
    case: PromptCase, place: str, doctor: Doctor, tmp_path: Path
) -> None:
    changes = (f"lapo.guidance.place={place}",)
    diagnosis = doctor("lapo_internalization", *changes, model=case)
    assert (diagnosis.texts("error"), diagnosis.texts("warning")) == ([], [])

    config = compose_config("lapo_internalization", [*good_overrides("lapo_internalization"), *changes])
    config.lapo.store = "store.sqlite"
    OmegaConf.resolve(config)
    tokenizer = case.tokenizer()
    data = config.data
    for files, example in ((data.train_files, diagnosis.training), (data.val_files, diagnosis.validation)):
        received, _ = rollout(tokenizer, LapoDataset(files, tokenizer, data)[0], data)
        assert example is not None
        assert example.ids == received
        assert example.before + example.guidance + example.after == tokenizer.decode(received)

    guided, unguided = diagnosis.training, diagnosis.validation
    assert guided is not None and unguided is not None
    assert (guided.problem_id, guided.budget, guided.guided) == ("p0", 250, True)
    sentence = "I will answer the question with 250 tokens."
    assert guided.guidance == (case.seam if place == "inside" else " ") + sentence or guided.guidance == f" {sentence}"
    assert guided.ids[: guided.start] + guided.ids[guided.end :] == unguided.ids
    assert (unguided.guidance, unguided.guided, unguided.start) == ("", False, len(unguided.ids))
    assert [token.id for token in guided.last_of_prompt] == guided.ids[guided.start - 6 : guided.start]
    assert [token.id for token in guided.first_of_guidance] == guided.ids[guided.start : guided.start + 6]


@pytest.mark.parametrize("config", ["lapo_discovery", "acc_only"])
def test_the_other_configs_show_prompts_without_guidance(config: str, doctor: Doctor) -> None:
    diagnosis = doctor(config)
    assert (diagnosis.texts("error"), diagnosis.texts("warning")) == ([], [])
    assert diagnosis.training is not None and diagnosis.validation is not None
    assert diagnosis.training.ids == diagnosis.validation.ids
    assert not diagnosis.training.guided


def test_the_papers_prompt_suits_any_model(doctor: Doctor) -> None:
    diagnosis = doctor("lapo_internalization", "lapo.prompt=paper", model=PLAIN)
    assert (diagnosis.texts("error"), diagnosis.texts("warning")) == ([], [])
    assert diagnosis.training is not None
    assert diagnosis.training.before.endswith(" Assistant: <think>")


def test_a_visit_that_is_not_guided_says_so(doctor: Doctor) -> None:
    diagnosis = doctor("lapo_internalization", "lapo.guidance.form=implicit")
    assert diagnosis.training is not None and diagnosis.training.guidance == ""
    assert "problem p0, budget 250 tokens, without guidance" in shown(diagnosis)


def test_facts_of_a_run(doctor: Doctor) -> None:
    facts = doctor("lapo_internalization", "lapo.length.scope=think").facts
    assert facts.training is not None and facts.validation is not None
    assert (facts.training.rows, facts.training.problems, facts.training.dropped) == (8, 8, 0)
    assert (facts.known, facts.solved, facts.budgets) == (8, 7, [250, 250, 250])
    assert (facts.steps, facts.validation_n, facts.max_prompt_length) == (6, 4, 1024)
    assert (facts.length_scope, facts.checkpoint, facts.store) == ("think", None, "store.sqlite")
    tokenizer = QWEN3.tokenizer()
    longest = max(
        len(tokenizer.encode(f"<think>\nI will answer the question with {n} tokens.", add_special_tokens=False))
        for n in range(1, 4097)
    )
    assert (facts.training.guidance_room, facts.validation.guidance_room) == (longest, 0)


def test_what_the_run_will_take(doctor: Doctor) -> None:
    changes = ("trainer.save_freq=4", "trainer.max_actor_ckpt_to_keep=1", "trainer.test_freq=3", "lapo.prompt=paper")
    diagnosis = doctor("lapo_discovery", *changes)
    estimate = diagnosis.facts.estimate
    assert estimate is not None and estimate.memory is not None
    # Two steps an epoch, three epochs; four prompts a step, eight rollouts each, four answers a validation row.
    assert (estimate.steps, estimate.rollouts, estimate.tokens) == (6, 192, 192 * 4096)
    assert (estimate.validations, estimate.answers) == (3, 24)
    assert (estimate.checkpoints, estimate.kept) == (2, 1)
    text = shown(diagnosis)
    assert "6 steps, 192 rollouts, at most 786,432 tokens" in text
    assert "2 checkpoints, 1 kept" in text and "a rough estimate for one device" in text


def test_limits_that_do_not_fit_the_models_context(doctor: Doctor) -> None:
    says(doctor("lapo_discovery", "data.max_response_length=8000").texts("error"), "context of 8192", "=7168")


def test_each_fault_of_verls_settings_is_said_once(doctor: Doctor) -> None:
    changes = ("reward.reward_manager.source=register", "reward.custom_reward_function.path=gone.py")
    errors = doctor("lapo_discovery", *changes).texts("error")
    says(errors, "reward.reward_manager.source=register", "KeyError")
    says(errors, "reward.custom_reward_function.path=gone.py: no such file")
    says(errors, "reward.custom_reward_function.path=gone.py", "lapo.verifier=custom")
    assert len(errors) == 3


def test_nothing_is_left_on_the_disk(doctor: Doctor, tmp_path: Path) -> None:
    doctor("lapo_internalization")
    # SQLite puts files of its own beside a store that is read.
    there = {path.name for path in tmp_path.iterdir() if not path.name.startswith("store.sqlite-")}
    assert there == {"model", "store.sqlite", "store.sqlite.lock", "train.parquet", "val.parquet"}


def test_a_row_or_a_problem_can_be_asked_for(doctor: Doctor) -> None:
    assert doctor("lapo_internalization", row=3).training.problem_id == "p3"  # type: ignore[union-attr]
    unsolved = doctor("lapo_internalization", problem_id="p7").training
    assert unsolved is not None
    assert (unsolved.budget, unsolved.guidance.endswith("with 4096 tokens.")) == (None, True)
    says(doctor("lapo_internalization", row=8).texts("error"), "--row=8", "8 training rows")
    says(doctor("lapo_internalization", problem_id="x").texts("error"), "--problem=x")


def test_budgets_are_those_that_the_training_starts_with(doctor: Doctor, tmp_path: Path) -> None:
    """Resumed: of the checkpoint. From scratch, in a store that an earlier stage 2 went on in: from before it."""
    used = save_store(tmp_path / "used.sqlite")
    with LengthStore.open(used) as store:
        store.record_step("internalization", 1, [visit("p0", (50,))], objective("internalization"))
    begun = ("lapo.init_from=null", f"lapo.store={used}")
    assert doctor("lapo_internalization", *begun).training.budget == 250  # type: ignore[union-attr]

    folder = tmp_path / "checkpoints" / "global_step_1"
    (folder / "actor").mkdir(parents=True)
    (tmp_path / "checkpoints" / "latest_checkpointed_iteration.txt").write_text("1")
    with LengthStore.open(used, read_only=True) as store:
        store.snapshot(folder / "lapo_store.sqlite")
    resumed = doctor("lapo_internalization")
    assert resumed.training is not None
    assert (resumed.facts.checkpoint, resumed.training.budget) == (str(folder), 50)
    says(resumed.texts("warning"), "lapo.init_from: set, and without effect", "resumes")


# --- what is wrong: the template and the tokenizer ---


def with_template(case: PromptCase, template: str | None) -> PreTrainedTokenizerFast:
    tokenizer = case.tokenizer()
    tokenizer.chat_template = template
    return tokenizer


def test_think_token_twice_by_a_template_that_begins_the_thought(doctor: Doctor) -> None:
    tokenizer = with_template(R1, R1.template.replace("<think>\\n'", "<think>\\nOkay,'"))
    says(doctor("lapo_internalization", model=tokenizer).texts("error"), "opened twice", "Okay,<think>")


def test_think_token_twice_by_the_users_text(doctor: Doctor) -> None:
    text = "lapo.guidance.text='<think> {budget} tokens.'"
    says(doctor("lapo_internalization", text, model=R1).texts("error"), "opened twice", "lapo.guidance.text")


def test_a_template_that_closes_the_think_block(doctor: Doctor) -> None:
    off = "+data.apply_chat_template_kwargs.enable_thinking=false"
    says(doctor("lapo_internalization", off).texts("error"), "closes the think block", "enable_thinking=true")
    says(doctor("lapo_discovery", off).texts("warning"), "closes the think block", "enable_thinking=true")


def test_a_template_that_drops_the_question(doctor: Doctor) -> None:
    template = QWEN3.template.replace("{%- for message in messages %}", "{%- for message in messages[:-1] %}")
    diagnosis = doctor("lapo_internalization", "lapo.guidance.place=outside", model=with_template(QWEN3, template))
    says(diagnosis.texts("error"), "drops the last user turn and the guidance in it")


def test_no_chat_template(doctor: Doctor) -> None:
    tokenizer = with_template(PLAIN, None)
    says(doctor("lapo_discovery", model=tokenizer).texts("error"), "no chat template", "lapo.prompt=paper")
    assert doctor("lapo_discovery", "lapo.prompt=paper", model=tokenizer).texts("error") == []


def test_a_template_that_refuses_the_rows(doctor: Doctor) -> None:
    template = "{{ raise_exception('only tools') }}"
    diagnosis = doctor("lapo_discovery", model=with_template(PLAIN, template))
    says(diagnosis.texts("error"), "problem p0", "only tools")


def test_a_tokenizer_without_a_pad_token(doctor: Doctor) -> None:
    tokenizer = QWEN3.tokenizer()
    tokenizer.pad_token = None
    says(doctor("lapo_discovery", model=tokenizer).texts("warning"), "no pad token", "'<|im_end|>'")
    tokenizer.eos_token = None
    says(doctor("lapo_discovery", model=tokenizer).texts("error"), "neither a pad token nor an end token")


def test_a_vocabulary_that_cannot_write_the_guidance(doctor: Doctor) -> None:
    words = Tokenizer(models.WordLevel({"<unk>": 0, "</s>": 1, "user:": 2, "What": 3, "is": 4}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words,
        unk_token="<unk>",
        eos_token="</s>",
        pad_token="</s>",
        chat_template=PLAIN.template,
    )
    says(doctor("lapo_internalization", model=tokenizer).texts("error"), "no tokens for 8 parts of the guidance")


def test_a_model_that_is_not_there(doctor: Doctor) -> None:
    for path in ("runs/stage1/actor/huggingface", "./gone"):
        errors = doctor("lapo_discovery", f"actor_rollout_ref.model.path={path}", model=None).texts("error")
        assert errors == [f"actor_rollout_ref.model.path={path}: no such folder"]
    on_the_hub = doctor("lapo_discovery", "actor_rollout_ref.model.path=nobody/no-model", model=None)
    says(on_the_hub.texts("error"), "actor_rollout_ref.model.path=nobody/no-model", "cannot be loaded", "hub")


def test_a_broken_tokenizer_file(doctor: Doctor, tmp_path: Path) -> None:
    save_model(tmp_path / "model", QWEN3.tokenizer())
    (tmp_path / "model" / "tokenizer.json").write_text("{")
    says(doctor("lapo_discovery", model=None).texts("error"), "actor_rollout_ref.model.path=model", "cannot be loaded")


def test_a_checkpoint_saved_without_weights(doctor: Doctor, tmp_path: Path) -> None:
    folder = tmp_path / "global_step_8" / "actor" / "huggingface"
    save_model(folder, QWEN3.tokenizer(), weights=False)
    errors = doctor("lapo_discovery", f"actor_rollout_ref.model.path={folder}", model=None).texts("error")
    says(errors, "contains no weights", "verl.model_merger merge", f"--target_dir {folder}")


def test_lengths_of_thoughts_for_a_model_without_think_blocks(doctor: Doctor) -> None:
    scope = "lapo.length.scope=think"
    says(doctor("lapo_discovery", scope, model=PLAIN).texts("warning"), scope, "no think blocks")


# --- what is wrong: config ---


def test_unknown_keys_are_all_named(doctor: Doctor, tmp_path: Path) -> None:
    (tmp_path / "configs").mkdir()
    mine = "defaults:\n  - lapo_discovery\n  - _self_\nlapo:\n  guidanse:\n    form: exact\n"
    (tmp_path / "configs" / "mine.yaml").write_text(mine)
    diagnosis = doctor("mine", "lapo.guidance.shar=1", "+lapo.decay=2", config_dir=Path("configs"))
    says(diagnosis.texts("error"), "lapo.guidance.shar", "did you mean lapo.guidance.share?")
    says(diagnosis.texts("error"), "lapo.decay", "did you mean lapo.objective.decay?")
    says(diagnosis.texts("error"), "lapo.guidanse", "did you mean lapo.guidance?")


def test_a_folder_of_configs_in_the_place_of_verls(doctor: Doctor, tmp_path: Path) -> None:
    mine = "hydra:\n  searchpath: [pkg://verl.trainer.config]\ndefaults:\n  - lapo_discovery\n  - _self_\n"
    (tmp_path / "mine.yaml").write_text(mine)
    assert doctor("mine", config_path=str(tmp_path)).texts("error") == []
    assert doctor("lapo_discovery", config_path="pkg://verl.trainer.config").texts("error") == []


def test_a_value_out_of_range_is_said_once(doctor: Doctor) -> None:
    errors = doctor("lapo_discovery", "lapo.objective.alpha=-1").texts("error")
    assert len(errors) == 1
    says(errors, "lapo.objective", "discovery", "alpha", "-1")


@pytest.mark.parametrize(
    ("config", "arguments", "ignored", "reason"),
    [
        ("lapo_discovery", ["lapo.init_from=x"], None, None),
        ("lapo_discovery", ["lapo.max_unknown_share=0.9"], "lapo.max_unknown_share", "starts with an empty store"),
        ("length_control", ["objective=kimi", "lapo.init_from=x"], "lapo.init_from", "kimi uses nothing"),
        ("lapo_discovery", ["lapo.guidance.form=range"], "lapo.guidance.form", "no guidance"),
        ("lapo_discovery", ["lapo.objective.statistic=mean", "lapo.objective.low=20"], None, None),
        ("lapo_internalization", ["lapo.objective.statistic=mean", "lapo.objective.sigma=60"], None, None),
        (
            "lapo_internalization",
            ["lapo.guidance.low=20", "lapo.guidance.high=80"],
            "lapo.guidance.high, lapo.guidance.low",
            "no band",
        ),
        (
            "lapo_internalization",
            ["lapo.guidance.low=20", "lapo.guidance.high=80", "lapo.guidance.form=range"],
            None,
            None,
        ),
        ("lapo_internalization", ["lapo.guidance.form=implicit", "lapo.guidance.text=a"], "guidance.text", "implicit"),
        ("acc_only", ["lapo.guidance.place=outside"], "lapo.guidance.place", "correctness alone"),
        ("acc_only", ["lapo.answer_forms=[hash]", "lapo.prompt=paper"], None, None),
        ("lapo_discovery", ["lapo.verifier=verl", "lapo.verify_timeout=9"], "lapo.verify_timeout", "verifier=verl"),
        (
            "lapo_discovery",
            ["+lapo.prompt_templates.mine='{{ x }}'"],
            "lapo.prompt_templates.mine",
            "lapo.prompt=model",
        ),
    ],
)
def test_keys_without_effect(config: str, arguments: list[str], ignored: str | None, reason: str | None) -> None:
    composed = compose_config(config, [*arguments, "trainer.save_freq=1"])
    settings = Run(composed).settings
    found = [finding.text for finding in config_warnings(composed, settings, False) if "without effect" in finding.text]
    if ignored is None or reason is None:
        assert found == []
    else:
        assert len(found) == 1
        says(found, f"{ignored}: set, and without effect", reason)


def test_dataloader_workers_in_stage_two(doctor: Doctor) -> None:
    workers = "data.dataloader_num_workers=2"
    says(doctor("lapo_internalization", workers).texts("error"), workers, "needs 0")


def test_too_few_logical_cpus_for_the_transfer_queue(doctor: Doctor) -> None:
    errors = doctor("lapo_discovery", "ray_kwargs.ray_init.num_cpus=2").texts("error")
    says(errors, "2 logical CPUs", "ray_kwargs.ray_init.num_cpus=")


def test_a_check_that_breaks_down_is_an_error(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    def check_something(run: Run) -> list[Finding]:
        raise KeyError("x")

    monkeypatch.setattr(preflight, "CHECKS", (*preflight.CHECKS, check_something))
    diagnosis = doctor("lapo_discovery")
    says(diagnosis.texts("error"), "check_something failed", "KeyError: 'x'")
    assert diagnosis.training is not None


def test_all_errors_are_collected(doctor: Doctor) -> None:
    diagnosis = doctor(
        "lapo_internalization",
        "data.dataloader_num_workers=2",
        "ray_kwargs.ray_init.num_cpus=2",
        "lapo.init_from=gone.sqlite",
        "lapo.objectiv.alpha=1",
    )
    assert len(diagnosis.texts("error")) == 4
    assert diagnosis.training is not None


def test_checkpoints_that_stage_two_cannot_start_from(doctor: Doctor) -> None:
    contents = "actor_rollout_ref.actor.checkpoint.save_contents=[model,optimizer,extra]"
    says(doctor("lapo_discovery", contents).texts("warning"), "lacks hf_model", "verl.model_merger")
    says(doctor("lapo_discovery", "trainer.save_freq=-1").texts("warning"), "trainer.save_freq=-1", "never writes")


def test_another_hook_in_the_place_of_lapos(doctor: Doctor) -> None:
    loop = "actor_rollout_ref.rollout.agent.default_agent_loop=single_turn_agent"
    says(doctor("lapo_internalization", loop).texts("warning"), loop, "lapo_single_turn")


def test_rows_that_name_an_agent_loop_of_their_own(doctor: Doctor, tmp_path: Path) -> None:
    write(tmp_path / "train.parquet", rows(8, agent_name="single_turn_agent"))
    says(doctor("lapo_internalization").texts("error"), "agent_name", "'single_turn_agent'")


def test_a_dataset_class_that_is_not_there(doctor: Doctor) -> None:
    gone = ["data.custom_cls.path=gone.py", "data.custom_cls.name=Gone"]
    errors = doctor("lapo_discovery", *gone).texts("error")
    says(errors, "data.custom_cls.path=gone.py", "cannot load this dataset class")
    assert not [text for text in errors if "chat template" in text]


def test_images_with_a_text_model(doctor: Doctor, tmp_path: Path) -> None:
    images = [{**row, "images": [{"bytes": b"x"}] if i in (3, 5) else []} for i, row in enumerate(rows(8))]
    write(tmp_path / "train.parquet", images)
    says(doctor("lapo_discovery").texts("error"), "2 of 8 rows", "column 'images' (first: row 3)", "no processor")


def test_a_file_that_is_named_twice(doctor: Doctor) -> None:
    diagnosis = doctor("lapo_discovery", "data.train_files=[train.parquet,train.parquet]")
    assert diagnosis.facts.training is not None
    assert (diagnosis.facts.training.rows, diagnosis.facts.training.dropped) == (16, 0)
    assert diagnosis.texts("error") == []


def test_what_verl_itself_refuses(doctor: Doctor) -> None:
    greedy = "actor_rollout_ref.rollout.temperature=0"
    says(doctor("lapo_discovery", greedy).texts("error"), "verl refuses the config")


def test_what_hydra_refuses(doctor: Doctor) -> None:
    says(doctor("lapo_discovery", "data.no_such_key=1").texts("error"), "data.no_such_key")
    says(diagnose(Request("no_such_config")).texts("error"), "no_such_config")
    says(diagnose(Request("ppo_trainer")).texts("error"), "not one of LAPO's configs", "lapo_discovery")
    says(diagnose(Request("lapo_discovery", config_dir=Path("nowhere"))).texts("error"), "nowhere", "no such folder")


# --- what is wrong: data and store ---


def test_rows_that_the_length_filter_leaves_out(doctor: Doctor, tmp_path: Path) -> None:
    content = rows(8)
    content[2]["prompt"][0]["content"] *= 20
    write(tmp_path / "train.parquet", content)
    diagnosis = doctor("lapo_internalization", "data.max_prompt_length=90")
    assert diagnosis.facts.training is not None and diagnosis.facts.training.dropped == 1
    says(diagnosis.texts("warning"), "1 of 8 rows", "data.max_prompt_length=90", "kept for the guidance")
    says(doctor("lapo_internalization", "data.max_prompt_length=90", row=2).texts("error"), "row 2", "problem p2")
    assert doctor("lapo_internalization", "data.max_prompt_length=90", row=3).training.problem_id == "p3"  # type: ignore[union-attr]


def test_a_limit_that_no_row_fits(doctor: Doctor) -> None:
    says(doctor("lapo_internalization", "data.max_prompt_length=30").texts("error"), "not one of 8 rows fits")


def test_a_prompt_whose_beginning_would_be_cut_off(doctor: Doctor) -> None:
    diagnosis = doctor("lapo_discovery", "data.max_prompt_length=10", "data.filter_overlong_prompts=false")
    says(diagnosis.texts("warning"), "more than data.max_prompt_length=10", "cuts its beginning off")


def test_fewer_rows_than_a_batch(doctor: Doctor) -> None:
    says(doctor("lapo_discovery", "data.train_batch_size=16").texts("error"), "8 rows make no batch")


def test_one_file_for_training_and_validation(doctor: Doctor) -> None:
    says(doctor("lapo_discovery", "data.val_files=train.parquet").texts("error"), "copy of the file")


def test_a_store_that_is_missing_empty_or_damaged(doctor: Doctor, tmp_path: Path) -> None:
    LengthStore.open(tmp_path / "empty.sqlite").close()
    (tmp_path / "damaged.sqlite").write_text("no store")
    for name, word in (("gone", "does not exist"), ("empty", "is empty"), ("damaged", "not a length store")):
        diagnosis = doctor("lapo_internalization", f"lapo.init_from={name}.sqlite")
        assert len(diagnosis.texts("error")) == 1
        says(diagnosis.texts("error"), f"{name}.sqlite", word)


def test_a_store_of_other_problems(doctor: Doctor, tmp_path: Path) -> None:
    with LengthStore.open(tmp_path / "store.sqlite") as store:
        store.record_step("discovery", 1, [visit(name, (10,)) for name in "abcdefgh"], DISCOVERY)
    says(doctor("lapo_internalization").texts("error"), "another problem set", "100% unknown")


def test_a_store_of_another_tokenizer(doctor: Doctor, tmp_path: Path) -> None:
    with LengthStore.open(save_store(tmp_path / "store.sqlite")) as store:
        store.set_meta(META_KEY, tokenizer_fingerprint(PLAIN.tokenizer()))
    says(doctor("lapo_internalization").texts("warning"), "made with another tokenizer", "Discovery again")
    assert doctor("lapo_internalization", model=PLAIN).texts("warning") == []


def test_a_store_of_another_run_than_the_weights(doctor: Doctor, tmp_path: Path) -> None:
    checkpoint = tmp_path / "runs" / "global_step_8"
    model = save_model(checkpoint / "actor" / "huggingface", QWEN3.tokenizer())
    path = f"actor_rollout_ref.model.path={model}"
    save_store(checkpoint / "lapo_store.sqlite")
    assert doctor("lapo_internalization", path, model=None).texts("warning") == []
    (tmp_path / "store.sqlite").unlink()
    save_store(tmp_path / "store.sqlite", lengths=(10, 20))
    says(doctor("lapo_internalization", path, model=None).texts("warning"), "of another run than the weights", "'p0'")


def test_budgets_above_the_response_limit(doctor: Doctor) -> None:
    warnings = doctor("lapo_internalization", "data.max_response_length=200").texts("warning")
    says(warnings, "7 of 7 budgets (100%)", "data.max_response_length=200")


# --- how it is shown ---


def test_the_report_marks_the_guidance_and_fits_the_width(doctor: Doctor, tmp_path: Path) -> None:
    content = rows(8)
    content[0]["prompt"][0]["content"] = "Is [bold]this[/bold] \x1b[31mtext[/]?"
    write(tmp_path / "train.parquet", content)
    diagnosis = doctor("lapo_internalization")
    text = shown(diagnosis)
    assert "[[<think>\nI will answer the question with 250 tokens.]]" in text
    assert r"Is [bold]this[/bold] \x1b[31mtext[/]?" in text
    assert max(map(len, text.splitlines())) <= 100
    assert text.rstrip().endswith("nothing is wrong")
    coloured = shown(diagnosis, colour=True)
    assert "\x1b[30;43m<think>" in coloured
    assert "[[<think>" not in coloured


def test_a_report_without_prompts_can_be_shown() -> None:
    diagnosis = diagnose(Request("no_such_config"))
    assert "no_such_config" in shown(diagnosis)
    assert json.loads(json.dumps(diagnosis.as_json()))["training"] is None


def lapo(
    folder: Path, *arguments: str, python: str | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python or os.environ[WARM_PYTHON], "-m", "lapo_verl.cli.main", "doctor", *arguments],
        cwd=folder,
        env={**os.environ, "VERL_PLATFORM": "cpu", "HF_HUB_OFFLINE": "1", **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_the_command_prints_json_and_ends_with_0(doctor: Doctor, tmp_path: Path) -> None:
    expected = doctor("lapo_internalization").as_json()
    arguments = ["--config-name=lapo_internalization", *good_overrides("lapo_internalization")]
    done = lapo(tmp_path, *arguments, "--json")
    assert (done.returncode, json.loads(done.stdout)) == (0, expected), done.stderr


def test_the_command_ends_with_1_where_the_plugin_is_not_loaded(doctor: Doctor, tmp_path: Path) -> None:
    save_model(tmp_path / "model", QWEN3.tokenizer())
    arguments = ["--config-name", "lapo_discovery", *good_overrides("lapo_discovery")]
    off = {"VERL_USE_EXTERNAL_PLUGINS": "none", "VERL_PLATFORM": ""}
    done = lapo(tmp_path, *arguments, python=sys.executable, **off)
    assert done.returncode == 1
    assert "error: verl did not load LAPO's plugin" in done.stdout
    assert "What is 0 + 1?" in done.stdout
    assert "Traceback" not in done.stderr
