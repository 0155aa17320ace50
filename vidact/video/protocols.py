"""Which frames the published tests look at: one small function a rule, from a video's facts to frame numbers.

Frames are counted from 0 in presentation order. Every quirk of the originals is kept, because their scores were
reached with it: clip lengths in fractions of a frame, windows cut to time stamps, single-precision steps, headers that
are believed. Nothing here opens a file or sees a pixel.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from vidact.errors import ModelError, VideoError
from vidact.records import Protocol
from vidact.video.index import Header, Index
from vidact.video.sampling import ClipGrid

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Frames = NDArray[np.int64]

MICROSECONDS = 1_000_000
READER_MARGIN = 100
"""Microseconds by which the torchvision reader lets a frame come after the end of a window."""


@dataclass(frozen=True)
class Timing:
    """What the rules need of a video: its frames, their ``pts`` int64 (frames,) in units of ``time_base``, and what its
    header claims."""

    frames: int
    pts: Frames
    time_base: Fraction
    header: Header

    @property
    def seconds(self) -> float | None:
        """The duration in the header."""
        return None if self.header.duration is None else float(self.header.duration * self.time_base)


def published(index: Index, protocol: Protocol) -> ClipGrid:
    """The clips of a published test. A clip lasts from its first sampled frame to the end of its last one.

    Raises VideoError (``TooShort``) where the original has no view of so short a video, ModelError for a rule this
    version does not know.
    """
    timing = Timing(len(index.pts), index.pts, index.time_base, index.header)
    frames = clips(timing, protocol)
    lacking = protocol.frames - frames.shape[1]
    if lacking > 0:  # the original would show its network fewer frames, which it cannot take
        frames = np.concatenate([frames, np.repeat(frames[:, -1:], lacking, axis=1)], axis=1)
    first, last = frames.min(axis=1), frames.max(axis=1)
    padded = np.full(len(frames), timing.frames < _span(timing, protocol))
    return ClipGrid(index.seconds[first], index.ends[last], padded, frames)


def clips(timing: Timing, protocol: Protocol) -> Frames:
    """Frame numbers, int64 (clips, frames): one row a temporal view, in the original's order."""
    rule = RULES.get(protocol.rule)
    if rule is None:
        raise ModelError(f"there is no sampling rule {protocol.rule!r}", hint="the weights need a newer vidact")
    return np.asarray(rule(timing, protocol), np.int64)


def _span(timing: Timing, protocol: Protocol) -> float:
    """Frames a clip reaches over in this video."""
    rate = _rate(timing) / protocol.fps if protocol.fps else 1.0
    return ((protocol.frames - 1) * protocol.stride) * rate + 1


def _rate(timing: Timing) -> float:
    """Frames a second by the header, else by the time stamps."""
    if timing.header.rate:
        return timing.header.rate
    spread = float(int(timing.pts[-1] - timing.pts[0]) * timing.time_base)
    return (timing.frames - 1) / spread if spread > 0 else 25.0


