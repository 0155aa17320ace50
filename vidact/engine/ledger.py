"""The driver's books: which videos are on their way, which of their rows are scored, and what waits for a model.

Pure bookkeeping; knows neither processes nor the order in which answers come.
"""

from __future__ import annotations

import os
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import numpy as np

from vidact.engine.worker import Failure, Report, Stored, Unit
from vidact.records import Chunk, Columns, Outcome, Video

GROUP_VIDEOS = 32
GROUP_BYTES = 24 << 20
IN_MEMORY = 64 << 20
"""Bytes of scores of one video kept in memory; more go to a temporary file."""


class Entry:
    """One video on its way: what is known of it, and the scores of its rows as they come in."""

    __slots__ = (
        "attempts", "closed", "damaged", "deaths", "decoders", "error", "left", "outline", "present", "scores",
        "seconds_decode", "seconds_model", "stored", "video",
    )  # fmt: skip

    def __init__(self, video: Video, attempts: int) -> None:
        self.video, self.attempts = video, attempts
        self.outline: Any = None
        self.damaged = False
        self.left = 1  # pieces not complete
        self.closed = False  # its outcome is known, or being made
        self.deaths = 0  # processes it killed while alone
        self.error: Failure | None = None  # of a chunk that gave nothing
        self.scores: np.ndarray[Any, Any] | None = None
        self.present: np.ndarray[Any, Any] | None = None
        self.stored: Stored | None = None
        self.seconds_decode = self.seconds_model = 0.0
        self.decoders: set[str] = set()

    def put(self, items: np.ndarray[Any, Any], scores: np.ndarray[Any, Any], views: int, folder: str | None) -> None:
        """Scores (n, …) of the items with these numbers; an item is row × views + view."""
        if self.scores is None or self.present is None:
            shape = (self.outline.rows * views, *scores.shape[1:])
            self.scores, self.stored = _allocate(shape, folder)
            self.present = np.zeros(len(self.scores), bool)
        self.scores[items] = scores
        self.present[items] = True

    def job(self, views: int) -> tuple[Any, Any, np.ndarray[Any, Any]]:
        """What ``finish`` gets: outline, scores (rows, views, …) and which rows are there (rows,)."""
        if self.scores is None or self.present is None:
            raise ValueError(f"{self.video.video}: no row was scored")
        shape = (self.outline.rows, views, *self.scores.shape[1:])
        present = np.asarray(self.present.reshape(-1, views).all(axis=1))
        return self.outline, Stored(self.stored.path, shape) if self.stored else self.scores.reshape(shape), present

    def outcome(self, failure: Failure | None, details: Columns | None = None) -> Outcome:
        """The row of the table ``videos`` and the detail rows. Closes the entry and drops its scores."""
        rows = self.outline.rows if self.outline is not None else 0
        clips, status = 0, "failed"
        if failure is None and self.present is not None:
            clips = int(self.present.reshape(rows, -1).all(axis=1).sum())
            status = "ok"
            if clips < rows or self.damaged:
                status, failure = "partial", self._damage(rows - clips, rows)
        self.drop()
        return Outcome(self.video, self._row(status, failure, clips), details or {})

    def _damage(self, missing: int, rows: int) -> Failure:
        kind, more = (self.error.kind, ": " + self.error.message) if self.error else ("Damaged", "")
        told = f"{missing} of {rows} clips could not be decoded" if missing else "parts of it could not be decoded"
        return Failure(kind, told + more, "decode")

    def _row(self, status: str, failure: Failure | None, clips: int) -> dict[str, Any]:
        facts = self.outline.facts if self.outline is not None else None
        return {
            "video": self.video.video,
            "size": self.video.size,
            "mtime_ns": self.video.mtime_ns,
            "status": status,
            "error": failure.kind if failure else None,
            "error_message": failure.message if failure else None,
            "stage": failure.stage if failure else None,
            "attempts": self.attempts,
            "duration": facts.duration if facts else None,
            "start_time": facts.start_time if facts else None,
            "fps": facts.fps if facts else None,
            "width": facts.width if facts else None,
            "height": facts.height if facts else None,
            "rotation": facts.rotation if facts else None,
            "codec": facts.codec if facts else None,
            "frames": facts.frames if facts else None,
            "clips": clips,
            "decoder": "+".join(sorted(self.decoders)) or None,
            "seconds_decode": round(self.seconds_decode, 4),
            "seconds_model": round(self.seconds_model, 4),
        }

    def drop(self) -> None:
        """Forget the scores and their file."""
        self.closed, self.scores, self.present = True, None, None
        if self.stored is not None:
            os.unlink(self.stored.path)
            self.stored = None


