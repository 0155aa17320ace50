"""Videos made on the fly, the frame number painted into every frame.

A frame is a board of 5 x 5 fields. The upper left corner is bright and the other three are dark, so that a picture
turned or mirrored the wrong way is not readable; the other 21 fields are 16 bits of frame number and 5 bits of
checksum, bright or dark, each with a colour of its own. Whatever a decoder returns, scaled to whatever size, tells
which frame it is:

    path = make(tmp_path / "a.mp4", frames=60, codec="libx264", options={"bf": "3"})
    number(picture)          # 0 .. 59, or None if the picture is not one of ours

Only PyAV is used. What no encoder offers (a display matrix, an edit list) is patched into the finished MP4.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

BOARD = 5
CHECK = 31
CORNERS = ((0, 0), (0, BOARD - 1), (BOARD - 1, 0), (BOARD - 1, BOARD - 1))
FIELDS = [(y, x) for y in range(BOARD) for x in range(BOARD) if (y, x) not in CORNERS]


def painted(n: int, width: int, height: int) -> np.ndarray:
    """The picture of frame ``n``: uint8 (height, width, 3), RGB."""
    code = n << 5 | _checksum(n)
    board = np.zeros((BOARD, BOARD, 3), np.uint8)
    board[CORNERS[0]] = 220, 220, 220
    for corner in CORNERS[1:]:
        board[corner] = 30, 30, 30
    for place, field in enumerate(FIELDS):
        # Three tints, the sum of the channels nearly equal: brightness carries the bit, colour shows conversion errors.
        tint = np.roll((60, 20, -20), place)
        board[field] = (190 if code >> place & 1 else 60) + tint // 2
    rows = np.arange(height) * BOARD // height
    columns = np.arange(width) * BOARD // width
    return np.ascontiguousarray(board[rows][:, columns])


def number(picture: np.ndarray) -> int | None:
    """Read the frame number back from a picture of any size, or None if it is not an upright, intact picture of
    ours."""
    height, width = picture.shape[:2]
    grey = picture.astype(np.float64).mean(axis=2)

    def bright(y: int, x: int) -> bool:
        top, left = int((y + 0.3) * height / BOARD), int((x + 0.3) * width / BOARD)
        bottom, right = int((y + 0.7) * height / BOARD), int((x + 0.7) * width / BOARD)
        return bool(grey[top : max(bottom, top + 1), left : max(right, left + 1)].mean() > 125)

    if [bright(*corner) for corner in CORNERS] != [True, False, False, False]:
        return None
    code = sum(bright(*field) << place for place, field in enumerate(FIELDS))
    n = code >> 5
    return n if code & CHECK == _checksum(n) else None


def make(
    path: Path,
    *,
    frames: int = 60,
    fps: int | Fraction = 30,
    size: tuple[int, int] = (160, 120),
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    options: Mapping[str, str] | None = None,
    times: Sequence[int] | None = None,
    start: float = 0.0,
    rotation: int = 0,
    audio: bool = False,
    container: Mapping[str, str] | None = None,
    colour: Mapping[str, int] | None = None,
    form: str | None = None,
    picture: object = painted,
) -> Path:
    """Encode ``frames`` painted frames of ``size`` (width, height) as stored, and return ``path``.

    ``times`` are presentation times in milliseconds (variable frame rate), else frames follow at ``fps``; ``start``
    shifts all times by seconds. ``rotation`` (degrees clockwise, MP4 and MOV only) paints the frames so that they are
    upright when shown as the display matrix says. ``colour`` sets attributes such as ``colorspace`` and
    ``color_range``.
    """
    width, height = size
    shown = (height, width) if rotation in (90, 270) else (width, height)
    with av.open(str(path), "w", format=form, options=dict(container or {})) as out:
        stream = out.add_stream(codec, rate=fps)
        stream.width, stream.height, stream.pix_fmt = width, height, pixel_format
        stream.options = dict(options or {})
        for name, value in (colour or {}).items():
            setattr(stream.codec_context, name, value)
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        sound = out.add_stream("aac" if path.suffix in (".mp4", ".mov") else "mp2", rate=48000) if audio else None
        for n in range(frames):
            upright = picture(n, *shown)  # type: ignore[operator]
            image = np.ascontiguousarray(np.rot90(upright, rotation // 90))
            frame = av.VideoFrame.from_ndarray(image, "rgb24")
            for name, value in (colour or {}).items():
                setattr(frame, name, value)
            if times is not None:
                frame.pts, frame.time_base = times[n], Fraction(1, 1000)
            frame = frame.reformat(format=pixel_format, dst_colorspace=(colour or {}).get("colorspace"))
            _mux(out, stream, stream.encode(frame), start)
        _mux(out, stream, stream.encode(None), start)
        if sound is not None:
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 2 * 1152), np.int16), format="s16", layout="stereo")
            silence.rate = 48000
            for packet in [*sound.encode(silence), *sound.encode(None)]:
                out.mux(packet)
    if rotation:
        _patch_rotation(path, rotation)
    return path


def cut_edit_list(path: Path, skip: int) -> Path:
    """Move the start of an MP4's edit list ``skip`` units of the media time scale on: what lies before is not
    presented."""
    data = bytearray(path.read_bytes())
    at = data.index(b"elst") + 12
    duration, media_time = struct.unpack_from(">Ii", data, at)
    struct.pack_into(">Ii", data, at, duration, media_time + skip)
    path.write_bytes(data)
    return path


def _mux(out: av.container.OutputContainer, stream: av.VideoStream, packets: Sequence[av.Packet], start: float) -> None:
    for packet in packets:
        if start:
            shift = round(start / packet.time_base)
            packet.pts += shift
            packet.dts += shift
        out.mux(packet)


def _patch_rotation(path: Path, rotation: int) -> None:
    """Write a display matrix into the track header (version 0): ``rotation`` degrees clockwise."""
    data = bytearray(path.read_bytes())
    one = 1 << 16
    a, b = {90: (0, one), 180: (-one, 0), 270: (0, -one)}[rotation]
    struct.pack_into(">9i", data, data.index(b"tkhd") + 44, a, b, 0, -b, a, 0, 0, 0, 1 << 30)
    path.write_bytes(data)


def _checksum(n: int) -> int:
    return (n * 7 + (n >> 5) * 3 + 11) & CHECK
