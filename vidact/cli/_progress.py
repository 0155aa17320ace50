"""How far a run is: one live line on a terminal, a plain line a minute elsewhere, nothing when quiet.

Only counts what it is told. The time left is estimated by bytes: how long a video is shows only when it is read.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vidact.cli._output import Output, counted

if TYPE_CHECKING:
    from types import TracebackType

    from vidact.records import Outcome, Video

MINUTE = 60.0
TICK = 0.5
WIDE = "{n_fmt}/{total_fmt} videos |{bar:20}| {desc}"
NARROW = "{n_fmt}/{total_fmt} videos, {desc}"


class Progress:
    """Use as a context manager around the run. ``clips`` and ``video`` are called as work comes back.

    ``noun``: what a clip is called, such as the rows of features.
    """

    def __init__(self, out: Output, videos: Sequence[Video], noun: str = "clips") -> None:
        self.stopping = False
        self._noun = noun
        self._out = out
        self._total = len(videos)
        self._bytes = sum(video.size or 0 for video in videos)
        self.videos = self.failed = 0
        self._clips = self._read = self._partial = 0
        self._seconds = 0.0
        self._began = self._spoke = self._since = time.monotonic()
        self._waiting = "starting"
        self._first: float | None = None
        self._bar: Any = None
        self._ended = threading.Event()
        self._ticker = threading.Thread(target=self._tick, name="progress", daemon=True)

    def __enter__(self) -> Progress:
        if self._out.live:
            self._bar = _bar(self._total, self._rates())
        self._ticker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._ticker.join()
        if self._bar is not None:
            self._bar.close()

    def stage(self, waiting: str) -> None:
        """What the run waits for before its first clip or video, such as ``loading the model``."""
        if waiting != self._waiting:
            self._waiting, self._since = waiting, time.monotonic()

    def clips(self, clips: int, seconds: float) -> None:
        """So many clips were scored, which stand for so many seconds of video."""
        if self._first is None:
            self._first = time.monotonic()
        self._clips += clips
        self._seconds += seconds

    def video(self, outcome: Outcome) -> None:
        """One video is through."""
        self.videos += 1
        self.failed += outcome.status == "failed"
        self._partial += outcome.status == "partial"
        self._read += outcome.video.size or 0

    def line(self) -> str:
        """Where the run stands, in a line."""
        return f"{self.videos}/{self._total} videos, {self._rates()}"

    def summary(self) -> str:
        """What was done, in a line."""
        wall = time.monotonic() - self._began
        parts = [f"{self.videos - self.failed} of {counted(self._total, 'video')} done in {clock(wall)}"]
        parts += [f"{self._partial} of them partial"] if self._partial else []
        parts += [f"{self.failed} failed"] if self.failed else []
        parts += (
            [f"{self._clips} {self._noun}, {self._seconds / max(wall, 1e-3):.1f}x real time"] if self._clips else []
        )
        return ", ".join(parts)

    def _rates(self) -> str:
        elapsed = max(time.monotonic() - (self._first or self._began), 1e-3)
        if self.stopping:
            return "finishing what is on its way (Ctrl-C again: at once)"
        if self._first is None and self.videos == 0:
            return f"{self._waiting}, {time.monotonic() - self._since:.0f} s"
        parts = []
        if self._clips:
            parts.append(f"{self._clips / elapsed:.1f} {self._noun}/s")
            parts.append(f"{self._seconds / elapsed:.1f}x real time")
        parts.append(f"{self.failed} failed")
        if self._first is not None and self._read and self.videos < self._total:
            parts.append(f"{clock(elapsed * max(0, self._bytes - self._read) / self._read)} left")
        return ", ".join(parts)

    def _draw(self) -> None:
        """The live line anew; a narrow terminal has no room for a bar, and a line must never be broken in two."""
        width = os.get_terminal_size(sys.stderr.fileno()).columns or 80  # some terminals say 0: they do not know
        self._bar.n = self.videos
        self._bar.bar_format = WIDE if width >= 90 and not self.stopping else NARROW
        counted = len(f"{self.videos}/{self._total} videos, ")
        self._bar.set_description_str(self._rates()[: max(0, width - counted - 1)])

    def _tick(self) -> None:
        while not self._ended.wait(TICK):
            if self._bar is not None:
                self._draw()
            if time.monotonic() - self._spoke >= MINUTE:
                self._spoke = time.monotonic()
                (self._out.log if self._bar is not None else self._out.note)(self.line())


def clock(seconds: float) -> str:
    """``4:05`` or ``1:04:05``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _bar(total: int, first: str) -> Any:
    from tqdm import tqdm

    tqdm.monitor_interval = 0  # it would start a thread of its own; ours does that work
    return tqdm(
        total=total,
        file=sys.stderr,
        desc=first,
        bar_format=NARROW,
        dynamic_ncols=True,
        leave=False,
    )
