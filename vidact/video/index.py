"""The packet index of a video: when every frame is shown, how long, and where decoding can start.

One pass over the packets with PyAV, in exact integers of the stream's time base; only the first frames are decoded,
to learn which frame is the first presented and how the picture is turned. All times of vidact come from here; nothing
here keeps a pixel, and no decoder's own idea of time or frame count is believed anywhere else.
"""

from __future__ import annotations

import os
import stat
from array import array
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from time import monotonic
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from vidact.errors import VideoError
from vidact.records import VideoFacts
from vidact.video import _boxes, _h264

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Match = Literal["pts", "packet", "count"]

FORMATS = (
    "amv,asf,avi,dv,flv,gxf,h261,h263,h264,hevc,ivf,live_flv,m4v,matroska,webm,mjpeg,mov,mp4,m4a,3gp,3g2,mj2,mpeg,mpegts,"
    "mpegvideo,mxf,nut,obu,ogg,rm,vc1,vc1test,wtv,yuv4mpegpipe"
)
"""Demuxers that may open a file. Playlists (hls, concat, dash) are not among them: a text named .mp4 could make them
open other files, or the network."""

CLOCK_MAY_JUMP = frozenset({"mpegts", "mpeg"})
"""Formats in which a step back, or a gap of more than ten seconds, is a new clock (a joined broadcast, a camera's next
scene) and not a pause."""

PROBED = 1_000
"""Packets decoded, at most, in search of the first frame."""

LONGEST_SECONDS = 100 * 24 * 3600
"""Beyond a hundred days, time stamps are damaged."""

NO_TIME = np.iinfo(np.int64).min
_KEY, _HIDDEN, _CORRUPT, _OPEN = 1, 2, 4, 8


@dataclass(frozen=True, slots=True)
class Header:
    """What the file claims of its video stream, right or wrong: published tests compute with it.

    ``rate`` and ``guessed`` are FFmpeg's average and best-guess frames a second (0: none), ``frames`` the counted
    frames (0: not stored), ``duration`` is in units of the stream's time base (None: not stored).
    """

    rate: float = 0.0
    guessed: float = 0.0
    frames: int = 0
    duration: int | None = None


@dataclass(frozen=True)
class Index:
    """When each of N frames is shown, in presentation order.

    ``seconds`` and ``ends`` float64 (N,), ``seconds[0]`` is 0 and ends are exclusive; ``pts`` int64 (N,) in units of
    ``time_base``; ``keys`` int64 (K,) rows at which decoding can start; ``damaged`` says that some packets cannot be
    read.

    ``match`` says how a packet is recognised. By its ``pts``; as the n-th ``packet`` of the stream, whose row is
    ``order[n]`` (-1: never shown), where pts repeat or jump; or, where the container stores no presentation times at
    all, only once decoded: the n-th frame that comes out is row n (``count``). ``simple`` says that packets and
    frames correspond one to one in the plainest way, which is all that decord understands. ``stream`` is the stream's
    number in the file and ``container`` FFmpeg's name of the format. ``lead``, in units of ``time_base``, is how far
    at most a packet is stored ahead of its time, which a seek must allow for. ``header`` is what the file claims.
    """

    path: str
    facts: VideoFacts
    time_base: Fraction
    pts: NDArray[np.int64]
    seconds: NDArray[np.float64]
    ends: NDArray[np.float64]
    keys: NDArray[np.int64]
    damaged: bool
    match: Match
    order: NDArray[np.int64]
    simple: bool
    stream: int
    container: str
    lead: int
    header: Header = Header()


@dataclass(frozen=True)
class _Packets:
    """What one pass over a stream gives, in stored order: arrays (P,), NO_TIME where a packet carries no time.

    ``hidden`` packets are decoded but never shown; ``clean`` is False when some key frame is no fresh start;
    ``first`` is the first frame a decoder gives, or None.
    """

    pts: NDArray[np.int64]
    dts: NDArray[np.int64]
    duration: NDArray[np.int64]
    size: NDArray[np.int64]
    key: NDArray[np.bool_]
    hidden: NDArray[np.bool_]
    clean: bool
    damaged: bool
    first: Any


def read_index(path: str) -> Index:
    """Index the first real video stream of a file.

    Raises VideoError, stage ``index``: NotFound, NotReadable, NotAFile, EmptyFile, NotAVideo, NoVideoStream,
    UnknownCodec, NoFrames, Undecodable, BadTimes.
    """
    for index in indexing(path, heartbeat=None):
        if index is not None:
            return index
    raise VideoError("NoFrames", "its video stream holds no frame", stage="index")


