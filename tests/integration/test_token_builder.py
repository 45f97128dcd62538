"""Models whose tokenizer is another family's than config.json's model_type says start, with the right prompt."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
from pathlib import Path

import pytest
import tiny_models
from rollout_server import rollout
from test_prompts import CHATS, SENTENCES, data_config, template_ids
from tiny_models import LLAMA3, QWEN3, R1_DISTILL_QWEN, TinyModel
from transformers import AutoConfig, AutoTokenizer
from verl.utils.tokenizer.continuous_token_wiring import create_continuous_token_builder

from lapo_verl.cpu import WARM_PYTHON
from lapo_verl.hooks.dataset import LapoDataset
from lapo_verl.hooks.token_builder import choose_builder

# Llama 3's tokens under model_type qwen2: neither Qwen's nor DeepSeek's.
STRANGER = dataclasses.replace(LLAMA3, config=tiny_models.Qwen2Config)
BUILDERS = {
    R1_DISTILL_QWEN: ("DeepSeekContinuousTokenBuilder", "", "does not define required token '<|im_end|>'"),
    QWEN3: ("QwenContinuousTokenBuilder", "<think>\n", "verl's choice for model_type 'qwen3'"),
    LLAMA3: ("ContinuousTokenBuilder", "", "verl's choice for model_type 'llama'"),
    tiny_models.GEMMA3: ("ContinuousTokenBuilder", "", "verl's choice for model_type 'gemma3_text'"),
    STRANGER: ("ContinuousTokenBuilder", "", "verl's builder for model_type 'qwen2' does not fit the tokenizer"),
}


@pytest.mark.parametrize("model", BUILDERS, ids=lambda model: f"{model.name}, {model.config.model_type}")
def test_a_model_starts_with_a_builder_that_fits_its_tokenizer(model: TinyModel, tmp_path: Path) -> None:
    folder = model.save(tmp_path / "model", weights=False)
    tokenizer, model_type = AutoTokenizer.from_pretrained(folder), AutoConfig.from_pretrained(folder).model_type
    name, seam, why = BUILDERS[model]
    chosen = choose_builder(tokenizer, model_type)
    assert chosen.name == name
    assert why in chosen.why

    data = data_config(tmp_path, CHATS["one turn"])
    for files, sentence in ((data.train_files, SENTENCES["exact"]), (data.val_files, "")):
        received, _ = rollout(tokenizer, LapoDataset(files, tokenizer, data)[0], data, model_type)
        plain = template_ids(tokenizer, CHATS["one turn"])
        assert received[: len(plain)] == plain
        appended = tokenizer.decode(received[len(plain) :])
        assert appended == (sentence and seam + sentence)


def test_verls_own_choice_fails_for_r1_distill_qwen(tmp_path: Path) -> None:
    """When this fails, verl has fixed it, and ``token_builder`` can go."""
    tokenizer = AutoTokenizer.from_pretrained(R1_DISTILL_QWEN.save(tmp_path, weights=False))
    with pytest.raises(ValueError, match=re.escape("<|im_end|>")):
        create_continuous_token_builder(tokenizer, hf_model_type="qwen2")


def test_a_processor_that_does_not_fit_stays_verls_error(tmp_path: Path) -> None:
    class Processor:
        image_processor = object()

    tokenizer = AutoTokenizer.from_pretrained(QWEN3.save(tmp_path, weights=False))
    with pytest.raises(ValueError, match="a multimodal processor was provided"):
        choose_builder(tokenizer, "qwen3", Processor())


@pytest.mark.parametrize("config", ["lapo_discovery", "lapo_internalization", "acc_only"])
def test_verls_agent_loop_workers_know_the_loop_of_each_config(config: str) -> None:
    """In a process that has loaded what a worker loads: verl, the config, and the class of its dataset."""
    load = """
import sys
from verl.experimental.agent_loop import agent_loop
from verl.utils.dataset.rl_dataset import get_dataset_class
from lapo_verl.doctor.compose import compose_config

config = compose_config(sys.argv[1], [])
get_dataset_class(config.data)
name = config.actor_rollout_ref.rollout.agent.default_agent_loop
print(agent_loop._agent_loop_registry[name]["_target_"])
"""
    done = subprocess.run([os.environ[WARM_PYTHON], "-c", load, config], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "lapo_verl.hooks.agent_loop.LapoSingleTurnAgentLoop", done.stderr
