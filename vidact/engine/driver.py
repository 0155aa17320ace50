"""The driver: hands units to decoders, batches to models, scores to ``finish``, and yields one Outcome per video.

Bounded everywhere: two calls per worker, a fixed number of bytes of pictures on their way, a fixed number of deaths. It
looks at no pixel and computes no score; a video costs it a few dictionary entries. Knows nothing of files or commits.
"""

from __future__ import annotations

import pickle
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vidact.engine.faults import Deaths, fatal
from vidact.engine.ledger import Entry, Held, Job, Piece, Queue, Segment, groups
from vidact.engine.local import BlocksLost, Call, Pool, Worker, WorkerDied
from vidact.engine.worker import Failure, Report
from vidact.errors import RunError, VidactError
from vidact.records import Outcome, Video

CALLS = 2  # per worker: one at work, one waiting, so that nobody waits for the driver
TICK = 0.5  # seconds between two looks at deadlines and at stop()
DEADLINE = 60.0  # seconds a decoder may be silent; it sends a heartbeat every second while it reads
SLOWEST = 20e6  # bytes per second: opening a file may take its size by this, on top
MODEL_DEADLINE = 1800.0  # seconds one call of a model may take
START = 300.0  # seconds a process may take to come up and load its model
DRAIN = 5.0  # seconds to finish what is on its way once stop() says so
LINGER = 2.0  # seconds rows wait for a full batch while a model has nothing to do
CALL_SECONDS = 0.25  # of model time in one call: fast models get several batches at once
CALL_BATCHES = 8
JOBS = 64  # videos in one call of finish


@dataclass(eq=False, slots=True)
class Hand:
    """A worker as the driver sees it."""

    worker: Worker
    calls: set[Call] = field(default_factory=set)
    jobs: dict[int, Job] = field(default_factory=dict)  # what a decoder has, oldest first
    ready: bool = False
    since: float = 0.0  # when it last answered, or got work after a rest


@dataclass(slots=True)
class Sent:
    """What a call was about."""

    name: str
    hand: Hand
    segments: list[Segment] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)


def drive(
    pool: Pool,
    videos: Sequence[Video],
    *,
    attempts: Mapping[str, int] | None = None,
    stop: Callable[[], bool] = lambda: False,
    progress: Callable[[int, float], None] = lambda clips, seconds: None,
    deadline: float = DEADLINE,
) -> Iterator[Outcome]:
    """Decode and score ``videos``, in no particular order; one Outcome each.

    ``attempts``: how often a video was tried before. ``stop`` is asked at least every second; once it is True, what is
    on its way gets a few seconds to end. ``progress`` hears of clips scored and the seconds of video they stand for.
    ``deadline``: seconds after which a silent decoder is killed. Raises ModelError or RunError when the run cannot
    go on.
    """
    return _Driver(pool, videos, attempts or {}, stop, progress, deadline).run()


