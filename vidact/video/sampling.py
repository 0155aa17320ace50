"""Which frames make up which clips: arithmetic on the packet index, nothing else.

Times are float64 seconds from the first presented frame, ends are exclusive. Nothing here opens a file or sees a
pixel, and the clip grid depends on the video and the settings alone, never on how the video is cut for decoding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vidact.errors import UsageError, VideoError
from vidact.records import Chunk, Sampling
from vidact.video.index import Index

if TYPE_CHECKING:
    from numpy.typing import NDArray

TOLERANCE = 1e-6
"""Seconds. A sample this close before a frame's time sees that frame: at exact multiples of the frame rate, rounding
in the last bit of a float must not decide between two frames."""

WHOLE_SECONDS = 1200.0
"""A video up to this long is one chunk."""

MOST_CLIPS = 4_000_000
"""Clips of one video. More is a slip of the pen in ``--stride-seconds``, or damaged time stamps, and fills the
memory."""


@dataclass(frozen=True)
class ClipGrid:
    """n clips of T frames. ``starts`` and ``ends`` are float64 (n,) seconds, ``padded`` bool (n,) says that the last
    frame had to be repeated, ``frames`` int64 (n, T) are frame numbers in presentation order."""

    starts: NDArray[np.float64]
    ends: NDArray[np.float64]
    padded: NDArray[np.bool_]
    frames: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.starts)


def displayed(index: Index, seconds: NDArray[np.float64]) -> NDArray[np.int64]:
    """The frame on display at each time, clamped to the first and the last frame. Any shape in, the same shape out."""
    rows = np.searchsorted(index.seconds, np.asarray(seconds) + TOLERANCE, side="right") - 1
    return np.clip(rows, 0, len(index.seconds) - 1).astype(np.int64)


def sliding(
    index: Index, sampling: Sampling, clip_seconds: float | None = None, stride_seconds: float | None = None
) -> ClipGrid:
    """Clips one ``stride_seconds`` after the other over the whole video.

    Without options a clip lasts as long as the weights were trained on and the next begins where it ends. Clip i
    begins at i x stride; the last is moved back to end with the last frame. Only a video shorter than one clip is
    padded. Raises UsageError for lengths that are not positive, or so small that the clips cannot be counted.
    """
    length = _positive("--clip-seconds", sampling.seconds if clip_seconds is None else clip_seconds)
    stride = _positive("--stride-seconds", length if stride_seconds is None else stride_seconds)
    latest = float(index.ends[-1]) - length
    if latest <= TOLERANCE:
        return _grid(index, sampling, np.zeros(1), length)
    if latest / stride > MOST_CLIPS:
        message = f"{index.ends[-1]:.0f} s of video at a stride of {stride:g} s are more than {MOST_CLIPS:,} clips"
        raise VideoError("TooManyClips", message, stage="index", hint="--stride-seconds 1")
    # Clips that begin before `latest` fit; the first that does not is moved back to it, and those behind would be its
    # copies.
    fitting = int(np.floor((latest + TOLERANCE) / stride)) + 1
    starts = np.arange(fitting, dtype=np.float64) * stride
    begins_inside = fitting * stride < float(index.ends[-1]) - TOLERANCE
    if begins_inside and latest - starts[-1] > TOLERANCE:
        starts = np.append(starts, latest)
    return _grid(index, sampling, starts, length)


def spread(index: Index, sampling: Sampling, clips: int, clip_seconds: float | None = None) -> ClipGrid:
    """``clips`` clips spread evenly from the first frame to the last; a single one stands in the middle.

    A video shorter than one clip has that one clip, padded, however many were asked for.
    """
    if clips < 1:
        raise UsageError(f"{clips} clips were asked for; a video has at least one.", hint="--views 1x1")
    length = _positive("--clip-seconds", sampling.seconds if clip_seconds is None else clip_seconds)
    latest = float(index.ends[-1]) - length
    if latest <= TOLERANCE:
        return _grid(index, sampling, np.zeros(1), length)
    starts = np.linspace(0.0, latest, clips) if clips > 1 else np.array([latest / 2])
    return _grid(index, sampling, starts, length)


def chunks(index: Index, grid: ClipGrid, seconds_per_chunk: float = WHOLE_SECONDS) -> list[Chunk]:
    """Cut the rows of a grid into stretches that can be decoded apart, each from a key frame.

    A video of up to 20 minutes is one chunk, and so is one whose frames can only be counted from its beginning. Longer
    ones are cut at the first key frame after each ``seconds_per_chunk``; a clip belongs to the chunk its first frame
    lies in, so that its frames are the same however the video is cut.
    """
    first = grid.frames.min(axis=1)
    bounds = [0]
    if index.ends[-1] > WHOLE_SECONDS and index.match != "count":
        wanted = np.arange(seconds_per_chunk, index.ends[-1], seconds_per_chunk)
        keys = index.keys[np.minimum(np.searchsorted(index.seconds[index.keys], wanted), len(index.keys) - 1)]
        bounds = sorted({0, *np.searchsorted(first, keys).tolist()} - {len(grid)})
    chunked = []
    for number, (begin, end) in enumerate(zip(bounds, [*bounds[1:], len(grid)], strict=True)):
        key = index.keys[max(0, np.searchsorted(index.keys, first[begin], side="right") - 1)]
        chunked.append(Chunk(number, begin, end, float(index.seconds[key])))
    return chunked


def _positive(name: str, seconds: float) -> float:
    if not (seconds > 0 and np.isfinite(seconds)):
        raise UsageError(f"{name} is {seconds:g}; it must be more than 0.", hint=f"{name} 2")
    return float(seconds)


def _grid(index: Index, sampling: Sampling, starts: NDArray[np.float64], length: float) -> ClipGrid:
    """Sample j of a clip is the frame on display at its begin + (j + 0.5) x length / T."""
    duration = float(index.ends[-1])
    offsets = (np.arange(sampling.frames) + 0.5) * (length / sampling.frames)
    frames = displayed(index, starts[:, None] + offsets)
    padded = np.full(len(starts), duration < length - TOLERANCE)
    return ClipGrid(starts, np.minimum(starts + length, duration), padded, frames)
