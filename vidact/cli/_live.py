"""A line that says how far something is: always up to date on a terminal, one a minute elsewhere, none when quiet.

Knows nothing of what it tells; a subclass has the words.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from types import TracebackType

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
        self._drawn = 0
        self._lock = threading.Lock()
        self._spoke = time.monotonic()
        self._ended = threading.Event()
        self._ticker = threading.Thread(target=self._tick, name="progress", daemon=True)

    @abstractmethod
    def parts(self) -> tuple[str, float | None, str]:
        """What stands in front of the bar, how much is done (0 to 1; None: no bar), and what stands behind it."""

    def line(self) -> str:
        """The same in words alone."""
        head, _, tail = self.parts()
        return f"{head}, {tail}"

    def __enter__(self) -> Live:
        self._draw()
        self._ticker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._ticker.join()
        self._write("")

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """Inside, other lines may be written: this one has made room."""
        with self._lock:
            self._write("")
            self._spoke = time.monotonic()
            yield

    def _tick(self) -> None:
        while not self._ended.wait(TICK):
            with self._lock:
                self._draw()
                if time.monotonic() - self._spoke >= MINUTE:
                    self._spoke = time.monotonic()
                    (self._out.log if self._out.live else self._out.note)(self.line())

    def _draw(self) -> None:
        """The line anew. It must never be broken in two: a narrow terminal has no room for a bar."""
        if not self._out.live:
            return
        width = columns_of(sys.stderr)
        head, share, tail = self.parts()
        bar = "" if share is None or width < WIDE else ("=" * round(BAR * min(share, 1.0))).ljust(BAR)
        text = plain(f"{head} |{bar}| {tail}" if bar else f"{head}, {tail}")
        self._write(text if cell_len(text) < width else set_cell_size(text, width - 1))

    def _write(self, text: str) -> None:
        if not self._out.live or not (text or self._drawn):
            return
        over, self._drawn = self._drawn - cell_len(text), cell_len(text)
        with contextlib.suppress(OSError):
            sys.stderr.write(f"\r{text}{' ' * max(0, over)}" + ("" if text else "\r"))
            sys.stderr.flush()


def clock(seconds: float) -> str:
    """``4:05`` or ``1:04:05``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
