"""Columns become the tables of the plan, and nothing that is not a number or not text gets through."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from store.made import outcome

from vidact.records import RunSettings
from vidact.store.schemas import PREDICTIONS, SCHEMA, SEGMENTS, TABLES, VIDEOS, conform, tables, to_table

NAN = float("nan")


def test_columns_stand_in_the_published_order() -> None:
    assert ",".join(PREDICTIONS.names) == "video,clip,start,end,rank,label_id,label,score,padded"
    assert ",".join(SEGMENTS.names) == "video,start,end,label_id,label,score"
    assert ",".join(VIDEOS.names) == (
        "video,size,mtime_ns,status,error,error_message,stage,attempts,duration,start_time,fps,width,height,rotation,"
        "codec,frames,clips,decoder,seconds_decode,seconds_model"
    )


def test_types_units_and_meaning() -> None:
    for schema in TABLES.values():
        for field in schema:
            assert set(field.metadata) == {b"unit", b"meaning"} and field.metadata[b"meaning"]
    for schema in (PREDICTIONS, SEGMENTS):
        assert {schema.field(name).type for name in ("start", "end")} == {pa.float64()}
        assert schema.field("score").type == pa.float32()
        assert schema.field("label_id").type == pa.int32()
        assert schema.field("start").metadata[b"unit"] == b"s"
    assert {VIDEOS.field(name).type for name in ("size", "mtime_ns")} == {pa.int64()}


def test_schema_number_is_the_one_runs_are_frozen_with() -> None:
    assert RunSettings().schema == SCHEMA == 1


@pytest.mark.parametrize("bad", [NAN, float("inf"), -float("inf")])
def test_no_number_is_null(bad: float) -> None:
    table = to_table(VIDEOS, {"video": ["a", "b"], "status": ["ok", "ok"], "fps": [bad, 25.0]})
    assert table.column("fps").to_pylist() == [None, 25.0]
    scores = np.array([bad, 0.5], np.float32)
    table = to_table(PREDICTIONS, {"video": ["a", "a"], "score": scores})
    assert table.column("score").to_pylist() == [None, 0.5]


def test_float64_beyond_float32_is_null() -> None:
    assert to_table(PREDICTIONS, {"video": ["a"], "score": [1e300]}).column("score").to_pylist() == [None]


@pytest.mark.parametrize(
    "clip",
    [
        [None, 3],
        np.array([None, 3], dtype=object),
        np.array([NAN, 3.0]),
        np.ma.masked_array([7, 3], mask=[True, False]),
        [None, np.int64(3)],
    ],
)
def test_null_in_whole_numbers(clip: object) -> None:
    assert to_table(PREDICTIONS, {"video": ["a", "a"], "clip": clip}).column("clip").to_pylist() == [None, 3]


def test_masked_floats_and_flags_are_null() -> None:
    columns = {
        "video": ["a", "a"],
        "start": np.ma.masked_array([1.0, 2.0], mask=[True, False]),
        "padded": np.ma.masked_array([True, True], mask=[False, True]),
    }
    table = to_table(PREDICTIONS, columns)
    assert table.column("start").to_pylist() == [None, 2.0]
    assert table.column("padded").to_pylist() == [True, None]


def test_text_that_is_no_text_is_made_visible() -> None:
    table = to_table(VIDEOS, {"video": ["a"], "status": ["ok"], "error_message": ["before \udcff after \ud800"]})
    assert table.column("error_message").to_pylist() == ["before \\udcff after \\ud800"]
    labels = np.array(["x\udcff"])
    assert to_table(PREDICTIONS, {"video": ["a"], "label": labels}).column("label").to_pylist() == ["x\\udcff"]


def test_an_identity_is_never_changed() -> None:
    with pytest.raises(ValueError, match="escaped"):
        to_table(PREDICTIONS, {"video": ["a\udcff"]})


def test_a_date_beyond_int64_nanoseconds() -> None:
    table = to_table(VIDEOS, {"video": ["a"], "status": ["ok"], "mtime_ns": [2**64]})
    assert table.column("mtime_ns").to_pylist() == [2**63 - 1]


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match="colour"):
        to_table(VIDEOS, {"video": ["a"], "colour": ["red"]})
    with pytest.raises(ValueError, match="unequal"):
        to_table(VIDEOS, {"video": ["a"], "fps": [1.0, 2.0]})
    with pytest.raises(ValueError, match="status"):
        to_table(VIDEOS, {"video": ["a"]})


def test_outcomes_become_rows_together() -> None:
    good, bad = outcome("a.mp4", clips=2), outcome("b.mp4", status="failed")
    plain = {**outcome("c.mp4", clips=1).details, "clip": [0, 0, None, None]}
    listed = outcome("c.mp4", clips=1)
    videos, detail = tables([good, bad, type(listed)(listed.video, listed.row, plain)], "predictions")
    assert videos.column("video").to_pylist() == ["a.mp4", "b.mp4", "c.mp4"]
    assert videos.schema.equals(VIDEOS, check_metadata=True)
    assert detail.column("video").to_pylist() == ["a.mp4"] * 6 + ["c.mp4"] * 4
    assert detail.column("clip").to_pylist() == [0, 0, 1, 1, None, None, 0, 0, None, None]
    assert detail.schema.equals(PREDICTIONS, check_metadata=True)


def test_only_failures_give_an_empty_detail_table() -> None:
    videos, detail = tables([outcome("b.mp4", status="failed")], "predictions")
    assert (videos.num_rows, detail.num_rows) == (1, 0)
    assert detail.schema.equals(PREDICTIONS, check_metadata=True)


def test_a_column_added_later_is_null_in_old_parts() -> None:
    old = to_table(VIDEOS, {"video": ["a"], "status": ["ok"], "width": [3]}).drop_columns(["width", "codec"])
    assert conform(old, VIDEOS, ["codec", "video"]).to_pydict() == {"codec": [None], "video": ["a"]}
    assert conform(old, VIDEOS).schema.equals(VIDEOS, check_metadata=True)
