"""Pictures by decord: fast, but only for files where its idea of a frame cannot differ from the packet index's.

decord counts frames from key frames it seeks to. Where packets and frames do not match one to one, or a format's
seeking is loose, it returns neighbouring frames without a word, and it conceals damage by repeating frames. So it is
given plain files only, is told to stop at the first repeated frame, and its times are never read.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from vidact.errors import VideoError
from vidact.video.index import Index
from vidact.video.transform import Plan

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Item = tuple[int, NDArray[np.uint8]] | None

CONTAINERS = frozenset({"mov", "matroska", "webm", "avi", "flv"})
"""Formats whose key frames decord was found to land on. In MPEG-TS and ASF it was a dozen frames off."""

CODECS = frozenset(
    {"h264", "hevc", "vp8", "vp9", "mpeg4", "mpeg1video", "mpeg2video", "msmpeg4v3", "mjpeg", "prores", "dnxhd", "ffv1"}
)
"""Codecs checked frame by frame against PyAV."""

LONGEST_SECONDS = 1200.0
"""decord's memory grows with the length of a file."""

WINDOW = 16
"""Pictures of one call."""

WINDOW_BYTES = 64 << 20
"""Bytes of one call's pictures: at native size, sixteen of a 4K video would be 400 MB."""

WINDOW_ROWS = 128
"""Rows one call may have to decode, so that a call is a matter of seconds, whatever the resolution."""

STOP_AT_FIRST = "0.00000001"
"""``fault_tol`` as a share of the frames: 0 would switch the check off, and 1 would let one repeated frame through."""


def installed() -> bool:
    """Whether there is a decord on this platform, found out without importing it."""
    return find_spec("decord") is not None


def refusal(index: Index) -> str | None:
    """Why decord must not be given this file, or None."""
    if index.container.split(",")[0] not in CONTAINERS:
        return f"it does not seek reliably in {index.container}"
    if index.facts.codec not in CODECS:
        return f"it was not tested with {index.facts.codec}"
    if not index.simple:
        return "it would misplace frames of this file (rotated, damaged, open GOPs, edit list or unusual time stamps)"
    if index.facts.duration > LONGEST_SECONDS:
        return f"the video is longer than {LONGEST_SECONDS / 60:g} minutes"
    return None


def pictures(index: Index, plan: Plan, needed: NDArray[np.int64], threads: int) -> Iterator[Item]:
    """Decode the rows ``needed`` (ascending, unique): yields (row, uint8 (height, width, 3)), and None between calls.

    Raises VideoError (``Undecodable``) at the first sign of trouble; what was yielded before it holds.
    """
    try:
        reader = _open(index, plan, threads)
        height, width = plan.decoded
        most = max(1, min(WINDOW, WINDOW_BYTES // (height * width * 3)))
        for window in _windows(needed, most):
            yield None
            batch = reader.get_batch(window).asnumpy()
            yield from zip(window.tolist(), batch, strict=True)
    except VideoError:
        raise
    except Exception as error:  # decord's own errors are bare ones, and a name that is no UTF-8 is a UnicodeError
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise VideoError("Undecodable", f"decord: {reason[0]}", stage="decode") from error


def _open(index: Index, plan: Plan, threads: int) -> Any:
    import decord

    decord.logging.set_level(decord.logging.QUIET)
    height, width = plan.decoded
    reader = decord.VideoReader(
        index.path, decord.cpu(0), width=width, height=height, num_threads=threads, fault_tol=STOP_AT_FIRST
    )
    if len(reader) != index.facts.frames:
        # Asked for frames that are not there, it can spin for ever.
        raise VideoError("Undecodable", f"decord counts {len(reader)} frames, the packets {index.facts.frames}")
    return reader


def _windows(needed: NDArray[np.int64], most: int) -> Iterator[NDArray[np.int64]]:
    at = 0
    while at < len(needed):
        near = int(np.searchsorted(needed, needed[at] + WINDOW_ROWS))
        end = min(at + most, near)
        yield needed[at:end]
        at = end
