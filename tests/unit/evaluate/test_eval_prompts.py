"""A model is asked with the prompt that it was trained with, and what was kept is brought up to date."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable
from pathlib import Path

import huggingface_hub.constants
import pytest
from eval_inputs import model_folder, problem, write_rows
from rich.console import Console

from lapo_verl.evaluate import EvalError, EvalSettings, evaluate
from lapo_verl.evaluate.models import resolve_model
from lapo_verl.evaluate.prompts import known_template, prompt_keys, prompt_of
from lapo_verl.prompt_note import FILE, PromptNote
from lapo_verl.verify import REVISION

PAPER = PromptNote("paper", known_template("paper"))


def checkpoint(folder: Path, note: PromptNote | None) -> Path:
    """verl's folder global_step_N, with Hugging Face weights."""
    step = folder / "global_step_2"
    model_folder(step / "actor" / "huggingface")
    if note is not None:
        note.write(step)
    return step


@pytest.mark.parametrize("part", ["", "actor", "actor/huggingface"])
def test_the_note_of_a_training_is_found_from_each_of_its_folders(part: str, tmp_path: Path) -> None:
    assert resolve_model("m", checkpoint(tmp_path, PAPER) / part).prompt == PAPER


def test_a_note_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    step = checkpoint(tmp_path, None)
    for text in ("{", '{"prompt": "paper"}', "[1]"):
        (step / FILE).write_text(text)
        with pytest.raises(EvalError, match=r"global_step_2/lapo_prompt\.json: cannot be read"):
            resolve_model("m", step)


@pytest.mark.parametrize(
    ("note", "overrides", "name", "why"),
    [
        (PAPER, (), "paper", "as in its training"),
        (PAPER, ("lapo.prompt=model",), "model", "as given"),
        (None, (), "model", "there is no lapo_prompt.json"),
        (None, ("lapo.prompt=paper",), "paper", "as given"),
    ],
)
def test_the_note_decides_unless_the_user_does(
    note: PromptNote | None, overrides: tuple[str, ...], name: str, why: str, tmp_path: Path
) -> None:
    prompt, said = prompt_of(resolve_model("m", checkpoint(tmp_path, note)), EvalSettings(overrides=overrides))
    assert prompt == PromptNote(name, known_template(name))
    assert why in said


def test_a_template_that_the_configs_do_not_have_goes_along(tmp_path: Path) -> None:
    assert prompt_keys(resolve_model("m", checkpoint(tmp_path / "a", PAPER))) == {"lapo.prompt": "paper"}
    own = resolve_model("m", checkpoint(tmp_path / "b", PromptNote("mine", "{{ messages }}")))
    assert prompt_keys(own) == {"lapo.prompt": "mine", "++lapo.prompt_templates.mine": "{{ messages }}"}
    # The paper's text as another version of lapo-verl had it.
    older = resolve_model("m", checkpoint(tmp_path / "c", PromptNote("paper", "older")))
    assert prompt_keys(older)["++lapo.prompt_templates.paper"] == "older"


def test_the_prompt_is_said_and_belongs_to_the_key(
    tmp_path: Path, sums: Path, starts: Callable[[], list[str]], console: Console
) -> None:
    step, base = checkpoint(tmp_path / "run", PAPER), model_folder(tmp_path / "base")

    def run() -> str:
        console = Console(file=io.StringIO(), width=200)
        settings = EvalSettings(n=1, max_tokens=96)
        evaluate({"base": base, "lapo_i": step}, {"sums": sums}, settings, tmp_path / "out", "cpu", console)
        return console.file.getvalue()  # type: ignore[attr-defined]

    said = run()
    assert "base: lapo.prompt=model, its own chat template" in said
    assert "lapo_i: lapo.prompt=paper, as in its training (lapo_prompt.json)" in said
    assert "asked in different ways; to ask all alike: -- lapo.prompt=NAME" in said
    PromptNote("paper", "another text").write(step)
    run()
    assert starts() == ["base 3", "huggingface 3", "huggingface 3"], "another template is another evaluation"


def test_answers_of_an_older_verifier_are_judged_again(
    tmp_path: Path, starts: Callable[[], list[str]], console: Console
) -> None:
    # The stand-in answers each question with its number, and its verdict is whether that is odd.
    truths = write_rows(tmp_path / "truths.jsonl", [problem("a", "0"), problem("b", "7"), problem("c", "4/2")])
    base, output = model_folder(tmp_path / "base"), tmp_path / "out"

    def verdicts(*overrides: str) -> list[float]:
        settings = EvalSettings(n=1, max_tokens=96, overrides=overrides)
        evaluate({"base": base}, {"truths": truths}, settings, output, "cpu", console)
        rows = [json.loads(line) for line in (output / "samples.jsonl").open(newline="\n")]
        assert {row["verifier"] for row in rows} == {None if overrides else REVISION}
        return [row["acc"] for row in rows]

    def age(file: Path) -> None:
        rows = [json.loads(line) for line in file.open(newline="\n")]
        file.write_text("".join(json.dumps({k: v for k, v in row.items() if k != "verifier"}) + "\n" for row in rows))

    assert verdicts() == [0.0, 1.0, 0.0]
    (kept,) = (output / "base").glob("truths.*.jsonl")
    age(kept)
    assert verdicts() == [1.0, 0.0, 1.0]
    assert "3 kept answers were judged again" in console.file.getvalue()  # type: ignore[attr-defined]
    assert verdicts() == [1.0, 0.0, 1.0]
    assert starts() == ["base 3"]
    # Another verifier's verdicts are its own.
    assert verdicts("lapo.verifier=verl") == [0.0, 1.0, 0.0]


def test_a_hub_that_does_not_answer_is_one_line_in_seconds(
    tmp_path: Path,
    sums: Path,
    starts: Callable[[], list[str]],
    console: Console,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    message = r"model base: nobody/no-model cannot be loaded: it is not in the cache .*does not answer: .*HF_ENDPOINT"
    for offline in (False, True):
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", offline)
        started = time.monotonic()
        with pytest.raises(EvalError, match=message) as error:
            evaluate({"base": "nobody/no-model"}, {"sums": sums}, EvalSettings(), tmp_path / "out", "cpu", console)
        assert time.monotonic() - started < 10
        assert "\n" not in str(error.value)
    assert starts() == []
