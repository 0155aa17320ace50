"""What runs inside a decode process and inside a model process: plain classes, usable in or out of Ray.

They know how to read units and score blocks, never where they run, who asks or what is committed. Whatever goes wrong
with one video comes back as data (``Failure``); only a dying process is an error of the pool.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import time
import traceback
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import partial
from queue import SimpleQueue
from typing import Any, Protocol

import numpy as np

from vidact.errors import RunError, VidactError, VideoError
from vidact.records import Chunk, Columns, Video, VideoFacts

HEARTBEAT = 1.0
"""Seconds after which a decoder answers with what it has, so that slow and hung can be told apart."""
OPENED = 2
"""Opened videos a decoder keeps, so that the chunks of one long video do not index it again and again."""

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Parameters of ``mallopt``, from malloc.h."""


class Outline(Protocol):
    """What the driver keeps of an open video: small, and all that ``finish`` needs besides the scores."""

    @property
    def facts(self) -> VideoFacts: ...
    @property
    def rows(self) -> int: ...


class Opened(Protocol):
    """An open video in a decode process. Never leaves it."""

    @property
    def outline(self) -> Any: ...
    @property
    def chunks(self) -> Sequence[Chunk]: ...


class Row(Protocol):
    """One row decoded: its number and its pictures, uint8 (views, T, h, w, 3)."""

    @property
    def row(self) -> int: ...
    @property
    def frames(self) -> np.ndarray[Any, np.dtype[np.uint8]]: ...


class Reader(Protocol):
    """Gives rows in ascending order, None now and then while there is none; what cannot be decoded is left out.

    A row with a negative number says that what was given so far is void and that it begins again. Afterwards
    ``decoder`` names what gave the pictures, and ``damaged`` says whether this stretch is damaged.
    """

    decoder: str
    damaged: bool

    def __iter__(self) -> Iterator[Row | None]: ...


class Task(Protocol):
    """What to do with one video. Picklable and cheap; ``item`` is the shape (T, h, w, 3) of one model input.

    ``open`` returns the open video, or yields None now and then and the open video last. ``finisher`` is the kind of
    worker that calls ``finish``: ``decoder``, or ``scorer`` where it needs the ``model`` as well. A video whose outline
    has no rows is finished without being read, with None for scores. ``score`` and ``finish`` take one thread, and
    several threads may call them at once.
    """

    @property
    def item(self) -> tuple[int, ...]: ...
    @property
    def views(self) -> int: ...
    @property
    def finisher(self) -> str: ...
    def open(self, video: Video) -> Opened | Iterator[Opened | None]: ...
    def read(self, opened: Any, chunk: Chunk, threads: int) -> AbstractContextManager[Any]: ...
    def load(self) -> Any: ...
    def score(self, model: Any, frames: np.ndarray[Any, np.dtype[np.uint8]]) -> np.ndarray[Any, Any]: ...
    def finish(self, outline: Any, scores: Any, present: Any, model: Any = None) -> Columns: ...


