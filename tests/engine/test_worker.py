"""Decoders and models as plain objects: how blocks are cut, and what becomes of a video that goes wrong."""

from __future__ import annotations

import os
import pickle
import platform
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import numpy as np
import pytest
from engine import fakes
from engine.fakes import CLASSES, FakeTask, videos

from vidact.engine import worker
from vidact.engine.worker import Decoder, Failure, Report, Scorer, Unit
from vidact.errors import RunError
from vidact.records import Chunk


def decoder(task: FakeTask, block_rows: int = 4) -> Decoder:
    return Decoder(task, block_rows, 1, own_process=False)


def read(one: Decoder, unit: Unit) -> list[tuple[Report, Any]]:
    found = [one.next(unit)]
    while found[-1][0] is not None and not found[-1][0].done:
        found.append(one.next())
    assert one.next() == (None, None)
    return [(report, block) for report, block in found if report is not None]


def test_blocks_are_filled_across_the_videos_of_a_unit(tmp_path: Path) -> None:
    files = tuple(videos(tmp_path, ["a.rows3.txt", "b.rows2.txt", "c.rows1.txt"]))
    found = read(decoder(FakeTask(views=2)), Unit(1, files))
    assert [None if block is None else block.shape for _, block in found] == [(4, 2, 2, 4, 4, 3), (2, 2, 2, 4, 4, 3)]
    assert [(report.slots, report.rows) for report, _ in found] == [([0, 0, 0, 1], [0, 1, 2, 0]), ([1, 2], [1, 0])]
    assert [slot for report, _ in found for slot, *_ in report.ended] == [0, 1, 2]
    assert sum(len(report.seen) for report, _ in found) == 3


def test_a_long_video_hands_out_its_chunks_and_reads_one_when_told(tmp_path: Path) -> None:
    file = videos(tmp_path, ["a.rows10.txt"])[0]
    one = decoder(FakeTask(chunk_rows=4), 100)
    ((report, block),) = read(one, Unit(1, (file,)))
    assert block is None and not report.ended
    assert [(chunk.first, chunk.last) for chunk in report.seen[0].chunks] == [(0, 4), (4, 8), (8, 10)]
    ((report, block),) = read(one, Unit(2, (file,), Chunk(1, 4, 8, 0.0)))
    assert (report.rows, report.ended, report.seen) == ([4, 5, 6, 7], [(0, "fake", False)], [])


def test_a_slow_video_gives_signs_of_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "HEARTBEAT", 0.0)
    found = read(decoder(FakeTask(), 100), Unit(1, tuple(videos(tmp_path, ["a.rows3.txt"]))))
    assert not found[0][0].seen and not found[0][0].rows, "also while it is opened"
    assert len(found) > 3 and [row for report, _ in found for row in report.rows] == [0, 1, 2]


def test_a_file_that_changes_while_it_is_read_is_still_changing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = fakes.misbehave

    def touch(words: tuple[str, ...], row: int) -> None:
        if words[0] == "a":
            (tmp_path / ".".join(words)).write_bytes(b"longer")
        before(words, row)

    monkeypatch.setattr(fakes, "misbehave", touch)
    ((report, _),) = read(decoder(FakeTask()), Unit(1, tuple(videos(tmp_path, ["a.rows2.txt", "b.txt"]))))
    assert [(slot, failure.kind) for slot, failure in report.failed] == [(0, "StillChanging")]
    assert [slot for slot, *_ in report.ended] == [1]


def test_a_file_that_changed_since_it_was_found_is_taken_as_it_is(tmp_path: Path) -> None:
    file = videos(tmp_path, ["a.rows9.txt"])[0]
    Path(file.path).write_bytes(b"longer")
    ((report, _),) = read(decoder(FakeTask(chunk_rows=5), 100), Unit(1, (file,)))
    assert report.seen[0].video.size == 6
    # Its chunks, though, belong to the file as it was cut.
    ((late, _),) = read(decoder(FakeTask(chunk_rows=5), 100), Unit(2, (file,), Chunk(1, 5, 9, 0.0)))
    assert [failure.kind for _, failure in late.failed] == ["StillChanging"]


def test_what_goes_wrong_with_one_video_stays_with_it(tmp_path: Path) -> None:
    names = ["a.closed.txt", "b.raise.txt", "c.txt", "d.broken.txt", "e.txt"]
    files = videos(tmp_path, names)
    os.unlink(files[4].path)
    ((report, block),) = read(decoder(FakeTask()), Unit(1, tuple(files)))
    assert [(slot, failure.kind, failure.stage) for slot, failure in report.failed] == [
        (0, "NoVideoStream", "index"),
        (1, "KeyError", "decode"),
        (3, "Undecodable", "decode"),
        (4, "NotFound", "index"),
    ]
    assert report.failed[1][1].trace and not report.failed[0][1].trace
    assert (report.slots, block.shape[0]) == ([2], 1)


