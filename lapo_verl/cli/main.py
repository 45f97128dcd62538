"""The command ``lapo``. Each command imports what it needs when it runs, so that ``lapo --help`` is quick."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lapo_verl.cli.data import data_app
from lapo_verl.console import errors_in_one_line, fail

app = typer.Typer(no_args_is_help=True, add_completion=False)
app.add_typer(data_app, name="data")

# What the demo imports before it trains, and what trains it.
_DEMO_NEEDS = ("torch", "transformers", "matplotlib", "ray", "verl", "vllm", "transfer_queue")


def _show_version(asked: bool) -> None:
    if asked:
        from lapo_verl import __version__

        typer.echo(f"lapo-verl {__version__}")
        raise typer.Exit


@app.callback()
def lapo(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """LAPO for verl: prepare data, check a run, evaluate, report, export."""


@app.command()
def demo(
    output: Annotated[Path, typer.Option(help="Folder for all results.", file_okay=False)] = Path("outputs/demo"),
    fast: Annotated[bool, typer.Option("--fast", help="Fewer steps and problems.")] = False,
    retrain: Annotated[bool, typer.Option("--retrain", help="Train the base model instead of copying it.")] = False,
) -> None:
    """Train both stages on a small model, on the CPU, and show what changed.

    Example: lapo demo --fast
    """
    import importlib.util
    import os
    import subprocess
    import sys

    from lapo_verl.paths import recipes

    missing = [name for name in _DEMO_NEEDS if importlib.util.find_spec(name) is None]
    if missing:
        needed = f"lapo demo needs packages that are not installed here: {', '.join(missing)}"
        fail(RuntimeError(f"{needed}. In a checkout, `make demo` installs what it needs and runs it"))
    command = [sys.executable, str(recipes() / "demo"), "--output", str(output)]
    command += ["--fast"] * fast + ["--retrain"] * retrain
    # Both are packages there: demo, and toy with the task and the base model.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(recipes()), os.environ.get("PYTHONPATH", "")])}
    raise typer.Exit(subprocess.run(command, env=environment).returncode)


@app.command()
def recipe(
    name: Annotated[str, typer.Argument(help="A folder of recipes/, such as r1_distill_qwen_1.5b.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder to copy it to, under its name.", file_okay=False)
    ],
) -> None:
    """Copy a recipe, its script and README, out of the installed package.

    Example: lapo recipe r1_distill_qwen_1.5b -o recipes
    """
    from lapo_verl.cli.recipe import copy_recipe

    with errors_in_one_line():
        for folder in copy_recipe(name, output):
            typer.echo(f"{folder}: see README.md there")


@app.command()
def doctor(
    config_name: Annotated[str, typer.Option("--config-name", "-cn", help="lapo_discovery, ... or a config of yours.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="key=value, as for verl's command.")] = None,
    config_path: Annotated[str | None, typer.Option("--config-path", "-cp", help="As for verl's command.")] = None,
    config_dir: Annotated[Path | None, typer.Option("--config-dir", "-cd", help="As for verl's command.")] = None,
    row: Annotated[int | None, typer.Option(help="Show the prompt of this training row, counted from 0.")] = None,
    problem: Annotated[str | None, typer.Option(help="Show the prompt of the problem with this id.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")] = False,
) -> None:
    """Check a training before it starts: show one prompt token by token, and all faults.

    Takes the arguments of verl's training command. Exits with code 1 if the training cannot work.

    Example: lapo doctor --config-name=lapo_internalization lapo.init_from=runs/discovery ...
    """
    import gc
    import json
    import sys

    gc.disable()  # a tenth of the time would go into looking for garbage among what verl's import makes

    from rich.console import Console

    from lapo_verl.doctor.diagnosis import Request, diagnose
    from lapo_verl.doctor.view import print_diagnosis

    request = Request(config_name, overrides or [], config_path, config_dir, row, problem)
    with Console(file=sys.stderr).status("") as status:
        diagnosis = diagnose(request, say=status.update)
    if as_json:
        typer.echo(json.dumps(diagnosis.as_json()))
    else:
        console = Console()
        print_diagnosis(diagnosis, console if console.is_terminal else Console(width=100))
    raise typer.Exit(1 if diagnosis.texts("error") else 0)


@app.command()
def repair_tokenizer(
    model: Annotated[str, typer.Argument(help="A folder in Hugging Face format, or a name on the hub.")],
    folder: Annotated[Path, typer.Argument(help="The repaired copy; its weights are links to the model's.")],
) -> None:
    """Copy a model whose tokenizer loses spaces (lapo doctor reports it), and repair the copy.

    Example: lapo repair-tokenizer models/r1-distill-llama-8b models/repaired
    """
    from lapo_verl.doctor.tokenizer_repair import repair_tokenizer as write_repaired

    with errors_in_one_line():
        written = write_repaired(model, folder)
    typer.echo(f"{written}: train with actor_rollout_ref.model.path={written}")


@app.command()
def stats(
    store: Annotated[Path, typer.Argument(help="A length store: lapo_store.sqlite of a run or a checkpoint.")],
    export: Annotated[Path | None, typer.Option(help="Write every record to this .parquet, .csv or .jsonl.")] = None,
    top: Annotated[int, typer.Option(min=0, help="How many of the most changed problems to show.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")] = False,
) -> None:
    """Show what a run has learned about its problems' lengths. The run may still be training.

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
        fail(error)
    if as_json:
        typer.echo(json.dumps({**totals, "most_changed": changed}))
    else:
        Console().print(*store_stats.tables(totals, changed), store_stats.COPY_HINT, sep="\n", soft_wrap=True)
    if exported is not None:
        typer.echo(f"{export}: {exported} records", err=as_json)