@dataclass(frozen=True, slots=True)
class Unit:
    """Work for one decoder: a few small videos one after the other, or one chunk of a long one."""

    number: int
    videos: tuple[Video, ...]
    chunk: Chunk | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong, as data: the columns ``error``, ``error_message`` and ``stage``."""

    kind: str
    message: str
    stage: str
    trace: str = ""

    @classmethod
    def of(cls, error: Exception, stage: str) -> Failure:
        """A VideoError keeps its own kind and stage; any other exception is named by its class."""
        if isinstance(error, VideoError):
            return cls(error.kind, error.message, error.stage)
        message = error.message if isinstance(error, VidactError) else str(error) or type(error).__name__
        return cls(type(error).__name__, message, stage, traceback.format_exc())


@dataclass(frozen=True, slots=True)
class Seen:
    """A video was opened: as it is on disk now, its outline and, when it is long, the chunks to hand out."""

    slot: int
    video: Video
    outline: Any
    chunks: tuple[Chunk, ...]


@dataclass(slots=True)
class Report:
    """What one ``next`` tells the driver. ``slots`` and ``rows`` say whose row stands at each place of the block;
    videos in ``again`` begin anew behind it."""

    unit: int
    seen: list[Seen] = field(default_factory=list)
    failed: list[tuple[int, Failure]] = field(default_factory=list)
    again: list[int] = field(default_factory=list)
    ended: list[tuple[int, str, bool]] = field(default_factory=list)
    seconds: dict[int, float] = field(default_factory=dict)
    slots: list[int] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    done: bool = False


Block = np.ndarray[Any, np.dtype[np.uint8]]
Step = tuple[int, Row | None]
Span = tuple[int, int, int]
"""Items of a block: its number, the first, and the one after the last."""


class Decoder:
    """Reads units, one after the other, a block of rows at a time. The pictures never leave as anything but uint8."""

    def __init__(self, task: Task, block_rows: int, threads: int, *, own_process: bool = True) -> None:
        if own_process:
            # Before any library that looks for a GPU: a decoder holds no device memory.
            os.environ["CUDA_VISIBLE_DEVICES"] = ""
        self._task, self._block_rows, self._threads = task, block_rows, threads
        self._waiting: deque[Unit] = deque()
        self._steps: Iterator[Step] | None = None
        self._report = Report(-1)
        self._opened: OrderedDict[tuple[object, ...], Any] = OrderedDict()

    def hello(self) -> int:
        """The process id, so that the driver can kill it whatever it is doing."""
        return os.getpid()

    def next(self, unit: Unit | None = None) -> tuple[Report | None, Block | None]:
        """Take a unit if one is given, then read on: until the block is full, the unit ends or a heartbeat is due.

        None, None when there is nothing to read. The block is uint8 (rows, views, T, h, w, 3).
        """
        if unit is not None:
            self._waiting.append(unit)
        if self._steps is None:
            if not self._waiting:
                return None, None
            unit = self._waiting.popleft()
            self._report, self._steps = Report(unit.number), self._read(unit)
        report = self._report
        block = self._fill(report, self._steps)
        self._report = Report(report.unit)
        if report.done:
            self._steps = None
        return report, block

    def _fill(self, report: Report, steps: Iterator[Step]) -> Block | None:
        block: Block | None = None
        started = clock = time.monotonic()
        for slot, row in steps:
            if row is not None and row.row < 0:
                report.again.append(slot)
                break
            if row is not None:
                if block is None:
                    block = np.empty((self._block_rows, *row.frames.shape), np.uint8)
                block[len(report.rows)] = row.frames
                report.slots.append(slot)
                report.rows.append(row.row)
            now = time.monotonic()
            report.seconds[slot] = report.seconds.get(slot, 0.0) + now - clock
            clock = now
            if len(report.rows) == self._block_rows or now - started > HEARTBEAT:
                break
        else:
            report.done = True
        return None if block is None else block[: len(report.rows)]

    def _read(self, unit: Unit) -> Iterator[Step]:
        """Every video of the unit in turn. Notes what happens in the current report; yields after each step."""
        for slot, video in enumerate(unit.videos):
            try:
                again = unit.chunk is not None
                video = _stat_of(video, again)
                opened: Any = None
                for step in self._open(video):
                    opened = step
                    yield slot, None
                chunks = tuple(opened.chunks)
                if not again:
                    self._report.seen.append(Seen(slot, video, opened.outline, chunks))
                if again or len(chunks) == 1:
                    yield slot, None
                    with self._task.read(opened, unit.chunk or chunks[0], self._threads) as reader:
                        for row in reader:
                            yield slot, row
                    _unchanged(video)
                    self._report.ended.append((slot, reader.decoder, reader.damaged))
            except Exception as error:  # one video: whatever it is, it becomes a row
                self._report.failed.append((slot, Failure.of(error, "decode")))
            yield slot, None

    def _open(self, video: Video) -> Iterator[Any]:
        """None now and then while a large file is indexed; the open video last. Long ones are kept for their chunks."""
        key = (video.path, video.size, video.mtime_ns)
        if key in self._opened:
            self._opened.move_to_end(key)
            yield self._opened[key]
            return
        found = self._task.open(video)
        opened: Any = found
        for step in found if isinstance(found, Iterator) else (found,):
            opened = step
            yield step
        if len(opened.chunks) > 1:
            self._opened[key] = opened
            while len(self._opened) > OPENED:
                self._opened.popitem(last=False)

    def finish(self, jobs: Sequence[tuple[Any, Any, np.ndarray[Any, Any]]]) -> bytes:
        """Scores → rows of the detail table, for several videos: a pickled list of Columns, Failure or RunError.

        Pickled here because thousands of small arrays cross a process border far cheaper as one piece.
        """
        return pickle.dumps([_finished(self._task, *job) for job in jobs], protocol=5)


def _finished(task: Task, outline: Any, scores: Any, present: Any, model: Any = None) -> Columns | Failure | RunError:
    try:
        if isinstance(scores, Stored):
            scores = np.memmap(scores.path, np.float32, "r", shape=scores.shape)
        return task.finish(outline, scores, present, model)
    except RunError as error:  # a disk that is full is full for every video
        return error
    except Exception as error:  # one video: whatever it is, it becomes a row
        return Failure.of(error, "finish")


@dataclass(frozen=True, slots=True)
class Stored:
    """Scores too large to send: a file of float32 both processes can map."""

    path: str
    shape: tuple[int, ...]


def _stat_of(video: Video, again: bool) -> Video:
    """The video as it is on disk now; ``again``: it must be as it was when it was cut into chunks."""
    if video.error is not None:
        raise VideoError(*video.error, stage="find")
    size, mtime_ns = _stat(video)
    if again and (size, mtime_ns) != (video.size, video.mtime_ns):
        raise _changed(video)
    return replace(video, size=size, mtime_ns=mtime_ns)


def _stat(video: Video) -> tuple[int, int]:
    try:
        found = os.stat(video.path)
    except OSError as error:
        kind = "NotFound" if isinstance(error, FileNotFoundError) else "NotReadable"
        raise VideoError(kind, f"{video.video}: {error.strerror or error}", stage="index") from error
    return found.st_size, found.st_mtime_ns


def _unchanged(video: Video) -> None:
    if _stat(video) != (video.size, video.mtime_ns):
        raise _changed(video)


def _changed(video: Video) -> VideoError:
    return VideoError("StillChanging", f"{video.video} was changed while it was read", stage="decode")


def _keep_freed_memory() -> None:
    """Let the C library keep what a model frees after each layer: asking the system anew cost a third of the CPU time.

    Without it a batch may take thousands of page faults, or none, as the heap happens to lie. glibc only.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library
        return
    mallopt(M_MMAP_THRESHOLD, 32 << 20)  # the most it takes
    mallopt(M_TRIM_THRESHOLD, 1 << 30)


