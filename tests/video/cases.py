"""The made videos of these tests: what is encoded, and what a reader must see in it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

BIDIRECTIONAL = {"bf": "3", "g": "12"}
OPEN_GOP = {**BIDIRECTIONAL, "x264-params": "open-gop=1:b-adapt=0"}
QUICK_VP9 = {"deadline": "realtime", "cpu-used": "8", "g": "20"}
QUICK_VP8 = {"deadline": "realtime", "cpu-used": "16", "g": "20"}
UNEVEN = [n * 33 + n % 7 * 4 + (300 if n > 20 else 0) for n in range(40)]


@dataclass(frozen=True)
class Case:
    """A video to make and what is to be seen in it.

    ``made`` are the arguments of ``make``; ``decord`` says whether decord may be trusted with it; ``numbers`` are the
    frames shown, in order; ``times`` their times in milliseconds, if not even; ``start`` the container's start in
    seconds (None: not checked).
    """

    made: dict[str, Any] = field(default_factory=dict)
    decord: bool = True
    numbers: range = range(40)
    times: list[int] | None = None
    start: float | None = None
    size: tuple[int, int] = (160, 120)
    codec: str = "h264"
    rotation: int = 0


CASES = {
    "h264.mp4": Case({"options": BIDIRECTIONAL}, start=0.0),
    "h264.mkv": Case({"options": BIDIRECTIONAL, "audio": True}, start=None),
    "h264.flv": Case({"options": BIDIRECTIONAL}),
    "h264.avi": Case({"options": BIDIRECTIONAL}, decord=False),
    "h264.ts": Case({"options": BIDIRECTIONAL, "start": 36_000.0, "audio": True}, decord=False, start=36_000.0),
    "wrapping.ts": Case({"options": BIDIRECTIONAL, "start": 2**33 / 90_000 - 0.5}, decord=False),
    "raw.h264": Case({"options": BIDIRECTIONAL, "form": "h264"}, decord=False),
    "open.mp4": Case({"options": OPEN_GOP}, decord=False),
    "open.ts": Case({"options": OPEN_GOP}, decord=False),
    "refresh.mp4": Case({"options": {"bf": "0", "g": "10", "x264-params": "intra-refresh=1"}}, decord=False),
    "edit.mp4": Case({"options": BIDIRECTIONAL}, decord=False, numbers=range(15, 40), start=0.0),
    "late.mp4": Case({"options": BIDIRECTIONAL, "start": 0.5}, start=0.5),
    "uneven.mp4": Case({"options": BIDIRECTIONAL, "times": UNEVEN}, times=UNEVEN),
    "uneven.mkv": Case({"options": BIDIRECTIONAL, "times": UNEVEN}, times=UNEVEN),
    "mpeg4.avi": Case({"codec": "mpeg4"}, codec="mpeg4"),
    "mpeg4-b.avi": Case({"codec": "mpeg4", "options": {"bf": "2"}}, decord=False, codec="mpeg4"),
    "mpeg2.ts": Case(
        {"codec": "mpeg2video", "options": {"bf": "2"}, "start": 36_000.0},
        decord=False,
        start=36_000.0,
        codec="mpeg2video",
    ),
    "mpeg2.mpg": Case({"codec": "mpeg2video", "options": {"bf": "2"}}, decord=False, codec="mpeg2video"),
    "vp8.webm": Case({"codec": "libvpx", "options": QUICK_VP8}, codec="vp8"),
    "vp9.webm": Case({"codec": "libvpx-vp9", "options": QUICK_VP9}, codec="vp9"),
    "hevc.mp4": Case(
        {"codec": "libx265", "options": {"x265-params": "log-level=none:keyint=12:bframes=3"}},
        decord=False,
        codec="hevc",
    ),
    "hevc10.mp4": Case(
        {"codec": "libx265", "pixel_format": "yuv420p10le", "options": {"x265-params": "log-level=none"}}, codec="hevc"
    ),
    "av1.mp4": Case({"codec": "libsvtav1", "options": {"preset": "12"}}, decord=False, codec="av1"),
    "mjpeg.mov": Case({"codec": "mjpeg", "pixel_format": "yuvj420p"}, codec="mjpeg"),
    "prores.mov": Case({"codec": "prores_ks", "pixel_format": "yuv422p10le"}, codec="prores"),
    "wmv2.wmv": Case({"codec": "wmv2"}, decord=False, codec="wmv2"),
    "ten-bit.mp4": Case({"pixel_format": "yuv420p10le", "options": BIDIRECTIONAL}),
    "422.mp4": Case({"pixel_format": "yuv422p", "options": BIDIRECTIONAL}),
    "full-range-709.mp4": Case({"options": BIDIRECTIONAL, "colour": {"colorspace": 1, "color_range": 2}}),
    "odd.mkv": Case({"codec": "libvpx-vp9", "options": QUICK_VP9, "size": (161, 121)}, size=(161, 121), codec="vp9"),
    "portrait.mp4": Case({"size": (90, 160)}, size=(90, 160)),
    "turned-90.mp4": Case({"rotation": 90}, decord=False, size=(120, 160), rotation=90),
    "turned-180.mp4": Case({"rotation": 180}, decord=False, rotation=180),
    "turned-270.mov": Case({"rotation": 270}, decord=False, size=(120, 160), rotation=270),
    "one.mp4": Case({"frames": 1}, numbers=range(1)),
    "tenth.webm": Case({"frames": 3, "codec": "libvpx-vp9", "options": QUICK_VP9}, numbers=range(3), codec="vp9"),
}


def unescape(video: str) -> bytes:
    """The bytes of the path that ``find.escape`` named so."""
    return re.sub(
        rb"\\\\|\\x([0-9a-f]{2})", lambda found: bytes([int(found[1], 16)]) if found[1] else b"\\", video.encode()
    )
