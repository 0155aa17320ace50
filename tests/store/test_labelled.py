"""Every published list of labels is read as it is published, and what cannot be meant is an error with its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vidact.errors import UsageError
from vidact.store.labelled import Labelled, read_labelled


def read(folder: Path, name: str, content: Any, subset: str | None = None) -> Labelled:
    file = folder / name
    file.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return read_labelled(str(file), subset)


SOMETHING = [
    {"id": "74225", "label": "spinning cube", "template": "Spinning [something] quickly", "placeholders": ["cube"]},
    {"id": 1, "label": "Moving something up"},
]
KINETICS = {
    "abc": {"annotations": {"label": "abseiling", "segment": [10.0, 20.0]}, "duration": 10.0, "subset": "validate"},
    "d-f": {"annotations": {"label": "zumba"}, "subset": "test"},
}


@pytest.mark.parametrize(
    ("name", "content", "labels"),
    [
        (
            "val.csv",
            'label,youtube_id,time_start,time_end,split\nabseiling,abc,10,20,val\n"riding, or not",-d_f,0,10,val\n',
            {"abc_000010_000020": "abseiling", "-d_f_000000_000010": "riding, or not"},
        ),
        ("k.json", KINETICS, {"abc_000010_000020": "abseiling", "d-f": "zumba"}),
        ("s.json", SOMETHING, {"74225": "Spinning something quickly", "1": "Moving something up"}),
        ("answers.csv", "3;Putting, or not\n4;Moving\n", {"3": "Putting, or not", "4": "Moving"}),
        ("val.txt", "a b/1.mp4 17\na/2.mp4 3\n", {"a b/1.mp4": "17", "a/2.mp4": "3"}),
        ("val.csv", "a/1.mp4,17\na/2.mp4,3\n", {"a/1.mp4": "17", "a/2.mp4": "3"}),
        ("frames.txt", "a/1 250 17\na/2 300 3\n", {"a/1": "17", "a/2": "3"}),
        (
            "testlist01.txt",
            "Archery/v_a_g01.avi\nSwing/v_b.avi\n",
            {"Archery/v_a_g01.avi": "Archery", "Swing/v_b.avi": "Swing"},
        ),
        ("trainlist02.txt", "Archery/v_a.avi 3\n", {"Archery/v_a.avi": "Archery"}),
        ("own.csv", '\ufeffPath,Label\n1.mp4,jump\n"a,b.mp4",run\n', {"1.mp4": "jump", "a,b.mp4": "run"}),
    ],
)
def test_formats(tmp_path: Path, name: str, content: Any, labels: dict[str, str]) -> None:
    found = read(tmp_path, name, content)
    assert found.labels == labels
    assert found.numbers == all(label.isdecimal() for label in labels.values())


def test_hmdb51_is_all_files_of_a_split_and_its_test_part(tmp_path: Path) -> None:
    (tmp_path / "wave_test_split1.txt").write_text("w one.avi 1\nw two.avi 2\nw three.avi 0\n", encoding="utf-8")
    (tmp_path / "wave_test_split2.txt").write_text("w four.avi 2\n", encoding="utf-8")
    content = "c.avi 2 \n"
    assert read(tmp_path, "clap_test_split1.txt", content).labels == {"clap/c.avi": "clap", "wave/w two.avi": "wave"}
    assert read(tmp_path, "clap_test_split1.txt", content, "train").labels == {"wave/w one.avi": "wave"}


def test_parts(tmp_path: Path) -> None:
    content = "path,label,split\n1.mp4,a,train\n2.mp4,b,Val\n"
    assert read(tmp_path, "x.csv", content, "val").labels == {"2.mp4": "b"}
    with pytest.raises(UsageError, match="no part 'test'") as caught:
        read(tmp_path, "x.csv", content, "test")
    assert caught.value.hint == "its parts are Val, train"


def test_repeated_lines_count_once(tmp_path: Path) -> None:
    found = read(tmp_path, "x.txt", "1.mp4 3\n1.mp4 3\n2.mp4 4\n")
    assert len(found.labels) == 2
    assert found.notes[0].endswith("that repeat a video and count once: 1")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.txt", "1.mp4 3\n1.mp4 4\n", "line 2: '1.mp4' is '4' here and '3' before"),
        ("x.txt", "1.mp4 3\nalone\n", "line 2: 'alone' is not a path and a label"),
        ("x.txt", "\n\n", "holds no videos"),
        ("x.csv", "path,label\n1.mp4\n", "line 2: 2 values were expected, there are 1"),
        ("x.csv", "Path;Label\n1.mp4;a\n", "line 1: semicolons stand between the columns"),
        ("x.tsv", "id\tlabel\n1\ta\n", "line 1: tabs stand between the columns"),
        ("x.csv", "path,label\n1.mp4,\n", "line 2: the video or the label is empty"),
        ("x.csv", "label,youtube_id,time_start,time_end,split\na,b,20,10,val\n", "line 2: '20' to '10' is no stretch"),
        ("x.csv", "label,youtube_id,time_start,time_end,split\na,b,x,10,val\n", "line 2: 'x' to '10'"),
        ("x.json", '[{"id": "1", "template":', "no whole JSON file"),
        ("x.json", '{"a": {}, "a": {}}', "holds 'a' twice"),
        ("x.json", [{"id": "1"}], "entry 0 is .* without id or label"),
        ("x.json", {"a": {"subset": "test"}}, "'a' has no label"),
        ("x.json", 7, "neither Something-Something's list nor Kinetics' table"),
        ("testlist01.txt", "v_a.avi\n", "line 1: 'v_a.avi' is not class/video.avi"),
        ("a_test_split1.txt", "v.avi 3\n", "does not end in 0, 1 or 2"),
    ],
)
def test_what_cannot_be_meant(tmp_path: Path, name: str, content: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read(tmp_path, name, content)
