"""Annotations of localization data sets: ActivityNet's JSON with its variants, CSV, and what is wrong with files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vidact.errors import UsageError
from vidact.store.annotations import read_annotations


def database(tmp_path: Path, **videos: Any) -> Path:
    path = tmp_path / "truth.json"
    path.write_text(json.dumps({"version": "1", "database": videos, "taxonomy": []}))
    return path


def one(*segments: Any, **facts: Any) -> dict[str, Any]:
    return {"annotations": [{"segment": list(pair), "label": label} for *pair, label in segments], **facts}


def table(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "truth.csv"
    path.write_text(text)
    return path


def test_json_comes_back_with_its_facts(tmp_path: Path) -> None:
    path = database(tmp_path, a=one((1.5, 4, "jump"), (5, 6, "fall"), duration=9.5, fps=25, subset="training"), b=one())
    found = read_annotations(path)
    first, second = found.videos
    assert (first.video, first.duration, first.fps, first.subset) == ("a", 9.5, 25.0, "training")
    assert first.start.dtype == np.float64 and first.start.tolist() == [1.5, 5] and first.end.tolist() == [4, 6]
    assert first.labels == ("jump", "fall") and found.labels == ("fall", "jump")
    assert (second.duration, second.fps, second.subset, second.labels) == (None, None, None, ())
    assert second.start.shape == (0,) and found.notes == ()


def test_labels_follow_the_numbers_of_the_file_where_they_are_whole(tmp_path: Path) -> None:
    content = one((0, 1, "a"), (1, 2, "b"), (2, 3, "c"))
    for number, row in zip((2, 0, 1), content["annotations"], strict=True):
        row["label_id"] = number
    assert read_annotations(database(tmp_path, v=content)).labels == ("b", "c", "a")
    content["annotations"][0]["label_id"] = 5  # a gap: the numbers cannot be the network's outputs
    assert read_annotations(database(tmp_path, v=content)).labels == ("a", "b", "c")


def test_the_bare_table_made_for_bmn_is_read(tmp_path: Path) -> None:
    path = tmp_path / "anet.json"
    facts = {"duration_second": 14.07, "duration_frame": 422, "feature_frame": 416, "fps": 30.0}
    path.write_text(json.dumps({"v_x": one((0.01, 12.6, "Drinking beer"), **facts)}))
    (video,) = read_annotations(path).videos
    assert (video.duration, video.fps, video.end.tolist()) == (14.07, 30.0, [12.6])


def test_csv_groups_videos_and_knows_empty_ones(tmp_path: Path) -> None:
    header = "Video,start,end,label,split,duration,fps\n"
    rows = "b,1,2,x,train,10,25\na,0.5,1,y,val,,\nb,3,4,x,train,10,\nc,,,,val,,\n"
    found = read_annotations(table(tmp_path, header + rows))
    assert [(v.video, v.subset, v.duration, v.fps) for v in found.videos] == [
        ("b", "train", 10.0, 25.0),
        ("a", "val", None, None),
        ("c", "val", None, None),
    ]
    assert found.videos[0].start.tolist() == [1, 3] and found.videos[2].labels == ()
    assert found.subsets == ("train", "val")
    assert [video.video for video in found.of(["VAL"]).videos] == ["a", "c"]
    with pytest.raises(UsageError, match="no subset 'test'"):
        found.of(["test"])


def test_times_outside_are_cut_or_left_out_and_counted(tmp_path: Path) -> None:
    segments = [(5, 3, "x"), (2, 2, "x"), (-1, 2, "x"), (8, 10.4, "x"), (11, 12, "x"), (-3, -1, "x"), (4, 5, "x")]
    found = read_annotations(database(tmp_path, v=one(*segments, duration=10)))
    (video,) = found.videos
    assert video.start.tolist() == [0, 8, 4] and video.end.tolist() == [2, 10, 5]
    reversed_, beyond, outside = found.notes
    assert (
        reversed_.startswith("segments left out, they do not end after they start: 2 ")
        and "segment 0: 5 to 3 s" in reversed_
    )
    assert beyond.startswith("segments cut, they reach beyond their video: 2 ") and outside.startswith(
        "segments left out, they lie outside their video: 2 "
    )


def test_unknown_labels_are_left_out_and_named(tmp_path: Path) -> None:
    found = read_annotations(database(tmp_path, v=one((0, 1, "x"), (1, 2, "Ambiguous"))), labels=["y", "x"])
    assert found.labels == ("y", "x") and found.videos[0].labels == ("x",)
    assert (
        found.notes[0].startswith("segments left out, their label is not in the list: 1 ")
        and "Ambiguous" in found.notes[0]
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"database": {"a": {"annot', "no whole JSON"),
        ('{"database": {"a": {"annotations": []}, "a": {"annotations": []}}}', "'a' twice"),
        ('{"database": {"a": {"annotations": [{"segment": [NaN, 1], "label": "x"}]}}}', "nan is not a time"),
        ('{"database": {"a": {"annotations": [{"segment": [1], "label": "x"}]}}}', "not a segment with a label"),
        ('{"database": {"a": {"annotations": [{"segment": ["one", 2], "label": "x"}]}}}', "'one' is not a time"),
        ('{"database": {"a": {"annotations": [{"segment": [1, 2]}]}}}', "not a segment with a label"),
        ('{"database": {"a": {"annotations": [{"segment": [1, 2], "label": null}]}}}', "not a segment with a label"),
        ('{"database": {"a": {"annotations": [{"segment": [1, 1%s], "label": "x"}]}}}' % ("0" * 400), "not a time"),
        ("[" * 100_000, "no whole JSON file"),
        ('{"database": {"a": {"duration": -2, "annotations": []}}}', "duration is -2"),
        ('{"database": {"a": 3}}', "'a' is no table"),
        ('{"database": {}}', "no videos"),
        ('{"images": []}', "no table of annotated videos"),
        ("[]", "no table of annotated videos"),
    ],
)
def test_json_that_cannot_be_meant_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "truth.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=said) as caught:
        read_annotations(path)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("video,start,label\na,1,x\n", "line 1: the column 'end' is missing"),
        ("video;start;end;label\na;1,5;2,5;x\n", "line 1: semicolons stand between the columns"),
        ("video,start,end,label\na,1,nan,x\n", "line 2: 'nan' is not a time"),
        ("video,start,end,label\na,1,,x\n", "line 2: '' is not a time"),
        ("video,start,end,label\na,1,2,\n", "line 2: the label is empty"),
        ("video,start,end,label\n,1,2,x\n", "line 2: the video is empty"),
        ("video,start,end,label\na,1,2\n", "line 2: 4 values"),
        ("video,start,end,label\n,,,\n", "no videos"),
        ("video,start,end,label,subset\na,1,2,x,train\na,2,3,x,val\n", "line 3: 'a' has subset 'val'"),
        ("video,start,end,label\n", "no videos"),
    ],
)
def test_csv_that_cannot_be_meant_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read_annotations(table(tmp_path, text))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    for name in ("no.json", "no.csv"):
        with pytest.raises(UsageError, match=name):
            read_annotations(tmp_path / name)
