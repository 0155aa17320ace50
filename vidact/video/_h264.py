"""What kind of start an H.264 key frame is. Reads NAL unit headers and one SEI message, and decodes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

Start = Literal["idr", "open", "gradual"]

_SLICE_IDR, _SEI = 5, 6
_RECOVERY_POINT = 6
_SEI_BYTES = 256


def start(packet: bytes, extradata: bytes | None) -> Start:
    """Tell how decoding can start at a packet that is flagged as a key frame.

    ``idr``: everything is reset, every frame after it comes out. ``open``: the picture is whole, but frames stored
    behind it may be shown before it and be built on what came earlier. ``gradual``: the picture is renewed bit by bit
    over the next frames; what a decoder that starts here gives is not what it gives when it comes from the beginning.
    """
    kind: Start = "open"
    for unit in _units(packet, extradata):
        if unit[0] & 31 == _SLICE_IDR:
            return "idr"
        if unit[0] & 31 == _SEI and _recovery_frames(unit[1:]) > 0:
            kind = "gradual"
    return kind


def _units(packet: bytes, extradata: bytes | None) -> Iterator[bytes]:
    """The beginning of every NAL unit: with lengths in front (MP4, Matroska) or start codes between (TS, AVI)."""
    if extradata and extradata[0] == 1 and len(extradata) > 4:
        width = (extradata[4] & 3) + 1
        at = 0
        while at + width < len(packet):
            yield packet[at + width : at + width + _SEI_BYTES]
            at += width + int.from_bytes(packet[at : at + width], "big")
        return
    at = packet.find(b"\0\0\1")
    while 0 <= at < len(packet) - 3:
        yield packet[at + 3 : at + 3 + _SEI_BYTES]
        at = packet.find(b"\0\0\1", at + 3)


def _recovery_frames(sei: bytes) -> int:
    """The recovery point message's number of frames, 0 if there is no such message."""
    sei = sei.replace(b"\0\0\3", b"\0\0")
    at = 0
    while at + 2 < len(sei):
        kind, at = _sum_of_bytes(sei, at)
        size, at = _sum_of_bytes(sei, at)
        if kind == _RECOVERY_POINT:
            return _exp_golomb(sei[at : at + 8])
        at += size
    return 0


def _sum_of_bytes(data: bytes, at: int) -> tuple[int, int]:
    """A number written as bytes of 255 and a rest: (number, position behind it)."""
    total = 0
    while at < len(data) and data[at] == 255:
        total, at = total + 255, at + 1
    return total + (data[at] if at < len(data) else 0), at + 1


def _exp_golomb(data: bytes) -> int:
    """z zeros, a one and z bits: the number they make, less one."""
    bits = "".join(f"{byte:08b}" for byte in data)
    zeros = bits.find("1")
    return int(bits[zeros : 2 * zeros + 1], 2) - 1 if zeros >= 0 else 0
