"""Real videos for testing: windows of 16 frames at 12 fps in native resolution, and the camera motion they contain.

Written apart from what reads training material: the camera's own motion is measured here by matching
descriptors between far frames, not by tracking points from frame to frame. Footage that is not calm can be
steadied (points tracked from frame to frame, the motion taken out); it is used only if the descriptors,
which had no part in that, find it calm afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from paths import DURATION, FPS, FRAMES, LABELS

Frames = NDArray[np.uint8]
Array = NDArray[np.float64]

SUFFIXES = {".mp4", ".mkv", ".mov", ".avi", ".webm"}
PROBES = (0.2, 0.4, 0.6, 0.8, 1.0)
CALM = np.array([0.008, 0.008, 0.008, 0.009])
MOVE = np.array([0.055, 0.055, 0.055, 0.06])
SHIFT = np.array([1.0, 1.0, 0.27, 0.27])
MOST_SWAY = 0.1


@dataclass(frozen=True)
class Window:
    """Sixteen real frames (16, H, W, 3), with what could be told of the camera that took them.

    ``own`` holds its net (x, y, zoom, roll) at the probed frames, None where matching failed; ``margin``
    is the share of the picture at every side that steadying may have emptied.
    """

    source: str
    start: float
    frames: Frames
    own: Array | None
    margin: float = 0.0

    @property
    def calm(self) -> bool:
        """Whether the camera stood still."""
        return self.own is not None and bool(np.all(np.abs(self.own) <= CALM))

    @property
    def uncut(self) -> bool:
        """Whether it holds no transition of its own."""
        small = [cv2.resize(frame, (32, 32), interpolation=cv2.INTER_AREA).astype(np.int16) for frame in self.frames]
        change = np.array([np.abs(b - a).mean() for a, b in pairwise(small)])
        return bool(change.max() < 10 + 2.5 * np.median(change))

    def measured_label(self) -> str:
        """``static`` or a move where the measurement is clear, else ``unclear``."""
        if self.own is None:
            return "unclear"
        if self.calm:
            return "static"
        net = self.own[-1] * SHIFT
        axis = int(np.abs(net).argmax())
        others = np.delete(np.abs(net), axis)
        if abs(self.own[-1, axis]) < MOVE[axis] or others.max() > 0.4 * abs(net[axis]):
            return "unclear"
        second = net[axis] > 0 if axis < 2 else net[axis] < 0
        return LABELS[1:9][2 * axis + int(second)]


def videos(directory: Path) -> list[Path]:
    """The videos of a directory, in order of name."""
    return sorted(p for p in directory.rglob("*") if p.suffix.lower() in SUFFIXES)


def windows(
    path: Path, stride: float, speed: float = 1.0, most: int = 10_000, longest_side: int = 960
) -> Iterator[Window]:
    """Windows of 4/3 s, begun every ``stride`` seconds of the first 40 s of a video, at most ``most`` of them.

    At a ``speed`` below 1 the footage plays in slow motion.
    """
    frames, fps = read_frames(path, longest_side, 40.0)
    last = len(frames) / fps - DURATION * speed
    if last < 0:
        return
    starts = np.arange(0.0, last + 1e-9, stride)
    for start in starts[:: max(1, len(starts) // most)][:most]:
        index = ((start + speed * (np.arange(FRAMES) + 0.5) / FPS) * fps).astype(int)
        index = np.minimum(index, len(frames) - 1)
        clip = np.stack([frames[i] for i in index])
        yield Window(path.name, float(start), clip, own_motion(clip))


def read_frames(path: Path, longest_side: int, seconds: float) -> tuple[list[Frames], float]:
    """The first ``seconds`` of a video, RGB, at most ``longest_side`` pixels large, and its frame rate."""
    capture = cv2.VideoCapture(str(path))
    fps = capture.get(cv2.CAP_PROP_FPS) or 25.0
    frames: list[Frames] = []
    while len(frames) < seconds * fps:
        good, image = capture.read()
        if not good:
            break
        scale = longest_side / max(image.shape[:2])
        if scale < 1:
            image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        frames.append(np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8))
    capture.release()
    return frames, fps


def own_motion(clip: Frames) -> Array | None:
    """The camera's motion from the first frame to five others, (5, 4); None where frames cannot be matched."""
    probes = [round(share * (len(clip) - 1)) for share in PROBES]
    detector = cv2.SIFT.create(800, contrastThreshold=0.015)
    scale = min(1.0, 480 / max(clip.shape[1:3]))
    found: list[tuple[Any, Any]] = []
    for i in (0, *probes):
        grey = cv2.resize(clip[i], None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        grey = cv2.cvtColor(grey, cv2.COLOR_RGB2GRAY)
        found.append(detector.detectAndCompute(grey, None))
    rows = [_between(found[0], other, grey.shape[::-1]) for other in found[1:]]
    kept = [row for row in rows if row is not None]
    return np.stack(kept) if len(kept) == len(rows) else None


def _between(first: tuple[Any, Any], second: tuple[Any, Any], size: tuple[int, ...]) -> Array | None:
    """Camera motion (x, y, zoom, roll) between two sets of described points."""
    if first[1] is None or second[1] is None or min(len(first[0]), len(second[0])) < 20:
        return None
    pairs = cv2.BFMatcher.create(cv2.NORM_L2).knnMatch(first[1], second[1], k=2)
    matches = [best for best, next_best in pairs if best.distance < 0.8 * next_best.distance]
    if len(matches) < 16:
        return None
    here = np.array([first[0][m.queryIdx].pt for m in matches], np.float32)
    there = np.array([second[0][m.trainIdx].pt for m in matches], np.float32)
    matrix, inliers = cv2.estimateAffinePartial2D(here, there, ransacReprojThreshold=1.6, maxIters=2000)
    if matrix is None or inliers.sum() < max(14, 0.35 * len(matches)):
        return None
    # Points on one subject tell its motion, not the camera's: they must lie all over the picture.
    reach = np.ptp(np.quantile(here[inliers.ravel() == 1], (0.08, 0.92), axis=0), axis=0)
    if np.any(reach < np.array([0.4, 0.35]) * size):
        return None
    return as_camera(matrix, size)


def as_camera(matrix: NDArray[Any], size: tuple[int, ...]) -> Array:
    """The motion (x, y, zoom, roll) of a camera whose picture moved by ``matrix`` (2x3, pixels of ``size``)."""
    middle = np.array([size[0] / 2, size[1] / 2])
    moved = (matrix[:, :2] @ middle + matrix[:, 2] - middle) / size
    zoom = 0.5 * np.log(max(np.linalg.det(matrix[:, :2]), 1e-6))
    return np.array([-moved[0], -moved[1], zoom, -np.arctan2(matrix[1, 0], matrix[0, 0])])


def steadied(window: Window) -> Window | None:
    """The window with its camera motion taken out, if that worked and the motion was moderate."""
    greys = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in window.frames]
    height, width = greys[0].shape
    total, sway = np.eye(3), 0.0
    frames = [window.frames[0]]
    for i in range(1, len(greys)):
        step = _tracked_step(greys[i - 1], greys[i])
        if step is None:
            return None
        total = step @ total
        moved = np.abs(as_camera(total[:2], (width, height)))
        sway = max(sway, float(moved[:2].max()) + 0.5 * float(moved[2] + moved[3] * width / height))
        if sway > MOST_SWAY:
            return None
        flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        still = cv2.warpAffine(window.frames[i], total[:2], (width, height), flags=flags)
        frames.append(np.asarray(still, np.uint8))
    clip = np.stack(frames)
    return replace(window, frames=clip, own=own_motion(clip), margin=sway + 0.005)


def _tracked_step(first: Frames, second: Frames) -> Array | None:
    """The similarity between neighbouring frames by points tracked there and back."""
    points = cv2.goodFeaturesToTrack(first, 400, 0.002, 7)
    if points is None or len(points) < 20:
        return None
    there, found, _ = cv2.calcOpticalFlowPyrLK(first, second, points, None, winSize=(21, 21), maxLevel=4)
    back, returned, _ = cv2.calcOpticalFlowPyrLK(second, first, there, None, winSize=(21, 21), maxLevel=4)
    good = (found.ravel() == 1) & (returned.ravel() == 1) & (np.abs(back - points).reshape(-1, 2).max(1) < 0.5)
    if good.sum() < 16:
        return None
    matrix, inliers = cv2.estimateAffinePartial2D(points[good], there[good], ransacReprojThreshold=1.5, maxIters=2000)
    if matrix is None or inliers.sum() < 0.3 * good.sum():
        return None
    return np.vstack([matrix, [0.0, 0.0, 1.0]])