def indexing(path: str, heartbeat: float | None = 1.0) -> Iterator[Index | None]:
    """Yield the index of a file, and None before it whenever ``heartbeat`` seconds have passed.

    Indexing reads every byte of the file once: on a slow disk, tens of gigabytes take minutes. Raises as
    ``read_index``.
    """
    from av.stream import Discard

    _check(path)
    with opened(path) as container:
        stream = _pick(container)
        for other in container.streams:
            if other.index != stream.index:
                other.discard = Discard.all
        packets = yield from _scan(container, stream, heartbeat)
        yield _index(path, container, stream, packets)


@contextmanager
def opened(path: str, stage: str = "index") -> Iterator[Any]:
    """Open a container for reading; what FFmpeg objects to becomes a VideoError of the given stage."""
    import av

    try:
        with av.open(
            os.path.abspath(path),  # a leading slash: `concat:a.mp4` is a file name here, never a protocol
            metadata_errors="replace",
            container_options={"format_whitelist": FORMATS, "protocol_whitelist": "file"},
        ) as container:
            yield container
    except FileNotFoundError as error:
        raise VideoError("NotFound", "there is no such file", stage=stage) from error
    except PermissionError as error:
        raise VideoError("NotReadable", "permission to read the file is denied", stage=stage) from error
    except av.FFmpegError as error:
        why = _boxes.unfinished(path) or f"it cannot be opened as a video: {error.strerror}"
        raise VideoError("NotAVideo", why, stage=stage) from error


def stored_packets(container: Any, stream: Any) -> Iterator[Any]:
    """The packets of a stream in stored order; a None at the end says that a read error broke them off.

    Empty packets are left out: an AVI's dropped frames, for which the frame before them stays on display.
    """
    import av

    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except av.FFmpegError:
            yield None  # what came before is a video all the same
            return
        except IndexError:
            return  # PyAV stumbles at the end of a damaged file in which more streams turned up than it opened with
        if packet is None:
            return
        if packet.size:
            yield packet


def _check(path: str) -> None:
    """Refuse what must not be opened (a FIFO would wait for ever) and what cannot be a video."""
    try:
        found = os.stat(path)
    except (OSError, ValueError) as error:
        raise VideoError("NotFound", f"there is no such file: {error}", stage="index") from error
    if not stat.S_ISREG(found.st_mode):
        raise VideoError("NotAFile", "it is not a regular file", stage="index")
    if found.st_size == 0:
        raise VideoError("EmptyFile", "the file is empty", stage="index")


def _pick(container: Any) -> Any:
    """The video stream to look at: FFmpeg's choice, unless that is cover art."""
    from av.stream import Disposition

    pictures = Disposition.attached_pic | Disposition.timed_thumbnails
    streams = [stream for stream in container.streams.video if not stream.disposition & pictures]
    if not streams:
        raise VideoError("NoVideoStream", "the file has no video stream", stage="index")
    best = container.streams.best("video")
    stream = next((s for s in streams if best is not None and s.index == best.index), streams[0])
    if stream.codec_context is None:
        raise VideoError("UnknownCodec", "its video is in a format no decoder is at hand for", stage="index")
    return stream


def _scan(container: Any, stream: Any, heartbeat: float | None) -> Generator[None, None, _Packets]:
    """Read every packet of the stream once, and decode until the first frame comes out."""
    codec = _codec(stream)
    extradata = stream.codec_context.extradata
    stream.codec_context.thread_count = 1
    pts, dts, duration, size, flags = array("q"), array("q"), array("q"), array("q"), bytearray()
    probe: _FirstFrame | None = _FirstFrame(stream)
    frame: Any = None
    unreadable = False
    last_sign = monotonic()
    for packet in stored_packets(container, stream):
        if heartbeat is not None and monotonic() - last_sign >= heartbeat:
            yield None
            last_sign = monotonic()
        if packet is None:
            unreadable = True
            break
        at, stored = packet.pts, packet.dts
        pts.append(NO_TIME if at is None else at)
        dts.append(NO_TIME if stored is None else stored)
        duration.append(packet.duration or 0)
        size.append(packet.size)
        flags.append(_flags(packet, codec, extradata))
        if probe is not None:
            frame = probe.feed(packet)
            if frame is not None or len(pts) >= PROBED:
                probe = None
    if probe is not None:
        frame = probe.feed(None)
        if frame is None and len(pts):
            raise VideoError("Undecodable", "not one frame of it can be decoded", stage="index")
    bits = np.frombuffer(flags, np.uint8)
    shown_at, decoded_at = np.frombuffer(pts, np.int64), np.frombuffer(dts, np.int64)
    astray = _astray(container, stream.time_base, shown_at, decoded_at)
    return _Packets(
        pts=shown_at,
        dts=decoded_at,
        duration=np.frombuffer(duration, np.int64),
        size=np.frombuffer(size, np.int64),
        key=(bits & _KEY) > 0,
        hidden=((bits & _HIDDEN) > 0) | astray,
        clean=not (bits & _OPEN).any(),
        damaged=unreadable or bool((bits & _CORRUPT).any() or astray.any()) or _cut_short(container, stream),
        first=frame,
    )


