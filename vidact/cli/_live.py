"""A line that says how far something is: always up to date on a terminal, one a minute elsewhere, none when quiet.

Knows nothing of what it tells; a subclass has the words.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any

from rich.cells import cell_len, set_cell_size

from vidact.cli._output import Output, columns_of, plain

MINUTE = 60.0
TICK = 0.5
BAR = 20
"""Columns of the bar, which only terminals of at least ``WIDE`` columns have room for."""
WIDE = 90


class Live(ABC):
    """Use as a context manager around what takes long; a thread asks for ``parts`` while it lasts."""

    def __init__(self, out: Output) -> None:
        self._out = out
        self._bar: Any = None
        self._lock = threading.Lock()
        self._spoke = time.monotonic()
        self._ended = threading.Event()
        self._ticker = threading.Thread(target=self._tick, name="progress", daemon=True)

    @abstractmethod
    def parts(self) -> tuple[str, float | None, list[str]]:
        """What stands in front of the bar, how much is done (0 to 1; None: no bar), and what stands behind it.

        Of the latter a narrow terminal shows the last ones alone.
        """

    def line(self) -> str:
        """The same in words alone."""
        head, _, told = self.parts()
        return ", ".join([head, *told])

    def __enter__(self) -> Live:
        if self._out.live:
            self._bar = _bar()
        self._draw()
        self._ticker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._ticker.join()
        if self._bar is not None:
            with contextlib.suppress(OSError):
                self._wipe()
                self._bar.close()

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """Inside, other lines may be written: this one has made room."""
        with self._lock:
            if self._bar is not None:
                self._wipe()
            self._spoke = time.monotonic()
            yield

    def _wipe(self) -> None:
        """Empty the whole line: behind the bar's own words may stand the ^C somebody typed."""
        self._bar.display(msg=" " * (columns_of(sys.stderr) - 1), pos=0)
        self._bar.clear()

    def _tick(self) -> None:
        while not self._ended.wait(TICK):
            with self._lock:
                self._draw()
                if time.monotonic() - self._spoke >= MINUTE:
                    self._spoke = time.monotonic()
                    (self._out.log if self._out.live else self._out.note)(self.line())

    def _draw(self) -> None:
        """The line anew. It must never be broken in two: a narrow terminal has no room for a bar."""
        if self._bar is None:
            return
        width = columns_of(sys.stderr)
        head, share, told = self.parts()
        room = share is not None and width >= WIDE
        text = plain(f"{head} | {', '.join(told)}")
        if not room or cell_len(text) + BAR + 1 >= width:
            room, text = False, _fitting(head, told, width)
        words = text.replace("{", "{{").replace("}", "}}")
        self._bar.n, self._bar.ncols = min(share or 0.0, 1.0), width
        self._bar.bar_format = words.replace(" | ", f" |{{bar:{BAR}}}| ", 1) if room else words
        with contextlib.suppress(OSError):
            self._bar.refresh()


def _fitting(head: str, told: Sequence[str], width: int) -> str:
    """As much of it as fits: whole parts, the last ones first; where there is but one, whole words."""
    for first in range(len(told)):
        text = plain(", ".join([head, *told[first:]]))
        if cell_len(text) < width:
            return text
    while cell_len(text) >= width and " " in text:
        text = text.rpartition(" ")[0]
    return set_cell_size(text, min(cell_len(text), width - 1))


def _bar() -> Any:
    from tqdm import tqdm

    tqdm.monitor_interval = 0  # it would start a thread of its own; ours does that work
    return tqdm(total=1.0, file=sys.stderr, bar_format=" ", ascii=" =", leave=False)


def clock(seconds: float) -> str:
    """``4:05`` or ``1:04:05``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