class _Driver:
    def __init__(
        self,
        pool: Pool,
        videos: Sequence[Video],
        attempts: Mapping[str, int],
        stop: Callable[[], bool],
        progress: Callable[[int, float], None],
        deadline: float,
    ) -> None:
        load = pool.load
        self._pool, self._stop, self._progress, self._deadline = pool, stop, progress, deadline
        self._views, self._batch = load.task.views, load.batch
        self._groups = groups([video for video in videos if video.error is None], attempts, load.split.decoders)
        self._hopeless = [Entry(video, attempts.get(video.video, 0) + 1) for video in videos if video.error is not None]
        self._jobs: deque[Job] = deque()  # chunks and second attempts go before new groups
        self._number = 0
        self._decoders: list[Hand] = []
        self._scorers: list[Hand] = []
        self._sent: dict[Call, Sent] = {}
        self._queue = Queue()
        self._held = 0  # bytes of pictures not yet scored
        self._finished: list[Entry] = []  # all rows scored, waiting for finish
        self._outcomes: list[Outcome] = []
        self._done, self._deaths = 0, Deaths()
        self._batches = 1  # batches in one call of a model
        self._stopping: float | None = None
        self._fed = time.monotonic()

    def run(self) -> Iterator[Outcome]:
        for entry in self._hopeless:
            kind, message = entry.video.error or ("", "")
            yield entry.outcome(Failure(kind, message, "find"))
        if self._peek() is None:
            return
        for _ in range(self._pool.load.split.scorers):
            self._start_scorer()
        for _ in range(self._pool.load.split.decoders):
            self._start_decoder()
        while True:
            self._feed()
            self._score()
            self._finish()
            yield from self._take()
            if not self._busy() or (self._stopping is not None and time.monotonic() > self._stopping):
                return
            for call in self._pool.wait(list(self._sent), TICK):
                self._answer(call)
            self._watch()

    def _busy(self) -> bool:
        if self._queue.items or self._finished or any(hand.jobs for hand in self._decoders):
            return True
        if any(sent.name in ("score", "finish") for sent in self._sent.values()):
            return True
        return self._stopping is None and self._peek() is not None

    def _take(self) -> Iterator[Outcome]:
        outcomes, self._outcomes = self._outcomes, []
        self._done += len(outcomes)
        yield from outcomes

    # Workers

    def _start_decoder(self) -> None:
        hand = Hand(self._pool.start("decoder"))
        self._decoders.append(hand)
        self._send(Sent("hello", hand))

    def _start_scorer(self) -> None:
        hand = Hand(self._pool.start("scorer"))
        self._scorers.append(hand)
        self._send(Sent("load", hand))

    def _send(self, sent: Sent, *arguments: Any) -> None:
        hand = sent.hand
        if not hand.calls:
            hand.since = time.monotonic()
        call = self._pool.submit(hand.worker, sent.name, *arguments)
        hand.calls.add(call)
        self._sent[call] = sent

    def _answer(self, call: Call) -> None:
        sent = self._sent.pop(call, None)
        if sent is None:  # of a worker that died a moment ago
            return
        hand = sent.hand
        hand.calls.discard(call)
        hand.since = time.monotonic()
        try:
            value = self._pool.result(call)
        except (WorkerDied, BlocksLost) as error:
            if sent.segments and isinstance(error, BlocksLost):
                self._lost(sent.segments, error)
                return
            hand.calls.add(call)
            self._sent[call] = sent
            self._died(hand, WorkerDied(str(error)), "DecoderDied")
            return
        if sent.name == "hello":
            hand.worker.pid, hand.ready = value, True
            self._deaths.started()
        elif sent.name == "load":
            if value is not None:
                raise fatal(value)
            hand.ready = True
            self._deaths.started()
        elif sent.name == "next":
            self._on_next(hand, value, call.block)
        elif sent.name == "score":
            self._on_score(sent.segments, value)
        else:
            self._on_finish(sent.entries, value)

    # Decoding

    def _peek(self) -> Job | None:
        """The next job, left in its place."""
        while self._jobs and all(piece.entry.closed for piece in self._jobs[0].pieces):
            self._jobs.popleft()
        if not self._jobs:
            group = next(self._groups, None)
            if group is None:
                return None
            self._jobs.append(self._job(group))
        return self._jobs[0]

    def _job(self, pieces: list[Piece], *, alone: bool = False) -> Job:
        self._number += 1
        return Job(self._number, pieces, alone)

    def _feed(self) -> None:
        """Two calls per decoder, as long as there is work and room for the pictures."""
        for hand in self._decoders:
            while hand.ready and len(hand.calls) < CALLS and self._room():
                job = self._job_for(hand)
                if job is not None:
                    self._jobs.popleft()
                    hand.jobs[job.number] = job
                    self._send(Sent("next", hand), job.unit())
                elif hand.jobs:
                    self._send(Sent("next", hand))
                else:
                    break

    def _job_for(self, hand: Hand) -> Job | None:
        """The next job, if this decoder may have one more; left in its place."""
        job = self._peek() if self._stopping is None else None
        if job is None or len(hand.jobs) >= CALLS or (job.alone and hand.jobs):
            return None
        return None if any(other.alone for other in hand.jobs.values()) else job

    def _room(self) -> bool:
        out = sum(sent.name == "next" for sent in self._sent.values())
        if self._held + (out + 1) * self._pool.load.block_bytes <= self._pool.load.budget:
            return True
        # Never stand still: what is held may be less than a batch.
        return not out and self._queue.items < self._batch and not any(s.name == "score" for s in self._sent.values())

    def _on_next(self, hand: Hand, report: Report | None, block: Any) -> None:
        if report is None:
            return
        job = hand.jobs[report.unit]
        pieces = list(job.pieces)
        for slot, seconds in report.seconds.items():
            pieces[slot].entry.seconds_decode += seconds
        for seen in report.seen:
            self._on_seen(pieces[seen.slot], seen.video, seen.outline, seen.chunks)
        if report.rows:
            held = Held.of(report, pieces, self._views, self._pool.load.item_bytes, block)
            self._held += held.size
            self._queue.push(held)
            self._fed = time.monotonic()
        for slot, decoder, damaged in report.ended:
            pieces[slot].ended = True
            pieces[slot].entry.decoders.add(decoder)
            pieces[slot].entry.damaged |= damaged
            self._check(pieces[slot])
        for slot, failure in report.failed:
            self._on_failed(pieces[slot], failure)
        if report.done:
            del hand.jobs[report.unit]

    def _on_seen(self, piece: Piece, video: Video, outline: Any, chunks: Sequence[Any]) -> None:
        entry = piece.entry
        entry.video, entry.outline, entry.left = video, outline, len(chunks)
        if len(chunks) > 1:
            piece.counted = True  # its chunks stand for it now
            jobs = [self._job([Piece(entry, chunk)]) for chunk in chunks]
            self._jobs.extendleft(reversed(jobs))
        elif not chunks:
            piece.ended, entry.left = True, 1
            self._check(piece)

    def _on_failed(self, piece: Piece, failure: Failure) -> None:
        entry = piece.entry
        if piece.chunk is not None and failure.kind == "Undecodable":
            # One chunk of many: the others may be fine, and then the video is partial.
            entry.error = entry.error or failure
            piece.ended = True
            self._check(piece)
        else:
            self._fail(entry, failure)

    def _fail(self, entry: Entry, failure: Failure) -> None:
        if not entry.closed:
            self._outcomes.append(entry.outcome(failure))

    def _check(self, piece: Piece) -> None:
        """If that was the last row of the last piece of its video: on to ``finish``."""
        entry = piece.entry
        if entry.closed or not piece.complete():
            return
        entry.left -= 1
        if entry.left:
            return
        if entry.present is None or not entry.present.any():
            self._fail(entry, entry.error or Failure("Undecodable", "no clip could be decoded", "decode"))
        else:
            entry.closed = True
            self._finished.append(entry)

    # Scoring

    def _score(self) -> None:
        """Full batches go to whichever model has the fewest calls; the rest when nothing more comes."""
        while self._queue.items:
            hands = [hand for hand in self._scorers if hand.ready and len(hand.calls) < CALLS]
            if not hands:
                return
            hand = min(hands, key=lambda hand: len(hand.calls))
            batches = min(self._batches, self._queue.items // self._batch)
            if not batches and not self._flush(hand):
                return
            segments = self._queue.take(max(1, batches) * self._batch)
            blocks = list({segment[0]: None for segment in segments})
            places = {held: place for place, held in enumerate(blocks)}
            pieces = [(places[held], first, last) for held, first, last in segments]
            self._send(Sent("score", hand, segments), pieces, *(held.ref for held in blocks))

    def _flush(self, hand: Hand) -> bool:
        """Whether a batch may go out that is not full."""
        if hand.calls:
            return False
        more = any(hand.jobs for hand in self._decoders) or (self._stopping is None and self._peek() is not None)
        return not more or time.monotonic() - self._fed > LINGER

    def _on_score(self, segments: list[Segment], value: Any) -> None:
        if isinstance(value, VidactError | Failure):
            raise fatal(value)
        scores, seconds = value
        self._deaths.scored()
        batches = -(-len(scores) // self._batch)
        self._batches = max(1, min(CALL_BATCHES, int(CALL_SECONDS * batches / max(seconds, 1e-6))))
        at = 0
        for held, first, last in segments:
            for piece, start, stop in held.between(first, last):
                entry = piece.entry
                if not entry.closed:
                    entry.put(held.items[start:stop], scores[at : at + stop - start], self._views, self._pool.scratch)
                    entry.seconds_model += seconds * (stop - start) / len(scores)
                    clips = (stop - start) / self._views
                    self._progress(round(clips), entry.outline.facts.duration * clips / entry.outline.rows)
                piece.scored += stop - start
                at += stop - start
                self._check(piece)
            self._release(held, last - first)

    def _release(self, held: Held, items: int) -> None:
        held.left -= items
        if not held.left:
            self._held -= held.size
            held.ref = None

    # Finishing

    def _finish(self) -> None:
        """Complete videos go to a decoder with few calls, many in one call."""
        while self._finished:
            hands = [h for h in self._decoders if h.ready and not any(self._sent[c].name == "finish" for c in h.calls)]
            if not hands:
                return
            hand = min(hands, key=lambda hand: (any(job.alone for job in hand.jobs.values()), len(hand.calls)))
            entries, self._finished = self._finished[:JOBS], self._finished[JOBS:]
            self._send(Sent("finish", hand, entries=entries), [entry.job(self._views) for entry in entries])

    def _on_finish(self, entries: list[Entry], value: bytes) -> None:
        for entry, found in zip(entries, pickle.loads(value), strict=True):
            failure = found if isinstance(found, Failure) else None
            self._outcomes.append(entry.outcome(failure, None if failure else found))

    # When things go wrong

    def _watch(self) -> None:
        """Ask stop(), and look for workers that are silent for too long. Answers were all taken a moment ago."""
        now = time.monotonic()
        if self._stopping is None and self._stop():
            self._stopping = now + DRAIN
        for hand in [hand for hand in (*self._decoders, *self._scorers) if hand.calls]:
            silent = now - hand.since
            if not hand.ready and silent > START:
                raise RunError(
                    f"no {hand.worker.kind} process came up in {silent:.0f} s",
                    hint="start fewer with --decoders and --workers, or give the cluster more CPUs or GPUs",
                )
            largest = max((job.size() for job in hand.jobs.values()), default=0)
            allowed = MODEL_DEADLINE if hand.worker.kind == "scorer" else self._deadline + largest / SLOWEST
            if hand.ready and silent > allowed:
                self._died(hand, WorkerDied(f"gave no sign of life for {allowed:.0f} s"), "DecoderHung")

    def _died(self, hand: Hand, death: WorkerDied, kind: str) -> None:
        self._pool.kill(hand.worker)
        sents = [self._sent.pop(call) for call in list(hand.calls)]
        if not hand.ready:
            self._deaths.starting(death)
        if hand in self._scorers:
            self._deaths.model(death)
            self._scorers.remove(hand)
            for sent in sents:
                self._queue.give_back(sent.segments)
            self._start_scorer()
            return
        self._deaths.decoder(death, self._done)
        self._decoders.remove(hand)
        for sent in sents:
            self._finished.extend(sent.entries)
        for job in hand.jobs.values():
            self._again(job, kind, death.reason)
        self._start_decoder()

    def _again(self, job: Job, kind: str, reason: str) -> None:
        """Try what a dead decoder had, each video in a decoder of its own; the second time alone is the last."""
        for piece in job.pieces:
            entry = piece.entry
            if entry.closed or piece.ended or piece.counted:
                continue
            piece.counted = True
            entry.deaths += job.alone
            if entry.deaths >= 2:
                told = reason if kind == "DecoderHung" else f"died ({reason})"
                self._fail(entry, Failure(kind, f"its decoder {told}, twice, with nothing else in it", "decode"))
                continue
            entry.attempts += job.alone
            self._jobs.appendleft(self._job([Piece(entry, piece.chunk)], alone=True))

    def _lost(self, segments: list[Segment], lost: BlocksLost) -> None:
        """Pictures are gone: read their pieces again."""
        self._deaths.decoder(lost, self._done)
        for held in {segment[0]: None for segment in segments}:
            self._queue.discard(held)
            if held.left:
                self._release(held, held.left)
            for piece, _, _ in held.runs:
                if not (piece.entry.closed or piece.counted):
                    piece.counted = True
                    self._jobs.appendleft(self._job([Piece(piece.entry, piece.chunk)]))
