"""The tokenizer and the chat template of an export."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from lapo_verl.doctor.tokenizer_round_trip import FILE as TOKENIZER_FILE
from lapo_verl.doctor.tokenizer_round_trip import find_difference
from lapo_verl.export.errors import ExportError
from lapo_verl.export.seam import BUDGETS, CONVERSATIONS, Chat, add_budget, check_same_ids
from lapo_verl.export.template import template_without_budget
from lapo_verl.guidance.think import template_text
from lapo_verl.runs.prompt_note import PromptNote
from lapo_verl.runs.trained_sentence import TrainedSentence

TEMPLATE = "chat_template.jinja"
CONFIG = "tokenizer_config.json"
# What a folder has beside config.json and weights: tokenizer, generation defaults, processors, a model's own code.
_BESIDE = (
    *("tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab*", "merges.txt", "*.model", "*.tiktoken"),
    *("generation_config.json", "*processor*config.json", "*.py"),
)


def write_prompts(source: Path, target: Path, sentence: TrainedSentence, prompt: PromptNote | None) -> str:
    """Write tokenizer and chat template into ``target``, and check what they make of conversations; says what is so.

    Args:
        source: a folder in Hugging Face format.
        sentence: of the training.
        prompt: of the training; None for the model's own chat template.

    Raises:
        ExportError: the tokenizer is missing or reads texts differently from its file, or the template does not give
            the training's tokens.
    """
    if not (source / TOKENIZER_FILE).is_file():
        # Without it, transformers 5 loads an empty tokenizer for some models, and says nothing.
        raise ExportError(f"{source}: has no {TOKENIZER_FILE}; put the tokenizer's files of the base model into it")
    for path in {path for pattern in _BESIDE for path in source.glob(pattern) if path.is_file()}:
        shutil.copyfile(path, target / path.name)
    own = _load(source)
    if prompt is not None and prompt.template is not None:
        own = Chat(own.tokenizer, prompt.template)
    if not own.template:
        raise ExportError(
            f"{source}: neither the tokenizer nor the training's note has a chat template; put one into {TEMPLATE} "
            "of that folder"
        )
    if sentence.guidance is None:
        why = "the model was trained without a sentence that names a number of tokens"
        template = template_without_budget(own.template, why)
    else:
        template = add_budget(own, sentence.guidance).template
    (target / TEMPLATE).write_text(template, encoding="utf-8")
    _drop_other_template(target)
    _check_round_trip(target)
    written = _load(target)
    if written.template != template:
        raise ExportError(f"{target / TEMPLATE}: transformers does not read the template that was written")
    if sentence.guidance is None:
        return f"token_budget is refused: the model was trained without such a sentence ({sentence.why})"
    check_same_ids(own, written, sentence.guidance)
    return (
        f"token_budget: {sentence.guidance.form} sentence, {sentence.guidance.place} the think block ({sentence.why}); "
        f"prompt ids equal training's in {len(own.known())} of {len(CONVERSATIONS)} conversations at {len(BUDGETS)} "
        "budgets, and without one the prompt is the model's own"
    )


def _load(folder: Path) -> Chat:
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
    except Exception as error:  # what transformers raises is as varied as the files that it reads
        raise ExportError(f"{folder}: the tokenizer cannot be loaded ({type(error).__name__}: {error})") from error
    return Chat(tokenizer, template_text(tokenizer))


def _drop_other_template(folder: Path) -> None:
    """One template in one place: some servers read the tokenizer's configuration first."""
    config = folder / CONFIG
    if not config.is_file():
        return
    values = json.loads(config.read_text(encoding="utf-8"))
    if values.pop("chat_template", None) is not None:
        config.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _check_round_trip(folder: Path) -> None:
    tokenizer = _load(folder).tokenizer
    difference = find_difference(tokenizer, folder / TOKENIZER_FILE)
    if difference is not None:
        raise ExportError(
            f"transformers loads the tokenizer as {type(tokenizer).__name__}, which reads texts differently from its "
            f"{TOKENIZER_FILE}: {difference}. Write a repaired copy of the Hugging Face folder with lapo "
            "repair-tokenizer, and export that"
        )
