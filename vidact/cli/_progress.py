"""How far a run is: videos, clips a second, the time left.

Only counts what it is told. The time left is estimated by bytes: how long a video is shows only when it is read.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from vidact.cli._live import Live, clock
from vidact.cli._output import Output, counted

if TYPE_CHECKING:
    from vidact.records import Outcome, Video


class Progress(Live):
    """Use as a context manager around the run. ``clips`` and ``video`` are called as work comes back.

    ``noun``: what a clip is called, such as the rows of features.
    """

    def __init__(self, out: Output, videos: Sequence[Video], noun: str = "clips") -> None:
        super().__init__(out)
        self.stopping = False
        self._noun = noun
        self._total = len(videos)
        self._bytes = sum(video.size or 0 for video in videos)
        self.videos = self.failed = 0
        self._clips = self._read = self._partial = 0
        self._seconds = 0.0
        self._began = self._since = time.monotonic()
        self._waiting = "starting"
        self._first: float | None = None

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

    def parts(self) -> tuple[str, float | None, list[str]]:
        """Where the run stands."""
        share = None if self.stopping else self.videos / max(self._total, 1)
        return f"{self.videos}/{self._total} videos", share, self._rates()

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

    def _rates(self) -> list[str]:
        """Rates count from the start, as in ``summary``; the time left from the first clip: no second start comes."""
        now = time.monotonic()
        if self.stopping:
            return ["finishing what is on its way", "Ctrl-C again ends it now"]
        if self._first is None and self.videos == 0:
            return [f"{self._waiting}, {now - self._since:.0f} s"]
        parts = []
        if self._clips:
            wall = max(now - self._began, 1e-3)
            parts.append(f"{self._clips / wall:.1f} {self._noun}/s")
            parts.append(f"{self._seconds / wall:.1f}x real time")
        parts.append(f"{self.failed} failed")
        if self._first is not None and self._read and self.videos < self._total:
            elapsed = max(now - self._first, 1e-3)
            parts.append(f"{clock(elapsed * max(0, self._bytes - self._read) / self._read)} left")
        return parts
