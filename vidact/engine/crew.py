"""The workers of a run as its driver sees them: what each was asked, and since when it is silent."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from vidact.engine.blocks import Span
from vidact.engine.ledger import Entry, Job
from vidact.engine.local import Call, Kind, Pool, Worker

CALLS = 2
"""Calls per worker: one at work and one waiting, so that nobody waits for the driver."""


@dataclass(eq=False, slots=True)
class Hand:
    """One worker. ``jobs``: what a decoder has, by number; ``since``: when it last answered or got work."""

    worker: Worker
    calls: set[Call] = field(default_factory=set)
    jobs: dict[int, Job] = field(default_factory=dict)
    ready: bool = False
    since: float = 0.0

    @property
    def free(self) -> bool:
        """Whether it takes another call."""
        return self.ready and len(self.calls) < CALLS

    @property
    def alone(self) -> bool:
        """Whether it has a video that must have a decoder of its own."""
        return any(job.alone for job in self.jobs.values())


@dataclass(slots=True)
class Sent:
    """What a call was about: its method, and the pictures or the videos in it."""

    name: str
    hand: Hand
    spans: list[Span] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)


class Crew:
    """All workers, and every call that has no answer yet."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.hands: dict[Kind, list[Hand]] = {"decoder": [], "scorer": []}
        self.sent: dict[Call, Sent] = {}

    def start(self, kind: Kind) -> None:
        """One more worker; its first call tells when it is up."""
        hand = Hand(self.pool.start(kind))
        self.hands[kind].append(hand)
        self.send(Sent("hello" if kind == "decoder" else "load", hand))

    def send(self, sent: Sent, *arguments: Any) -> None:
        """Ask a worker for something."""
        if not sent.hand.calls:
            sent.hand.since = time.monotonic()
        call = self.pool.submit(sent.hand.worker, sent.name, *arguments)
        sent.hand.calls.add(call)
        self.sent[call] = sent

    def received(self, call: Call) -> Sent | None:
        """A call has its answer; None when its worker was let go meanwhile."""
        sent = self.sent.pop(call, None)
        if sent is not None:
            sent.hand.calls.discard(call)
            sent.hand.since = time.monotonic()
        return sent

    def dismiss(self, hand: Hand) -> list[Sent]:
        """End a worker, whatever it is doing; what it still owed."""
        self.pool.kill(hand.worker)
        self.hands[hand.worker.kind].remove(hand)
        return [self.sent.pop(call) for call in hand.calls]

    def out(self, *names: str) -> int:
        """Calls of these methods that have no answer yet."""
        return sum(sent.name in names for sent in self.sent.values())
