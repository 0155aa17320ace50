"""The tables on disk: names, order, types, units and meaning, written once; and the way from columns to Arrow.

Columns are only ever added, at the end, and with them ``SCHEMA`` grows. Missing is null, never NaN: a value that is not
finite becomes null here, so that Parquet and JSONL hold the same. Knows nothing of files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from vidact.records import Outcome
from vidact.store.manifest import DETAIL, SCHEMA

__all__ = [
    "DETAIL",
    "FEATURES",
    "ORDER",
    "PREDICTIONS",
    "SCHEMA",
    "SEGMENTS",
    "TABLES",
    "VIDEOS",
    "clean",
    "conform",
    "tables",
    "to_table",
    "within_int64",
]

_INT64 = np.iinfo(np.int64)


def _field(name: str, kind: pa.DataType, unit: str, meaning: str, *, required: bool = False) -> pa.Field:
    return pa.field(name, kind, nullable=not required, metadata={"unit": unit, "meaning": meaning})


_VIDEO = _field("video", pa.string(), "", "path relative to the root of the run, / between folders", required=True)

PREDICTIONS: pa.Schema = pa.schema(
    [
        _VIDEO,
        _field("clip", pa.int32(), "", "number of the clip in its video, from 0; null: the whole video"),
        _field("start", pa.float64(), "s", "begin of the clip, from the first presented frame"),
        _field("end", pa.float64(), "s", "end of the clip, exclusive"),
        _field("rank", pa.int32(), "", "place of the label among the labels of its clip, from 1"),
        _field("label_id", pa.int32(), "", "number of the label in the model, from 0"),
        _field("label", pa.string(), "", "name of the label"),
        _field("score", pa.float32(), "1", "probability, averaged over crops and views; of a video: over its clips"),
        _field("padded", pa.bool_(), "", "the video is shorter than the clip, its last frame was repeated"),
    ]
)

SEGMENTS: pa.Schema = pa.schema(
    [
        _VIDEO,
        _field("start", pa.float64(), "s", "begin of the action, from the first presented frame"),
        _field("end", pa.float64(), "s", "end of the action, exclusive"),
        _field("label_id", pa.int32(), "", "number of the label in the model, from 0"),
        _field("label", pa.string(), "", "name of the label"),
        _field("score", pa.float32(), "1", "confidence of the segment"),
    ]
)

FEATURES: pa.Schema = pa.schema(
    [
        _VIDEO,
        _field("rows", pa.int64(), "", "feature rows of the video"),
        _field("dimension", pa.int32(), "", "numbers in a row"),
        _field("missing", pa.int64(), "", "rows that could not be decoded and repeat a neighbour"),
        _field("file", pa.string(), "", "where the features lie: safetensors with features and centres (in seconds)"),
    ]
)

VIDEOS: pa.Schema = pa.schema(
    [
        _VIDEO,
        _field("size", pa.int64(), "byte", "size of the file when it was read; null: missing"),
        _field("mtime_ns", pa.int64(), "ns", "modification time of the file, since 1970 UTC; null: missing"),
        _field("status", pa.string(), "", "ok, partial (a part could not be read) or failed", required=True),
        _field("error", pa.string(), "", "short name of what went wrong, e.g. NoVideoStream"),
        _field("error_message", pa.string(), "", "what went wrong, in a sentence"),
        _field("stage", pa.string(), "", "where it went wrong: find, index, decode, model or finish"),
        _field("attempts", pa.int32(), "", "how often the video was tried, over all invocations"),
        _field("duration", pa.float64(), "s", "from the first presented frame to the end of the last"),
        _field(
            "start_time", pa.float64(), "s", "time the container gives the first frame; all other times begin there"
        ),
        _field("fps", pa.float64(), "1/s", "frames per second, on average"),
        _field("width", pa.int32(), "px", "width as shown, after rotation"),
        _field("height", pa.int32(), "px", "height as shown, after rotation"),
        _field("rotation", pa.int32(), "degree", "clockwise turn the file asks for: 0, 90, 180 or 270"),
        _field("codec", pa.string(), "", "name of the video codec"),
        _field("frames", pa.int64(), "", "presented frames"),
        _field("clips", pa.int32(), "", "clips that were scored"),
        _field("decoder", pa.string(), "", "library that gave the pixels: decord or pyav"),
        _field("seconds_decode", pa.float64(), "s", "time spent decoding"),
        _field("seconds_model", pa.float64(), "s", "this video's share of the time spent in the model"),
    ]
)

TABLES: dict[str, pa.Schema] = {
    "predictions": PREDICTIONS,
    "segments": SEGMENTS,
    "features": FEATURES,
    "videos": VIDEOS,
}

ORDER: dict[str, tuple[str, ...]] = {
    "predictions": ("video", "clip", "rank"),
    "segments": ("video", "start", "end", "label_id"),
    "features": ("video",),
    "videos": ("video",),
}
"""Rows of a part are sorted by these, ascending, null last: the label of the whole video stands after its clips."""


def clean(text: str) -> str:
    """Text that can be written as UTF-8: what cannot (lone surrogates) becomes a visible ``\\udcff``."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def within_int64(value: int | None) -> int | None:
    """An integer as the table holds it: file systems have dates that nanoseconds in int64 have not."""
    return None if value is None else min(max(int(value), int(_INT64.min)), int(_INT64.max))


