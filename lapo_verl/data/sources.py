"""Each data set: its name on the hub, its columns, and how a row becomes a problem.

Light to import, because the commands of ``lapo data`` are made from it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from lapo_verl.data.problems import Problem, Row, SourceError


def _whole(row: Row) -> str | None:
    return None


@dataclass(frozen=True)
class Source:
    """A data set.

    Attributes:
        name: of the command and of the file it writes.
        title: one sentence for people.
        hub: owner/name, also the rows' ``data_source``.
        config: the hub's name for the part that is meant; None where there is one part only.
        split: the one that is meant.
        columns: that must be there.
        problem: makes the problem of a row.
        optional: columns that are read where they are there.
        out_of_scope: why a row is not meant, None where it is.
        gated: whether the hub wants its terms accepted first.
    """

    name: str
    title: str
    hub: str
    config: str | None
    split: str
    columns: tuple[str, ...]
    problem: Callable[[Row], Problem]
    optional: tuple[str, ...] = ()
    out_of_scope: Callable[[Row], str | None] = _whole
    gated: bool = False


# --- benchmarks -----------------------------------------------------------------------------------------------------


def _math500(row: Row) -> Problem:
    return Problem(
        f"math500/{row.identifier('unique_id')}",
        row.text("problem"),
        row.answer("answer"),
        MATH500.hub,
        row.level("level"),
        row.where,
    )


MATH500: Final = Source(
    name="math500",
    title="MATH-500: 500 problems of MATH's test split, with levels.",
    hub="HuggingFaceH4/MATH-500",
    config=None,
    split="test",
    columns=("problem", "answer", "level", "unique_id"),
    problem=_math500,
)


def _aime24(row: Row) -> Problem:
    return Problem(
        f"aime24/{row.identifier('id')}",
        row.text("problem"),
        row.answer("answer"),
        AIME24.hub,
        where=row.where,
    )


AIME24: Final = Source(
    name="aime24",
    title="AIME 2024, I and II: 30 problems.",
    hub="HuggingFaceH4/aime_2024",
    config=None,
    split="train",
    columns=("id", "problem", "answer"),
    problem=_aime24,
)


def _amc23(row: Row) -> Problem:
    return Problem(
        f"amc23/{row.identifier('id')}",
        row.text("question"),
        row.answer("answer"),
        AMC23.hub,
        where=row.where,
    )


AMC23: Final = Source(
    name="amc23",
    title="AMC 12 of 2023: 40 problems, asked without their choices.",
    hub="math-ai/amc23",
    config=None,
    split="test",
    columns=("id", "question", "answer"),
    problem=_amc23,
)


def _olympiadbench(row: Row) -> Problem:
    return Problem(
        f"olympiadbench/{row.identifier('id')}",
        row.text("question"),
        row.answers("final_answer"),
        OLYMPIADBENCH.hub,
        where=row.where,
    )


def _not_olympiad_maths(row: Row) -> str | None:
    """Copies that hold all of OlympiadBench say in these columns what a row is; the config alone has only such rows."""
    for column, wanted in (("language", "English"), ("subject", "Math"), ("question_type", "Open-ended")):
        value = row.values.get(column)
        if value is not None and wanted not in str(value):
            return f"{column} is {value!r}"
    return "needs an image" if "<img_" in str(row.values.get("question")) else None


OLYMPIADBENCH: Final = Source(
    name="olympiadbench",
    title="OlympiadBench: open-ended mathematics in English, text only, 674 problems.",
    hub="Hothan/OlympiadBench",
    config="OE_TO_maths_en_COMP",
    split="train",
    columns=("id", "question", "final_answer"),
    problem=_olympiadbench,
    optional=("language", "subject", "question_type"),
    out_of_scope=_not_olympiad_maths,
)

_CHOICES: Final = ("Correct Answer", "Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3")


def _gpqa(row: Row) -> Problem:
    """The order of the choices depends on the record and on nothing else."""
    record = row.identifier("Record ID")
    order = sorted(_CHOICES, key=lambda column: hashlib.sha256(f"{record}\n{column}".encode()).hexdigest())
    lines = [f"({letter}) {row.text(column)}" for letter, column in zip("ABCD", order, strict=True)]
    return Problem(
        f"gpqa/{record}",
        "\n".join([row.text("Question"), "", *lines, "", "Answer with the letter of the right choice."]),
        "ABCD"[order.index("Correct Answer")],
        GPQA.hub,
        where=row.where,
    )


GPQA: Final = Source(
    name="gpqa",
    title="GPQA Diamond: 198 questions with four choices; the answer is a letter.",
    hub="Idavidrein/gpqa",
    config="gpqa_diamond",
    split="train",
    columns=("Record ID", "Question", *_CHOICES),
    problem=_gpqa,
    gated=True,
)

# --- GSM8K, which has both ------------------------------------------------------------------------------------------

_GSM8K_ANSWER: Final = re.compile(r"####\s*(.+?)\s*$")


def _gsm8k(row: Row) -> Problem:
    found = _GSM8K_ANSWER.search(row.text("answer"))
    if found is None:
        raise SourceError(f"{row.where}: column 'answer' does not end in '#### <number>'")
    return Problem(
        f"gsm8k/{row.split}/{row.index}",
        row.text("question"),
        found.group(1).replace(",", ""),
        GSM8K.hub,
        where=row.where,
    )


GSM8K: Final = Source(
    name="gsm8k",
    title="GSM8K, grade school math: 7,473 problems.",
    hub="openai/gsm8k",
    config="main",
    split="train",
    columns=("question", "answer"),
    problem=_gsm8k,
)
GSM8K_TEST: Final = Source(
    name="gsm8k-test",
    title="GSM8K's test split: 1,319 problems.",
    hub=GSM8K.hub,
    config=GSM8K.config,
    split="test",
    columns=GSM8K.columns,
    problem=_gsm8k,
)

# --- training sets --------------------------------------------------------------------------------------------------


def hashed_id(name: str, question: str, ground_truth: str) -> str:
    """For a source whose rows have no id: the same in every copy, whatever its order."""
    from lapo_verl.store import problem_id

    return f"{name}/{problem_id(name, question, ground_truth)}"


def _deepscaler(row: Row) -> Problem:
    question, truth = row.text("problem"), row.answer("answer")
    return Problem(hashed_id("deepscaler", question, truth), question, truth, DEEPSCALER.hub, where=row.where)


DEEPSCALER: Final = Source(
    name="deepscaler",
    title="DeepScaleR-Preview: about 40,000 competition problems.",
    hub="agentica-org/DeepScaleR-Preview-Dataset",
    config=None,
    split="train",
    columns=("problem", "answer"),
    problem=_deepscaler,
)


def _math(row: Row) -> Problem:
    """The final answer is the last box of the worked solution."""
    from lapo_verl.verify.extract import final_answer

    question, truth = row.text("problem"), (final_answer(row.text("solution")) or "").strip()
    return Problem(hashed_id("math", question, truth), question, truth, MATH.hub, row.level("level"), row.where)


MATH: Final = Source(
    name="math",
    title="MATH's training split: 7,500 problems with levels 1 to 5.",
    hub="DigitalLearningGmbH/MATH-lighteval",
    config="default",
    split="train",
    columns=("problem", "solution", "level"),
    problem=_math,
)

BENCHMARKS: Final = (MATH500, AIME24, AMC23, OLYMPIADBENCH, GPQA, GSM8K_TEST)
TRAINING_SETS: Final = (DEEPSCALER, MATH)
