"""Write the reference pages of this folder from the YAML configs, the objectives' fields, the metrics and the CLI.

    python docs/reference/generate.py

``tests/unit/docs/test_reference.py`` fails where a page is not what this script would write, so ``make reference``
belongs to every change of a key, a metric, a command or an option.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import typer.main
import yaml

from lapo_verl.cli.main import app
from lapo_verl.objectives import Range, objective_class, objective_names
from lapo_verl.objectives.metrics import METRICS

FOLDER = Path(__file__).resolve().parent
CONFIGS = FOLDER.parents[1] / "hydra_configs"
NOTE = "<!-- Written by docs/reference/generate.py (make reference): change the sources, not this page. -->\n\n"

ABOUT_KEYS = """\
All keys of this package are under one node, `lapo:`. Set them like any key of verl's: as `key=value` after the
training command, or in a YAML file of your own. An unknown key, or a value out of its range, ends the command
with one line before Ray starts; it names the nearest right key."""
ABOUT_GROUPS = """\
Groups of keys, given as `group=choice`. `objective` and `guidance` go with `length_control`, `preset` with
the two stages:"""
ABOUT_FIELDS = """\
`lapo.objective.name` names the objective, and `lapo.objective.path` (`pkg://my_module`) the module of one of your
own. The other keys are the objective's fields; [Objectives](../objectives.md) has the formulas."""
ABOUT_COMMANDS = """\
`lapo --help` and `lapo COMMAND --help` print the same. Training is verl's own command,
`python -m verl.trainer.main_ppo --config-name=...`; see [Configuration](configuration.md)."""
ABOUT_METRICS = """\
verl's loggers (console, TensorBoard, W&B, file) get one value of each per step. A mean over nothing is left out:
a step without a correct rollout has no `lapo/tokens_correct`. [Is it working?](../monitoring.md) says what to do
about a value that is not healthy."""


class UndocumentedError(ValueError):
    """A key, command or option has no description; the message names it."""


@dataclasses.dataclass(frozen=True)
class Key:
    """A key of a YAML file: its dotted name, its value, and the comment above it."""

    name: str
    value: Any
    comment: str


def main() -> None:
    """Write every page."""
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
        sys.stdout.write(f"{path.relative_to(FOLDER.parents[1])}\n")


def pages() -> dict[Path, str]:
    """The text of every generated page.

    Raises:
        UndocumentedError: something has no description.
    """
    made = {"configuration.md": configuration(), "commands.md": commands(), "metrics.md": metrics()}
    return {FOLDER / name: NOTE + text for name, text in made.items()}


# --- configuration ---


def configuration() -> str:
    """The page of keys: configs, groups, the node ``lapo:``, the objectives' fields, and verl's keys that they set."""
    base = keys(CONFIGS / "lapo_base.yaml")
    own = [key for key in base if key.name.startswith("lapo.")]
    verls = [key for key in base if not key.name.startswith(("lapo.", "hydra."))]
    return "\n".join(
        [
            "# Configuration",
            "",
            ABOUT_KEYS,
            "",
            "## Configs",
            "",
            *table(("`--config-name`", "what it trains"), ((path.stem, header(path)) for path in configs())),
            "",
            ABOUT_GROUPS,
            "",
            *table(("group", "choice", "what it sets"), group_rows()),
            "",
            "## The node `lapo:`",
            "",
            *table(("key", "default", "meaning"), ((key.name, shown(key), escaped(key.comment)) for key in own)),
            "",
            "## The objectives' fields: `lapo.objective`",
            "",
            ABOUT_FIELDS,
            "",
            *(line for name in objective_names() for line in objective_section(name)),
            "## Defaults of verl's own keys",
            "",
            "`hydra_configs/lapo_base.yaml` sets the paper's values where verl has others:",
            "",
            *table(("key of verl", "value", "why"), ((key.name, shown(key), escaped(key.comment)) for key in verls)),
            "",
        ]
    )


def configs() -> list[Path]:
    """The configs that ``--config-name`` takes."""
    return [path for path in sorted(CONFIGS.glob("*.yaml")) if path.stem not in ("lapo_base", "lapo_hooks")]


def group_rows() -> Iterator[tuple[str, str, str]]:
    """(group, choice, what it sets) of every file of a group."""
    yield "objective", "NAME", "One of the objectives below, or `custom`: one of your own."
    for folder in ("guidance", "preset", "platform"):
        for path in sorted((CONFIGS / folder).glob("*.yaml")):
            yield folder, path.stem, header(path)


def objective_section(name: str) -> list[str]:
    """An objective's fields with defaults, allowed values and meanings."""
    path = CONFIGS / "objective" / f"{name}.yaml"
    hints = get_type_hints(objective_class(name), include_extras=True)
    fields = [key for key in keys(path) if key.name != "name"]
    rows = [
        (f"lapo.objective.{key.name}", shown(key), allowed(hints[key.name]), escaped(key.comment)) for key in fields
    ]
    return [
        f"### `{name}`",
        "",
        header(path),
        "",
        *(table(("key", "default", "values", "meaning"), rows) if rows else ["It has no fields."]),
        "",
    ]


def allowed(kind: Any) -> str:
    """The values that a field's type allows, in words."""
    if get_origin(kind) is Annotated:
        inner, *limits = get_args(kind)
        return ", ".join([allowed(inner), *(str(limit) for limit in limits if isinstance(limit, Range))])
    if get_origin(kind) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(kind))
    if kinds := get_args(kind):
        return " or ".join("null" if each is type(None) else allowed(each) for each in kinds)
    return {float: "number", int: "whole number", bool: "true, false", str: "text"}[kind]