class _FirstFrame:
    """Decodes packet after packet until one frame is out; undecodable packets are passed over."""

    def __init__(self, stream: Any) -> None:
        self.context = stream.codec_context

    def feed(self, packet: Any) -> Any:
        import av

        try:
            frames = self.context.decode(packet)
        except (av.FFmpegError, EOFError):
            return None
        return frames[0] if frames else None


def _flags(packet: Any, codec: str, extradata: bytes | None) -> int:
    hidden = packet.is_discard or (codec == "vp8" and not bytes(packet)[0] & 0x10)  # VP8's show_frame bit
    flags = _KEY * packet.is_keyframe | _HIDDEN * hidden | _CORRUPT * packet.is_corrupt
    if codec == "h264" and packet.is_keyframe:
        start = _h264.start(bytes(packet), extradata)
        flags |= _OPEN * (start != "idr")
        flags &= ~(_KEY * (start == "gradual"))
    return int(flags)


def _astray(container: Any, base: Fraction, pts: NDArray[np.int64], dts: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which packets of a broadcast carry a time that cannot be: shown long before or after they are decoded.

    One damaged time stamp would otherwise make a picture stay on display for hours.
    """
    if not CLOCK_MAY_JUMP.intersection(container.format.name.split(",")):
        return np.zeros(len(pts), np.bool_)
    timed = (pts > NO_TIME) & (dts > NO_TIME)
    ahead = np.where(timed, pts, 0) - np.where(timed, dts, 0)
    return np.asarray(abs(ahead) > float(10 / base), np.bool_)


def _cut_short(container: Any, stream: Any) -> bool:
    """Whether an MP4's own table lists data beyond the end of the file (a download that stopped)."""
    entries = stream.index_entries
    if "mov" not in container.format.name or not len(entries):
        return False
    last = entries[len(entries) - 1]
    return bool(last.pos + last.size > container.size)


def _index(path: str, container: Any, stream: Any, packets: _Packets) -> Index:
    """Put the packets into presentation order."""
    formats = frozenset(container.format.name.split(","))
    base: Fraction = stream.time_base
    period = _period(stream, base, packets.duration)
    match, pts, shown = _presentation(packets, formats, base, period)
    stored = np.flatnonzero(shown)
    if not len(stored):
        raise VideoError("NoFrames", "its video stream holds no frame", stage="index")
    stored = stored[np.argsort(pts[stored], kind="stable")]
    if (int(pts[stored[-1]]) - int(pts[stored[0]])) * base > LONGEST_SECONDS:
        raise VideoError("BadTimes", f"by its time stamps it lasts more than {LONGEST_SECONDS:,} s", stage="index")
    row = np.full(len(pts), -1, np.int64)
    row[stored] = np.arange(len(stored))

    seconds = (pts[stored] - pts[stored[0]]) * base.numerator / base.denominator
    last = float(packets.duration[stored[-1]] * base)
    if last <= 0:
        last = float(np.median(np.diff(seconds))) if len(stored) > 1 else 0.0
    ends = np.append(seconds[1:], seconds[-1] + (last if last > 0 else float(period * base)))
    keys = np.sort(row[packets.key & shown])
    facts = _facts(stream, packets.first, len(stored), float(ends[-1]), float(int(pts[stored[0]]) * base))
    one_to_one = match == "pts" and packets.clean and not packets.damaged and len(stored) == len(pts)
    # A "not coded" picture of MPEG-4 is a packet of a few bytes that gives no frame.
    one_to_one = one_to_one and not (facts.codec.startswith("m") and packets.size.min() < 9)
    # A decoder that expects pictures to be reordered, and times that say they are not: the times belong to other
    # frames.
    one_to_one = one_to_one and not (
        stream.codec_context.has_b_frames and len(packets.pts) > 4 and (np.diff(packets.pts) > 0).all()
    )
    closed = bool((row[packets.key] == np.flatnonzero(packets.key)).all())
    alone = len(container.streams.video) == 1
    return Index(
        path=path,
        facts=facts,
        time_base=base,
        pts=pts[stored],
        seconds=seconds,
        ends=ends,
        keys=keys if len(keys) else np.zeros(1, np.int64),
        damaged=packets.damaged,
        match=match,
        order=row if match == "packet" else np.zeros(0, np.int64),
        simple=one_to_one and closed and alone and facts.rotation == 0,
        stream=stream.index,
        container=container.format.name,
        lead=int((packets.pts - packets.dts)[shown].max()) if match == "pts" and (packets.dts > NO_TIME).all() else 0,
        header=_header(stream),
    )


def _presentation(
    packets: _Packets, formats: frozenset[str], base: Fraction, period: int
) -> tuple[Match, NDArray[np.int64], NDArray[np.bool_]]:
    """How packets are matched, when each is presented, and which are presented at all: (match, pts (P,), shown
    (P,))."""
    shown = ~packets.hidden
    pts, dts = packets.pts, packets.dts
    if (pts[shown] == NO_TIME).any() or ("avi" in formats and (pts != dts).any()):
        # No presentation times are stored (raw streams, B-frames in AVI): frames come out in order, at the packets'
        # times.
        times = np.sort(dts[shown])
        if not len(times) or times[0] == NO_TIME or (np.diff(times) <= 0).any():
            times = np.arange(len(times), dtype=np.int64) * period
        spread = np.zeros(len(pts), np.int64)
        spread[shown] = times
        return "count", spread, shown
    joined = _joined(pts, dts, formats, base, period)
    if packets.first is not None and packets.first.pts is not None:
        # Pictures in front of the first one that decodes are never seen: built on what was cut away. Were the first key
        # frame only damaged, it would still be where the video begins.
        begin = min([packets.first.pts, *joined[packets.key & shown][:1]])
        shown = shown & (joined >= begin)
    plain = joined is pts and len(np.unique(pts[shown])) == int(shown.sum())
    return ("pts" if plain else "packet"), joined, shown


def _joined(
    pts: NDArray[np.int64], dts: NDArray[np.int64], formats: frozenset[str], base: Fraction, period: int
) -> NDArray[np.int64]:
    """Presentation times with the jumps of the clock taken out; the same array if there are none."""
    if len(dts) < 2 or (dts == NO_TIME).any():
        return pts
    steps = np.diff(dts)
    # Elsewhere decoding times are partly FFmpeg's guesses and may stumble; only a real step back counts.
    jumps = (steps < 0) | (steps > float(10 / base)) if formats & CLOCK_MAY_JUMP else steps < float(-1 / base)
    if not jumps.any():
        return pts
    gained = np.cumsum(np.where(jumps, steps - period, 0))
    taken_out: NDArray[np.int64] = np.concatenate([np.zeros(1, np.int64), gained])
    return pts - taken_out


def _period(stream: Any, base: Fraction, duration: NDArray[np.int64]) -> int:
    """One frame in units of the time base: for what packets' times do not say."""
    if (duration > 0).any():
        return max(1, int(np.median(duration[duration > 0])))
    rate = stream.average_rate or stream.guessed_rate or Fraction(25)
    return max(1, round(1 / (rate * base)))


def _facts(stream: Any, first: Any, frames: int, duration: float, start: float) -> VideoFacts:
    turned = 0 if first is None else round(-first.rotation / 90) * 90 % 360
    width, height = (stream.width, stream.height) if first is None else (first.width, first.height)
    if not (width and height):
        raise VideoError("Undecodable", "not even the size of its picture can be decoded", stage="index")
    if turned in (90, 270):
        width, height = height, width
    return VideoFacts(duration, start, frames / duration, width, height, turned, _codec(stream), frames)


def _header(stream: Any) -> Header:
    rate, guessed = stream.average_rate or 0, stream.guessed_rate or 0
    return Header(float(rate), float(guessed), int(stream.frames or 0), stream.duration)


def _codec(stream: Any) -> str:
    """The codec's name, not the decoder's: ``av1``, whoever decodes it."""
    return str(stream.codec_context.codec.canonical_name)
