"""The driver's side of the models: fills batches across videos, and brings scores home to their videos."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from vidact.engine.blocks import Held, Queue, Span
from vidact.engine.crew import CALLS, Crew, Hand, Sent
from vidact.engine.faults import Deaths, fatal
from vidact.engine.ledger import Ledger
from vidact.engine.worker import Failure
from vidact.errors import VidactError

LINGER = 2.0  # seconds rows wait for a full batch while a model has nothing to do
CALL_SECONDS = 0.25  # of model time in one call: fast models get several batches at once
CALL_BATCHES = 8  # for each lane


class Scoring:
    """Pictures in, scores out. ``held`` is the bytes of pictures that are decoded and not yet scored."""

    def __init__(self, crew: Crew, ledger: Ledger, deaths: Deaths, progress: Callable[[int, float], None]) -> None:
        self._crew, self._ledger, self._deaths, self._progress = crew, ledger, deaths, progress
        self._batch, self._views = crew.pool.load.batch, crew.pool.load.task.views
        self._queue = Queue()
        self._lanes = crew.pool.load.split.score_threads
        self._batches = self._lanes  # in one call
        self._views_left = 0  # scored, of clips not yet told
        self._fed = time.monotonic()
        self.held = 0

    @property
    def waiting(self) -> int:
        """Items no model was given yet."""
        return self._queue.items

    def grow(self) -> None:
        """One more model when the ones there are have all they can take."""
        missing = self._crew.pool.load.split.scorers - len(self._crew.hands["scorer"])
        if missing > 0 and self._queue.items >= CALLS * self._lanes * self._batch:
            self._crew.start("scorer")

    def take(self, held: Held) -> None:
        """Pictures came from a decoder."""
        self.held += held.size
        self._queue.push(held)
        self._fed = time.monotonic()

    def feed(self, more: Callable[[], bool]) -> None:
        """Full batches go to whichever model has the fewest calls; the rest when no ``more`` comes."""
        while self._queue.items:
            hands = [hand for hand in self._crew.hands["scorer"] if hand.free]
            if not hands:
                return
            hand = min(hands, key=lambda hand: len(hand.calls))
            batches = min(self._batches, self._queue.items // self._batch)
            if batches < self._lanes and (hand.calls or not batches) and not self._flush(hand, more):
                return  # a model at work is given enough for all of its lanes
            spans = self._queue.take(max(1, batches) * self._batch)
            blocks = list({span[0]: None for span in spans})
            places = {held: place for place, held in enumerate(blocks)}
            pieces = [(places[held], first, last) for held, first, last in spans]
            self._crew.send(Sent("score", hand, spans), pieces, *(held.ref for held in blocks))

    def _flush(self, hand: Hand, more: Callable[[], bool]) -> bool:
        """Whether a batch may go out that is not full."""
        return not hand.calls and (not more() or time.monotonic() - self._fed > LINGER)

    def scored(self, spans: Iterable[Span], value: Any) -> None:
        """A model answered. Raises ModelError or RunError when it could not score."""
        if isinstance(value, VidactError | Failure):
            raise fatal(value)
        scores, seconds = value
        self._deaths.scored()
        batches = -(-len(scores) // self._batch)
        fitting = int(CALL_SECONDS * batches / max(seconds, 1e-6))
        self._batches = max(self._lanes, min(CALL_BATCHES * self._lanes, fitting))
        at = 0
        for held, first, last in spans:
            for piece, start, stop in held.between(first, last):
                entry, count = piece.entry, stop - start
                if not (entry.closed or piece.counted):
                    entry.put(held.items[start:stop], scores[at : at + count], self._views, self._crew.pool.scratch)
                    entry.seconds_model += seconds * count / len(scores)
                    self._tell(entry.outline, count)
                piece.scored += count
                at += count
                self._ledger.check(piece)
            self._release(held, last - first)

    def _tell(self, outline: Any, items: int) -> None:
        """Progress in whole clips: a clip may be seen in several views, of which some are in another batch."""
        clips, self._views_left = divmod(self._views_left + items, self._views)
        self._progress(clips, outline.facts.duration * items / self._views / outline.rows)

    def give_back(self, sents: Iterable[Sent]) -> None:
        """A model died: its pictures are still here."""
        for sent in sents:
            self._queue.give_back(sent.spans)

    def lost(self, spans: Iterable[Span]) -> None:
        """Pictures are gone: their pieces are read again."""
        for held in {span[0]: None for span in spans}:
            self._queue.discard(held)
            self._release(held, held.left)
            self._ledger.again(piece for piece, _, _ in held.runs)

    def _release(self, held: Held, items: int) -> None:
        held.left -= items
        if held.left <= 0 and held.ref is not None:
            self.held -= held.size
            held.ref = None
