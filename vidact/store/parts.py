"""One part: an Arrow table in a file, Parquet or JSONL, written atomically and read back with its schema.

The two formats hold the same values. Knows nothing of run folders or of which part belongs to which.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from typing import IO, Any, BinaryIO, NamedTuple, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vidact.errors import RunError
from vidact.store.atomic import replacing
from vidact.store.schemas import clean, conform

_NAME = re.compile(r"part-(\d{6,})\.(parquet|jsonl)")
_JSON = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_LINES = 20_000  # rows turned into Python objects at a time


class Stamp(NamedTuple):
    """What tells one version of a file from the next one of the same name."""

    device: int
    inode: int
    size: int
    mtime_ns: int


def part_name(number: int, form: str) -> str:
    """File name of part ``number`` in the format ``form`` (``parquet`` or ``jsonl``)."""
    return f"part-{number:06d}.{form}"


def part_numbers(folder: str, form: str) -> list[int]:
    """Numbers of the parts in ``folder``, ascending; none when there is no such folder."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    found = (_NAME.fullmatch(name) for name in names)
    return sorted(int(match[1]) for match in found if match and match[2] == form)


def write_part(path: str, table: pa.Table, metadata: Mapping[str, str]) -> None:
    """Replace ``path`` by ``table``, atomically, in the format its suffix names.

    ``metadata`` goes into the Parquet file metadata; JSONL has no room for it. RunError when the disk refuses.
    """
    with replacing(path) as file:
        if path.endswith(".jsonl"):
            write_lines(file, table)
        else:
            facts = {clean(key): clean(value) for key, value in metadata.items()}
            pq.write_table(table.replace_schema_metadata(facts), file, compression="zstd", use_dictionary=True)


def write_lines(file: BinaryIO, table: pa.Table, first: Mapping[str, Any] | None = None) -> None:
    """Write ``table`` to a binary file as JSON lines: every column, null for missing; ``first`` begins each line."""
    import jsonlines

    head = dict(first or {})
    for start in range(0, table.num_rows, _LINES):
        piece = table.slice(start, _LINES)
        columns = [_plain(piece.column(index), field.type) for index, field in enumerate(piece.schema)]
        rows = (head | dict(zip(piece.column_names, row, strict=True)) for row in zip(*columns, strict=True))
        with jsonlines.Writer(cast("IO[str]", _Utf8(file)), dumps=_JSON) as writer:
            writer.write_all(rows)


def read_part(path: str, schema: pa.Schema, columns: Sequence[str] | None = None) -> tuple[pa.Table, Stamp]:
    """The part at ``path`` with the columns of ``schema`` (or those named), and the stamp of the version that was read.

    FileNotFoundError when it is gone; RunError when it is damaged.
    """
    # Opened here, not by Arrow: it takes no path that is not UTF-8, and an open file stays whole when it is replaced.
    with open(path, "rb") as file:
        status = os.fstat(file.fileno())
        stamp = Stamp(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        try:
            lines = path.endswith(".jsonl")
            table = _read_lines(file, schema, stamp.size, columns) if lines else _read_parquet(file, columns)
            return conform(table, schema, columns), stamp
        except (pa.ArrowException, UnicodeError, OSError) as error:
            raise RunError(
                f"{path!r} is damaged: {clean(str(error)):.300}",
                hint="restore it from a copy, or start again with --overwrite",
            ) from error


def _read_parquet(file: BinaryIO, columns: Sequence[str] | None) -> pa.Table:
    with pq.ParquetFile(file) as part:
        wanted = None if columns is None else [name for name in columns if name in part.schema_arrow.names]
        return part.read(wanted, use_threads=False)


def _read_lines(file: BinaryIO, schema: pa.Schema, size: int, columns: Sequence[str] | None) -> pa.Table:
    import pyarrow.json as pj

    if size == 0:
        return schema.empty_table()
    plain = pa.schema([(field.name, field.type) for field in schema if columns is None or field.name in columns])
    # A block must hold the longest line, and error messages have no limit: as large as the file is always enough.
    return pj.read_json(
        file,
        read_options=pj.ReadOptions(use_threads=False, block_size=min(size + 1, 2**31 - 1)),
        parse_options=pj.ParseOptions(explicit_schema=plain, unexpected_field_behavior="ignore"),
    )


def _plain(column: pa.ChunkedArray, kind: pa.DataType) -> list[Any]:
    if kind != pa.float32():
        values: list[Any] = column.to_pylist()
        return values
    # Shortest decimal that is this float32 again: 0.9, not 0.8999999761581421.
    missing = column.is_null().to_numpy()
    data = column.fill_null(0.0).to_numpy()
    short = data.astype("U").astype(np.float64).tolist()
    return [None if gone else value for gone, value in zip(missing, short, strict=True)]


class _Utf8:
    """The text file jsonlines writes to, over a binary file that stays open."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, text: str) -> None:
        self._file.write(text.encode("utf-8"))
