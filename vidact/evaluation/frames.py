"""How good scores of single frames are, for dense sets whose frames carry several labels at once.

The protocol of the multi-label sets (Charades, MultiTHUMOS, TSU): frames of all videos are ranked together. Arrays
only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Floats = np.ndarray[Any, Any]
SAMPLES = 25


@dataclass(frozen=True, slots=True)
class FrameScores:
    """``ap`` of every class (0 for one without positive frames), from ``frames`` frames."""

    ap: Floats
    frames: int

    @property
    def map(self) -> float:
        """Mean over the classes whose AP is not 0: the number the papers report."""
        counted = self.ap[self.ap > 0]
        return float(counted.mean()) if len(counted) else 0.0


def frame_average_precision(
    scores: Sequence[Floats], labels: Sequence[Floats], *, sampled: bool = False
) -> FrameScores:
    """Average precision of frame scores: each video (T, classes), ``labels`` 0 or 1.

    ``sampled`` keeps 25 evenly spaced frames of each video with more than 25 and drops the shorter videos (Charades).
    """
    rows = [spaced(len(video)) if sampled else np.arange(len(video)) for video in scores]
    values = np.concatenate([video[kept] for video, kept in zip(scores, rows, strict=True)]).astype(np.float64)
    truth = np.concatenate([video[kept] for video, kept in zip(labels, rows, strict=True)]) > 0
    ap = np.zeros(values.shape[1])
    for column in range(values.shape[1]):
        positive = truth[np.argsort(-values[:, column], kind="stable"), column]
        if positive.any():
            ap[column] = (np.cumsum(positive) / np.arange(1, len(positive) + 1))[positive].mean()
    return FrameScores(ap, len(values))


def drawn(start: Floats, end: Floats, score: Floats, frames: int, rate: float) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Segments (seconds) as one column of ``frames`` frames, ``rate`` a second: the best score that covers each.

    A frame stands for the moment in its middle; (frames, 1), 0 where there is no segment.
    """
    column = np.zeros((frames, 1), dtype=np.float32)
    first = np.clip(np.ceil(start * rate - 0.5), 0, frames).astype(np.int64)
    last = np.clip(np.ceil(end * rate - 0.5), 0, frames).astype(np.int64)
    for row in np.argsort(score, kind="stable"):
        column[first[row] : last[row]] = score[row]
    return column


def spaced(frames: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The frames the sampled protocol looks at: 25 of them from the second on, none of a video with 25 or fewer."""
    if frames <= SAMPLES:
        return np.empty(0, dtype=np.int64)
    return np.arange(1, frames, int(frames / SAMPLES))[:SAMPLES]
