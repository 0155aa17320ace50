"""Camera paths: how a virtual camera moves during one clip, and what each label means in numbers.

Knows nothing of pictures. A path gives, for any time in the clip, the position of the view (``x`` in
frame widths, ``y`` in frame heights, downwards), its magnification (``zoom``, natural logarithm) and
its angle (``roll``, radians, positive = the camera turns clockwise). The view moves, so the content
of the picture moves the other way.

Where a label begins and ends, as net change over a clip of 4/3 s:

==================  ===========================  =======================  =====================
quantity            move (label of that move)    static at most           a move per second
==================  ===========================  =======================  =====================
pan, tilt           >= 5.5 % of width / height   1.0 %                    >= 4.1 %/s
zoom                >= 5.5 % of scale            1.2 %                    >= 4.1 %/s
roll                >= 3.4 degrees               0.7 degrees              >= 2.5 degrees/s
shake               jitter 0.45 .. 4 % RMS       0.12 % RMS               2..9 Hz
                    (rarely to 7 %), net drift
                    under half the jitter
==================  ===========================  =======================  =====================

Between the columns lies a gap in which no clip is generated. A move may carry jitter (at most 15 % of
the move, and 1.2 % of the frame) and a weaker second move; a move may start or stop inside the clip,
but lasts at least 45 % of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

LABELS = (
    "static",
    "pan-left",
    "pan-right",
    "tilt-up",
    "tilt-down",
    "zoom-in",
    "zoom-out",
    "roll-clockwise",
    "roll-counterclockwise",
    "shake",
    "cut",
    "fade",
)
FRAMES = 16
SIZE = 96
FPS = 12.0
DURATION = FRAMES / FPS

X, Y, ZOOM, ROLL = range(4)
MOVES: dict[str, tuple[int, int]] = {
    "pan-left": (X, -1),
    "pan-right": (X, 1),
    "tilt-up": (Y, -1),
    "tilt-down": (Y, 1),
    "zoom-in": (ZOOM, 1),
    "zoom-out": (ZOOM, -1),
    "roll-clockwise": (ROLL, 1),
    "roll-counterclockwise": (ROLL, -1),
}
# Mean shift of the picture, in frames, that a unit of each parameter makes: compares moves of different kinds.
SHIFT = np.array([1.0, 1.0, 0.27, 0.27])

GRID = np.linspace(-0.15, DURATION + 0.15, 132)
TIMES = (np.arange(FRAMES) + 0.5) / FPS
FIRST, LAST = float(TIMES[0]), float(TIMES[-1])

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Limits:
    """The numbers of the table above, and the fastest moves drawn."""

    shift: tuple[float, float] = (0.055, 0.9)
    whip: float = 3.2
    zoom: tuple[float, float] = (0.055, 1.1)
    crash_zoom: float = 1.9
    roll: tuple[float, float] = (math.radians(3.4), math.radians(60))
    fast_roll: float = math.radians(130)
    shake: tuple[float, float] = (0.0045, 0.04)
    strong_shake: float = 0.07
    static: tuple[float, float, float, float] = (0.010, 0.010, 0.012, math.radians(0.7))
    static_jitter: float = 0.0012
    move_jitter: float = 0.012


LIMITS = Limits()


@dataclass(frozen=True)
class Path:
    """Camera parameters (x, y, zoom, roll) on a fine grid of times, and where the zoom is centred."""

    values: Array
    focus: tuple[float, float] = (0.0, 0.0)
    grid: Array = field(default_factory=lambda: GRID)

    def at(self, times: Array) -> Array:
        """Parameters at ``times`` (seconds from the start of the clip): (n, 4)."""
        return np.stack([np.interp(times, self.grid, self.values[:, c]) for c in range(4)], axis=1)


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """A number between ``low`` and ``high``, uniform in its logarithm."""
    return float(math.exp(rng.uniform(math.log(low), math.log(high))))


def draw_path(rng: np.random.Generator, label: str, gentle: bool = False) -> Path:
    """A path that deserves ``label`` (static, shake or a move); ``gentle`` leaves out the extremes."""
    if label == "static":
        return _static(rng)
    if label == "shake":
        return _shake(rng, gentle)
    return _move(rng, label, gentle)


def speed_profile(rng: np.random.Generator) -> Array:
    """Position along a move, 0 at the first sample and 1 at the last: constant, easing, starting, stopping."""
    kind = rng.choice(5, p=(0.42, 0.2, 0.13, 0.13, 0.12))
    phase = GRID / DURATION
    if kind == 0:
        speed = np.ones_like(GRID)
    elif kind == 1:
        middle, width = rng.uniform(0.25, 0.75), rng.uniform(0.55, 1.2)
        speed = np.cos(np.clip((phase - middle) / width, -0.5, 0.5) * math.pi) ** 2 + 1e-3
    elif kind == 2:
        speed = 1 / (1 + np.exp((rng.uniform(0.0, 0.5) - phase) / rng.uniform(0.01, 0.1)))
    elif kind == 3:
        speed = 1 / (1 + np.exp((phase - rng.uniform(0.5, 1.0)) / rng.uniform(0.01, 0.1)))
    else:
        slope = rng.uniform(-0.85, 0.85)
        speed = np.maximum(1 + slope * (2 * phase - 1), 0.05)
    if rng.random() < 0.3:
        speed = speed * (
            1 + rng.uniform(0.1, 0.4) * np.sin(2 * math.pi * (rng.uniform(0.5, 2.5) * GRID + rng.random()))
        )
    position = np.cumsum(speed)
    first, last = np.interp((FIRST, LAST), GRID, position)
    return (position - first) / (last - first)


def jitter(
    rng: np.random.Generator,
    rms: float,
    low: float = 2.0,
    high: float = 9.0,
    grid: Array = GRID,
    span: float = DURATION,
) -> Array:
    """Hand-held jitter of all four parameters with no net drift over the first ``span`` seconds of ``grid``.

    ``rms`` is that of the total shift, in frames; ``low`` and ``high`` are Hz.
    """
    count = 7
    frequency = rng.uniform(low, high, (count, 1, 4))
    phase = rng.uniform(0, 2 * math.pi, (count, 1, 4))
    size = rng.uniform(0.2, 1, (count, 1, 4)) / np.sqrt(frequency)
    waves = (size * np.sin(2 * math.pi * frequency * grid[:, None] + phase)).sum(0)
    if rng.random() < 0.25:
        centre, width = rng.uniform(0.2, 0.8) * span, rng.uniform(0.35, 0.8) * span
        waves = waves * np.exp(-(((grid - centre) / width) ** 2))[:, None]
    inside = (grid >= 0) & (grid <= span)
    waves = waves - _trend(waves, inside, grid)
    waves = waves / np.maximum(np.sqrt((waves[inside] ** 2).mean(0)), 1e-9)
    weights = np.array([1.0, 1.0, rng.uniform(0, 0.5), rng.uniform(0, 0.9)])
    weights[int(rng.integers(2))] *= rng.uniform(0.1, 1)
    weights = weights / np.sqrt((weights**2).sum())
    return waves * weights * (rms / SHIFT)


def _trend(waves: Array, inside: NDArray[np.bool_], grid: Array) -> Array:
    """The straight line through each column of ``waves`` over the clip."""
    time = grid - grid[inside].mean()
    slope = (time[inside, None] * waves[inside]).sum(0) / (time[inside] ** 2).sum()
    return waves[inside].mean(0) + time[:, None] * slope


def _centred(values: Array) -> Array:
    """The path moved so that the view lies in the middle between its first and last position."""
    ends = np.stack([np.interp((FIRST, LAST), GRID, values[:, c]) for c in range(4)], axis=1)
    return values - ends.mean(0)


def _static(rng: np.random.Generator) -> Path:
    values = np.zeros((len(GRID), 4))
    if rng.random() < 0.35:
        change = rng.uniform(-0.8, 0.8, 4) * LIMITS.static * rng.integers(0, 2, 4)
        values += speed_profile(rng)[:, None] * change
    if rng.random() < 0.45:
        values += jitter(rng, rng.uniform(0.0002, LIMITS.static_jitter))
    return Path(_centred(values))


def _shake(rng: np.random.Generator, gentle: bool) -> Path:
    low, high = LIMITS.shake
    strong = not gentle and rng.random() < 0.1
    rms = log_uniform(rng, high, LIMITS.strong_shake) if strong else log_uniform(rng, low, high)
    fastest = rng.uniform(4.0, 9.0)
    values = jitter(rng, rms, rng.uniform(1.8, 3.0), fastest)
    drift = rng.uniform(-0.45, 0.45, 4) * min(rms, 0.02) / SHIFT * rng.integers(0, 2, 4)
    return Path(_centred(values + speed_profile(rng)[:, None] * drift))


def _amount(rng: np.random.Generator, axis: int, gentle: bool) -> float:
    """Net change of the main parameter over the clip."""
    (low, high), extreme = {
        X: (LIMITS.shift, LIMITS.whip),
        Y: (LIMITS.shift, LIMITS.whip * 0.7),
        ZOOM: (LIMITS.zoom, LIMITS.crash_zoom),
        ROLL: (LIMITS.roll, LIMITS.fast_roll),
    }[axis]
    if gentle:
        return log_uniform(rng, low, high * 0.5)
    return log_uniform(rng, high, extreme) if rng.random() < 0.08 else log_uniform(rng, low, high)


def second_move(rng: np.random.Generator, axis: int, shift: float) -> Array:
    """Net change of the weaker moves that may go with a move along ``axis`` by ``shift``."""
    share = np.array([0.25, 0.25, 0.3, 0.3]) if axis < ZOOM else np.array([0.14, 0.14, 0.2, 0.2])
    second: Array = rng.uniform(-1, 1, 4) * share * np.minimum(shift, (0.15, 0.15, 0.04, 0.04)) / SHIFT
    second[axis] = 0.0
    return second


def _move(rng: np.random.Generator, label: str, gentle: bool) -> Path:
    axis, sign = MOVES[label]
    amount = _amount(rng, axis, gentle)
    shift = amount * SHIFT[axis]
    values = np.zeros((len(GRID), 4))
    values[:, axis] = sign * amount * speed_profile(rng)
    if rng.random() < 0.5:
        second = second_move(rng, axis, shift)
        values += speed_profile(rng)[:, None] * second * rng.integers(0, 2, 4)
    if rng.random() < 0.45:
        values += jitter(rng, rng.uniform(0.05, 1) * min(0.15 * shift, LIMITS.move_jitter))
    if axis in (ZOOM, ROLL) and rng.random() < 0.6:
        focus = tuple(float(f) for f in np.clip(rng.normal(0, 0.1, 2), -0.22, 0.22))
    else:
        focus = (0.0, 0.0)
    return Path(_centred(values), (focus[0], focus[1]))
