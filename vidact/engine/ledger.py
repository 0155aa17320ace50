"""The driver's books: which videos are on their way, which of their rows are scored, and what waits for a model.

Pure bookkeeping; knows neither processes nor the order in which answers come.
"""

from __future__ import annotations

import os
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vidact.engine.worker import Failure, Seen, Stored, Unit
from vidact.records import Chunk, Columns, Outcome, Video

GROUP_VIDEOS = 32
GROUP_BYTES = 24 << 20
IN_MEMORY = 64 << 20
"""Bytes of scores of one video kept in memory; more go to a temporary file."""


class Entry:
    """One video on its way: what is known of it, and the scores of its rows as they come in."""

    __slots__ = (
        "attempts", "closed", "damaged", "deaths", "decoders", "error", "fatal", "left", "outline", "present", "scores",
        "seconds_decode", "seconds_model", "stored", "video",
    )  # fmt: skip

    def __init__(self, video: Video, attempts: int) -> None:
        self.video, self.attempts = video, attempts
        self.outline: Any = None
        self.damaged = False
        self.left = 1  # pieces not complete
        self.closed = False  # its outcome is known, or being made
        self.deaths = 0  # processes it killed while alone
        self.fatal = 0  # calls of finish it was in that killed their process
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
        if not self.outline.rows:
            return self.outline, None, np.zeros(0, bool)
        if self.scores is None or self.present is None:
            raise ValueError(f"{self.video.video}: no row was scored")
        shape = (self.outline.rows, views, *self.scores.shape[1:])
        present = np.asarray(self.present.reshape(-1, views).all(axis=1))
        return self.outline, Stored(self.stored.path, shape) if self.stored else self.scores.reshape(shape), present

    def outcome(self, failure: Failure | None, details: Columns | None = None) -> Outcome:
        """The row of the table ``videos`` and the detail rows. Closes the entry."""
        rows = self.outline.rows if self.outline is not None else 0
        clips, status = 0, "failed"
        if failure is None and not rows:  # its rows were there already
            status = "ok"
            missing, of = getattr(self.outline, "missing", (0, 0))
            if missing:
                status, failure = "partial", self._damage(missing, of)
        elif failure is None and self.present is not None:
            clips = int(self.present.reshape(rows, -1).all(axis=1).sum())
            status = "ok"
            if clips < rows or self.damaged:
                status, failure = "partial", self._damage(rows - clips, rows)
        self.closed = True
        self.reset()
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

    def reset(self) -> None:
        """Forget the scores and their file."""
        self.scores = self.present = None
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


class Ledger:
    """Every video of a run: what is to be read next, what is on its way, what is through.

    ``finished`` are videos whose rows are all scored, ``outcomes`` those that are through and not yet told.
    """

    def __init__(self, videos: Sequence[Video], attempts: Mapping[str, int], decoders: int) -> None:
        self.finished: list[Entry] = []
        self.outcomes: list[Outcome] = []
        self.jobs: deque[Job] = deque()  # chunks and second attempts go before new groups
        self._groups = groups(videos, attempts, decoders)
        self._number = 0

    def peek(self) -> Job | None:
        """The next job, left in its place."""
        while self.jobs and all(piece.entry.closed for piece in self.jobs[0].pieces):
            self.jobs.popleft()
        if not self.jobs:
            group = next(self._groups, None)
            if group is not None:
                self.put([group])
        return self.jobs[0] if self.jobs else None

    def put(self, pieces: Iterable[list[Piece]], *, alone: bool = False) -> None:
        """New jobs, each of some pieces, to be done next and in this order."""
        jobs = [Job(self._number + number, group, alone) for number, group in enumerate(pieces)]
        self._number += len(jobs)
        self.jobs.extendleft(reversed(jobs))

    def seen(self, piece: Piece, seen: Seen) -> None:
        """A video was opened; a long one is now the chunks it is cut into."""
        entry = piece.entry
        entry.reset()  # an earlier attempt may have read another file of this name
        entry.video, entry.outline, entry.left = seen.video, seen.outline, max(1, len(seen.chunks))
        if len(seen.chunks) > 1:
            piece.counted = True
            self.put([Piece(entry, chunk)] for chunk in seen.chunks)
        elif not seen.chunks:
            self.ended(piece)

    def ended(self, piece: Piece, decoder: str | None = None, damaged: bool = False) -> None:
        """A piece was read to its end."""
        piece.ended = True
        piece.entry.damaged |= damaged
        if decoder is not None:
            piece.entry.decoders.add(decoder)
        self.check(piece)

    def check(self, piece: Piece) -> None:
        """If that was the last row of the last piece of its video, the video is finished."""
        entry = piece.entry
        if entry.closed or not piece.complete():
            return
        entry.left -= 1
        if entry.left:
            return
        if entry.outline.rows and (entry.present is None or not entry.present.any()):
            self.fail(entry, entry.error or Failure("Undecodable", "no clip could be decoded", "decode"))
        else:
            entry.closed = True
            self.finished.append(entry)

    def take_finished(self, most: int) -> list[Entry]:
        """Videos to finish in one call: at most so many, and one alone that was in a call its worker died of."""
        alone = next((entry for entry in self.finished if entry.fatal), None)
        taken = self.finished[:most] if alone is None else [alone]
        self.finished = [entry for entry in self.finished if entry not in taken]
        return taken

    def finish_again(self, entries: Sequence[Entry], reason: str) -> None:
        """The model's process died with these in a call of finish: each is tried once more, alone."""
        for entry in entries:
            entry.fatal += 1
            if entry.fatal > 1:
                self.outcomes.append(entry.outcome(Failure("FinishDied", f"its worker died ({reason})", "finish")))
            else:
                self.finished.append(entry)

    def failed(self, piece: Piece, failure: Failure) -> None:
        """A piece could not be read. One chunk of many is forgiven: the video may be partial."""
        if piece.chunk is not None and failure.kind == "Undecodable":
            piece.entry.error = piece.entry.error or failure
            self.ended(piece)
        else:
            self.fail(piece.entry, failure)

    def fail(self, entry: Entry, failure: Failure) -> None:
        """A video has failed, for good as far as this run goes."""
        if not entry.closed:
            self.outcomes.append(entry.outcome(failure))

    def again(self, pieces: Iterable[Piece]) -> None:
        """Read pieces once more; what was read of them counts no longer."""
        for piece in pieces:
            if not (piece.entry.closed or piece.counted):
                piece.counted = True
                self.put([[Piece(piece.entry, piece.chunk)]])

    def anew(self, piece: Piece) -> Piece:
        """What stands for a whole video from now on, of which its decoder gives every row once more."""
        piece.counted = True
        if not piece.entry.closed:
            piece.entry.reset()
        return Piece(piece.entry, piece.chunk)

    def died(self, job: Job, kind: str, reason: str) -> None:
        """A decoder died: what it had is tried again, each in a decoder of its own; twice alone is enough."""
        for piece in job.pieces:
            entry = piece.entry
            if entry.closed or piece.ended or piece.counted:
                continue
            piece.counted = True
            entry.deaths += job.alone
            if entry.deaths >= 2:
                told = reason if kind == "DecoderHung" else f"died ({reason})"
                self.fail(entry, Failure(kind, f"its decoder {told}, twice, with nothing else in it", "decode"))
                continue
            entry.attempts += job.alone
            self.put([[Piece(entry, piece.chunk)]], alone=True)
