"""From the sequence a localizer reads to seconds, and from stored features to that sequence: pure arithmetic.

Knows contracts and settings, no network and no file.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from vidact.errors import UsageError
from vidact.models.localization.settings import Settings, Windows
from vidact.records import Contract


@dataclass(frozen=True, slots=True)
class Clock:
    """Where rows lie in time: row i at (i × ``step`` + ``offset``) / ``rate`` seconds; nothing lies past ``duration``.

    ``step`` and ``offset`` in frames, ``rate`` in frames a second, kept apart so that rounding follows the originals.
    ``shown``, where it is known, are the frames each row of features is centred at and the seconds these are shown at
    (two float64 arrays): then times are interpolated between them, because the frame rate may vary.
    """

    step: float
    offset: float
    rate: float
    duration: float
    shown: tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]] | None = None

    def seconds(self, rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """float32 rows of any shape → float32 seconds, cut to the video."""
        if self.shown is not None:
            return self._interpolated(rows)
        found = (rows * np.float32(self.step) + np.float32(self.offset)) / np.float32(self.rate)
        cut: np.ndarray[Any, Any] = np.clip(found, np.float32(0), np.float32(self.duration))
        return cut

    def rows(self, seconds: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
        """float64 seconds of any shape → float64 rows: the inverse of ``seconds``, but nothing is cut."""
        wanted = np.asarray(seconds, np.float64)
        frames = wanted * self.rate
        if self.shown is not None:
            known, centres = self.shown
            frames = np.interp(wanted, centres, known)
            frames += (np.minimum(wanted - centres[0], 0) + np.maximum(wanted - centres[-1], 0)) * self.rate
        found: np.ndarray[Any, np.dtype[np.float64]] = (frames - self.offset) / self.step
        return found

    def _interpolated(self, rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Seconds between the rows' own; before the first and behind the last, time goes on at the average rate."""
        assert self.shown is not None
        frames, centres = self.shown
        wanted = np.asarray(rows, np.float64) * self.step + self.offset
        found = np.interp(wanted, frames, centres)
        found += np.minimum(wanted - frames[0], 0) / self.rate + np.maximum(wanted - frames[-1], 0) / self.rate
        cut: np.ndarray[Any, Any] = np.clip(found, 0.0, self.duration).astype(np.float32)
        return cut


def clock(
    contract: Contract,
    settings: Settings,
    rows: int,
    duration: float,
    fps: float,
    centres: np.ndarray[Any, Any] | None = None,
) -> Clock:
    """The clock of a sequence of ``rows`` feature rows, after the resizing its settings ask for.

    ``centres`` (rows,) are the seconds rows are centred at, where they are known; they count for features at the
    video's own rate, which may vary.
    """
    shown = None
    if centres is not None and contract.fps == "native":
        shown = np.arange(rows) * float(contract.stride) + contract.offset, np.asarray(centres, np.float64)
    if settings.snippet:
        whole = round(fps * duration)
        covered = whole // settings.snippet * settings.snippet / whole * duration
        return Clock(covered / settings.length, 0.0, 1.0, covered)
    if settings.resize == "align":
        return Clock(duration / settings.length, 0.0, 1.0, duration)
    if settings.resize == "linear":
        step = ((rows - 1) * contract.stride + contract.window) / settings.length
        return Clock(step, 0.5 * step, fps, duration, shown)
    if settings.resize == "longer" and rows > settings.length:
        share = rows / settings.length
        return Clock(contract.stride * share, contract.offset * share, fps, duration, shown)
    return Clock(contract.stride, contract.offset, fps, duration, shown)


def pieces(windows: Windows, rows: int) -> list[tuple[int, int]]:
    """First and last row (exclusive) of every window over ``rows`` rows; the last is moved back to end with them."""
    found: list[tuple[int, int]] = []
    for first in range(0, max(1, rows // windows.stride) * windows.stride, windows.stride):
        if first + windows.length > rows:
            found.append((max(0, rows - windows.length), rows))
            break
        found.append((first, first + windows.length))
    return found


def frames(contract: Contract, rows: int) -> int:
    """How many frames at least ``rows`` rows were made from."""
    return (rows - 1) * contract.stride + contract.window


def rate_and_duration(
    contract: Contract, rows: int, duration: float | None = None, fps: float | None = None
) -> tuple[float, float]:
    """Frames a second and seconds of a video, from what is known of it: None is not.

    The rate is the contract's, or ``fps`` where that is the video's own, else what rows and duration imply; the
    duration else what rows cover. UsageError where that is not enough, or what is known cannot be.
    """
    rate, covered = fps if contract.fps == "native" else contract.fps, frames(contract, rows)
    if any(value is not None and not 0 < value < math.inf for value in (rate, duration)):
        raise UsageError(f"fps {rate} and duration {duration} must be numbers above 0", hint="give the video's own")
    if rate is None:
        if duration is None:
            raise UsageError(
                "features at the video's own rate need its fps or duration", hint="give fps=, or duration= in seconds"
            )
        rate = covered / duration
    return rate, covered / rate if duration is None else duration


def resize(features: Tensor, settings: Settings) -> Tensor:
    """Features (C, T) as the network reads them: as they are, or brought to ``settings.length`` rows."""
    short = features.shape[1] <= settings.length
    if settings.resize == "none" or (settings.resize == "longer" and short):
        return features
    if settings.resize == "align":
        return align(features, settings.length)
    if features.shape[1] == settings.length:
        return features
    return F.interpolate(features[None], size=settings.length, mode="linear", align_corners=False)[0]


def align(features: Tensor, length: int) -> Tensor:
    """Features (C, T) pooled to ``length`` rows, each the mean of evenly spread, linearly interpolated samples.

    The rule of an aligned region pooling over the whole sequence, computed in float64 after rounding to half precision.
    """
    rows = features.shape[1]
    end = float(torch.tensor(float(rows)).half())
    bin_ = end / length
    samples = int(np.ceil(bin_))
    at = torch.arange(length, dtype=torch.float64)[:, None] * bin_ - 0.5
    at = at + (torch.arange(samples, dtype=torch.float64)[None, :] + 0.5) * bin_ / samples
    inside = (at >= -1.0) & (at <= rows)
    at = at.clamp(min=0.0)
    low = at.floor().long().clamp(max=rows - 1)
    high = (low + 1).clamp(max=rows - 1)
    share = torch.where(low >= rows - 1, torch.zeros_like(at), at - low)
    source = features.half().double()
    pooled = source[:, low] * (1 - share) + source[:, high] * share
    return (pooled * inside).mean(dim=2).to(features.dtype)
