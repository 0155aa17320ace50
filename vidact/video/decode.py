"""Clips of pixels from one video: decord where it may, PyAV where it must.

Every source frame is decoded and scaled once and held only while a later clip needs it, so a ten-hour video streams
through the memory of a few clips. Nothing is invented: a clip with a frame that cannot be had is left out and
counted. Meant for a process of its own, which somebody else may have to kill.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING

import numpy as np

from vidact.errors import UsageError, VideoError
from vidact.records import Chunk
from vidact.video import _decord, _pyav
from vidact.video.index import Index
from vidact.video.resize import Resizer
from vidact.video.sampling import ClipGrid
from vidact.video.transform import Plan

if TYPE_CHECKING:
    from types import TracebackType

    from numpy.typing import NDArray

    Item = tuple[int, NDArray[np.uint8]] | None

DECODERS = ("auto", "decord", "pyav")


@dataclass(frozen=True, slots=True)
class Decoded:
    """One row of the clip grid: ``frames`` uint8 (crops, T, height, width, 3), RGB, as shown; a mirrored crop counts
    as one more."""

    row: int
    frames: NDArray[np.uint8]


AGAIN = Decoded(-1, np.zeros(0, np.uint8))
"""Comes instead of a row: what was read so far is void, and reading begins again."""


class _Stumbled(Exception):
    """decord failed, and PyAV may read the video."""


class ClipReader:
    """Reads the rows of a clip grid, or those of one chunk of it, in ascending order.

        with ClipReader(index, grid, plan, decoder="auto", chunk=chunk, threads=2) as reader:
            for decoded in reader:
                ...
        reader.decoder, reader.missing, reader.damaged

    ``decoder`` is the one in use: "auto" means decord for files it can be trusted with, and PyAV for the whole video
    where decord stumbles: it decodes ahead, so that where it stops is chance, and its pixels differ a little. Rows that
    were given by then are taken back by ``AGAIN``. "decord" means a VideoError. ``missing`` counts rows that could not
    be decoded, ``damaged`` says that packets were unreadable or refused, whether or not a row needed them. With
    ``heartbeat`` seconds, the iteration also yields None whenever that long has passed without a row, so that a slow
    file can be told from a hung decoder.

    Iterating raises VideoError, stage ``decode``: ``Undecodable`` when not one row of the whole video could be
    decoded, NotFound and the like when the file went away.
    """

    def __init__(
        self,
        index: Index,
        grid: ClipGrid,
        plan: Plan,
        *,
        decoder: str = "auto",
        chunk: Chunk | None = None,
        threads: int = 1,
        heartbeat: float | None = 1.0,
    ) -> None:
        if decoder not in DECODERS:
            raise UsageError(f"There is no decoder {decoder!r}.", hint=f"--decoder {'|'.join(DECODERS)}")
        self.index, self.grid, self.plan = index, grid, plan
        self.first, self.last = (0, len(grid)) if chunk is None else (chunk.first, chunk.last)
        self.threads, self.heartbeat, self.policy = threads, heartbeat, decoder
        self.decoder = self._choose()
        self.missing = 0
        self._caution = _pyav.Caution()
        self._pictures: Iterator[Item] | None = None

    @property
    def whole(self) -> bool:
        """Whether this reader reads all clips of the video."""
        return self.first == 0 and self.last == len(self.grid)

    @property
    def damaged(self) -> bool:
        """Whether packets were found unreadable, or refused by the decoder, so far."""
        return self.index.damaged or self._caution.objections > 0

    def __enter__(self) -> ClipReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, however far it was read."""
        pictures, self._pictures = self._pictures, None
        if pictures is not None and hasattr(pictures, "close"):
            pictures.close()

    def __iter__(self) -> Iterator[Decoded | None]:
        given = False
        try:
            for decoded in self._read():
                given |= decoded is not None
                yield decoded
            return
        except _Stumbled:
            self.decoder = "pyav"
        if given:
            yield AGAIN
        yield from self._read()

    def _read(self) -> Iterator[Decoded | None]:
        rows = self.grid.frames[self.first : self.last]
        self.close()
        self._pictures = self._decode(np.unique(rows))
        resizer = Resizer(self.plan)
        clips = _Clips(rows, resizer.plan)
        self.missing = len(rows)
        last_sign = monotonic()
        for item in self._pictures:
            for at, frames in clips.add((item[0], resizer(item[1]))) if item else ():
                self.missing -= 1
                yield Decoded(self.first + at, frames)
                last_sign = monotonic()
            if self.heartbeat is not None and monotonic() - last_sign >= self.heartbeat:
                yield None
                last_sign = monotonic()
        if self.missing == len(self.grid):
            raise VideoError("Undecodable", "not one clip of it can be decoded", stage="decode")

    def _choose(self) -> str:
        """The decoder to begin with."""
        if self.policy == "pyav":
            return "pyav"
        reason = _decord.refusal(self.index) if self.whole else "the video is decoded in several chunks"
        if self.plan.kernel == "area":
            reason = "it does not scale by area, as this protocol asks"
        if not _decord.installed():
            reason = "it is not installed"
        if reason is None:
            return "decord"
        if self.policy == "decord":
            raise VideoError("Undecodable", f"decord cannot be used: {reason}", hint="--decoder auto")
        return "pyav"

    def _decode(self, needed: NDArray[np.int64]) -> Iterator[Item]:
        """The needed rows, by the decoder in use."""
        if self.decoder == "pyav":
            yield from _pyav.pictures(self.index, self.plan, needed, self.threads, self._caution)
            return
        try:
            yield from _decord.pictures(self.index, self.plan, needed, self.threads)
        except VideoError as error:
            if self.policy == "decord":
                raise
            raise _Stumbled from error


class _Clips:
    """Puts pictures that arrive in ascending order together into the clips that need them."""

    def __init__(self, rows: NDArray[np.int64], plan: Plan) -> None:
        self.rows, self.plan = rows, plan
        self.held: dict[int, NDArray[np.uint8]] = {}
        self.complete = rows.max(axis=1)
        # A picture can go once no clip from here on begins at or before it.
        self.needed_from = np.minimum.accumulate(rows.min(axis=1)[::-1])[::-1]
        self.at = 0

    def add(self, item: tuple[int, NDArray[np.uint8]]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Take a picture; yields (clip, uint8 (crops, T, h, w, 3)) for every clip it completes."""
        row, picture = item
        self.held[row] = picture
        while self.at < len(self.rows) and self.complete[self.at] <= row:
            wanted = self.rows[self.at].tolist()
            if all(frame in self.held for frame in wanted):
                yield self.at, self._cut(wanted)
            self.at += 1
            if self.at == len(self.rows):
                self.held.clear()
                return
            oldest = self.needed_from[self.at]
            for frame in [frame for frame in self.held if frame < oldest]:
                del self.held[frame]

    def _cut(self, wanted: list[int]) -> NDArray[np.uint8]:
        height, width = self.plan.size
        pictures = [self.held[frame] for frame in wanted]
        crops = [np.stack([p[y : y + height, x : x + width] for p in pictures]) for y, x in self.plan.crops]
        return np.stack([view for crop in crops for view in self._views(crop)])

    def _views(self, crop: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], ...]:
        return (crop, crop[:, :, ::-1]) if self.plan.mirrored else (crop,)
