"""What LAPO needs of a dataset's rows, and the checks that a file has it."""

from __future__ import annotations

import codecs
import datetime
import decimal
import io
import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.json
import pyarrow.parquet as pq

from lapo_verl.data.missing import is_missing
from lapo_verl.store import problem_id as hashed_problem_id
from lapo_verl.verify import check_ground_truth

REQUIRED_COLUMNS = ("prompt", "data_source", "reward_model")
_KINDS: Final = {
    str: "a text",
    list: "a list",
    dict: "an object",
    bool: "true or false",
    int: "a number",
    float: "a number",
    datetime.date: "a date",
    datetime.time: "a time",
    datetime.timedelta: "a duration",
    decimal.Decimal: "a decimal",
    bytes: "bytes",
}
_EXACT: Final = 2.0**53  # whole numbers below it are the same in floating point
_IN_ROW: Final = re.compile(r"(?:JSON parse error: )?(.*?)\.? in row ([0-9]+)$", re.DOTALL)
_CHANGED: Final = re.compile(r"Column\((.*)\) changed from (\w+) to (\w+)")


class DataError(ValueError):
    """A data file that cannot be trained on; the message names the file and the row."""


def row_problem_id(row: Mapping[str, Any]) -> str:
    """``extra_info.problem_id`` where given, else a stable hash of data source, prompt and ground truth.

    verl's own ``uid`` is new for each visit and identifies no problem.

    >>> row_problem_id({"extra_info": {"problem_id": "gsm8k/train/7"}})
    'gsm8k/train/7'
    """
    given = (row.get("extra_info") or {}).get("problem_id")
    if not is_missing(given):
        return str(given)
    prompt = [dict(message) for message in row["prompt"]]
    return hashed_problem_id(str(row["data_source"]), prompt, row["reward_model"]["ground_truth"])


def read_rows(path: Path, columns: Iterable[str] = (*REQUIRED_COLUMNS, "extra_info")) -> Iterator[dict[str, Any]]:
    """The rows of a parquet or JSONL file, as far as ``columns`` go.

    Raises:
        DataError: the file is missing, empty, unreadable, of another format, or lacks a required column.
    """
    table = _read_table(path)
    missing = [name for name in REQUIRED_COLUMNS if name not in table.column_names]
    if missing:
        raise DataError(f"{path}: column {missing[0]!r} is missing; it has: {', '.join(table.column_names)}")
    if table.num_rows == 0:
        raise DataError(f"{path}: has no rows")
    wanted = [name for name in columns if name in table.column_names]
    for batch in table.select(wanted).to_batches():
        yield from batch.to_pylist()


def check_rows(
    path: Path, ground_truths: bool = True, seen: dict[str, str] | None = None, roles: Collection[str] | None = None
) -> dict[str, int]:
    """Check every row of a data file; returns {problem id: number of rows}, so duplicates have a count above 1.

    Args:
        ground_truths: whether LAPO's verifier will read them and must be able to.
        seen: {problem id: hash of the problem} of the files before, which go with this one; this one's are added.
        roles: those that the prompt's messages may have; None for any.

    Raises:
        DataError: a row without prompt or ground truth, a role out of place, or two different problems under one id.
    """
    counts: dict[str, int] = {}
    seen = {} if seen is None else seen
    for index, row in enumerate(read_rows(path)):
        _check_row(f"{path}, row {index}", row, ground_truths, roles)
        identifier = row_problem_id(row)
        content = hashed_problem_id(
            "", [dict(message) for message in row["prompt"]], row["reward_model"]["ground_truth"]
        )
        if seen.setdefault(identifier, content) != content:
            raise DataError(
                f"{path}, row {index}: another problem has the same extra_info.problem_id "
                f"{identifier!r}; give each problem an id of its own, or leave the field out"
            )
        counts[identifier] = counts.get(identifier, 0) + 1
    return counts


def agent_names(paths: Iterable[Path]) -> dict[str | None, int]:
    """{agent loop that the rows name in ``agent_name``: rows}, None where they name none; empty without the column.

    Raises:
        DataError: as ``read_rows``.
    """
    named: Counter[str | None] = Counter()
    has_column = False
    for path in paths:
        for row in read_rows(path, ("agent_name",)):
            has_column = has_column or "agent_name" in row
            named[row.get("agent_name") or None] += 1
    return dict(named) if has_column else {}


