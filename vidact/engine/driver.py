"""The driver: hands units to decoders, batches to models, scores to ``finish``, and yields one Outcome per video.

Bounded everywhere: two calls per worker, a fixed number of bytes of pictures on their way, a fixed number of deaths. It
looks at no pixel and computes no score; a video costs it a few dictionary entries. Knows nothing of files or commits.
"""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from vidact.engine.blocks import Held
from vidact.engine.crew import CALLS, Crew, Hand, Sent
from vidact.engine.faults import Deaths, fatal
from vidact.engine.ledger import Entry, Job, Ledger
from vidact.engine.local import BlocksLost, Call, Kind, Pool, WorkerDied
from vidact.engine.scoring import Scoring
from vidact.engine.worker import Failure, Report
from vidact.errors import RunError
from vidact.records import Outcome, Video

TICK = 0.5  # seconds between two looks at deadlines and at stop()
DEADLINE = 60.0  # seconds a decoder may be silent; it sends a heartbeat every second while it reads
SLOWEST = 4e6  # bytes per second: opening a file reads all of it, so it may take its size by this, on top
MODEL_DEADLINE = 1800.0  # seconds one call of a model may take
START = 300.0  # seconds a process may take to come up and load its model
STALL = 10.0  # seconds between two looks after which silence is forgiven
DRAIN = 5.0  # seconds to finish what is on its way once stop() says so
JOBS = {"decoder": 64, "scorer": 8}  # videos in one call of finish


def drive(
    pool: Pool,
    videos: Sequence[Video],
    *,
    attempts: Mapping[str, int] | None = None,
    stop: Callable[[], bool] = lambda: False,
    progress: Callable[[int, float], None] = lambda clips, seconds: None,
    stage: Callable[[str], None] = lambda waiting: None,
    deadline: float = DEADLINE,
) -> Iterator[Outcome]:
    """Decode and score ``videos``, in no particular order; one Outcome each.

    ``attempts``: how often a video was tried before. ``stop`` is asked at least every second; once it is True, what is
    on its way gets a few seconds to end. ``progress`` hears of clips scored and the seconds of video they stand for;
    ``stage`` of what is waited for before the first of them. ``deadline``: seconds after which a silent decoder is
    killed. Raises ModelError or RunError when the run cannot go on.
    """
    tried = attempts or {}
    usable = []
    for video in videos:
        if video.error is None:
            usable.append(video)
        else:
            kind, message = video.error
            yield Entry(video, tried.get(video.video, 0) + 1).outcome(Failure(kind, message, "find"))
    if usable:
        yield from _Driver(pool, usable, tried, stop, progress, stage, deadline).run()