class Scorer:
    """Holds a model and calls it with batches of one shape only, so that a score never depends on its neighbours.

    ``lanes`` batches are scored at once, each by one thread: threads that share one batch wait for each other after
    every layer (two of them scored 1.05 times as much as one, two lanes 1.9 times), and round as their number is.
    """

    def __init__(self, task: Task, batch: int, lanes: int) -> None:
        _keep_freed_memory()
        self._task, self._batch = task, batch
        self._model: Any = None
        self._threads = ThreadPoolExecutor(lanes) if lanes > 1 else None
        self._frames: SimpleQueue[Block] = SimpleQueue()  # where a batch is put together, one for each lane
        for _ in range(lanes):
            self._frames.put(np.zeros((batch, *task.item), np.uint8))

    def load(self) -> VidactError | Failure | None:
        """Load the model, once. None when it is ready."""
        try:
            self._model = self._task.load()
        except VidactError as error:
            return error
        except Exception as error:  # told to the driver, which ends the run
            return Failure.of(error, "model")
        return None

    def score(
        self, pieces: Sequence[Span], *blocks: Block
    ) -> tuple[np.ndarray[Any, Any], float] | VidactError | Failure:
        """Score items ``first`` to ``last`` of block ``number``, in turn; float32 (items, …) and the seconds it took.

        An item is one view of one row. The last batch is filled up with zeros.
        """
        started = time.monotonic()
        try:
            scores = self._side_by_side(partial(self._score, blocks), list(self._batches(pieces)))
        except VidactError as error:
            return error
        except Exception as error:  # a model fails for every batch alike: told to the driver, which ends the run
            return Failure.of(error, "model")
        return np.concatenate(scores), time.monotonic() - started

    def finish(self, jobs: Sequence[tuple[Any, Any, np.ndarray[Any, Any]]]) -> bytes:
        """As a decoder's, with the model at hand."""

        def one(job: tuple[Any, Any, np.ndarray[Any, Any]]) -> Columns | Failure | RunError:
            return _finished(self._task, *job, self._model)

        return pickle.dumps(self._side_by_side(one, jobs), protocol=5)

    def _side_by_side(self, function: Callable[[Any], Any], arguments: Sequence[Any]) -> list[Any]:
        """As ``map``, one call in each lane at a time."""
        return list((self._threads.map if self._threads and len(arguments) > 1 else map)(function, arguments))

    def _score(self, blocks: Sequence[Block], spans: Sequence[Span]) -> np.ndarray[Any, Any]:
        """One batch."""
        frames, taken = self._frames.get(), 0
        try:
            for number, first, last in spans:
                items = blocks[number].reshape(-1, *frames.shape[1:])
                frames[taken : taken + last - first] = items[first:last]
                taken += last - first
            frames[taken:] = 0
            return np.array(self._task.score(self._model, frames)[:taken], np.float32)
        finally:
            self._frames.put(frames)

    def _batches(self, spans: Iterable[Span]) -> Iterator[list[Span]]:
        """Cut into batches; the last may not be full."""
        batch: list[Span] = []
        room = self._batch
        for number, first, last in spans:
            while first < last:
                count = min(last - first, room)
                batch.append((number, first, first + count))
                first, room = first + count, room - count
                if not room:
                    yield batch
                    batch, room = [], self._batch
        if batch:
            yield batch