@app.command("eval")
def evaluate_models(
    model: Annotated[
        list[str],
        typer.Option(help="NAME=PATH, once per model: a run, global_step_N, a Hugging Face folder, a name on the hub."),
    ],
    data: Annotated[
        list[str],
        typer.Option(help="[NAME=]FILE, once per benchmark: parquet or JSONL; the default name is the file's."),
    ],
    output: Annotated[
        Path, typer.Option(help="Folder for the samples; samples it already contains are kept.", file_okay=False)
    ],
    n: Annotated[
        list[str] | None, typer.Option(help="Samples per problem, 4 by default; NAME=N for one benchmark.")
    ] = None,
    temperature: Annotated[float, typer.Option(help="Sampling temperature.")] = 0.6,
    top_p: Annotated[float, typer.Option(help="Nucleus sampling: share of probability.")] = 0.95,
    max_tokens: Annotated[int, typer.Option(help="Response limit, tokens.")] = 32768,
    max_prompt_tokens: Annotated[int, typer.Option(help="A longer prompt is an error.")] = 1024,
    seed: Annotated[int, typer.Option(help="vLLM's seed; another seed gives other samples.")] = 42,
    conflict: Annotated[
        str, typer.Option(help="Also ask with an instruction to use this many tokens, such as 500,3500.")
    ] = "",
    conflict_text: Annotated[str | None, typer.Option(help="That instruction, with {n} for the number.")] = None,
    budget: Annotated[
        str, typer.Option(help="Ask for so many tokens, in the words of the training: 20,40,self. self: none asked.")
    ] = "",
    cut: Annotated[str, typer.Option(help="Also Pass@1 where longer responses count as wrong: 64,128.")] = "",
    platform: Annotated[str | None, typer.Option(help="cpu or gpu; detected by default.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")] = False,
    overrides: Annotated[list[str] | None, typer.Argument(help="More of verl's keys, key=value, after --")] = None,
) -> None:
    """Measure accuracy and tokens of checkpoints on benchmarks, by verl's validation; --budget asks for lengths.

    Example: lapo eval --model base=owner/model --model lapo_i=runs/internalization
    --data data/math500.parquet --data data/aime24.parquet --n 4 --n aime24=32 --output runs/eval
    -- trainer.n_gpus_per_node=4
    """
    import json
    from dataclasses import asdict

    from rich.console import Console

    from lapo_verl.evaluate import CONFLICT_TEXT, EvalSettings, evaluate
    from lapo_verl.evaluate.arguments import budgets, counts, lengths, named_files, named_models
    from lapo_verl.evaluate.table import results_table
    from lapo_verl.runs import verl_process

    verl_process.exit_on_sigterm()
    with errors_in_one_line():
        samples_each, samples_of = counts(n or [], EvalSettings.n)
        asked, self_planned = budgets(budget)
        settings = EvalSettings(
            n=samples_each,
            n_of=samples_of,
            temperature=temperature,
            top_p=top_p,
            max_tokens=max_tokens,
            max_prompt_tokens=max_prompt_tokens,
            seed=seed,
            conflicts=lengths("--conflict", conflict),
            budgets=asked,
            self_planned=self_planned,
            cuts=lengths("--cut", cut),
            conflict_text=CONFLICT_TEXT if conflict_text is None else conflict_text,
            overrides=tuple(overrides or ()),
        )
        evaluation = evaluate(named_models(model), named_files(data), settings, output, platform)
    if as_json:
        results = [asdict(result) for result in evaluation.results]
        typer.echo(json.dumps({"samples": str(evaluation.samples), "results": results}))
    else:
        console = Console()
        # A file has no width of its own, and 80 columns would break the table.
        (console if console.is_terminal else Console(width=120)).print(results_table(evaluation.results))
        typer.echo(f"every sample: {evaluation.samples}")


