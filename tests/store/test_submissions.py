"""Submissions: every row as it stands, and an error that names the place for what cannot be meant."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vidact.errors import UsageError
from vidact.store.submissions import read_submission

GOOD = {"label": "jump", "score": 0.9, "segment": [1.5, 4.0]}


def write(folder: Path, content: Any) -> str:
    file = folder / "submission.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return str(file)


def test_rows(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        {
            "version": "VERSION 1.3",
            "results": {"a": [GOOD, {**GOOD, "score": 1, "segment": [4, 1.5]}], "b": []},
            "external_data": {},
        },
    )
    found = read_submission(file)
    assert found.videos == ("a", "b")
    assert (found.video, found.start, found.end) == (["a", "a"], [1.5, 4.0], [4.0, 1.5])
    assert (found.label, found.score) == (["jump", "jump"], [0.9, 1.0])
    assert found.notes == (
        f"predicted segments that do not end after they start and count as wrong: 1 (first: {file}: 'a', segment 1: "
        "4 to 1.5 s)",
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"results": {"a": [', "no whole JSON file"),
        ('{"results": {"a": [], "a": []}}', "holds 'a' twice"),
        ([], "no table 'results'"),
        ({"database": {}}, "no table 'results'"),
        ({"results": {"a": GOOD}}, "'a' has no list of segments"),
        ({"results": {"a": [GOOD, {"label": "jump", "segment": [1, 2]}]}}, "'a', segment 1 is .*not a segment"),
        ({"results": {"a": [{**GOOD, "segment": [1]}]}}, "segment 0"),
        ({"results": {"a": [{**GOOD, "label": None}]}}, "segment 0 is .*not a segment"),
        ({"results": {"a": [{**GOOD, "score": 10**400}]}}, "is not a number"),
        ({"results": {"a": [{**GOOD, "segment": [1, "x"]}]}}, "segment 0: 'x' is not a number"),
        ({"results": {"a": [{**GOOD, "score": True}]}}, "segment 0: True is not a number"),
        ('{"results": {"a": [{"label": "jump", "score": NaN, "segment": [1, 2]}]}}', "nan is not a number"),
    ],
)
def test_what_cannot_be_meant(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_submission(write(tmp_path, content))


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_submission(str(tmp_path / "none.json"))


def test_proposals_have_no_labels(tmp_path: Path) -> None:
    file = tmp_path / "found.json"
    bare = {"score": 0.5, "segment": [1, 2]}
    file.write_text(json.dumps({"results": {"a": [bare, bare], "b": []}}), encoding="utf-8")
    found = read_submission(str(file))
    assert (found.labelled, found.label, found.videos) == (False, ["", ""], ("a", "b"))
    for rows, said in (([GOOD, bare], "has no label, and segments before it have one"), ([bare, GOOD], "has a label")):
        file.write_text(json.dumps({"results": {"a": rows}}), encoding="utf-8")
        with pytest.raises(UsageError, match=f"'a', segment 1 {said}"):
            read_submission(str(file))
