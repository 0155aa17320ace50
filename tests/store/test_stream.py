"""Results on a stream: lines of one video together, its line of ``videos`` last, and a reader that may leave."""

from __future__ import annotations

import errno
import io
import json
import os

import pytest
from store.made import outcome

from vidact.errors import RunError
from vidact.store.schemas import PREDICTIONS, VIDEOS
from vidact.store.stream import JsonlStream


def test_lines_of_a_video_are_consecutive_and_its_row_comes_last() -> None:
    sink = io.BytesIO()
    stream = JsonlStream(sink)
    assert stream.committed() == {}
    stream.withdraw(["a"])
    for name, status in (("a", "ok"), ("b", "failed"), ('c "\n😀', "partial")):
        stream.add(outcome(name, status=status))
    stream.tick()
    stream.commit()
    stream.close({"exit": "done"})
    stream.release()
    rows = [json.loads(line, parse_constant=pytest.fail) for line in sink.getvalue().decode("utf-8").splitlines()]
    assert [row["table"] for row in rows] == (
        ["predictions"] * 8 + ["videos", "videos"] + ["predictions"] * 8 + ["videos"]
    )
    assert [row["video"] for row in rows] == ["a"] * 9 + ["b"] + ['c "\n😀'] * 9
    assert list(rows[0]) == ["table", *PREDICTIONS.names]
    assert list(rows[8]) == ["table", *VIDEOS.names]
    assert rows[9]["error"] == "NoVideoStream" and rows[9]["fps"] is None
    assert not sink.closed


class Watched(io.BytesIO):
    """A stream that counts its flushes and fails, if told so, with an error number."""

    def __init__(self) -> None:
        super().__init__()
        self.flushes = 0
        self.fails = 0

    def flush(self) -> None:
        self.flushes += 1
        if self.fails:
            raise OSError(self.fails, os.strerror(self.fails))


def test_each_video_is_seen_at_once() -> None:
    sink = Watched()
    stream = JsonlStream(sink)
    for number, name in enumerate("ab", 1):
        stream.add(outcome(name))
        assert sink.flushes == number
        assert sink.getvalue().endswith(b"}\n")


def test_a_reader_that_left() -> None:
    read, write = os.pipe()
    with os.fdopen(write, "wb") as sink:
        stream = JsonlStream(sink)
        stream.add(outcome("a"))
        os.close(read)
        with pytest.raises(BrokenPipeError):
            stream.add(outcome("b"))
        with pytest.raises(BrokenPipeError):
            stream.add(outcome("c"))
        stream.close({"exit": "broken pipe"})
        os.dup2(os.open(os.devnull, os.O_WRONLY), write)  # what Python still holds goes nowhere when it closes the file


def test_a_full_disk_behind_the_stream() -> None:
    sink = Watched()
    sink.fails = errno.ENOSPC
    with pytest.raises(RunError, match="No space left"):
        JsonlStream(sink).add(outcome("a"))


def test_a_line_is_whole_or_missing_when_rows_do_not_fit() -> None:
    sink = io.BytesIO()
    bad = outcome("a")
    with pytest.raises(ValueError, match="colour"):
        JsonlStream(sink).add(type(bad)(bad.video, bad.row, {**bad.details, "colour": ["red"] * 8}))
    assert sink.getvalue() == b""
