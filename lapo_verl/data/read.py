"""The rows of a source: from a local file, from a folder, or from the hub."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from lapo_verl.data.problems import Row, SourceError
from lapo_verl.data.sources import Source
from lapo_verl.hub import silence_of_the_hub

_FORMATS = (".jsonl", ".json", ".parquet", ".csv", ".tsv")
_DELIMITERS = (",", ";", "\t")


def read_rows(source: Source, origin: str | None = None, split: str | None = None) -> list[Row]:
    """All rows of a source's split, each with the columns that the source needs where some row has them.

    Args:
        origin: a file (.jsonl, .json, .parquet, .csv, .tsv), a folder (as ``save_to_disk`` writes it, or with data
            files in it, such as a download from the hub), or a data set's name on the hub; by default the source's.
        split: another one than the source's. A single file is taken as a whole.

    Raises:
        SourceError: as ``read_own_rows``; or a column is missing.
    """
    origin, split = origin or source.hub, split or source.split
    rows = _rows(origin, split, source)
    _check_columns(source, origin, rows)
    return rows


def read_own_rows(origin: str, split: str) -> list[Row]:
    """All rows of a file, of a split of a folder or of a split of a data set on the hub, with all columns.

    Raises:
        SourceError: nothing there, unreadable, no such split, or no rows.
    """
    return _rows(origin, split, None)


def _rows(origin: str, split: str, source: Source | None) -> list[Row]:
    path = Path(origin).expanduser()
    if path.is_file():
        places = _file_rows(path)
    elif path.is_dir():
        places = _dataset_rows(
            _load_folder(path, source.config if source is not None else None, split), source, str(path)
        )
    elif path.suffix in _FORMATS or path.is_absolute() or origin.count("/") != 1:
        raise SourceError(f"{origin}: no such file (a data set on the hub is named owner/name)")
    else:
        places = _dataset_rows(_load_hub(origin, source, split), source, origin)
    rows = [Row(_mapping(values, where), index, split, where) for index, (where, values) in enumerate(places)]
    if not rows:
        raise SourceError(f"{origin}: has no rows")
    return rows


def _check_columns(source: Source, origin: str, rows: list[Row]) -> None:
    """A column that some row has may be left out by others; one that no row has was renamed."""
    present = {column for row in rows for column in row.values}
    for column in source.columns:
        if column not in present:
            raise SourceError(
                f"{origin}: column {column!r} is missing; {rows[0].where} has: {', '.join(rows[0].values)}"
            )


def _mapping(values: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(values, dict):
        raise SourceError(f"{where}: not an object with columns")
    return values


def _file_rows(path: Path) -> Iterator[tuple[str, Any]]:
    """(place, row) of a file, by its ending."""
    if path.suffix == ".parquet":
        return _numbered(path, _parquet(path))
    if path.suffix not in _FORMATS:
        raise SourceError(f"{path}: must be a folder or end in {', '.join(_FORMATS)}")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceError(f"{path}: is not UTF-8: {error}") from error
    if path.suffix in (".csv", ".tsv"):
        return _table(path, text)
    if text.lstrip().startswith("["):
        return _numbered(path, _json(str(path), text))
    return _json_lines(path, text)


def _numbered(origin: object, rows: Iterable[Any]) -> Iterator[tuple[str, Any]]:
    return ((f"{origin}, row {number}", row) for number, row in enumerate(rows))


def _json_lines(path: Path, text: str) -> Iterator[tuple[str, Any]]:
    # Not splitlines(): a JSON text may hold other characters that Python takes for the end of a line.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield f"{path}, line {number}", _json(f"{path}, line {number}", line)


def _json(where: str, text: str) -> Any:
    try:
        values = json.loads(text, parse_float=_decimal, parse_constant=_constant)
        # Half a character, as in a text that was cut, cannot be written to any file.
        json.dumps(values, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise SourceError(f"{where}: holds half a character: {error.object[error.start]!a}") from error
    except ValueError as error:
        raise SourceError(f"{where}: not JSON: {error}") from error
    return values


def _decimal(number: str) -> str:
    """A decimal as the text that was written: its digits are the answer's."""
    if not math.isfinite(float(number)):
        raise ValueError(f"the number {number} is too large; write it as a text")
    return number