@app.command()
def export(
    checkpoint: Annotated[Path, typer.Argument(help="A run (its newest checkpoint), global_step_N, a model folder.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write.", file_okay=False)],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="lapo.guidance.KEY=VALUE, where the checkpoint notes no sentence.")
    ] = None,
    evaluation: Annotated[
        Path | None, typer.Option("--eval", help="A folder of lapo eval, whose results the model card shows.")
    ] = None,
    base_model: Annotated[str | None, typer.Option(help="owner/name, where the checkpoint does not note it.")] = None,
    keep_adapter: Annotated[bool, typer.Option("--keep-adapter", help="LoRA only: write the adapter alone.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier export.")] = False,
) -> None:
    """Write a checkpoint as a folder for vllm serve, transformers and hf upload, with a budget on request.

    Its chat template is the model's own, and takes token_budget as well.

    Example: lapo export runs/internalization -o my-model --eval runs/eval
    """
    from lapo_verl.export.export import Request
    from lapo_verl.export.export import export as write_export

    with errors_in_one_line():
        request = Request(checkpoint, output, evaluation, base_model, keep_adapter, force, tuple(overrides or ()))
        written = write_export(request, typer.echo)
    typer.echo(f"{written}: vllm serve {written}")


@app.command()
def replay(
    source: Annotated[
        Path, typer.Argument(help="A length store, verl's rollout or validation dumps (folder or .jsonl), or samples.")
    ],
    tried: Annotated[
        list[str] | None, typer.Option("--try", help="FIELD=VALUE,VALUE: one setting for each value.")
    ] = None,
    named: Annotated[list[str] | None, typer.Option("--set", help="NAME:FIELD=VALUE,...: one more setting.")] = None,
    objective: Annotated[
        str | None, typer.Option(help="NAME,NAME: other objectives with their defaults; or all.")
    ] = None,
    run: Annotated[str | None, typer.Option(help="FIELD=VALUE,...: corrects the run's own settings.")] = None,
    of: Annotated[str | None, typer.Option(help="Show only this run of the store.")] = None,
    store: Annotated[Path | None, typer.Option(help="For verl's rollout dumps: the store of their run.")] = None,
    write: Annotated[Path | None, typer.Option(help="Write a new store with the budgets of the one setting.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")] = False,
) -> None:
    """Compute rewards and budgets of recorded rollouts under other settings and objectives.

    Several --try make a grid; all else is as in the run. In --set and --run, name=kimi takes another objective.

    Example: lapo replay runs/discovery/lapo_store.sqlite --try alpha=0.3,0.7 --set narrow:low=40,high=60
    --objective kimi
    """
    import json

    from rich.console import Console

    from lapo_verl.replay.command import check_lines, run_replay, tables

    with errors_in_one_line():
        report = run_replay(source, tried or (), named or (), objective, run, of, store, write)
    if as_json:
        typer.echo(json.dumps(report))
        return
    console = Console()
    for line in (*check_lines(report["check"]), *report["notes"]):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    console.print(*tables(report), sep="\n")
    if report["written"]:
        typer.echo(f"{report['written']['path']}: {report['written']['records']} records")


@app.command()
def report(
    runs: Annotated[
        list[str],
        typer.Argument(
            help="NAME=PATH or PATH of a training's folder, of a folder that lapo eval made, or of one JSONL dump."
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of the report; created if it is missing.", file_okay=False)
    ] = Path("report"),
    base: Annotated[
        str | None, typer.Option(help="The run or model to compare with; by default the first run.")
    ] = None,
    problem: Annotated[
        list[str] | None, typer.Option(help="Id of a problem to show budgets and responses of; may be repeated.")
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="How many of the most changed problems' budgets to show.")] = 6,
    cut: Annotated[str, typer.Option(help="Also Pass@1 where longer responses count as wrong: 64,128.")] = "",
    resamples: Annotated[int, typer.Option(min=100, help="Bootstrap resamples behind each interval.")] = 10_000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the bootstrap.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print all numbers as JSON, for scripts.")] = False,
) -> None:
    """Make the paper's tables and figures of one or more runs: an HTML page, PNGs, Markdown and JSON.

    Example: lapo report base=runs/eval_base lapo_i=runs/eval_i -o report/
    """
    from rich.console import Console

    try:
        from lapo_verl.report.report import make_report
    except ImportError as error:
        fail(ImportError(f"{error}; lapo report needs: pip install 'lapo-verl[report]'"))
    from lapo_verl.evaluate.arguments import lengths
    from lapo_verl.evaluate.settings import EvalError
    from lapo_verl.report.comparison import Bootstrap
    from lapo_verl.report.numbers import Options
    from lapo_verl.report.sections import table1
    from lapo_verl.runs.folder import RunError, named_paths

    try:
        options = Options(Bootstrap(resamples, (seed,)), tuple(problem or ()), top, lengths("--cut", cut))
        numbers = make_report(named_paths(runs), output, base, options, Console(stderr=True))
    except (RunError, EvalError, OSError) as error:
        fail(error)
    if as_json:
        typer.echo((output / "report.json").read_text(encoding="utf-8"))
        return
    if numbers.measured:
        Console().print(table1(numbers, brief=True).to_rich())
    for sentence in numbers.left_out:
        typer.echo(f"left out: {sentence}", err=True)
    typer.echo(f"{output / 'report.html'}")


if __name__ == "__main__":
    app()
