"""Which frames make up the rows of dense features: arithmetic on the packet index and a contract, nothing else.

A contract with a number as fps resamples first: its frame k is the one on display at k / fps. ``native`` takes frames
as they are. Row i is the same however long the video is and however it is cut for decoding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vidact.errors import VideoError
from vidact.records import Contract
from vidact.video.index import Index
from vidact.video.sampling import MOST_CLIPS, TOLERANCE, ClipGrid, displayed

if TYPE_CHECKING:
    from numpy.typing import NDArray


def windows(index: Index, contract: Contract, frames: int) -> tuple[ClipGrid, NDArray[np.float64]]:
    """The windows of a video, each of ``frames`` pictures spread evenly over it, and the centre of each in seconds.

    Row i sees frames i x stride to i x stride + window of the (resampled) video; one that ends before its first window
    does has one row, padded with its last frame. VideoError (``TooManyClips``) when rows cannot be counted.
    """
    duration = float(index.ends[-1])
    count = len(index.seconds)
    if contract.fps != "native":
        count = max(1, int(np.ceil((duration - TOLERANCE) * contract.fps)))
    rows = max(1, (count - contract.window) // contract.stride + 1)
    if rows > MOST_CLIPS:
        raise VideoError("TooManyClips", f"{rows:,} feature rows are more than {MOST_CLIPS:,}", stage="index")
    first = np.arange(rows, dtype=np.int64) * contract.stride
    within = np.arange(frames, dtype=np.int64) * contract.window // frames
    seen = np.minimum(first[:, None] + within, count - 1)
    if contract.fps != "native":
        seen = displayed(index, seen / contract.fps)
    starts, ends, centres = (
        seconds(index, contract, first + at) for at in (0.0, float(contract.window), float(contract.offset))
    )
    padded = np.full(rows, count < contract.window)
    return ClipGrid(starts, np.minimum(ends, duration), padded, seen), centres


def seconds(index: Index, contract: Contract, frames: NDArray[np.floating]) -> NDArray[np.float64]:
    """When frames of the (resampled) video are shown, in seconds; fractions fall between frames."""
    if contract.fps != "native":
        return np.asarray(frames / contract.fps, np.float64)
    shown = np.append(index.seconds, index.ends[-1])
    last = len(shown) - 1
    # A window may reach past the end of a short video: time goes on there at the average rate.
    beyond = np.maximum(frames - last, 0.0) / index.facts.fps
    return np.asarray(np.interp(frames, np.arange(last + 1), shown) + beyond, np.float64)
