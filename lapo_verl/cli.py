"""The command ``lapo``. Each command imports what it needs when it runs, so that ``lapo --help`` is quick."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NoReturn

import typer

app = typer.Typer(no_args_is_help=True, add_completion=False, help="LAPO for verl: prepare, try out, inspect.")
data_app = typer.Typer(no_args_is_help=True, help="Prepare problem sets in verl's format.")
app.add_typer(data_app, name="data")


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
    add_help_option=False,
)
def demo(context: typer.Context) -> None:
    """Train both stages on a small model, on the CPU, and show what changed.

    Example: lapo demo --fast
    """
    import subprocess
    import sys

    from lapo_verl.paths import recipes

    script = recipes() / "cpu_demo" / "demo.py"
    raise typer.Exit(subprocess.run([sys.executable, str(script), *context.args]).returncode)


@app.command()
def stats(
    store: Annotated[Path, typer.Argument(help="A length store: lapo_store.sqlite of a run or a checkpoint.")],
    export: Annotated[Path | None, typer.Option(help="Write every record to this .parquet, .csv or .jsonl.")] = None,
    top: Annotated[int, typer.Option(min=0, help="How many of the most changed problems to show.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")] = False,
) -> None:
    """What a run has learned of its problems' lengths. The run may still be writing.

    Example: lapo stats runs/discovery/lapo_store.sqlite --export lengths.parquet
    """
    import json

    from rich.console import Console

    from lapo_verl.report import store_stats
    from lapo_verl.store import LengthStore, StoreError

    try:
        with LengthStore.open(store, read_only=True) as opened:
            totals, changed = opened.totals(), store_stats.most_changed(opened, top)
            exported = store_stats.export(opened, export) if export else None
    except (StoreError, ValueError, OSError) as error:
        _fail(error)
    if as_json:
        typer.echo(json.dumps({**totals, "most_changed": changed}))
    else:
        Console().print(*store_stats.tables(totals, changed), sep="\n")
    if exported is not None:
        typer.echo(f"{export}: {exported} records", err=as_json)


@data_app.command("gsm8k")
def data_gsm8k(
    output: Annotated[Path, typer.Option(help="Folder for train.parquet and val.parquet.")],
    input: Annotated[str, typer.Option(help="A GSM8K JSONL file, or the dataset's name on the hub.")] = "openai/gsm8k",
    validation: Annotated[int, typer.Option(min=1, help="Problems held out, from the end of the file.")] = 200,
) -> None:
    """Grade school math, with the paper's instruction behind each question.

    Example: lapo data gsm8k --input train.jsonl --output data/gsm8k
    """
    from lapo_verl.data import SourceError, read_gsm8k, write_problems

    try:
        problems = read_gsm8k(input)
        if validation >= len(problems):
            raise SourceError(f"{input}: has {len(problems)} problems, too few to hold {validation} out")
        write_problems(problems[:-validation], "openai/gsm8k", "train", output / "train.parquet")
        write_problems(problems[-validation:], "openai/gsm8k", "val", output / "val.parquet")
    except (SourceError, OSError) as error:
        _fail(error)
    typer.echo(f"{output / 'train.parquet'}: {len(problems) - validation} problems")
    typer.echo(f"{output / 'val.parquet'}: {validation} problems")


def _fail(error: Exception) -> NoReturn:
    typer.echo(f"lapo: error: {error}", err=True)
    raise typer.Exit(1) from error


if __name__ == "__main__":
    app()
