"""Pictures that wait for a model: whose they are, and how batches are filled across videos.

Holds references only; the pictures themselves go from the decoder to the model without passing here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import numpy as np

from vidact.engine.ledger import Piece
from vidact.engine.worker import Report


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


Span = tuple[Held, int, int]


class Queue:
    """Items that wait for a model, in the order they came. Batches are filled across blocks, and so across videos."""

    def __init__(self) -> None:
        self.items = 0
        self._spans: deque[Span] = deque()

    def push(self, held: Held) -> None:
        self._spans.append((held, 0, len(held.items)))
        self.items += len(held.items)

    def take(self, count: int) -> list[Span]:
        """The next ``count`` items (fewer if there are fewer)."""
        taken: list[Span] = []
        while count and self._spans:
            held, first, last = self._spans.popleft()
            middle = min(last, first + count)
            if middle < last:
                self._spans.appendleft((held, middle, last))
            taken.append((held, first, middle))
            count -= middle - first
            self.items -= middle - first
        return taken

    def give_back(self, spans: Iterable[Span]) -> None:
        """Put items back in front: their model died."""
        for span in reversed(list(spans)):
            self._spans.appendleft(span)
            self.items += span[2] - span[1]

    def discard(self, held: Held) -> int:
        """Forget what waits of a block that was lost; the number of items."""
        kept = deque(span for span in self._spans if span[0] is not held)
        gone = sum(last - first for other, first, last in self._spans if other is held)
        self._spans, self.items = kept, self.items - gone
        return gone
