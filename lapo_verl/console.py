"""What the commands of ``lapo`` show beside their results: progress on stderr, and an error as one line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn, TypeVar

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

Item = TypeVar("Item")


def fail(error: Exception) -> NoReturn:
    """One line on stderr, exit code 1."""
    typer.echo(f"lapo: error: {error}", err=True)
    raise typer.Exit(1) from error


@contextmanager
def errors_in_one_line() -> Iterator[None]:
    """What bad input raises ends the command with ``fail``; anything else is a bug and keeps its traceback."""
    try:
        yield
    except (ValueError, OSError, RuntimeError) as error:
        fail(error)


def progress(items: Iterable[Item], text: str, total: int) -> Iterator[Item]:
    """The ``total`` items, with a bar on stderr that goes when they are done; nothing where that is no terminal."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    yield from track(items, text, total, console=console, transient=True, disable=not console.is_terminal)


@contextmanager
def working(text: str) -> Iterator[None]:
    """A spinner on stderr for what has no known length; nothing where stderr is no terminal."""
    from rich.console import Console

    with Console(stderr=True).status(text):
        yield


def bar_with_state(console: Console, disable: bool = False) -> Progress:
    """A bar for a long run, whose field ``state`` says what it does now."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[state]}"),
    )
    return Progress(*columns, console=console, disable=disable)
