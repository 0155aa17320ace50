"""The classical way to tell camera motion, as a yardstick: dense flow, robust affine fit, thresholds.

Between neighbouring frames of a clip (16, 96, 96, 3) dense inverse search gives a flow field; an affine
motion is fitted to it with Tukey weights; its sums over the clip are the net pan, tilt, zoom and roll, and
what is left after removing the straight line is jitter. Cuts are one jump of picture difference and colour
histogram; fades are a steady change of brightness or a change that always points the same way. The
thresholds are chosen on generated training clips, never on the footage a report is about.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray
from paths import LABELS, SHIFT

Clip = NDArray[np.uint8]
Array = NDArray[np.float64]

MOVE_LABELS = (("pan-left", "pan-right"), ("tilt-up", "tilt-down"), ("zoom-out", "zoom-in"))
ROLL_LABELS = ("roll-counterclockwise", "roll-clockwise")


@dataclass(frozen=True)
class Features:
    """What is measured of one clip; shifts are in frames, zoom in log scale, roll in radians, camera's view."""

    x: float
    y: float
    zoom: float
    roll: float
    jitter: float
    jump: float
    jump_ratio: float
    colour_jump: float
    dimming: float
    same_way: float
    change: float
    misfit: float


@dataclass(frozen=True)
class Thresholds:
    """Where one label ends and the next begins; see ``decide``. The defaults are what ``tune`` once found."""

    jump: float = 8.0
    jump_ratio: float = 2.5
    colour_jump: float = 0.0
    dimming: float = 0.55
    same_way: float = 0.7
    change: float = 15.0
    misfit: float = 0.6
    move: float = 0.03
    turn: float = 0.007
    turn_gain: float = 2.8
    shake: float = 0.004
    shake_share: float = 0.35


GRID: dict[str, tuple[float, ...]] = {
    "jump": (4, 6, 8, 12, 16, 20, 26, 34, 44),
    "jump_ratio": (1.5, 2, 2.5, 3, 4, 5, 7),
    "colour_jump": (0.0, 0.1, 0.2, 0.3, 0.4, 0.5),
    "dimming": (0.15, 0.2, 0.25, 0.3, 0.35, 0.45, 0.55, 0.7, 0.85),
    "same_way": (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8),
    "change": (8, 12, 16, 20, 26, 34),
    "misfit": (0.0, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1.1),
    "move": (0.01, 0.015, 0.02, 0.025, 0.03, 0.04),
    "turn": (0.003, 0.005, 0.007, 0.01, 0.014, 0.02, 0.03),
    "turn_gain": (0.7, 1.0, 1.4, 2.0, 2.8, 4.0),
    "shake": (0.001, 0.0015, 0.002, 0.003, 0.004, 0.006),
    "shake_share": (0.05, 0.08, 0.12, 0.18, 0.25, 0.35, 0.5, 0.8),
}


def affine_fit(flow: NDArray[np.float32], weight: NDArray[np.float32], rounds: int = 5) -> tuple[Array, float]:
    """The affine motion (x, y, zoom, roll) of most of a flow field in pixels, and its mean misfit in pixels."""
    height, width = flow.shape[:2]
    ys, xs = np.mgrid[1:height:3, 1:width:3]
    u, v = flow[1::3, 1::3, 0].ravel(), flow[1::3, 1::3, 1].ravel()
    base = np.stack([np.ones(u.size), xs.ravel() / width - 0.5, ys.ravel() / height - 0.5], axis=1)
    strength = weight[1::3, 1::3].ravel().astype(np.float64)
    kept = strength.copy()
    for _ in range(rounds):
        normal = base.T @ (base * kept[:, None]) + 1e-6 * np.eye(3)
        first, second = np.linalg.solve(normal, base.T @ (np.stack([u, v], axis=1) * kept[:, None])).T
        error = np.hypot(u - base @ first, v - base @ second)
        spread = max(1.5 * float(np.median(error)), 0.15)
        kept = strength * np.clip(1 - (error / (3 * spread)) ** 2, 0, 1) ** 2
    motion = np.array(
        [
            -first[0] / width,
            -second[0] / height,
            0.5 * (first[1] / width + second[2] / height),
            -0.5 * (second[1] / height - first[2] / width),
        ]
    )
    return motion, float((error * strength).sum() / max(strength.sum(), 1e-9))