def _check_row(where: str, row: Mapping[str, Any], ground_truths: bool, roles: Collection[str] | None) -> None:
    for column in ("reward_model", "extra_info"):
        if not isinstance(row.get(column), dict | None):
            raise DataError(
                f"{where}: {column} must be an object with keys, and is {_kind(row[column])}: {_shown(row[column])}"
            )
    _check_prompt(where, row["prompt"], roles)
    truth = (row["reward_model"] or {}).get("ground_truth")
    if is_missing(truth):
        raise DataError(f"{where}: reward_model.ground_truth is missing or empty: {truth!r}")
    _check_json(where, "reward_model.ground_truth", truth)
    if ground_truths:
        _check_truth(where, truth)


def _check_prompt(where: str, prompt: Any, roles: Collection[str] | None) -> None:
    is_chat = isinstance(prompt, list) and prompt and all(isinstance(m, dict) and m.get("role") for m in prompt)
    if not is_chat:
        raise DataError(f"{where}: prompt must be a list of messages with role and content, got {_shown(prompt)}")
    if not any(message.get("content") for message in prompt):
        raise DataError(f"{where}: the prompt is empty")
    for position, message in enumerate(prompt):
        if roles is not None and message["role"] not in roles:
            raise DataError(
                f"{where}: the prompt has a message of role {message['role']!r}, for which "
                "lapo.prompt=paper has no place; leave it out, or set lapo.prompt=model"
            )
        _check_json(where, f"prompt[{position}].content", message.get("content"))
    if prompt[-1]["role"] == "assistant":
        raise DataError(
            f"{where}: the prompt ends in a turn of the assistant ({_shown(prompt[-1]['content'])}); verl closes it "
            "and begins another one. Leave it out: the chat template opens the turn, and the think block"
        )


def _check_json(where: str, name: str, value: Any) -> None:
    """The value is a text, a number, or made of these: others change on their way through verl, or have no id."""
    if isinstance(value, dict):
        for key, item in value.items():
            _check_json(where, f"{name}.{key}", item)
    elif isinstance(value, list):
        for position, item in enumerate(value):
            _check_json(where, f"{name}[{position}]", item)
    elif not isinstance(value, str | int | float | None):
        raise DataError(
            f"{where}: {name} is read as {_kind(value)} ({value}) and must be a text; write it as a text into a "
            "parquet file (from a JSON file it would become a date again)"
        )


def _check_truth(where: str, truth: Any) -> None:
    """LAPO's verifier can compare an answer with it."""
    if isinstance(truth, list | dict):
        raise DataError(
            f"{where}: reward_model.ground_truth is {_kind(truth)} ({_shown(truth)}), and LAPO's verifier compares "
            "with one text: write '7' for ['7'], '1, 2' for two values"
        )
    if isinstance(truth, float) and abs(truth) >= _EXACT:
        raise DataError(
            f"{where}: reward_model.ground_truth is a number that is too large to be kept exactly ({truth}); write it "
            "as a text"
        )
    try:
        check_ground_truth(str(truth))
    except ValueError as error:
        raise DataError(f"{where}: reward_model.ground_truth {truth!r}: {error}") from error


def _kind(value: Any) -> str:
    return next((name for kind, name in _KINDS.items() if isinstance(value, kind)), type(value).__name__)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _read_table(path: Path) -> pa.Table:
    if not path.exists():
        raise DataError(f"{path}: no such data file")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: the file is empty")
    try:
        if path.suffix == ".parquet":
            return pq.read_table(path)
        if path.suffix in (".json", ".jsonl"):
            return _read_json(path)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    raise DataError(f"{path}: must be .parquet, .json or .jsonl")


def _read_json(path: Path) -> pa.Table:
    """An object a line, or one array of them: both are read as ``datasets``, and with it verl, reads them."""
    text = path.read_bytes().removeprefix(codecs.BOM_UTF8)
    if text.startswith(b"["):
        try:
            text = "\n".join(map(json.dumps, json.loads(text))).encode()
        except ValueError as error:
            raise DataError(f"{path}: not JSON: {error}") from error
    try:
        # In one block, so that a column has one type in the whole file, and messages the number of the row.
        table = pyarrow.json.read_json(io.BytesIO(text), pyarrow.json.ReadOptions(block_size=len(text) + 1))
        table.validate(full=True)  # pyarrow 26 makes broken arrays of lists that begin with null
        return table
    except pa.ArrowInvalid as error:
        found = _IN_ROW.search(str(error))
        if found is None:
            raise
        what, number = found.groups()
        if changed := _CHANGED.search(what):
            column, before, after = changed.groups()
            name = column.strip("/").replace("/", ".") or "a row"
            kinds = [f"{'an' if kind[0] in 'ao' else 'a'} {kind!r}" for kind in (after, before)]
            what = f"{name} is {kinds[0]} here and {kinds[1]} in the rows before; write all alike"
        raise DataError(f"{path}, row {number}: {what}") from error