class _Driver:
    def __init__(
        self,
        pool: Pool,
        videos: Sequence[Video],
        attempts: Mapping[str, int],
        stop: Callable[[], bool],
        progress: Callable[[int, float], None],
        stage: Callable[[str], None],
        deadline: float,
    ) -> None:
        self._load, self._stop, self._stage, self._deadline = pool.load, stop, stage, deadline
        self._finisher: Kind = "scorer" if pool.load.task.finisher == "scorer" else "decoder"
        self._deaths = Deaths()
        self._crew = Crew(pool)
        self._ledger = Ledger(videos, attempts, pool.load.split.decoders)
        self._scoring = Scoring(self._crew, self._ledger, self._deaths, progress)
        self._decoders = self._crew.hands["decoder"]
        self._videos, self._done = len(videos), 0
        self._stopping: float | None = None
        self._watched = time.monotonic()

    def run(self) -> Iterator[Outcome]:
        """Until every video is through, or stop() was True."""
        for _ in range(min(self._load.split.scorers, self._videos)):
            self._crew.start("scorer")
        for _ in range(min(self._load.split.decoders, self._videos)):
            self._crew.start("decoder")
        self._stage("loading the model")
        while True:
            self._grow()
            self._feed()
            self._scoring.feed(self._reading)
            self._finish()
            outcomes, self._ledger.outcomes = self._ledger.outcomes, []
            self._done += len(outcomes)
            yield from outcomes
            if not self._busy() or (self._stopping is not None and time.monotonic() > self._stopping):
                return
            for call in self._crew.pool.wait(list(self._crew.sent), TICK):
                self._answer(call)
            self._watch()

    def _reading(self) -> bool:
        """Whether more pictures will come."""
        return any(hand.jobs for hand in self._decoders) or (self._stopping is None and self._ledger.peek() is not None)

    def _busy(self) -> bool:
        on_its_way = self._scoring.waiting or self._ledger.finished or self._crew.out("score", "finish")
        return bool(on_its_way) or self._reading()

    def _grow(self) -> None:
        """A few videos start a few workers; one that turns out to be long starts the others."""
        idle = sum(not hand.jobs for hand in self._decoders)
        missing = self._load.split.decoders - len(self._decoders)
        for _ in range(min(missing, len(self._ledger.jobs) - idle)):
            self._crew.start("decoder")
        self._scoring.grow()

    def _feed(self) -> None:
        """Two calls per decoder, as long as there is work and room for the pictures."""
        for hand in self._decoders:
            while hand.free and self._room():
                job = self._job_for(hand)
                if job is not None:
                    self._ledger.jobs.popleft()
                    hand.jobs[job.number] = job
                    self._crew.send(Sent("next", hand), job.unit())
                elif hand.jobs:
                    self._crew.send(Sent("next", hand))
                else:
                    break

    def _job_for(self, hand: Hand) -> Job | None:
        """The next job, if this decoder may have one more; left in its place."""
        job = self._ledger.peek() if self._stopping is None else None
        if job is None or len(hand.jobs) >= CALLS or hand.alone or (job.alone and hand.jobs):
            return None
        return job

    def _room(self) -> bool:
        out = self._crew.out("next")
        if self._scoring.held + (out + 1) * self._load.block_bytes <= self._load.budget:
            return True
        # Never stand still: what is held may be less than a batch.
        return not out and self._scoring.waiting < self._load.batch and not self._crew.out("score")

    def _finish(self) -> None:
        """Videos whose rows are all scored go to a worker of the task's choice with few calls, many in one call."""
        ledger, kind = self._ledger, self._finisher
        asked = {id(sent.hand) for sent in self._crew.sent.values() if sent.name == "finish"}
        hands = [hand for hand in self._crew.hands[kind] if hand.ready and id(hand) not in asked]
        for hand in sorted(hands, key=lambda hand: (hand.alone, len(hand.calls))):
            entries = ledger.take_finished(JOBS[kind])
            if entries:
                jobs = [entry.job(self._load.task.views) for entry in entries]
                self._crew.send(Sent("finish", hand, entries=entries), jobs)

    def _answer(self, call: Call) -> None:
        sent = self._crew.received(call)
        if sent is None:
            return
        hand = sent.hand
        try:
            value = self._crew.pool.result(call)
        except (WorkerDied, BlocksLost) as error:
            if sent.spans and isinstance(error, BlocksLost):
                self._deaths.decoder(error, self._done)
                self._scoring.lost(sent.spans)
            else:
                self._died(hand, WorkerDied(str(error)), "DecoderDied", [sent])
            return
        if sent.name == "next":
            self._read(hand, value, call.block)
        elif sent.name == "score":
            self._scoring.scored(sent.spans, value)
        elif sent.name == "finish":
            self._finished(sent.entries, value)
        else:
            self._started(hand, value)

    def _started(self, hand: Hand, value: Any) -> None:
        if hand.worker.kind == "decoder":
            hand.worker.pid = value
        elif value is not None:
            raise fatal(value)
        else:
            self._stage("reading the first video")
        hand.ready = True
        self._deaths.started()

    def _read(self, hand: Hand, report: Report | None, block: Any) -> None:
        if report is None:
            return
        pieces = hand.jobs[report.unit].pieces
        for slot, seconds in report.seconds.items():
            pieces[slot].entry.seconds_decode += seconds
        for seen in report.seen:
            self._ledger.seen(pieces[seen.slot], seen)
        if report.rows:
            self._scoring.take(Held.of(report, pieces, self._load.task.views, self._load.item_bytes, block))
        for slot in report.again:
            pieces[slot] = self._ledger.anew(pieces[slot])
        for slot, decoder, damaged in report.ended:
            self._ledger.ended(pieces[slot], decoder, damaged)
        for slot, failure in report.failed:
            self._ledger.failed(pieces[slot], failure)
        if report.done:
            del hand.jobs[report.unit]

    def _finished(self, entries: list[Entry], value: bytes) -> None:
        for entry, found in zip(entries, pickle.loads(value), strict=True):
            if isinstance(found, RunError):
                raise found
            failure = found if isinstance(found, Failure) else None
            self._ledger.outcomes.append(entry.outcome(failure, None if failure else found))

    def _watch(self) -> None:
        """Ask stop(), and look for workers that are silent for too long. Answers were all taken a moment ago."""
        now = time.monotonic()
        stalled, self._watched = now - self._watched > STALL, now
        if self._stopping is None and self._stop():
            self._stopping = now + DRAIN
        for hand in [hand for hands in self._crew.hands.values() for hand in hands if hand.calls]:
            if stalled:  # this process was stopped, its workers perhaps with it: silence tells nothing
                hand.since = now
            silent = now - hand.since
            if not hand.ready and silent > START:
                raise RunError(
                    f"no {hand.worker.kind} process came up in {silent:.0f} s",
                    hint="start fewer with --decoders and --workers, or give the cluster more CPUs or GPUs",
                )
            largest = max((job.size() for job in hand.jobs.values()), default=0)
            allowed = MODEL_DEADLINE if hand.worker.kind == "scorer" else self._deadline + largest / SLOWEST
            if hand.ready and silent > allowed and self._crew.pool.kills:
                self._died(hand, WorkerDied(f"gave no sign of life for {allowed:.0f} s"), "DecoderHung", [])

    def _died(self, hand: Hand, death: WorkerDied, kind: str, owed: list[Sent]) -> None:
        """Replace a worker; what it had goes to others. RunError when too many died."""
        owed = [*owed, *self._crew.dismiss(hand)]
        if not hand.ready:
            self._deaths.starting(death)
        if hand.worker.kind == "scorer":
            finishing = [sent for sent in owed if sent.entries]
            for sent in finishing:
                self._ledger.finish_again(sent.entries, death.reason)
            if finishing:  # perhaps one video's doing, and that one is found: no reason to end the run
                self._deaths.decoder(death, self._done)
            else:
                self._deaths.model(death)
            self._scoring.give_back(owed)
        else:
            self._deaths.decoder(death, self._done)
            for sent in owed:
                self._ledger.finished.extend(sent.entries)
            for job in hand.jobs.values():
                self._ledger.died(job, kind, death.reason)
        self._crew.start(hand.worker.kind)
