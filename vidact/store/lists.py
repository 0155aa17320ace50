"""Lists of videos: paths from a .txt, .csv, .jsonl or .parquet file, or from standard input.

Relative paths count from the list's own folder, those on standard input from the working directory, whatever exists
there. Names are taken as they are: no globs, no ``~``; in text, a line that begins with ``#`` is a comment unless a
file is called so. Knows nothing else of what the paths lead to.
"""

from __future__ import annotations

import csv
import io
import json
import os
import stat
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

from vidact.errors import UsageError

SUFFIXES = (".txt", ".csv", ".jsonl", ".parquet")
COLUMNS = ("video", "path", "file", "filename", "filepath")
"""Names of the column, or key, that holds the path, in any case; without one of these it must be the only column."""

_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_UTF8 = b"\xef\xbb\xbf"
_SEPARATORS = (",", ";", "\t")
_NAME_IT = f"name it one of {', '.join(COLUMNS)}"
_REPAIR = "repair or remove that entry"

Entries = Iterator[tuple[str, Any]]
"""Where an entry stands (``line 3``), and what stands there."""


def is_list(path: str) -> bool:
    """Whether ``path`` names a list of videos, by its suffix."""
    return path.lower().endswith(SUFFIXES)


def read_list(source: str, stdin: BinaryIO | None = None) -> list[str | bytes]:
    """The paths in the list ``source``, in its order; ``-`` reads ``stdin`` (binary) as if it were a .txt.

    A path that is not UTF-8 comes as bytes, exactly as it stood. UsageError, with file and line, for a list that
    cannot be read or holds something that is no path; an empty list is no error.
    """
    if source == "-":
        if stdin is None:
            raise UsageError("there is no standard input to read a list from", hint="name a file or a folder")
        name = "standard input"
        return [_path(name, where, value) for where, value in _from_text(name, stdin.read())]
    try:
        if not stat.S_ISREG(os.stat(source).st_mode):  # a FIFO would wait for ever
            raise UsageError(f"the list {source!r} is not a regular file", hint="read it from standard input with -")
        with open(source, "rb") as file:
            paths = [_path(source, where, value) for where, value in _entries(source, file)]
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(f"cannot read the list {source!r}: {reason}", hint="check its name") from error
    return _placed(os.path.dirname(source), paths)


def _entries(source: str, file: BinaryIO) -> Entries:
    suffix = os.path.splitext(source)[1].lower()
    if suffix == ".parquet":
        return _from_parquet(source, file)
    readers = {".csv": _from_csv, ".jsonl": _from_jsonl}
    return readers.get(suffix, _from_text)(source, file.read())


def _from_text(source: str, data: bytes) -> Entries:
    """Lines without comments, or names that end in NUL as ``find -print0`` writes them."""
    folder = os.fsencode(os.path.dirname(source))
    if data.startswith(_UTF16):  # what PowerShell writes with >
        data = _utf16(source, data).encode("utf-8")
    data = data.removeprefix(_UTF8)
    if b"\0" in data:
        yield from ((f"entry {number}", name) for number, name in enumerate(data.split(b"\0"), 1) if name)
        return
    for number, line in enumerate(data.split(b"\n"), 1):
        name = line.removesuffix(b"\r")
        if line.strip() and not (line.startswith(b"#") and not os.path.lexists(os.path.join(folder, name))):
            yield f"line {number}", name


def _from_csv(source: str, data: bytes) -> Entries:
    utf16 = data.startswith(_UTF16)
    text = _utf16(source, data) if utf16 else data.removeprefix(_UTF8).decode("utf-8", "surrogateescape")
    if "\0" in text:
        raise UsageError(f"{source!r} is no CSV: it holds a NUL", hint="give a NUL-separated list the suffix .txt")
    head = next((line for line in text.split("\n") if line.strip(" \r,;\t")), "")
    separator, column = _csv_column(head.rstrip("\r"))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    rows = (row for row in reader if any(cell.strip() for cell in row))
    try:
        if column is not None:
            next(rows)
        for row in rows:
            where = f"line {reader.line_num}"
            if column is None and len(row) > 1:
                message = f"{source!r}, {where}: {len(row)} columns, and the first line names none of them the path"
                raise UsageError(message, hint=f"begin with a line that names the columns; for the path, {_NAME_IT}")
            if len(row) <= (column or 0):
                raise UsageError(f"{source!r}, {where}: there is no column {(column or 0) + 1}", hint=_REPAIR)
            yield where, row[column or 0]
    except csv.Error as error:
        raise UsageError(f"{source!r}, line {reader.line_num}: {error}", hint="repair that line") from error


def _csv_column(head: str) -> tuple[str, int | None]:
    """Separator and number of the path column, from the first line; None when that line is no header."""
    for separator in _SEPARATORS:
        column = _column(next(csv.reader([head], delimiter=separator), []))
        if column is not None:
            return separator, column
    return ",", None


def _column(names: Iterable[str]) -> int | None:
    lower = [name.strip().lower() for name in names]
    return next((lower.index(name) for name in COLUMNS if name in lower), None)


def _from_jsonl(source: str, data: bytes) -> Entries:
    for number, line in enumerate(data.removeprefix(_UTF8).split(b"\n"), 1):
        if not line.strip():
            continue
        where = f"line {number}"
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            hint = "each line is a JSON string or object"
            raise UsageError(f"{source!r}, {where}: {error}", hint=hint) from error
        yield where, _of_object(source, where, value) if isinstance(value, dict) else value


def _of_object(source: str, where: str, value: dict[str, Any]) -> Any:
    column = 0 if len(value) == 1 else _column(value)
    if column is None:
        keys = ", ".join(map(repr, value)) or "none"
        raise UsageError(f"{source!r}, {where}: no key says where the path is; keys: {keys:.300}", hint=_NAME_IT)
    return list(value.values())[column]


def _from_parquet(source: str, file: BinaryIO) -> Entries:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(file)
        names = table.schema_arrow.names
        column = 0 if len(names) == 1 else _column(names)
        if column is None:
            known = ", ".join(map(repr, names)) or "none"
            raise UsageError(f"{source!r}: no column says where the path is; columns: {known:.300}", hint=_NAME_IT)
        values = table.read([names[column]]).column(0).to_pylist()
    except (pa.ArrowException, UnicodeError) as error:
        raise UsageError(f"{source!r} is no readable Parquet file: {error}", hint="write the list again") from error
    yield from ((f"row {number}", value) for number, value in enumerate(values, 1))


def _utf16(source: str, data: bytes) -> str:
    try:
        return data.decode("utf-16")
    except UnicodeDecodeError as error:
        raise UsageError(f"{source!r} begins as UTF-16 and is not: {error}", hint="save the list as UTF-8") from error


def _path(source: str, where: str, value: Any) -> str | bytes:
    raw = value
    if isinstance(value, str):
        try:
            raw = value.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            raw = None
    if not isinstance(raw, bytes) or not raw or b"\0" in raw:
        raise UsageError(f"{source!r}, {where}: {value!r:.200} is no path", hint=_REPAIR)
    return _text(raw)


def _text(raw: bytes) -> str | bytes:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw


def _placed(folder: str, paths: list[str | bytes]) -> list[str | bytes]:
    """``paths`` as the working directory sees them; absolute ones stay as they are."""
    if not folder:
        return paths
    return [
        path if os.path.isabs(path) else _text(os.path.join(os.fsencode(folder), os.fsencode(path))) for path in paths
    ]
