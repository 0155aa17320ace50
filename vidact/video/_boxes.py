"""Why FFmpeg cannot open an MP4 or MOV file: its table of contents is not there.

Walks the outermost boxes (ISO/IEC 14496-12, 4.2) of a file that was refused already, and reads their headers alone.
"""

from __future__ import annotations

import os
from typing import BinaryIO

_FIRST = {b"ftyp", b"styp", b"mdat", b"moov", b"wide", b"free", b"skip"}
_MOST = 10_000


def unfinished(path: str) -> str:
    """What is missing of an MP4 or MOV file, in words; empty for any other file and for one whose ``moov`` is whole."""
    try:
        with open(path, "rb") as file:
            return _unfinished(file, os.fstat(file.fileno()).st_size)
    except OSError:
        return ""


def _unfinished(file: BinaryIO, size: int) -> str:
    at = 0
    for number in range(_MOST):
        file.seek(at)
        head = file.read(16)
        kind = head[4:8]
        if number == 0 and kind not in _FIRST:
            return ""
        length = int.from_bytes(head[:4], "big")
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        end = at + length if length else size  # 0: to the end of the file
        if kind == b"moov" and end <= size:
            return ""
        if len(head) < 8 or end >= size or length in range(1, 8):
            break
        at = end
    return (
        "it begins like an MP4 or MOV file, but its table of contents (moov) is missing or cut off: the end of the "
        f"file was not copied (here are {size} bytes), or the recording never finished"
    )