def _steps(start: float, end: float, count: int) -> NDArray[np.float32]:
    """``count`` numbers from ``start`` to ``end`` as torch's linspace gives them on processors that multiply and add in
    one rounding: single precision, the second half counted from the end. Truncation brings out the last bit."""
    first, last = np.float32(start), np.float32(end)
    if count == 1:
        return np.array([first])
    step = np.float64((last - first) / np.float32(count - 1))
    places = np.arange(count)
    ahead, back = np.float64(first) + step * places, np.float64(last) - step * (count - 1 - places)
    return np.asarray(np.where(places < count // 2, ahead, back), np.float32)


def _clamped(numbers: NDArray[np.float32], count: int) -> Frames:
    """Truncated, and never outside ``count`` frames."""
    return np.clip(numbers, 0, count - 1).astype(np.int64)


# mmaction2


def _mmaction(timing: Timing, protocol: Protocol) -> Frames:
    """Clips spread evenly, starts rounded (halves to even); what lies beyond the end begins again at the front."""
    span = (protocol.frames - 1) * protocol.stride + 1
    spare = max(timing.frames - span, 0)
    starts = np.array([spare // 2])
    if protocol.clips > 1:
        starts = np.round(np.arange(protocol.clips) * (spare / (protocol.clips - 1))).astype(np.int64)
    return (starts[:, None] + np.arange(protocol.frames) * protocol.stride) % timing.frames


def _mmaction_rate(timing: Timing, protocol: Protocol) -> Frames:
    """The same for a clip of a certain length in seconds: whole frames between the starts, steps truncated."""
    ratio = _rate(timing) / (protocol.fps or 30.0)
    span = max(1.0, protocol.frames * protocol.stride * ratio)
    spare = max(timing.frames - span, 0)
    starts = (
        np.array([spare // 2]) if protocol.clips == 1 else np.arange(protocol.clips) * (spare // (protocol.clips - 1))
    )
    steps = np.linspace(0, span - 1, protocol.frames).astype(np.int64)
    return (starts[:, None] + steps).astype(np.int64) % timing.frames


def _mmaction_segments(timing: Timing, protocol: Protocol) -> Frames:
    """One clip, a frame from the middle of every segment; a second clip takes the first frames of the segments."""
    begins = np.arange(protocol.frames) * (timing.frames / protocol.frames)
    middles = begins + timing.frames / protocol.frames / 2
    return np.stack([middles, begins][: protocol.clips]).astype(np.int64) % timing.frames


def _mmaction_stacks(timing: Timing, protocol: Protocol) -> Frames:
    """One clip, the frames at which stacks of ``stride`` fields of flow begin: the first at the first frame, the last
    so that it ends with the video, rounded between (halves to even)."""
    spare = max(timing.frames - 1 - protocol.stride, 0)
    return np.round(np.linspace(0, spare, protocol.frames)).astype(np.int64)[None]


# PySlowFast and what grew out of it


def _pyslowfast(timing: Timing, protocol: Protocol, *, offset: bool = False) -> Frames:
    """Windows cut to time stamps as the torchvision reader finds them, then ``frames`` steps through what is inside.

    Starts are fractions of a frame, spread with a division by the number of clips: the last one does not reach the end.
    ``offset``: whole frames apart and up to the end.
    """
    rate = float(np.float32(timing.header.guessed or _rate(timing)))
    length = max(1.0, protocol.stride * protocol.frames / (protocol.fps or 30.0) * rate)
    counted = rate * (timing.seconds or 0.0)
    if counted <= protocol.frames * protocol.stride:
        return _from_whole(timing, protocol, length, offset=offset)
    ticks = timing.time_base.denominator / rate
    found = []
    for clip, start in enumerate(_starts(counted, length, protocol.clips, offset=offset)):
        begin, end = int(start * ticks), int((start + length - 1) * ticks)
        inside = _inside(timing, begin, end)
        if len(inside):
            found.append(inside[_clamped(_steps(0.0, length - 1, protocol.frames), len(inside))])
        else:
            found.append(_from_whole(timing, protocol, length, offset=offset)[clip])
    return np.stack(found)


def _pyslowfast_offset(timing: Timing, protocol: Protocol) -> Frames:
    return _pyslowfast(timing, protocol, offset=True)


def _timesformer(timing: Timing, protocol: Protocol) -> Frames:
    """A window as long as the clip, sought in the file, and one frame beyond its end."""
    window = protocol.stride * protocol.frames / (protocol.fps or 30.0) * _rate(timing)
    length = max(1.0, window)
    duration, counted = timing.header.duration, timing.header.frames
    if duration is None or not counted:
        return _from_whole(timing, protocol, length)
    found = []
    for start in _starts(counted, window, protocol.clips):
        begin, end = int(start * (duration / counted)), int((start + window - 1) * (duration / counted))
        first = min(int(np.searchsorted(timing.pts, begin)), timing.frames - 1)
        last = min(int(np.searchsorted(timing.pts, end, side="right")), timing.frames - 1)
        found.append(first + _clamped(_steps(0.0, length - 1, protocol.frames), max(1, last - first + 1)))
    return np.stack(found)


def _from_whole(timing: Timing, protocol: Protocol, length: float, *, offset: bool = False) -> Frames:
    """The whole file is decoded and the steps go through its frames."""
    starts = _starts(timing.frames, length, protocol.clips, offset=offset)
    steps = [_steps(start, start + length - 1, protocol.frames) for start in starts]
    return _clamped(np.stack(steps), timing.frames)


def _starts(counted: float, length: float, number: int, *, offset: bool = False) -> list[float]:
    spare = max(counted - length, 0)
    if offset:
        return [
            clip * math.floor(spare / (number - 1)) if number > 1 else math.floor(spare / 2) for clip in range(number)
        ]
    return [spare * clip / number for clip in range(number)]


def _inside(timing: Timing, begin: int, end: int) -> Frames:
    """The frames from ``begin`` to ``end`` (ticks, both included), compared in whole microseconds."""
    times = _microseconds(timing.pts, timing.time_base)
    first, last = _microseconds(np.array([begin, end]), timing.time_base).tolist()
    return np.flatnonzero((times >= first) & (times <= last + READER_MARGIN))


def _microseconds(ticks: Frames, base: Fraction) -> Frames:
    """Ticks → microseconds, rounded half up, in integers."""
    return (2 * MICROSECONDS * base.numerator * ticks + base.denominator) // (2 * base.denominator)


def _frame_folders(timing: Timing, protocol: Protocol) -> Frames:
    """The middle of each of as many stretches as there are frames, ends rounded (Something-Something)."""
    edges = np.round(np.arange(protocol.frames + 1) * ((timing.frames - 1) / protocol.frames)).astype(np.int64)
    return ((edges[:-1] + edges[1:]) // 2)[None]


def _pytorchvideo(timing: Timing, protocol: Protocol) -> Frames:
    """Windows of seconds, their end excluded, spread from the start of the video to its end.

    Seconds are floating-point numbers, as in the recipe of the hub: a frame that begins exactly where a window of 2.6 s
    ends is not in it.
    """
    length = protocol.frames * protocol.stride / (protocol.fps or 30.0)
    times, tick = timing.pts - timing.pts[0], float(timing.time_base)
    duration = int(times[-1]) if timing.header.duration is None else timing.header.duration - int(timing.pts[0])
    apart = max(duration * tick - length, 0.0) / max(protocol.clips - 1, 1)
    found = []
    for clip in range(protocol.clips):
        ticks = [math.ceil(second / tick) for second in (clip * apart, clip * apart + length)]
        first, last = np.searchsorted(times, ticks).tolist()
        first = min(first, timing.frames - 1)
        count = max(1, last - first)
        found.append(first + _clamped(_steps(0.0, count - 1, protocol.frames), count))
    return np.stack(found)


# VideoMAE and its kin


def _videomae(timing: Timing, protocol: Protocol) -> Frames:
    """Every ``stride``-th frame of the file is listed, its last entry repeated if need be; clips are cut from the
    list."""
    listed = np.arange(0, timing.frames, protocol.stride)
    listed = np.append(listed, np.repeat(listed[-1], max(0, protocol.frames - len(listed))))
    apart = (len(listed) - protocol.frames) / max(protocol.clips - 1, 1)
    return np.stack([listed[int(clip * apart) :][: protocol.frames] for clip in range(protocol.clips)])


def _videomae_segments(timing: Timing, protocol: Protocol) -> Frames:
    """Two frames of every segment, its first and its middle one, dealt in turn to two clips (Something-Something)."""
    tick = timing.frames / protocol.frames
    begins = np.arange(protocol.frames) * tick
    dealt = np.sort(np.concatenate([(tick / 2 + begins).astype(np.int64), begins.astype(np.int64)]))
    return np.stack([dealt[clip::2] for clip in range(protocol.clips)])


# V-JEPA 2 and torchvision


def _vjepa2(timing: Timing, protocol: Protocol) -> Frames:
    """A window at the start of each of as many parts as there are clips; in a short video the windows overlap, and
    what is missing of one is its last frame but one."""
    span, part = protocol.frames * protocol.stride, timing.frames // protocol.clips
    if part > span:
        steps = np.clip(np.linspace(0, span, protocol.frames), 0, span - 1).astype(np.int64)
        return np.asarray(np.arange(protocol.clips)[:, None] * part + steps, np.int64)
    reach = min(span, timing.frames) - 1
    listed = np.linspace(0, reach, reach // protocol.stride)
    listed = np.append(listed, np.full(protocol.frames - len(listed), reach))
    steps = np.clip(listed, 0, max(reach - 1, 0)).astype(np.int64)
    apart = max(timing.frames - span, 0) // max(protocol.clips - 1, 1)
    return np.asarray(np.arange(protocol.clips)[:, None] * apart + steps, np.int64)


def _torchvision(timing: Timing, protocol: Protocol) -> Frames:
    """Frames are thinned out to ``fps`` by truncation, and clips of neighbours spread evenly over what is left."""
    step = _rate(timing) / (protocol.fps or 15.0)
    if step.is_integer():
        thinned = np.arange(0, timing.frames, int(step))
    else:
        places = np.arange(math.floor(timing.frames / step), dtype=np.float32) * np.float32(step)
        thinned = np.minimum(np.floor(places).astype(np.int64), timing.frames - 1)
    if len(thinned) < protocol.frames:
        _at_least(timing, math.ceil(protocol.frames * step))
    starts = np.floor(_steps(0.0, len(thinned) - protocol.frames, protocol.clips)).astype(np.int64)
    return np.asarray(thinned[starts[:, None] + np.arange(protocol.frames)], np.int64)


# Hugging Face


def _hub_pipeline(timing: Timing, protocol: Protocol) -> Frames:
    """From the start of the video, both ends of the span included; a short video has fewer frames."""
    asked = np.linspace(0, protocol.frames * protocol.stride - 1, protocol.frames).astype(np.int64)
    return np.asarray(asked[asked < timing.frames][None], np.int64)


def _ends(timing: Timing, protocol: Protocol) -> Frames:
    """From the first frame to the last."""
    return np.linspace(0, timing.frames - 1, protocol.frames).astype(np.int64)[None]


# Stretches side by side


def _stacks(timing: Timing, protocol: Protocol) -> Frames:
    """Stacks of neighbouring frames, ``stride`` from one to the next; each needs one more frame behind it."""
    _at_least(timing, protocol.frames + 1)
    starts = np.arange(0, timing.frames - protocol.frames, protocol.stride)
    return np.asarray(starts[:, None] + np.arange(protocol.frames), np.int64)


def _windows(timing: Timing, protocol: Protocol) -> Frames:
    """Windows side by side; a last one that is not full begins again at its own front."""
    starts = np.arange(0, timing.frames, protocol.frames)
    lengths = np.minimum(timing.frames - starts, protocol.frames)
    return np.asarray(starts[:, None] + np.arange(protocol.frames) % lengths[:, None], np.int64)


def _at_least(timing: Timing, frames: int) -> None:
    if timing.frames < frames:
        raise VideoError(
            "TooShort",
            f"it has {timing.frames} frames, the published protocol needs {frames}",
            stage="index",
            hint="--protocol clips",
        )


RULES: dict[str, Callable[[Timing, Protocol], Frames]] = {
    "mmaction2": _mmaction,
    "mmaction2-rate": _mmaction_rate,
    "mmaction2-segments": _mmaction_segments,
    "mmaction2-stacks": _mmaction_stacks,
    "pyslowfast": _pyslowfast,
    "pyslowfast-offset": _pyslowfast_offset,
    "timesformer": _timesformer,
    "frame-folders": _frame_folders,
    "pytorchvideo": _pytorchvideo,
    "videomae": _videomae,
    "videomae-segments": _videomae_segments,
    "vjepa2": _vjepa2,
    "torchvision": _torchvision,
    "hub-pipeline": _hub_pipeline,
    "ends": _ends,
    "stacks": _stacks,
    "windows": _windows,
}
"""Every rule by the name a ``Protocol`` gives it."""
