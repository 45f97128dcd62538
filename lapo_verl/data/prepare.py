"""A source made into a benchmark, which stays as it is, or into a training set, which is cleaned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lapo_verl.data.answers import is_prose
from lapo_verl.data.own import Columns, is_empty, own_problem
from lapo_verl.data.problems import Problem, Row, SourceError, UnusableRow
from lapo_verl.data.read import read_rows
from lapo_verl.data.screen import LeftOut, check_ids, with_readable_truths, without_overlap, without_repeats
from lapo_verl.data.sources import Source


@dataclass(frozen=True)
class Prepared:
    """The problems that stayed, and what went."""

    problems: list[Problem]
    left_out: LeftOut


def benchmark(
    source: Source, origin: str | None = None, split: str | None = None, skip_unreadable: bool = False
) -> Prepared:
    """All problems of a benchmark: scores are compared with those of others, so nothing is left out silently.

    Raises:
        SourceError: as ``read_rows``; two problems with one id; or a ground truth that LAPO's verifier cannot read,
            unless ``skip_unreadable``.
    """
    prepared = _read(source, origin, split)
    unreadable = LeftOut()
    problems = with_readable_truths(prepared.problems, unreadable)
    if unreadable.counts and not skip_unreadable:
        raise SourceError(
            f"{origin or source.hub}: LAPO's verifier cannot read {len(prepared.problems) - len(problems)} of "
            f"{len(prepared.problems)} ground truths: {'; '.join(unreadable.lines())}. "
            "--skip-unreadable leaves these problems out; the scores are then over the others"
        )
    prepared.left_out.update(unreadable)
    return _checked(problems, prepared.left_out, origin or source.hub)


def training_set(
    source: Source,
    origin: str | None = None,
    split: str | None = None,
    excluded: Mapping[str, str] | None = None,
) -> Prepared:
    """A source's problems without unreadable ground truths, repeated questions, and questions of the benchmarks.

    Args:
        excluded: the benchmarks' questions, as ``questions_of_files`` gives them.

    Raises:
        SourceError: as ``read_rows``; two problems with one id; or nothing stays.
    """
    prepared = _read(source, origin, split)
    left_out = prepared.left_out
    problems = with_readable_truths(prepared.problems, left_out)
    problems = without_repeats(problems, left_out)
    problems = without_overlap(problems, excluded or {}, left_out)
    return _checked(problems, left_out, origin or source.hub)


def own_set(
    origin: str,
    rows: Sequence[Row],
    columns: Columns,
    name: str,
    excluded: Mapping[str, str] | None = None,
    text_answers: bool = False,
    skip_unreadable: bool = False,
) -> Prepared:
    """The problems of a user's own rows, without empty rows, repeated questions, and questions of the benchmarks.

    Args:
        rows: as ``own.with_plain_names`` gives them.
        name: the ``data_source``.
        excluded: the benchmarks' questions, as ``questions_of_files`` gives them.
        text_answers: whether answers may be prose.
        skip_unreadable: whether rows that are not a problem are left out.

    Raises:
        SourceError: a row is not a problem or LAPO's verifier cannot read its answer, unless ``skip_unreadable``; two
            problems with one id; or nothing stays.
    """
    left_out, unreadable = LeftOut(), LeftOut()
    problems = []
    for row in rows:
        if is_empty(row, columns):
            left_out.add("the question is missing", row.where)
            continue
        try:
            own = own_problem(row, columns, name)
        except UnusableRow as error:
            unreadable.add(error.reason, f"{row.where}: {error.shown}")
            continue
        if own.system:
            left_out.add("the system turn (the problem stays)", row.where)
        if not (text_answers or own.boxed) and is_prose(own.problem.ground_truth):
            reason = "the answer is prose (--text-answers keeps it and compares it letter by letter)"
            unreadable.add(reason, f"{row.where}: {own.problem.ground_truth[:60]!r}")
        else:
            problems.append(own.problem)
    problems = with_readable_truths(problems, unreadable)
    if unreadable.counts and not skip_unreadable:
        raise SourceError(
            f"{origin}: {sum(unreadable.counts.values())} of {len(rows)} rows cannot be used: "
            f"{'; '.join(unreadable.lines())}. Correct them, or leave them out with --skip-unreadable"
        )
    left_out.update(unreadable)
    problems = without_repeats(problems, left_out)
    return _checked(without_overlap(problems, excluded or {}, left_out), left_out, origin)


def _read(source: Source, origin: str | None, split: str | None) -> Prepared:
    problems: list[Problem] = []
    left_out = LeftOut()
    for row in read_rows(source, origin, split):
        reason = source.out_of_scope(row)
        if reason is None:
            problems.append(source.problem(row))
        else:
            left_out.add(reason, row.where)
    return Prepared(problems, left_out)


def _checked(problems: list[Problem], left_out: LeftOut, origin: str) -> Prepared:
    if not problems:
        raise SourceError(f"{origin}: no problem is left: {'; '.join(left_out.lines())}")
    check_ids(problems)
    return Prepared(problems, left_out)