def _constant(name: str) -> None:
    """pandas and others write NaN where a value is missing."""
    if name != "NaN":
        raise ValueError(f"{name} is not a JSON number; write it as a text")


def _table(path: Path, text: str) -> Iterator[tuple[str, Any]]:
    """CSV, with the delimiter that parts its header into most columns."""
    header = text.partition("\n")[0]
    delimiter = "\t" if path.suffix == ".tsv" else max(_DELIMITERS, key=lambda each: len(_fields(header, each)))
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        for row in reader:
            # The line that the row begins in: line_num is the one that it ends in.
            inside = sum(cell.count("\n") for cell in row.values() if isinstance(cell, str))
            where = f"{path}, line {reader.line_num - inside}"
            if None in row or None in row.values():
                raise SourceError(f"{where}: has more or fewer fields than the header")
            yield where, row
    except csv.Error as error:
        raise SourceError(f"{path}, line {reader.reader.line_num}: not CSV: {error}") from error


def _fields(line: str, delimiter: str) -> list[str]:
    return next(csv.reader([line], delimiter=delimiter), [])


def _parquet(path: Path) -> list[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    except pa.ArrowException as error:
        raise SourceError(f"{path}: not a parquet file: {error}") from error
    return rows


def _dataset_rows(rows: Any, source: Source | None, origin: str) -> Iterator[tuple[str, Any]]:
    """Without the columns that nobody needs: they may be images, which take a decoder."""
    if source is not None and set(source.columns) <= set(rows.column_names):
        wanted = (*source.columns, *source.optional)
        rows = rows.select_columns([column for column in wanted if column in rows.column_names])
    return _numbered(origin, rows)


def _load_folder(path: Path, config: str | None, split: str) -> Any:
    datasets = _datasets(path)
    try:
        if not (path / "dataset_dict.json").exists() and not (path / "state.json").exists():
            known = datasets.get_dataset_config_names(str(path))
            return datasets.load_dataset(str(path), config if config in known else None, split=split)
        saved = datasets.load_from_disk(str(path))
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise SourceError(f"{path}: cannot be read as a data set: {_causes(error)}") from error
    if not isinstance(saved, dict):
        return saved
    if split not in saved:
        raise SourceError(f"{path}: has no split {split!r}; it has: {', '.join(saved)} (choose with --split)")
    return saved[split]


def _load_hub(name: str, source: Source | None, split: str) -> Any:
    datasets = _datasets(name)
    config = source.config if source is not None and name == source.hub else None
    silence = None if datasets.config.HF_HUB_OFFLINE else silence_of_the_hub()
    try:
        with _offline() if silence else nullcontext():
            return datasets.load_dataset(name, config, split=split)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        hint = ""
        if silence:
            hint = (
                f"; the hub does not answer ({silence}): download the data set elsewhere and give its file or folder, "
                "or set HF_ENDPOINT to a mirror"
            )
        elif source is not None and source.gated:
            hint = "; it is gated: accept its terms on its page on the hub, then set HF_TOKEN or run `hf auth login`"
        raise SourceError(
            f"{name}: neither a local file nor a data set that the hub gives: {_causes(error)}{hint}"
        ) from error


@contextmanager
def _offline() -> Iterator[None]:
    """What was downloaded before is read from the cache, and nothing else is tried."""
    import datasets
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE = before


def _datasets(origin: object) -> Any:
    try:
        import datasets
    except ImportError as error:
        raise SourceError(
            f"{origin}: to read a folder or from the hub, pip install 'lapo-verl[data]'; a single file needs nothing"
        ) from error
    return datasets


def _causes(error: BaseException) -> str:
    """The error with what it came from: datasets' own outermost message often says nothing."""
    texts = [str(error)]
    while (cause := error.__cause__) is not None:
        texts.append(str(cause))
        error = cause
    return ": ".join(dict.fromkeys(filter(None, texts)))