def measure(clip: Clip) -> Features:
    """The features of one clip."""
    greys = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in clip]
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    steps = np.zeros((len(greys) - 1, 4))
    misfit = np.zeros(len(greys) - 1)
    for i in range(len(greys) - 1):
        flow = search.calc(greys[i], greys[i + 1], None)
        across, down = cv2.Sobel(greys[i], cv2.CV_32F, 1, 0), cv2.Sobel(greys[i], cv2.CV_32F, 0, 1)
        weight = np.minimum(np.hypot(across, down), 150) + 0.5
        steps[i], misfit[i] = affine_fit(flow, weight.astype(np.float32))
    path = np.vstack([np.zeros(4), np.cumsum(steps, axis=0)])
    line = np.stack([np.ones(len(path)), np.linspace(-1, 1, len(path))], axis=1)
    rest = (path - line @ np.linalg.lstsq(line, path, rcond=None)[0]) * SHIFT
    jump, ratio, colour = _jump(clip)
    same_way, change = _same_way(greys)
    x, y, zoom, roll = path[-1]
    # A half-speed line would leave an arc behind: jitter is judged by what changes from frame to frame.
    wobble = float(np.sqrt((np.diff(rest, 2, axis=0) ** 2).sum(1).mean()) / 2)
    return Features(
        x, y, zoom, roll, wobble, jump, ratio, colour, _dimming(greys), same_way, change, float(np.median(misfit))
    )


def _jump(clip: Clip) -> tuple[float, float, float]:
    """The largest difference of neighbouring frames, its ratio to the next largest, its change of colours."""
    small = [cv2.resize(frame, (24, 24), interpolation=cv2.INTER_AREA) for frame in clip]
    change = np.array([cv2.norm(a, b, cv2.NORM_L1) / a.size for a, b in pairwise(small)])
    at = int(change.argmax())
    others = np.delete(change, at)
    colours = [cv2.calcHist([clip[i]], [0, 1, 2], None, [6, 6, 6], [0, 256] * 3).ravel() for i in (at, at + 1)]
    common = np.minimum(colours[0], colours[1]).sum() / colours[0].sum()
    return float(change[at]), float(change[at] / (others.max() + 0.5)), float(1 - common)


def _dimming(greys: list[NDArray[np.uint8]]) -> float:
    """How far the contrast falls below its largest, as a share of it: near 1 in a fade to black."""
    contrast = np.array([grey.std() + 0.5 for grey in greys])
    smooth = np.convolve(contrast, np.ones(3) / 3, mode="valid")
    return float(1 - smooth.min() / smooth.max())


def _same_way(greys: list[NDArray[np.uint8]]) -> tuple[float, float]:
    """How alike the changes of successive frames are as pictures (a dissolve adds the same one again and again)."""
    small = np.stack([cv2.resize(g, (32, 32), interpolation=cv2.INTER_AREA).ravel() for g in greys]).astype(np.float64)
    steps = np.diff(small, axis=0)
    size = np.sqrt((steps**2).mean(1))
    alike = (steps[1:] * steps[:-1]).mean(1) / np.maximum(size[1:] * size[:-1], 4.0)
    best = np.sort(alike)[-4:]
    return float(best.mean()), float(np.sqrt(((small[-1] - small[0]) ** 2).mean()))


def decide(found: Features, limits: Thresholds) -> str:
    """The label of a clip with these features."""
    if found.jump > limits.jump and found.jump_ratio > limits.jump_ratio and found.colour_jump > limits.colour_jump:
        return "cut"
    if found.dimming > limits.dimming:
        return "fade"
    if found.same_way > limits.same_way and found.change > limits.change and found.misfit > limits.misfit:
        return "fade"
    net = np.array([found.x, found.y, found.zoom, found.roll]) * SHIFT
    largest = int((np.abs(net) * (1, 1, limits.turn_gain, limits.turn_gain)).argmax())
    strength = float(np.abs(net[largest]))
    if found.jitter > limits.shake and strength < found.jitter / limits.shake_share:
        return "shake"
    if strength < (limits.move if largest < 2 else limits.turn):
        return "static"
    names = (*MOVE_LABELS, ROLL_LABELS)[largest]
    return names[int(net[largest] > 0)]


def accuracy(rows: list[Features], labels: NDArray[np.int_], limits: Thresholds) -> float:
    """Share of clips that get their label."""
    return float(np.mean([decide(row, limits) == LABELS[label] for row, label in zip(rows, labels, strict=True)]))


def tune(clips: Iterable[tuple[Clip, int]], sweeps: int = 3) -> tuple[Thresholds, float]:
    """Thresholds by a coordinate-wise search over ``GRID`` on training clips, and the accuracy they reach there."""
    pairs = [(measure(clip), label) for clip, label in clips]
    rows, labels = [row for row, _ in pairs], np.array([label for _, label in pairs])
    best = Thresholds()
    score = accuracy(rows, labels, best)
    for _ in range(sweeps):
        for field in fields(Thresholds):
            for value in GRID[field.name]:
                trial = replace(best, **{field.name: value})
                result = accuracy(rows, labels, trial)
                if result > score:
                    best, score = trial, result
    return best, score
