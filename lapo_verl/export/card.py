"""The model card: README.md of an export, with the metadata that a hub reads."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lapo_verl import markdown
from lapo_verl.evaluate.evaluation import Result
from lapo_verl.evaluate.table import averages
from lapo_verl.export.errors import ExportError
from lapo_verl.export.lineage import Lineage
from lapo_verl.guidance.config import GuidanceConfig
from lapo_verl.guidance.sentence import requested_sentence

FILE = "README.md"
# As a caller would ask for it, in the card's examples.
_EXAMPLE = 512


@dataclass(frozen=True)
class Evaluated:
    """The results of a folder of ``lapo eval``, and what the exported model is called there."""

    name: str
    results: list[Result]


def read_evaluation(folder: Path, fingerprint: str) -> Evaluated:
    """The evaluation of the model with this fingerprint (``evaluate.models``).

    Raises:
        ExportError: the folder is none of ``lapo eval``, or of other models.
    """
    path = folder.expanduser() / "eval.json"
    try:
        made = json.loads(path.read_text(encoding="utf-8"))
        models = {name: each["fingerprint"] for name, each in made["checkpoints"].items()}
        results = [Result(**result) for result in made["results"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ExportError(f"--eval {folder}: is not a folder of lapo eval ({type(error).__name__}: {error})") from error
    name = next((name for name, found in models.items() if found == fingerprint), None)
    if name is None:
        raise ExportError(
            f"--eval {folder}: is of other models than the exported one ({', '.join(models)}): their files differ. "
            "Give the evaluation of this checkpoint"
        )
    return Evaluated(name, results)


def model_card(
    title: str, lineage: Lineage, base_model: str | None, guidance: GuidanceConfig | None, evaluated: Evaluated | None
) -> str:
    """The text of README.md.

    Args:
        base_model: name on the hub; None where it is not known.
        guidance: the sentence that the model was trained with; None for none.
    """
    parts = [
        _metadata(base_model),
        f"# {title}",
        _about(base_model),
        *_training(lineage),
        *(() if evaluated is None else _results(evaluated)),
        *_use(guidance),
        _LIMITS,
    ]
    return "\n\n".join(parts) + "\n"


def _metadata(base_model: str | None) -> str:
    lines = ["---", *([f"base_model: {base_model}"] if base_model else [])]
    lines += ["library_name: transformers", "pipeline_tag: text-generation"]
    return "\n".join([*lines, "tags:", "- lapo", "- verl", "- length-control", "- arxiv:2507.15758", "---"])


def _about(base_model: str | None) -> str:
    start = f"[{base_model}](https://huggingface.co/{base_model})" if base_model else "a local model"
    return (
        f"A reasoning model, trained from {start} with [verl](https://github.com/verl-project/verl) and lapo_verl to "
        "answer with as many tokens as a problem needs (LAPO, Length-Adaptive Policy Optimization, arXiv 2507.15758)."
    )


def _training(lineage: Lineage) -> Iterator[str]:
    rows = [
        (f"{name}, {steps} steps", ", ".join(f"{key} {value}" for key, value in fields.items() if key != "name"))
        for name, fields, steps in lineage.runs
    ]
    if lineage.note is not None:
        rows.append(("data", ", ".join(lineage.note.data)))
        rows += [(f"`{key}`", str(value)) for key, value in lineage.note.keys.items() if value is not None]
    if rows:
        yield "## Training"
        yield markdown.table(("what", "value"), rows)


def _results(evaluated: Evaluated) -> Iterator[str]:
    rows = []
    for row in (*evaluated.results, *averages(evaluated.results)):
        name = f"**{row.checkpoint}** (this model)" if row.checkpoint == evaluated.name else row.checkpoint
        numbers = [f"{row.summary['pass@1']:.1f}", f"{row.summary['tokens']:.1f}", _percent(row.summary["truncated"])]
        rows.append((row.benchmark, row.condition, name, str(row.problems), str(row.n or ""), *numbers))
    yield "## Results"
    yield "Pass@1 in percent and mean response tokens (`lapo eval`)."
    yield markdown.table(("benchmark", "condition", "model", "problems", "n", "Pass@1", "tokens", "cut off, %"), rows)


def _use(guidance: GuidanceConfig | None) -> Iterator[str]:
    yield "## Use"
    yield "Asked as any chat model, it plans the length of its answer by itself:"
    yield "```bash\nvllm serve FOLDER_OR_NAME\n```"
    if guidance is None:
        yield "It was trained without a sentence that names a length: the chat template refuses `token_budget`."
        return
    sentence = requested_sentence(guidance, _EXAMPLE).strip()
    place = "at the beginning of its thoughts" if guidance.place == "inside" else "at the end of the user's turn"
    yield (
        "With the chat template's argument `token_budget`, a whole number of tokens, the prompt has the sentence of "
        f'the training {place}: "{sentence}"'
    )
    yield (
        '```python\nclient.chat.completions.create(\n    model="FOLDER_OR_NAME",\n    messages=messages,\n'
        f'    extra_body={{"chat_template_kwargs": {{"token_budget": {_EXAMPLE}}}}},\n)\n'
        f"tokenizer.apply_chat_template(messages, add_generation_prompt=True, token_budget={_EXAMPLE})\n```"
    )


_LIMITS = """## Limits

A budget is a wish, not a limit: answers are shorter or longer than asked for. A hard limit is the server's
`max_tokens`, which cuts the answer off. Budgets far from the lengths of the training are followed worst."""


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"
