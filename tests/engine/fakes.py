"""A task without videos: rows made of numpy, scores that tell whose row they are, and files whose names misbehave.

A file's name says what it holds, in words between dots: ``a.rows3.txt`` has 3 rows (else as many as bytes),
``b.segfault.txt`` kills its decoder while it is read. Importable by worker processes.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vidact.errors import ModelError, VideoError
from vidact.records import Chunk, Video, VideoFacts

CLASSES = 5


@dataclass(frozen=True)
class Outline:
    video: str
    rows: int
    facts: VideoFacts


@dataclass(frozen=True)
class Opened:
    outline: Outline
    chunks: tuple[Chunk, ...]
    words: tuple[str, ...]


@dataclass(frozen=True)
class Row:
    row: int
    frames: np.ndarray


class Reader:
    def __init__(self, task: FakeTask, opened: Opened, chunk: Chunk) -> None:
        self.task, self.opened, self.chunk = task, opened, chunk
        self.decoder, self.damaged = "fake", "scratched" in opened.words

    def __iter__(self) -> Iterator[Row | None]:
        opened, outline = self.opened, self.opened.outline
        yield None
        if "stumble" in opened.words:  # rows of another decoder, which count for nothing
            for row in range(self.chunk.first, self.chunk.last - 1):
                yield Row(row, np.full((self.task.views, *self.task.item), 255, np.uint8))
            yield Row(-1, np.zeros(0, np.uint8))
        for row in range(self.chunk.first, self.chunk.last):
            misbehave(opened.words, row)
            if "hole" in opened.words and row == 1:
                continue
            seed = zlib.crc32(outline.video.encode()) + row
            frames = np.full((self.task.views, *self.task.item), seed % 251, np.uint8)
            frames += np.arange(self.task.views, dtype=np.uint8).reshape(-1, *[1] * len(self.task.item))
            yield Row(row, frames)


def misbehave(words: tuple[str, ...], row: int) -> None:
    """Do what the file's name says, at its first row."""
    if "slow" in words:
        time.sleep(0.2)
    if row:
        return
    if "segfault" in words:
        ctypes.string_at(0)
    if "spin" in words:  # one C call that holds the GIL for hours and answers no signal
        re.match(r"(a+)+$", "a" * 60 + "b")
    if "raise" in words:
        raise KeyError("a bug")
    if "broken" in words:
        raise VideoError("Undecodable", "nothing in it can be decoded")
    if "once" in words:
        mark = Path(os.environ["FAKE_MARKS"], "-".join(words))
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), 9)


@dataclass(frozen=True)
class FakeTask:
    """``chunk_rows``: longer videos are cut. ``trouble``: what the model does; see ``load`` and ``score``."""

    item: tuple[int, ...] = (2, 4, 4, 3)
    views: int = 1
    chunk_rows: int = 10**9
    trouble: str = ""
    model_seconds: float = 0.0
    finisher: str = "decoder"

    def open(self, video: Video) -> Iterator[Opened | None]:
        yield None  # a sign of life
        words = tuple(os.path.basename(video.path).split("."))
        if "closed" in words:
            raise VideoError("NoVideoStream", "there is no picture in it", stage="index")
        if "stored" in words:  # nothing to read: what finish needs is there already
            facts = VideoFacts(1.0, 0.0, 25.0, 4, 4, 0, "fake", 25)
            yield Opened(Outline(video.video, 0, facts), (), words)
            return
        counts = [int(word[4:]) for word in words if re.fullmatch(r"rows\d+", word)]
        rows = counts[0] if counts else os.path.getsize(video.path)
        cuts = range(0, rows, self.chunk_rows)
        chunks = tuple(Chunk(n, first, min(rows, first + self.chunk_rows), 0.0) for n, first in enumerate(cuts))
        facts = VideoFacts(float(rows), 0.0, 25.0, 4, 4, 0, "fake", 25 * rows)
        yield Opened(Outline(video.video, rows, facts), chunks, words)

    def read(self, opened: Opened, chunk: Chunk, threads: int) -> Any:
        return contextlib.nullcontext(Reader(self, opened, chunk))

    def load(self) -> str:
        if self.trouble == "load":
            raise ModelError("the weights do not fit")
        return "model"

    def score(self, model: str, frames: np.ndarray) -> np.ndarray:
        if self.model_seconds:
            time.sleep(self.model_seconds)
        if self.trouble == "fail":
            raise RuntimeError("shapes do not match")
        if self.trouble == "memory":
            raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
        if self.trouble == "die":
            os.kill(os.getpid(), 9)
        if self.trouble.startswith("once:") and not os.path.exists(self.trouble[5:]):
            Path(self.trouble[5:]).touch()
            os.kill(os.getpid(), 9)
        first = frames.reshape(len(frames), -1)[:, 0].astype(np.float32)
        return (first[:, None] + np.arange(CLASSES, dtype=np.float32)) / np.float32(300)

    def finish(self, outline: Outline, scores: np.ndarray, present: np.ndarray, model: Any = None) -> dict[str, Any]:
        if "stored" in outline.video.split("."):
            scores, present = np.zeros((1, 1, CLASSES), np.float32), np.ones(1, bool)
        if "deadly" in outline.video.split("."):
            os.kill(os.getpid(), 9)
        if self.finisher == "scorer":
            assert model == "model"
        rows = np.flatnonzero(present)
        return {
            "video": [outline.video] * len(rows),
            "clip": rows.astype(np.int32),
            "start": rows.astype(np.float64),
            "end": rows + 1.0,
            "rank": np.ones(len(rows), np.int32),
            "label_id": scores[rows].mean(axis=1).argmax(axis=1).astype(np.int32),
            "label": ["fake"] * len(rows),
            "score": scores[rows].mean(axis=1).max(axis=1),
            "padded": np.zeros(len(rows), bool),
        }


def videos(folder: Path, names: list[str], *, touch: bool = True) -> list[Video]:
    """Files of these names, made if ``touch``, as ``find`` would give them."""
    found = []
    for name in names:
        path = folder / name
        if touch:
            path.write_bytes(b"x")
        stat = path.stat()
        found.append(Video(name, str(path), stat.st_size, stat.st_mtime_ns))
    return found
