"""The report as a page: sections of text, tables, pictures and examples, as one HTML file and as Markdown."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader
from rich.table import Table as RichTable
from rich.text import Text as RichText

from lapo_verl import markdown


@dataclass(frozen=True)
class Text:
    """Sentences, as a list."""

    sentences: list[str]
    kind: str = "text"


@dataclass(frozen=True)
class Table:
    """A table; the first columns are names, those from ``numbers_from`` on are numbers."""

    caption: str
    header: list[str]
    rows: list[list[str]]
    numbers_from: int = 1
    kind: str = "table"

    def to_rich(self) -> RichTable:
        """For the terminal."""
        table = RichTable(title=RichText(self.caption), title_justify="left")
        for position, heading in enumerate(self.header):
            table.add_column(
                RichText(heading), justify="left" if position < self.numbers_from else "right", overflow="fold"
            )
        for row in self.rows:
            table.add_row(*map(RichText, row))
        return table


@dataclass(frozen=True)
class Picture:
    """A PNG of the output folder, and what it shows."""

    file: Path
    caption: str
    kind: str = "picture"

    @property
    def width(self) -> int:
        """On the page, in CSS pixels: 118 an inch of the picture, which is drawn at 150 dpi."""
        return int.from_bytes(self.file.read_bytes()[16:20], "big") * 118 // 150  # the PNG header's width

    @property
    def min_width(self) -> int:
        """Of a narrow page, which scrolls it: text of 9 points has 10 CSS pixels here, and smaller text is in none."""
        return self.width * 2 // 3

    @property
    def data_uri(self) -> str:
        return f"data:image/png;base64,{base64.b64encode(self.file.read_bytes()).decode()}"


@dataclass(frozen=True)
class Answer:
    """One model's response to a problem: ``remark`` says whether it is right, and its length."""

    model: str
    remark: str
    response: str


@dataclass(frozen=True)
class Example:
    """One problem with the responses of several models."""

    title: str
    prompt: str
    ground_truth: str
    answers: list[Answer]
    kind: str = "example"


@dataclass(frozen=True)
class Section:
    title: str
    parts: Sequence[Text | Table | Picture | Example]

    @property
    def anchor(self) -> str:
        return "".join(char if char.isalnum() else "-" for char in self.title.lower())


def to_html(title: str, sections: Sequence[Section]) -> str:
    """One self-contained page: pictures are inside, and nothing is fetched or run."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("page.html.j2").render(title=title, sections=sections)


def to_markdown(title: str, sections: Sequence[Section]) -> str:
    """Text, tables and links to the pictures; the examples are in the HTML only."""
    lines = [f"# {title}", ""]
    for section in sections:
        parts = [part for part in section.parts if not isinstance(part, Example)]
        if not parts:
            continue
        lines += [f"## {section.title}", ""]
        for part in parts:
            if isinstance(part, Text):
                lines += [f"- {markdown.line(sentence)}" for sentence in part.sentences]
            elif isinstance(part, Picture):
                lines += [f"![{markdown.line(part.caption)}]({part.file.name})", "", markdown.line(part.caption)]
            else:
                lines += [markdown.line(part.caption), ""]
                lines.append(markdown.table(part.header, part.rows, part.numbers_from))
            lines.append("")
    return "\n".join(lines)
