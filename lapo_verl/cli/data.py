"""The commands ``lapo data ...``. Those of benchmarks and plain training sets are made from ``data.sources``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lapo_verl.console import errors_in_one_line, working
from lapo_verl.data.problems import SourceError
from lapo_verl.data.sources import BENCHMARKS, DEEPSCALER, GSM8K, MATH, TRAINING_SETS, Source

if TYPE_CHECKING:
    from lapo_verl.data.prepare import Prepared
    from lapo_verl.data.problems import Problem

data_app = typer.Typer(no_args_is_help=True, help="Prepare and check problem sets in verl's format.")

_ORIGIN = "a file (.jsonl, .json, .parquet, .csv, .tsv), a folder, or a data set's name on the hub."
Input = Annotated[str, typer.Option(help=_ORIGIN.capitalize())]
Output = Annotated[Path, typer.Option(help="Folder to write to.", file_okay=False)]
Split = Annotated[str | None, typer.Option(help="Another split of the folder or of the hub's data set.")]
Exclude = Annotated[
    list[Path] | None,
    typer.Option(help="A benchmark that `lapo data` wrote: its questions are left out. Once for each benchmark."),
]
SkipUnreadable = Annotated[
    bool,
    typer.Option("--skip-unreadable", help="Leave out problems whose ground truth LAPO's verifier cannot read."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]


def _benchmark_command(source: Source) -> Callable[..., None]:
    def command(
        output: Output,
        input: Input = source.hub,
        split: Split = None,
        skip_unreadable: SkipUnreadable = False,
        as_json: AsJson = False,
    ) -> None:
        from lapo_verl.data.prepare import benchmark

        with errors_in_one_line():
            prepared = benchmark(source, input, split, skip_unreadable)
            _write({output / f"{source.name}.parquet": prepared.problems}, "test", prepared, as_json)

    return command


def _training_command(source: Source) -> Callable[..., None]:
    def command(
        output: Output,
        input: Input = source.hub,
        split: Split = None,
        exclude: Exclude = None,
        as_json: AsJson = False,
    ) -> None:
        from lapo_verl.data.prepare import training_set

        with errors_in_one_line():
            prepared = training_set(source, input, split, _excluded(exclude))
            _write({output / f"{source.name}.parquet": prepared.problems}, "train", prepared, as_json)

    return command


for _make, _sources in ((_benchmark_command, BENCHMARKS), (_training_command, TRAINING_SETS)):
    for _source in _sources:
        _help = f"{_source.title}\n\nExample: lapo data {_source.name} --output data"
        data_app.command(_source.name, help=_help)(_make(_source))


@data_app.command("gsm8k")
def gsm8k(
    output: Annotated[Path, typer.Option(help="Folder for train.parquet and val.parquet.", file_okay=False)],
    input: Input = GSM8K.hub,
    validation: Annotated[int, typer.Option(min=1, help="Problems held out, from the end of the file.")] = 200,
    exclude: Exclude = None,
    as_json: AsJson = False,
) -> None:
    """GSM8K's training split, grade school math: one file to train on, one held out.

    Example: lapo data gsm8k --input train.jsonl --output data/gsm8k
    """
    from lapo_verl.data.prepare import training_set

    with errors_in_one_line():
        prepared = training_set(GSM8K, input, None, _excluded(exclude, wanted=False))
        problems = prepared.problems
        if validation >= len(problems):
            raise SourceError(f"{input}: has {len(problems)} problems, too few to hold {validation} out")
        train, val = output / "train.parquet", output / "val.parquet"
        _write({train: problems[:-validation], val: problems[-validation:]}, None, prepared, as_json)


@data_app.command("mixture")
def mixture(
    output: Output,
    deepscaler: Annotated[str, typer.Option(help=f"DeepScaleR-Preview: {_ORIGIN}")] = DEEPSCALER.hub,
    math: Annotated[str, typer.Option(help=f"MATH: {_ORIGIN}")] = MATH.hub,
    levels: Annotated[str, typer.Option(help="Levels of MATH to draw from.")] = "2,3,4",
    deepscaler_count: Annotated[int, typer.Option(min=0, help="Problems of DeepScaleR.")] = 6_000,
    math_count: Annotated[int, typer.Option(min=0, help="Problems of MATH.")] = 4_000,
    seed: Annotated[int, typer.Option(help="Of the draw.")] = 0,
    exclude: Exclude = None,
    as_json: AsJson = False,
) -> None:
    """The paper's 10,000 training problems: 6,000 of DeepScaleR, 4,000 of MATH's intermediate levels.

    The paper does not say which levels these are; 3 and 4 alone have 3,282 problems in MATH's training split.

    Example: lapo data mixture --output data --exclude data/math500.parquet --exclude data/amc23.parquet
    """
    from lapo_verl.data.mixture import draw
    from lapo_verl.data.prepare import training_set

    with errors_in_one_line():
        if not all(level.strip().isdecimal() for level in levels.split(",")):
            raise SourceError(f"--levels must be numbers such as 2,3,4, got {levels!r}")
        excluded = _excluded(exclude)
        prepared = draw(
            training_set(DEEPSCALER, deepscaler, None, excluded),
            training_set(MATH, math, None, excluded),
            [int(level) for level in levels.split(",")],
            deepscaler_count,
            math_count,
            seed,
        )
        _write({output / "mixture.parquet": prepared.problems}, "train", prepared, as_json)


@data_app.command("convert")
def convert(
    input: Annotated[str, typer.Argument(help=_ORIGIN.capitalize())],
    output: Annotated[Path, typer.Option(help="The parquet file to write.")],
    prompt_column: Annotated[
        str | None, typer.Option(help="Column with the question or the conversation; known names are found.")
    ] = None,
    answer_column: Annotated[
        str | None, typer.Option(help="Column with the final answer or a solution; known names are found.")
    ] = None,
    level_column: Annotated[
        str | None, typer.Option(help="Column with the difficulty, numbers or words; `level` is found.")
    ] = None,
    id_column: Annotated[str | None, typer.Option(help="Column with an id; without it, a hash.")] = None,
    name: Annotated[str | None, typer.Option(help="The data_source; by default the written file's name.")] = None,
    split: Annotated[str, typer.Option(help="Of the folder or of the hub's data set.")] = "train",
    exclude: Exclude = None,
    text_answers: Annotated[
        bool, typer.Option("--text-answers", help="Keep answers in prose; they are compared letter by letter.")
    ] = False,
    skip_unreadable: Annotated[
        bool,
        typer.Option("--skip-unreadable", help="Leave out rows that are not a problem or have no readable answer."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """A problem set of your own: a table of questions and answers, or conversations (OpenAI's messages, ShareGPT).

    The answer may be a whole solution: it is taken out of the last box, from behind "####" or "the answer is".

    Example: lapo data convert mine.csv --prompt-column task --answer-column result --output data/mine.parquet
    """
    from lapo_verl.data.own import find_columns, with_plain_names
    from lapo_verl.data.prepare import own_set
    from lapo_verl.data.read import read_own_rows

    with errors_in_one_line():
        if output.suffix != ".parquet":
            raise SourceError(f"{output}: must end in .parquet")
        rows = with_plain_names(read_own_rows(input, split))
        columns = find_columns(input, rows, prompt_column, answer_column, level_column, id_column)
        typer.echo(f"lapo: {input}: {columns}", err=True)
        excluded = _excluded(exclude, wanted=False)
        prepared = own_set(input, rows, columns, name or output.stem, excluded, text_answers, skip_unreadable)
        _write({output: prepared.problems}, split, prepared, as_json)


@data_app.command("check")
def check(
    files: Annotated[list[Path], typer.Argument(help="Parquet or JSONL files in verl's format.")],
    ground_truths: Annotated[
        bool, typer.Option(help="Whether LAPO's verifier has to be able to read the ground truths.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Check every row of files in verl's format; count problems, levels and repeated questions.

    Example: lapo data check data/mixture.parquet data/math500.parquet
    """
    import json
    from dataclasses import asdict

    from lapo_verl.data.check import check_files

    with errors_in_one_line(), working("checking"):
        checks = [asdict(checked) for checked in check_files(files, ground_truths)]
    if as_json:
        typer.echo(json.dumps(checks))
        return
    for checked in checks:
        typer.echo(f"{checked['path']}: {checked['rows']:,} rows, {_contents(checked)}")
        for key, text in (
            ("repeated_questions", "rows that repeat a question of the same file"),
            ("in_earlier_files", "rows that repeat a question of an earlier file"),
        ):
            if checked[key]:
                typer.echo(f"  {text}: {checked[key]:,}")


def _excluded(files: Sequence[Path] | None, wanted: bool = True) -> Mapping[str, str]:
    from lapo_verl.data.screen import questions_of_files

    if wanted and not files:
        typer.echo("lapo: no --exclude: the problems are compared with no benchmark", err=True)
    return questions_of_files(files or [])


def _write(files: Mapping[Path, Sequence[Problem]], split: str | None, prepared: Prepared, as_json: bool) -> None:
    """Write the files, whose stems are their splits where ``split`` is None, and say what is in them."""
    import json

    from lapo_verl.data.check import level_counts
    from lapo_verl.data.write import write_problems

    written: list[dict[str, Any]] = []
    for path, problems in files.items():
        write_problems(problems, split or path.stem, path)
        written.append(
            {
                "path": str(path),
                "problems": len(problems),
                "levels": level_counts(problem.level for problem in problems),
                "data_sources": dict(Counter(problem.data_source for problem in problems)),
            }
        )
    if as_json:
        typer.echo(json.dumps({"files": written, "left_out": prepared.left_out.counts}))
        return
    for file in written:
        typer.echo(f"{file['path']}: {_contents(file)}")
    for line in prepared.left_out.lines():
        typer.echo(f"left out: {line}")


def _contents(counts: Mapping[str, Any]) -> str:
    parts = [f"{counts['problems']:,} problem{'' if counts['problems'] == 1 else 's'}"]
    if len(counts["data_sources"]) > 1:
        parts += [f"{count:,} of {name}" for name, count in counts["data_sources"].items()]
    parts += [
        f"level {level}: {count:,}" for level, count in counts["levels"].items() if set(counts["levels"]) != {"none"}
    ]
    return ", ".join(parts)
