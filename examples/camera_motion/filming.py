"""A pinhole camera filming real footage along a known path, and shots joined by cuts and fades.

The camera looks through a window of the native-resolution frames while the video plays; the window never
leaves the picture; every view is averaged down. Shares no code with the generator but the list of labels.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np
from footage import SHIFT, Frames, Window
from numpy.typing import NDArray
from paths import LABELS, TIMES

Array = NDArray[np.float64]
Rng = np.random.Generator
Track = Callable[[Array], Array]

SIDE = 192
AXES = {name: (i // 2, -1 if i % 2 == 0 else 1) for i, name in enumerate(LABELS[1:5])}
AXES |= {"zoom-in": (2, 1), "zoom-out": (2, -1), "roll-clockwise": (3, 1), "roll-counterclockwise": (3, -1)}
# Net change over the clip, in frames, log scale and radians: least, most, and most of a fast one.
RANGES = (
    (0.06, 0.55, 1.1),
    (0.06, 0.55, 0.9),
    (0.06, 0.6, 1.0),
    (math.radians(3.8), math.radians(32), math.radians(60)),
)


def film_window(rng: Rng, window: Window, label: str) -> tuple[Frames, str] | None:
    """The footage (16, 192, 192, 3) as a camera moving by ``label`` sees it, or None if it would leave the picture."""
    if label == "static" and window.margin == 0 and rng.random() < 0.4:
        return _squashed(window.frames), "whole frame"
    track, kind = _track(rng, label)
    net = np.abs(track(TIMES[[0, -1]])[1] - track(TIMES[[0, -1]])[0]) * SHIFT
    if label in AXES and window.own is not None and np.any(np.abs(window.own) * SHIFT > 0.25 * net.max()):
        return None
    frames = render(rng, window, track)
    return None if frames is None else (frames, kind)


def loose_shot(rng: Rng, window: Window) -> Frames:
    """A shot for a splice: footage as it is, or under a gentle move."""
    if rng.random() < 0.5 and window.margin == 0:
        return _squashed(window.frames)
    label = str(rng.choice(["static", "shake", *AXES]))
    frames = render(rng, window, _track(rng, label, most=0.3)[0])
    return _squashed(window.frames) if frames is None else frames


def _squashed(frames: Frames) -> Frames:
    return np.stack([cv2.resize(frame, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for frame in frames])


def _track(rng: Rng, label: str, most: float = 1.0) -> tuple[Track, str]:
    """Camera (x, y, zoom, roll) over time for a label, and what is special about it."""
    if label == "static":
        sway = _hand(rng, rng.uniform(0, 0.001))
        return sway, "plain"
    if label == "shake":
        strong = rng.random() < 0.15
        size = rng.uniform(0.03, 0.05) if strong else math.exp(rng.uniform(math.log(0.005), math.log(0.03)))
        return _hand(rng, size), "strong shake" if strong else "plain"
    axis, sign = AXES[label]
    low, high, fastest = RANGES[axis]
    fast = most == 1.0 and rng.random() < 0.1
    net = rng.uniform(high, fastest) if fast else math.exp(rng.uniform(math.log(low), math.log(high * most)))
    progress = _progress(rng)
    tremor = _hand(rng, min(0.006, 0.1 * net * SHIFT[axis])) if rng.random() < 0.4 else None
    side = int(rng.integers(4))
    lean = rng.uniform(-0.15, 0.15) * net * SHIFT[axis] / SHIFT[side] if side != axis and rng.random() < 0.4 else 0.0

    def track(times: Array) -> Array:
        values = np.zeros((len(times), 4))
        values[:, axis] += sign * net * (progress(times) - 0.5)
        values[:, side] += lean * (progress(times) - 0.5)
        return values if tremor is None else values + tremor(times)

    return track, "fast" if fast else "plain"


def _progress(rng: Rng) -> Callable[[Array], Array]:
    """Share of a move done at a time, 0 at the first frame and 1 at the last."""
    kind = int(rng.integers(5))
    hold, ramp = rng.uniform(0.05, 0.4), rng.uniform(0.15, 0.45)

    def progress(times: Array) -> Array:
        t = np.clip((times - TIMES[0]) / (TIMES[-1] - TIMES[0]), 0, 1)
        if kind == 0:
            return t
        if kind == 1:
            return 0.5 - 0.5 * np.cos(np.pi * t)
        if kind == 2:
            return np.clip((t - hold) / (1 - hold), 0, 1)
        if kind == 3:
            return np.clip(t / (1 - hold), 0, 1)
        up = np.minimum(t, ramp) ** 2 / (2 * ramp)
        down = np.maximum(t - (1 - ramp), 0) ** 2 / (2 * ramp)
        return (up + np.maximum(t - ramp, 0) - down) / (1 - ramp)

    return progress


def _hand(rng: Rng, rms: float) -> Track:
    """Band-limited random motion of 2 to 8 Hz with no drift; ``rms`` of the shift in frames."""
    rate, count = 120.0, 256
    spectrum = np.fft.rfft(rng.standard_normal((count, 4)), axis=0)
    frequency = np.fft.rfftfreq(count, 1 / rate)
    spectrum[(frequency < rng.uniform(1.8, 3)) | (frequency > rng.uniform(5, 8))] = 0
    wave = np.fft.irfft(spectrum, count, axis=0)
    grid = np.arange(count) / rate - 0.3
    inside = (grid >= TIMES[0]) & (grid <= TIMES[-1])
    line = np.polynomial.polynomial.polyfit(grid[inside], wave[inside], 1)
    wave = wave - (line[0] + grid[:, None] * line[1])
    weight = np.array([1, rng.uniform(0.3, 1.2), rng.uniform(0, 0.3), rng.uniform(0, 0.6)])
    wave = wave / wave[inside].std(0) * weight / math.sqrt((weight**2).sum()) * rms / SHIFT

    def track(times: Array) -> Array:
        return np.stack([np.interp(times, grid, wave[:, c]) for c in range(4)], axis=1)

    return track


def render(rng: Rng, window: Window, track: Track, times: Array = TIMES) -> Frames | None:
    """Films the footage along a track through a window that stays inside the picture; None if none is found.

    ``times`` are those of the footage's frames. Of a long shot only some moments are looked at before it is filmed.
    """
    height, width = window.frames.shape[1:3]
    exposure = rng.uniform(0.005, 0.03) if rng.random() < 0.6 else 0.0
    moments = (times[:, None] + np.linspace(-0.5, 0.5, 5) * exposure).ravel()
    values = track(moments)
    some = slice(None, None, max(1, len(times) // len(TIMES)))
    for attempt in range(60):
        part = rng.uniform(0.42, 0.85 if attempt < 30 else 0.55)
        size = (round(width * part), round(height * part))
        focal = width * rng.uniform(0.8, 1.8)
        aim = rng.uniform(-0.5, 0.5, 2) * (1 - part) * (width, height)
        views = _views(values[some], size, (width, height), focal, aim)
        if _inside(views, size, (width, height), window.margin):
            views = views if len(views) == len(values) else _views(values, size, (width, height), focal, aim)
            return _expose(window.frames, views.reshape(len(times), 5, 3, 3), size)
    return None


def _views(values: Array, size: tuple[int, int], whole: tuple[int, int], focal: float, aim: Array) -> Array:
    """Maps (n, 3, 3) from pixels of the view to pixels of the frame, for a pinhole camera turned by ``values``."""
    yaw = np.arctan((values[:, 0] * size[0] + aim[0]) / focal)
    pitch = np.arctan((values[:, 1] * size[1] + aim[1]) / focal)
    frame = np.array([[focal, 0, whole[0] / 2], [0, focal, whole[1] / 2], [0, 0, 1]])
    maps = np.empty((len(values), 3, 3))
    for i in range(len(values)):
        zoomed = focal * math.exp(values[i, 2])
        view = np.array([[1 / zoomed, 0, -size[0] / 2 / zoomed], [0, 1 / zoomed, -size[1] / 2 / zoomed], [0, 0, 1]])
        turn_y = cv2.Rodrigues(np.array([0.0, yaw[i], 0.0]))[0]
        turn_x = cv2.Rodrigues(np.array([-pitch[i], 0.0, 0.0]))[0]
        turn_z = cv2.Rodrigues(np.array([0.0, 0.0, values[i, 3]]))[0]
        maps[i] = frame @ turn_y @ turn_x @ turn_z @ view
    return maps


def _inside(views: Array, size: tuple[int, int], whole: tuple[int, int], margin: float) -> bool:
    """Whether all corners of all views lie in the part of the frame that is filled."""
    corners = np.array([[0, 0, 1], [size[0], 0, 1], [0, size[1], 1], [size[0], size[1], 1]], float).T
    seen = views @ corners
    places = seen[:, :2] / seen[:, 2:]
    low = np.array(whole)[:, None] * margin
    return bool(np.all(places >= low) and np.all(places <= np.array(whole)[:, None] - 1 - low))


def _expose(frames: Frames, views: Array, size: tuple[int, int]) -> Frames:
    """Each frame through its views; the mean of five where the picture moves during the exposure."""
    result = np.empty((len(frames), SIDE, SIDE, 3), np.uint8)
    corners = np.array([[0, 0, 1], [size[0], size[1], 1]], float).T
    for i in range(len(frames)):
        ends = [(views[i, k] @ corners)[:2] / (views[i, k] @ corners)[2:] for k in (0, 4)]
        chosen = views[i] if np.abs(ends[1] - ends[0]).max() > 0.008 * size[0] else views[i, 2:3]
        total = np.zeros((SIDE, SIDE, 3), np.float64)
        for view in chosen:
            seen = cv2.warpPerspective(frames[i], view, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
            total += cv2.resize(seen, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        result[i] = np.round(total / len(chosen))
    return result