def to_table(schema: pa.Schema, columns: Mapping[str, Any]) -> pa.Table:
    """Arrow table of ``columns`` (name → numpy array or list, all of one length), in the schema's order.

    A column that is absent is null. ValueError for an unknown name, unequal lengths, or null in a required column.
    """
    unknown = sorted(set(columns) - set(schema.names))
    if unknown:
        raise ValueError(f"no such column: {', '.join(unknown)}; the table has {', '.join(schema.names)}")
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"columns of unequal length: {lengths}")
    rows = next(iter(lengths.values()), 0)
    arrays = [
        _array(field, columns[field.name]) if field.name in columns else pa.nulls(rows, field.type) for field in schema
    ]
    for field, array in zip(schema, arrays, strict=True):
        if not field.nullable and array.null_count:
            raise ValueError(f"column {field.name} has {array.null_count} missing values and may have none")
    return pa.Table.from_arrays(arrays, schema=schema)


def tables(outcomes: Sequence[Outcome], detail: str) -> tuple[pa.Table, pa.Table]:
    """The rows of ``outcomes`` in ``videos``, and those in the table ``detail``, which need no column ``video``.

    Converted together, which is many times faster than one by one. ValueError as ``to_table``.
    """
    rows = [{**outcome.row, "video": outcome.video.video} for outcome in outcomes]
    names = {name for row in rows for name in row}
    videos = to_table(VIDEOS, {name: [row.get(name) for row in rows] for name in names})
    columns: dict[str, list[Any]] = {"video": []}
    sizes = []
    for outcome in outcomes:
        lengths = {len(values) for values in outcome.details.values()} or {0}
        if len(lengths) > 1:
            raise ValueError(f"columns of unequal length for {outcome.video.video!r}")
        sizes.append(lengths.pop())
    for outcome, size in zip(outcomes, sizes, strict=True):
        columns["video"].append([outcome.video.video] * size)
    for name in sorted({name for outcome in outcomes for name in outcome.details} - {"video"}):
        columns[name] = [
            outcome.details.get(name, [None] * size) for outcome, size in zip(outcomes, sizes, strict=True)
        ]
    return videos, to_table(TABLES[detail], {name: _joined(pieces) for name, pieces in columns.items()})


def conform(table: pa.Table, schema: pa.Schema, columns: Sequence[str] | None = None) -> pa.Table:
    """``table`` with the columns of ``schema`` (or those named), types and order; a column it lacks is null."""
    wanted = pa.schema([schema.field(name) for name in columns]) if columns is not None else schema
    arrays = []
    for field in wanted:
        if field.name in table.column_names:
            column = table.column(field.name)
            arrays.append(column if column.type == field.type else column.cast(field.type))
        else:
            arrays.append(pa.nulls(table.num_rows, field.type))
    return pa.Table.from_arrays(arrays, schema=wanted)


def _joined(pieces: list[Any]) -> Any:
    filled = [piece for piece in pieces if len(piece)]
    if filled and all(type(piece) is np.ndarray for piece in filled):
        return np.concatenate(filled)
    # tolist gives None where an array is masked.
    return [value for piece in filled for value in (piece.tolist() if isinstance(piece, np.ndarray) else piece)]


def _array(field: pa.Field, values: Any) -> pa.Array:
    kind = field.type
    if pa.types.is_floating(kind):
        return _floats(kind, values)
    if pa.types.is_string(kind):
        return _texts(field, values)
    if isinstance(values, np.ma.MaskedArray):
        return pa.array(values.data, kind, mask=np.ma.getmaskarray(values))
    if isinstance(values, np.ndarray) and values.dtype.kind == "f":
        missing = np.isnan(values)
        return pa.array(np.where(missing, 0, values), mask=missing).cast(kind)
    if isinstance(values, np.ndarray) and values.dtype.kind in "iub":
        return pa.array(values, kind)
    items = list(values)
    try:
        return pa.array(items, kind)
    except (OverflowError, pa.ArrowInvalid):
        if kind != pa.int64():
            raise
        return pa.array([within_int64(item) for item in items], kind)


def _floats(kind: pa.DataType, values: Any) -> pa.Array:
    if isinstance(values, np.ma.MaskedArray):
        values = np.ma.filled(values.astype(np.float64), np.nan)
    data = np.asarray(values, dtype=np.float64)  # None becomes NaN here
    if kind == pa.float32():
        with np.errstate(over="ignore"):
            data = data.astype(np.float32)
    missing = ~np.isfinite(data)
    return pa.array(data, kind, mask=missing if missing.any() else None)


def _texts(field: pa.Field, values: Any) -> pa.Array:
    items = values.tolist() if isinstance(values, np.ndarray) else list(values)
    try:
        return pa.array(items, field.type)
    except (UnicodeEncodeError, pa.ArrowInvalid):
        if field.name == "video":  # changing an identity would make the video a stranger to the next run
            raise ValueError(f"a video's name must be escaped before it is stored: {items!r:.200}") from None
        return pa.array([clean(item) if isinstance(item, str) else item for item in items], field.type)