def _allocate(shape: tuple[int, ...], folder: str | None) -> tuple[np.ndarray[Any, Any], Stored | None]:
    if folder is None or int(np.prod(shape)) * 4 <= IN_MEMORY:
        return np.zeros(shape, np.float32), None
    handle, path = tempfile.mkstemp(suffix=".scores", dir=folder)
    os.close(handle)
    return np.memmap(path, np.float32, "w+", shape=shape), Stored(path, shape)


@dataclass(eq=False, slots=True)
class Piece:
    """A stretch of one video given to a decoder: the whole of it, or one chunk. Counts items."""

    entry: Entry
    chunk: Chunk | None = None
    given: int = 0
    scored: int = 0
    ended: bool = False
    counted: bool = False

    def complete(self) -> bool:
        """True once, when everything it gave is scored and nothing more will come."""
        if self.counted or not self.ended or self.scored < self.given:
            return False
        self.counted = True
        return True


@dataclass(eq=False, slots=True)
class Job:
    """Pieces that one decoder reads in one go. ``alone``: nothing else may be in that decoder meanwhile."""

    number: int
    pieces: list[Piece]
    alone: bool = False

    def unit(self) -> Unit:
        """The same as a decoder sees it."""
        return Unit(self.number, tuple(piece.entry.video for piece in self.pieces), self.pieces[0].chunk)

    def size(self) -> int:
        """Bytes of its largest video."""
        return max((piece.entry.video.size or 0) for piece in self.pieces)


def groups(videos: Sequence[Video], attempts: Mapping[str, int], decoders: int) -> Iterator[list[Piece]]:
    """Small videos together, up to 32 or 24 MB, and few enough that every decoder gets several groups."""
    most = max(1, min(GROUP_VIDEOS, -(-len(videos) // (4 * decoders))))
    group: list[Piece] = []
    taken = 0
    for video in videos:
        size = video.size or 0
        if group and (len(group) == most or taken + size > GROUP_BYTES):
            yield group
            group, taken = [], 0
        group.append(Piece(Entry(video, attempts.get(video.video, 0) + 1)))
        taken += size
    if group:
        yield group


@dataclass(eq=False, slots=True)
class Held:
    """A block of pictures that waits for a model. ``items``: item numbers; ``runs``: whose (piece, first, last)."""

    ref: Any
    items: np.ndarray[Any, Any]
    runs: list[tuple[Piece, int, int]]
    size: int
    left: int = field(init=False)

    def __post_init__(self) -> None:
        self.left = len(self.items)

    @classmethod
    def of(cls, report: Report, pieces: Sequence[Piece], views: int, item_bytes: int, ref: Any) -> Held:
        """From what a decoder reported with it; counts the items as given."""
        rows = np.asarray(report.rows, np.int64)
        items = (rows[:, None] * views + np.arange(views)).reshape(-1)
        runs, first = [], 0
        for slot, same in groupby(report.slots):
            last = first + sum(views for _ in same)
            runs.append((pieces[slot], first, last))
            pieces[slot].given += last - first
            first = last
        return cls(ref, items, runs, len(items) * item_bytes)

    def between(self, first: int, last: int) -> Iterator[tuple[Piece, int, int]]:
        """The runs, cut to the items ``first`` to ``last`` (exclusive)."""
        for piece, start, stop in self.runs:
            if start < last and stop > first:
                yield piece, max(start, first), min(stop, last)


Segment = tuple[Held, int, int]


class Queue:
    """Items that wait for a model, in the order they came. Batches are filled across blocks, and so across videos."""

    def __init__(self) -> None:
        self.items = 0
        self._segments: deque[Segment] = deque()

    def push(self, held: Held) -> None:
        self._segments.append((held, 0, len(held.items)))
        self.items += len(held.items)

    def take(self, count: int) -> list[Segment]:
        """The next ``count`` items (fewer if there are fewer)."""
        taken: list[Segment] = []
        while count and self._segments:
            held, first, last = self._segments.popleft()
            middle = min(last, first + count)
            if middle < last:
                self._segments.appendleft((held, middle, last))
            taken.append((held, first, middle))
            count -= middle - first
            self.items -= middle - first
        return taken

    def give_back(self, segments: Iterable[Segment]) -> None:
        """Put items back in front: their model died."""
        for segment in reversed(list(segments)):
            self._segments.appendleft(segment)
            self.items += segment[2] - segment[1]

    def discard(self, held: Held) -> int:
        """Forget what waits of a block that was lost; the number of items."""
        kept = deque(segment for segment in self._segments if segment[0] is not held)
        gone = sum(last - first for other, first, last in self._segments if other is held)
        self._segments, self.items = kept, self.items - gone
        return gone