def test_finish_returns_a_failure_for_the_one_that_fails(tmp_path: Path) -> None:
    one = decoder(FakeTask())
    *_, opened = FakeTask().open(videos(tmp_path, ["a.rows2.txt"])[0])
    outline = opened.outline if opened else None
    scores = np.ones((2, 1, CLASSES), np.float32)
    good, bad = pickle.loads(one.finish([(outline, scores, np.ones(2, bool)), (outline, None, np.ones(2, bool))]))
    assert list(good["clip"]) == [0, 1]
    assert isinstance(bad, Failure) and (bad.kind, bad.stage) == ("TypeError", "finish")


class FullDisk(FakeTask):
    def finish(self, *_: object) -> NoReturn:
        raise RunError("cannot write 'x': No space left on device", hint="make room")


def test_a_full_disk_is_told_as_it_is_and_not_as_the_fault_of_a_video(tmp_path: Path) -> None:
    (found,) = pickle.loads(
        decoder(FullDisk()).finish([(None, np.ones((1, 1, CLASSES), np.float32), np.ones(1, bool))])
    )
    assert isinstance(found, RunError) and found.hint == "make room"


class Shapes(FakeTask):
    """Notes what the model is called with."""

    seen: ClassVar[list[np.ndarray]] = []

    def score(self, model: str, frames: np.ndarray) -> np.ndarray:
        self.seen.append(frames.copy())
        return super().score(model, frames)


@pytest.fixture
def shapes() -> Iterator[list[np.ndarray]]:
    Shapes.seen.clear()
    yield Shapes.seen


def test_every_call_of_a_model_has_one_shape(shapes: list[np.ndarray]) -> None:
    scorer = Scorer(Shapes(views=3), 4, 1)
    assert scorer.load() is None
    block = np.arange(5 * 3, dtype=np.uint8).repeat(2 * 4 * 4 * 3).reshape(5, 3, 2, 4, 4, 3)
    other = np.full((1, 3, 2, 4, 4, 3), 99, np.uint8)
    found = scorer.score([(0, 7, 15), (1, 0, 1)], block, other)
    assert isinstance(found, tuple)
    scores, seconds = found
    assert [frames.shape for frames in shapes] == [(4, 2, 4, 4, 3)] * 3
    assert not shapes[2][1:].any(), "the rest of the last batch is zero"
    assert scores.shape == (9, CLASSES) and seconds > 0
    assert np.allclose(scores[:, 0] * 300, [7, 8, 9, 10, 11, 12, 13, 14, 99])


def test_lanes_score_side_by_side_and_in_order() -> None:
    both = threading.Barrier(2, timeout=20)

    class Meeting(FakeTask):
        def score(self, model: str, frames: np.ndarray) -> np.ndarray:
            both.wait()  # breaks unless two batches are in here at once
            return super().score(model, frames)

    scorer = Scorer(Meeting(), 2, 2)
    assert scorer.load() is None
    block = np.arange(7, dtype=np.uint8).repeat(2 * 4 * 4 * 3).reshape(7, 1, 2, 4, 4, 3)
    found = scorer.score([(0, 0, 7)], block)
    assert isinstance(found, tuple) and np.allclose(found[0][:, 0] * 300, range(7))


def test_a_model_that_fails_says_so() -> None:
    assert getattr(Scorer(FakeTask(trouble="load"), 4, 1).load(), "message", "") == "the weights do not fit"
    scorer = Scorer(FakeTask(trouble="fail"), 4, 1)
    failure = scorer.score([(0, 0, 1)], np.zeros((1, 1, 2, 4, 4, 3), np.uint8))
    assert isinstance(failure, Failure) and failure.kind == "RuntimeError" and "score" in failure.trace


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no such setting")
def test_models_keep_the_memory_they_free() -> None:
    code = """
import resource
import numpy as np
from engine.fakes import FakeTask
from vidact.engine.worker import Scorer

class Layers(FakeTask):
    def score(self, model, frames):
        layers = [b"x" * (20 << 20) for _ in range(4)]
        return np.zeros((len(frames), len(layers)), np.float32)

scorer = Scorer(Layers(), 4, 1)
frames = np.zeros((4, 1, 2, 4, 4, 3), np.uint8)
scorer.score([(0, 0, 4)], frames)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    scorer.score([(0, 0, 4)], frames)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert int(done.stdout) < 1000, "80 MB are 20,000 pages each time"
