"""Scaling pictures after decoding, as the published tests did: in numpy, so that decode processes need nothing more.

All ways have pixel centres at half integers. ``linear`` (torch) and ``fixed`` (OpenCV) blend the two nearest pixels of
each axis however much they shrink; ``antialiased`` (Pillow) widens its filter by the reduction, horizontally first, and
rounds in between. OpenCV and Pillow compute in whole numbers, and so does this, to the same
bits. Only what some crop shows is computed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from vidact.video.transform import Plan

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Picture = NDArray[np.uint8]

OPENCV_BITS, PILLOW_BITS = 11, 22
"""Their weights are multiples of 2 to the power of minus this."""


@dataclass(frozen=True)
class Taps:
    """Along one axis: output i is the sum over k of ``weights`` (taps, n) times input ``at`` (taps, n)."""

    at: NDArray[np.intp]
    weights: NDArray[Any]


class Resizer:
    """Decoded pictures → pictures that hold all crops of ``plan``; ``plan`` is then the one for these pictures."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.kernel = plan.kernel
        self._same = plan.decoded == (plan.height, plan.width)  # also where the decoder scales
        if self._same:
            return
        tops, lefts = zip(*plan.crops, strict=True)
        top, left = min(tops), min(lefts)
        height, width = plan.decoded
        rows = _taps(height, plan.height, range(top, max(tops) + plan.size[0]), plan.kernel)
        self._columns = _taps(width, plan.width, range(left, max(lefts) + plan.size[1]), plan.kernel)
        # Rows no output needs are never touched.
        self._needed, at = np.unique(rows.at, return_inverse=True)
        self._rows = Taps(at.reshape(rows.at.shape), rows.weights)
        self.plan = replace(plan, crops=tuple((y - top, x - left) for y, x in plan.crops))

    def __call__(self, picture: Picture) -> Picture:
        """uint8 (height, width, 3) as decoded → uint8 (rows, columns, 3)."""
        if self._same:
            return picture
        across = _across(picture[self._needed], self._columns)
        if self.kernel == "linear":
            return _rounded(_down(across, self._rows))
        if self.kernel == "fixed":
            return _fixed(across, self._rows)
        return _shifted(_down(_shifted(across), self._rows))


def _taps(source: int, target: int, wanted: range, kernel: str) -> Taps:
    """The taps of the outputs ``wanted`` when ``source`` pixels become ``target``."""
    ratio = source / target
    centres = (np.arange(wanted.start, wanted.stop) + 0.5) * ratio
    if kernel in ("linear", "fixed"):
        places = (centres - 0.5).astype(np.float32)  # before the share is taken, as OpenCV and torch do
        lower = np.floor(places).astype(np.intp)
        share = places - lower.astype(np.float32)
        weights = np.stack([1 - share, share])
        if kernel == "fixed":
            weights = np.rint(weights * 2**OPENCV_BITS).astype(np.int32)
        return Taps(np.clip(np.stack([lower, lower + 1]), 0, source - 1), weights)
    scale = max(ratio, 1.0)
    first = np.maximum((centres - scale + 0.5).astype(np.intp), 0)
    last = np.minimum((centres + scale + 0.5).astype(np.intp), source)
    at = first + np.arange(int((last - first).max()))[:, None]
    wide = np.maximum(1 - np.abs((at - centres + 0.5) / scale), 0.0) * (at < last)
    wide *= 2**PILLOW_BITS / wide.sum(axis=0)
    return Taps(np.minimum(at, source - 1), (wide + np.copysign(0.5, wide)).astype(np.int32))


def _down(picture: NDArray[Any], taps: Taps) -> NDArray[Any]:
    """Sums over rows: (H, W, 3) → (n, W, 3) in the type of the weights."""
    total = picture[taps.at[0]] * taps.weights[0][:, None, None]
    for at, weights in zip(taps.at[1:], taps.weights[1:], strict=True):
        total += picture[at] * weights[:, None, None]
    return np.asarray(total)


def _across(picture: NDArray[Any], taps: Taps) -> NDArray[Any]:
    """Sums over columns: (H, W, 3) → (H, n, 3) in the type of the weights."""
    total = picture[:, taps.at[0]] * taps.weights[0][:, None]
    for at, weights in zip(taps.at[1:], taps.weights[1:], strict=True):
        total += picture[:, at] * weights[:, None]
    return np.asarray(total)


def _fixed(across: NDArray[np.int32], taps: Taps) -> Picture:
    """The vertical half in whole numbers: bits are dropped before each product is, and halves go up at the end."""
    high = across >> 4
    parts = [(high[at] * weights[:, None, None]) >> 16 for at, weights in zip(taps.at, taps.weights, strict=True)]
    return np.asarray((parts[0] + parts[1] + 2) >> 2, np.uint8)


def _shifted(sums: NDArray[np.int32]) -> Picture:
    """Sums of weighted pixels → pixels, halves up."""
    return np.asarray(np.clip((sums + 2 ** (PILLOW_BITS - 1)) >> PILLOW_BITS, 0, 255), np.uint8)


def _rounded(values: NDArray[np.float32]) -> Picture:
    """Halves up, into 0 to 255."""
    return np.asarray(np.clip(values + np.float32(0.5), 0, 255), np.uint8)