def header(path: Path) -> str:
    """The comment at the top of a config, without its command lines."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("# @package") or (not line and not lines):
            continue
        if not line.startswith("# ") or line.startswith("#  "):
            break
        lines.append(line.removeprefix("# "))
    if not lines:
        raise UndocumentedError(f"{path.name}: has no comment at its top")
    return escaped(" ".join(lines))


def keys(path: Path) -> list[Key]:
    """Every leaf of a YAML file with the comment above it. LAPO's keys share one up to the next blank line.

    Raises:
        UndocumentedError: a key of LAPO's has no comment.
    """
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    found, stack, comment, fresh = [], [], [], True
    for line in path.read_text(encoding="utf-8").splitlines():
        text, indent = line.strip(), len(line) - len(line.lstrip())
        if not text:
            comment, fresh = [], True
        elif text.startswith("#"):
            comment = [*([] if not fresh else comment), text.lstrip("# ")]
            fresh = True
        elif text[0].isalpha() and (name := text.partition(":")[0]) and ":" in text:
            while stack and stack[-1][0] >= indent:
                stack.pop()
            stack.append((indent, name))
            fresh = False
            dotted = [part for _, part in stack]
            value = selected(values, dotted)
            is_lapos = dotted[0] == "lapo" or path.parent.name == "objective"
            if value is not MISSING and (not isinstance(value, dict) or name == "prompt_templates"):
                found.append(Key(".".join(dotted), value, " ".join(comment)))
                if not comment and is_lapos:
                    raise UndocumentedError(f"{path.name}: the key {'.'.join(dotted)} has no comment above it")
            comment = comment if is_lapos else []
    return [key for key in found if not key.name.startswith(("defaults", "lapo.prompt_templates."))]


MISSING = object()


def selected(values: Any, dotted: Sequence[str]) -> Any:
    """The value at a dotted name; ``MISSING`` where a line of a text only looks like a key."""
    for part in dotted:
        if not isinstance(values, dict) or part not in values:
            return MISSING
        values = values[part]
    return values


def shown(key: Key) -> str:
    """A default as one would write it on the command line."""
    if isinstance(key.value, dict):
        return ", ".join(f"`{name}`" for name in key.value)
    text = key.value if isinstance(key.value, str) else json.dumps(key.value, ensure_ascii=False).replace('"', "")
    return f"`{text}`"


# --- commands ---


def commands() -> str:
    """The page of the command line."""
    root = typer.main.get_command(app)
    lines = [
        "# Commands",
        "",
        ABOUT_COMMANDS,
        "",
    ]
    for name, command in leaves(root, "lapo"):
        lines += [f"## `{name}`", "", *described(name, command), ""]
    return "\n".join(lines)


def leaves(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Every command that does something, with its full name."""
    for sub_name, sub in command.commands.items():
        if hasattr(sub, "commands"):
            yield from leaves(sub, f"{name} {sub_name}")
        else:
            yield f"{name} {sub_name}", sub


def described(name: str, command: Any) -> Iterator[str]:
    """A command's help, its example, and its arguments and options."""
    text, _, example = (command.help or "").partition("Example: ")
    if not text.strip() or not example:
        raise UndocumentedError(f"{name}: its help has no description or no line 'Example: ...'")
    yield from (f"{escaped(' '.join(part.split()))}\n" for part in text.strip().split("\n\n"))
    yield from ("```bash", " ".join(example.split()), "```", "")
    rows = []
    for parameter in command.params:
        if not parameter.help:
            raise UndocumentedError(f"{name}: {parameter.name} has no help")
        is_option = parameter.param_type_name == "option"
        spelled = " / ".join([*parameter.opts, *parameter.secondary_opts]) if is_option else parameter.name.upper()
        rows.append((f"`{spelled}`", default(parameter), escaped(parameter.help)))
    yield from table(("argument or option", "default", "meaning"), rows, code=False)


def default(parameter: Any) -> str:
    """What a parameter is where it is not given."""
    if parameter.required:
        return "required"
    if parameter.default in (None, "", False) or parameter.default == []:
        return ""
    return f"`{'yes' if parameter.default is True else parameter.default}`"


# --- metrics ---


def metrics() -> str:
    """The page of metrics."""
    common = [(name, metric) for name, metric in METRICS.items() if not metric.objectives]
    own = [(name, metric) for name, metric in METRICS.items() if metric.objectives]
    return "\n".join(
        [
            "# Metrics",
            "",
            ABOUT_METRICS,
            "",
            *table(
                ("metric", "unit", "what it measures", "a healthy run"),
                ((name, m.unit, m.meaning, m.healthy) for name, m in common),
            ),
            "",
            "`newly_solved_total` and the budgets need an objective that keeps a target for each problem: `discovery`,",
            "`internalization`, `hapo`.",
            "",
            "## Of single objectives",
            "",
            *table(
                ("metric", "objective", "unit", "what it measures", "a healthy run"),
                ((name, ", ".join(m.objectives), m.unit, m.meaning, m.healthy) for name, m in own),
            ),
            "",
        ]
    )


# --- Markdown ---


def table(head: Sequence[str], rows: Iterator[Sequence[str]] | Sequence[Sequence[str]], code: bool = True) -> list[str]:
    """A table; with ``code``, the first column's cells are code."""
    lines = [f"| {' | '.join(head)} |", f"| {' | '.join(['---'] * len(head))} |"]
    for first, *others in rows:
        cells = [f"`{first}`" if code else first, *others]
        lines.append(f"| {' | '.join(cell.replace('|', BAR) for cell in cells)} |")
    return lines


# The bar inside a cell; a table would end the cell at it.
BAR = "\\|"


def escaped(text: str) -> str:
    """Text in which no < begins an HTML tag."""
    return text.replace("<", "&lt;")


if __name__ == "__main__":
    main()
