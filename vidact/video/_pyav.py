"""Pictures by PyAV: any file FFmpeg reads, of any length, damage included.

Decodes forward through the rows that are needed, skips from key frame to key frame where nothing in between is
needed, and leaves out what cannot be decoded. Which row a frame is, the index says: every packet is stamped with its
row before it is decoded, and the frame that comes out of it carries the stamp. Knows nothing of clips.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vidact.video.index import Index, opened, stored_packets
from vidact.video.transform import Plan

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Picture = NDArray[np.uint8]
    Item = tuple[int, Picture] | None

SEEK_ROWS = 300
"""Skipping fewer rows than this reads past their packets, microseconds each; skipping more seeks in the file."""

SEEK_SECONDS = 1
"""How far in front of a key frame to seek: in MPEG streams not every packet carries a time, and the first ones behind
a seek may not be recognised."""

FURTHEST_BACK = 3
"""Key frames to go back where damage may be why nothing comes out; without damage, as many as it takes."""

_MATRICES = frozenset({0, 1, 2, 4, 5, 6, 7, 9})
"""AVColorSpace values that can be converted to RGB; any other tag counts as unspecified, as it does in players."""
_UNSPECIFIED = 2


@dataclass
class Caution:
    """What turned out not to hold for this file, so that another try goes about it more slowly but gets every frame.

    ``back``: how many key frames earlier than promised decoding starts. ``plain``: decode every frame, because some
    packets give none. ``seek``: seeking in the file lands where it should. ``counted``: the times packets carry are not
    those of their frames, only the order in which frames come out is right. ``objections`` counts packets the decoder
    refused.
    """

    back: int = 0
    plain: bool = False
    seek: bool = True
    counted: bool = False
    objections: int = 0


class _Again(Exception):
    """The caution has been raised: start over from the first row that is not settled."""


def pictures(index: Index, plan: Plan, needed: NDArray[np.int64], threads: int, caution: Caution) -> Iterator[Item]:
    """Decode the rows ``needed`` (ascending, unique).

    Yields (row, uint8 (height, width, 3) as shown) in ascending order, None where time passes without one, and
    nothing for a row that cannot be decoded.
    """
    while len(needed):
        attempt = _Attempt(index, plan, needed, threads, caution)
        try:
            yield from attempt.run()
            return
        except _Again:
            needed = needed[attempt.at :]


class _Attempt:
    """One pass over the packets. ``at`` counts the needed rows that are settled, whether they could be had or not."""

    def __init__(self, index: Index, plan: Plan, needed: NDArray[np.int64], threads: int, caution: Caution) -> None:
        self.index, self.threads, self.caution = index, threads, caution
        self.match = "count" if caution.counted else index.match
        self.needed: list[int] = needed.tolist()
        self.wanted = frozenset(self.needed)
        self.scale = _Scale(plan, index.facts.rotation)
        self.at = 0
        self.context: Any = None
        self.objected = index.damaged
        self.objections_before = caution.objections
        self.refused: list[int] = []  # packets without a frame: only to count on behind them
        self.outputs = 0
        self.begun = 0  # the row decoding began at, which is a key frame's when packets were skipped
        self.newest = -1  # the latest key row given to the decoder
        self.sought = False
        self.waiting: tuple[int, Any] | None = None  # (row, frame) that came out last
        self.before: Any = None  # the frame before that, since decoding began

    def run(self) -> Iterator[Item]:
        with opened(self.index.path, "decode") as container:
            stream = container.streams[self.index.stream]
            self.context = stream.codec_context
            self.context.thread_count = self.threads
            if self.threads > 1:
                self.context.thread_type = "AUTO"
            target = self._skip(container, stream)
            for row, packet in self._packets(container, stream):
                if target is not None and row != target:
                    if self.sought and packet.is_keyframe and row > target:
                        break  # the seek went past it
                    yield None
                    continue
                if row > self.newest and (packet.is_keyframe or row == target):
                    self.newest = row
                target = None
                self._spare(row)
                yield from self._decode(packet, row)
                if self.at == len(self.needed):
                    return
                target = self._skip(container, stream)
            if target is not None:
                self._try_again(seek=False)
                return
            yield from self._decode(None, len(self.index.pts))
            yield from self._settle()
            while self.at < len(self.needed):
                yield self._absent()

    def _packets(self, container: Any, stream: Any) -> Iterator[tuple[int, Any]]:
        """The packets of the stream, each with its row (-1: never shown) and stamped with it."""
        index = self.index
        for stored, packet in enumerate(stored_packets(container, stream)):
            if packet is None:
                self._object()
                return
            if self.match == "pts":
                row = -1
                if packet.pts is not None:
                    near = int(np.searchsorted(index.pts, packet.pts))
                    row = near if near < len(index.pts) and index.pts[near] == packet.pts else -1
            elif self.match == "packet":
                row = int(index.order[stored]) if stored < len(index.order) else -1
            else:
                row = stored
            packet.pts = row
            yield row, packet

    def _skip(self, container: Any, stream: Any) -> int | None:
        """The key row to go on from, if nothing before it is needed. The packets in front of it are then of no use."""
        import av

        index = self.index
        if self.match == "count":
            return None
        row = self.needed[self.at]
        place = int(np.searchsorted(index.keys, row, side="right")) - 1 - self.caution.back
        if place < 0 or index.keys[place] <= max(self.newest, 0):
            return None
        key = int(index.keys[place])
        self.context.flush_buffers()
        self.waiting = self.before = None
        self.begun, self.objections_before = key, self.caution.objections
        if self.match == "pts" and self.caution.seek and key - max(self.newest, 0) > SEEK_ROWS:
            early = index.lead + int(SEEK_SECONDS / index.time_base)
            try:
                container.seek(int(index.pts[key]) - early, stream=stream)
                self.sought = True
            except av.FFmpegError:
                self._try_again(seek=False)
        self.newest = key - 1
        return key

    def _spare(self, row: int) -> None:
        """Let the decoder pass over a picture that is not needed and that no other is built on."""
        spared = row not in self.wanted and not self.caution.plain and self.match != "count"
        self.context.skip_frame = "NONREF" if spared else "DEFAULT"

    def _decode(self, packet: Any, row: int) -> Iterator[Item]:
        """Give the decoder a packet, or None at the end, and take what comes out."""
        import av

        yield None
        try:
            frames = self.context.decode(packet)
        except EOFError:
            return
        except av.FFmpegError:
            if row >= self.begun:
                self._object()
            self.refused.append(row)
            return
        for frame in frames:
            at = frame.pts
            if self.match == "count":
                at = self.outputs + (len(self.refused) if at is None else bisect_left(self.refused, at))
            self.outputs += 1
            if at is None or frame.is_corrupt:
                if at is None or at >= self.begun:
                    self._object()
                continue
            if self.waiting is not None and at < self.waiting[0] and not self.objected:
                self._try_again(counted=True)
            yield from self._settle()
            self.waiting = at, frame

    def _settle(self) -> Iterator[Item]:
        """Settle the needed rows up to that of the frame that came out last: the next one shows that it is in its
        place."""
        if self.waiting is None:
            return
        at, frame = self.waiting
        while self.at < len(self.needed) and self.needed[self.at] < at:
            yield self._absent()
        self.waiting, self.before = None, frame
        if self.at < len(self.needed) and self.needed[self.at] == at:
            self.at += 1
            yield self._picture(at, frame)

    def _absent(self) -> Item:
        """Settle the next needed row, for which no frame came out.

        Behind damage it is missing. Otherwise its packet held no picture of its own (the second field of an interlaced
        frame, a "not coded" picture), and what is on display is the frame before it.
        """
        if self.before is None and self.begun and (not self.objected or self.caution.back < FURTHEST_BACK):
            # Nothing came out since decoding began at a key frame: perhaps it was none, or it is damaged itself.
            self.caution.objections = self.objections_before
            self._try_again(back=2 * self.caution.back + 1)
        if not self.objected and not self.caution.plain:
            self._try_again(plain=True)
        row = self.needed[self.at]
        self.at += 1
        return None if self.objected or self.before is None else self._picture(row, self.before)

    def _picture(self, row: int, frame: Any) -> Item:
        picture = self.scale(frame)
        if picture is None:
            self._object()
            return None
        return row, picture

    def _object(self) -> None:
        self.objected = True
        self.caution.objections += 1

    def _try_again(self, **raised: Any) -> None:
        """Raise the caution and start over, unless it is as high already."""
        if any(getattr(self.caution, name) != value for name, value in raised.items()):
            for name, value in raised.items():
                setattr(self.caution, name, value)
            raise _Again


class _Scale:
    """Frame → uint8 (height, width, 3), RGB, as shown: scaled by swscale, bilinear or by area, and then turned."""

    def __init__(self, plan: Plan, rotation: int) -> None:
        from av.video.reformatter import VideoReformatter

        self.scaler = VideoReformatter()
        self.turns = rotation // 90
        self.interpolation = "AREA" if plan.kernel == "area" else "BILINEAR"
        self.height, self.width = reversed(plan.decoded) if self.turns % 2 else plan.decoded

    def __call__(self, frame: Any) -> Picture | None:
        if frame.colorspace not in _MATRICES:
            frame.colorspace = _UNSPECIFIED
        if frame.color_range > 2:
            frame.color_range = 0
        try:
            scaled = self.scaler.reformat(
                frame, width=self.width, height=self.height, format="rgb24", interpolation=self.interpolation, threads=1
            )
        except (OSError, ValueError):  # a pixel format swscale has no way from
            return None
        picture = np.asarray(scaled.to_ndarray(), np.uint8)
        return np.rot90(picture, -self.turns) if self.turns else picture
