"""A diagnosis for the terminal, readable at 100 columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from rich.console import Console, RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from lapo_verl.doctor.diagnosis import Diagnosis, Facts, RowFacts
from lapo_verl.doctor.estimate import estimate_lines

if TYPE_CHECKING:
    from lapo_verl.doctor.example_prompt import Example

GUIDANCE = "black on yellow"
# Around the guidance, where there is no colour.
MARKS = ("[[", "]]")
SCOPES = {
    "response": "every generated token",
    "think": "generated tokens up to and with </think>",
    "final_turn": "generated tokens of the last turn",
}
LEVELS = (("error", "red"), ("warning", "yellow"), ("remark", "dim"))


def print_diagnosis(diagnosis: Diagnosis, console: Console) -> None:
    """The facts, the prompts with the guidance marked, and what was found."""
    coloured = console.is_terminal and not console.no_color
    for part in _parts(diagnosis, coloured):
        console.print(part, highlight=False)


def _parts(diagnosis: Diagnosis, coloured: bool) -> Iterator[RenderableType]:
    yield _facts(diagnosis.facts)
    limit = diagnosis.facts.max_prompt_length
    if diagnosis.training is not None:
        yield from _prompt("training prompt", diagnosis.training, limit, coloured)
        if diagnosis.training.guided:
            yield Text()
            yield _seam(diagnosis.training)
    if diagnosis.validation is not None:
        yield from _prompt("validation prompt", diagnosis.validation, limit, coloured)
    yield Text()
    yield Rule("findings", style="dim", align="left")
    for level, style in LEVELS:
        for text in diagnosis.texts(level):
            yield Text.assemble((f"{level}: ", style), plain(text))
    yield _summary(diagnosis)


def plain(text: str) -> Text:
    """Text of models and files: no markup, and control characters written out."""
    return Text("".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text))


def _facts(facts: Facts) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in _fact_lines(facts):
        table.add_row(name, plain(value))
    return table


def _fact_lines(facts: Facts) -> Iterator[tuple[str, str]]:
    yield "config", facts.config_name
    if facts.objective is None:
        return
    yield "objective", _objective(facts.objective)
    yield "model", str(facts.model)
    yield "start", f"resumes from {facts.checkpoint}" if facts.checkpoint else "from scratch"
    if facts.training is not None:
        steps = "" if facts.steps is None else f", {facts.steps} steps"
        yield "training", f"{_rows(facts.training)}{steps}"
    if facts.validation is not None:
        sampling = f"T {facts.validation_temperature:g}, top-p {facts.validation_top_p:g}"
        yield "validation", f"{_rows(facts.validation)}, n={facts.validation_n} answers each, {sampling}"
    if facts.store is not None:
        yield "store", facts.store
    if facts.known is not None and facts.training is not None and (facts.known or facts.store):
        yield "budgets", _budgets(facts, facts.training.problems)
    if facts.length_scope is not None:
        counted = "" if not facts.has_hooks else f"|r| counts {SCOPES[facts.length_scope]}; "
        yield "lengths", f"{counted}at most {facts.max_response_length} response tokens"
    if facts.estimate is not None:
        yield from estimate_lines(facts.estimate)


def _objective(config: Mapping[str, Any]) -> str:
    fields = ", ".join(f"{name} {value}" for name, value in config.items() if name not in ("name", "path"))
    return f"{config['name']}{f': {fields}' if fields else ''}"


def _rows(split: RowFacts) -> str:
    dropped = "" if not split.dropped else f", {split.dropped} left out as too long"
    return f"{split.rows:,} rows, {split.problems:,} problems{dropped}"


def _budgets(facts: Facts, problems: int) -> str:
    known = f"{facts.known:,} of {problems:,} problems known, {facts.solved:,} solved"
    if facts.budgets is None:
        return known
    low, median, high = facts.budgets
    return f"{known}: {median:.0f} tokens in the median, {low:.0f} to {high:.0f} from 10 % to 90 %"


def _prompt(title: str, example: Example, limit: int | None, coloured: bool) -> Iterator[RenderableType]:
    notes = [] if example.guided else ["without guidance"]
    if example.budget is not None:
        notes.insert(0, f"budget {example.budget:g} tokens")
    elif example.guided:
        notes.insert(0, "unsolved")
    yield Text()
    yield Rule(plain(f"{title}: problem {example.problem_id}, {', '.join(notes)}"), style="dim", align="left")
    before, after = ("", "") if coloured or not example.guidance else MARKS
    yield Text.assemble(
        plain(example.before),
        (f"{before}{plain(example.guidance)}{after}", GUIDANCE),
        plain(example.after),
    )
    guidance = example.end - example.start
    share = f", {guidance} of them guidance ({guidance / len(example.ids):.0%})" if guidance else ""
    share += f", between {before} and {after}" if before else ""
    yield Text(f"{len(example.ids)} tokens{share}; data.max_prompt_length={limit}", style="dim")


def _seam(example: Example) -> Table:
    table = Table(title="tokens around the seam", title_justify="left", box=None, padding=(0, 2, 0, 0))
    for side in ("prompt", "guidance"):
        table.add_column("id", justify="right", style="dim")
        table.add_column(f"last of the {side}" if side == "prompt" else f"first of the {side}", min_width=20)
    for pair in zip_longest(example.last_of_prompt, example.first_of_guidance):
        cells: list[RenderableType] = []
        for token in pair:
            cells += ["", ""] if token is None else [str(token.id), plain(repr(token.text))]
        table.add_row(*cells)
    return table


def _summary(diagnosis: Diagnosis) -> Text:
    errors, warnings = len(diagnosis.texts("error")), len(diagnosis.texts("warning"))
    if not errors and not warnings:
        return Text("nothing is wrong", style="green")
    counts = [
        f"{count} {name}{'' if count == 1 else 's'}"
        for name, count in (("error", errors), ("warning", warnings))
        if count
    ]
    return Text(", ".join(counts), style="bold red" if errors else "bold yellow")
