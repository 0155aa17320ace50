"""Camera paths of long shots: rests and moves one after the other, and when each move happens.

Knows nothing of pictures. A move lasts 0.5 to 8 s, starts and stops abruptly or eases in and out; its extent is the
time in which it goes from 2 % to 98 % of its way. It is never slower than what paths.py calls a move; between moves
the camera rests as ``static`` allows there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from paths import DURATION, LIMITS, MOVES, SHIFT, ZOOM, Path, jitter, log_uniform, second_move

Array = NDArray[np.float64]
Rng = np.random.Generator

STEP = 0.01
SHORTEST, LONGEST = 0.5, 8.0
DONE = (0.02, 0.98)
LABELS = (*MOVES, "shake")
# Least speed a second, most speed a second, most of one move, by parameter: x, y, zoom, roll.
SPEEDS = (
    (0.05, 0.7, 2.4),
    (0.05, 0.7, 2.0),
    (0.05, 0.8, 1.0),
    (math.radians(3.0), math.radians(45), math.radians(140)),
)
LEAST = (LIMITS.shift[0], LIMITS.shift[0], LIMITS.zoom[0], LIMITS.roll[0])


@dataclass(frozen=True)
class Event:
    """Something that happens from ``start`` to ``end`` (seconds)."""

    label: str
    start: float
    end: float

    def later(self, seconds: float) -> Event:
        return Event(self.label, self.start + seconds, self.end + seconds)


def draw_tour(rng: Rng, seconds: float, quiet: float = 0.25) -> tuple[Path, list[Event]]:
    """A path over ``seconds`` and its moves; with probability ``quiet`` the camera rests all the time."""
    grid = np.arange(-0.15, seconds + 0.15 + STEP, STEP)
    values = _rest(rng, grid, seconds)
    events: list[Event] = []
    time = 0.0 if rng.random() < 0.3 else log_uniform(rng, 0.2, 5)
    while time < seconds - SHORTEST and rng.random() > (quiet if not events else 0.08):
        length = min(log_uniform(rng, SHORTEST, LONGEST), seconds - time)
        part, event = _shaken(rng, grid, time, length) if rng.random() < 0.12 else _moved(rng, grid, time, length)
        zoomed = values[-1, ZOOM] + part[-1, ZOOM]
        if abs(zoomed) < 0.9 and event.end - event.start >= 0.8 * SHORTEST:
            values += part
            events.append(event)
        time += length + (0.05 if rng.random() < 0.15 else log_uniform(rng, 0.3, 6))
    middle = (values.min(0) + values.max(0)) / 2
    focus = np.clip(rng.normal(0, 0.08, 2), -0.2, 0.2) if rng.random() < 0.4 else np.zeros(2)
    return Path(values - middle, (float(focus[0]), float(focus[1])), grid), events


def _rest(rng: Rng, grid: Array, seconds: float) -> Array:
    """A camera at rest: a tripod, a hand that trembles, a slow drift."""
    values = np.zeros((len(grid), 4))
    if rng.random() < 0.3:
        drift = rng.uniform(-0.6, 0.6, 4) * LIMITS.static * rng.integers(0, 2, 4) * min(seconds / DURATION, 3)
        values += np.linspace(0, 1, len(grid))[:, None] * drift
    if rng.random() < 0.5:
        values += jitter(rng, rng.uniform(0.0002, LIMITS.static_jitter), 1.0, 9.0, grid, seconds)
    return values


def profile(rng: Rng, phase: Array) -> Array:
    """Share of a move done at ``phase`` of its time (0..1): even, easing at one or both ends, faster towards one."""
    kind = rng.choice(4, p=(0.3, 0.3, 0.25, 0.15))
    fine = np.linspace(0, 1, 401)
    if kind == 0:
        speed = np.ones_like(fine)
    elif kind == 1:
        ramp = rng.uniform(0.05, 0.4, 2)
        speed = np.minimum(1, np.minimum(fine / ramp[0], (1 - fine) / ramp[1]))
    elif kind == 2:
        speed = np.sin(math.pi * fine) ** rng.uniform(0.5, 1.5)
    else:
        speed = 1 + rng.uniform(-0.8, 0.8) * (2 * fine - 1)
    if rng.random() < 0.25:
        speed = speed * (1 + rng.uniform(0.1, 0.35) * np.sin(2 * math.pi * (rng.uniform(0.5, 3) * fine + rng.random())))
    done = np.cumsum(speed)
    done = (done - done[0]) / (done[-1] - done[0])
    return np.asarray(np.interp(phase, fine, done), np.float64)


def amount(rng: Rng, axis: int, length: float) -> float:
    """Net change of a move of this many seconds."""
    slowest, fastest, most = SPEEDS[axis]
    low = max(LEAST[axis], slowest * length)
    high = max(1.2 * low, min(fastest * length, most))
    if rng.random() < 0.08 and length < 1.3:
        return log_uniform(rng, high, 2.5 * high)
    return log_uniform(rng, low, high)


def _moved(rng: Rng, grid: Array, start: float, length: float) -> tuple[Array, Event]:
    label = str(rng.choice(list(MOVES)))
    axis, sign = MOVES[label]
    net = amount(rng, axis, length)
    phase = np.clip((grid - start) / length, 0, 1)
    done = profile(rng, phase)
    values = np.zeros((len(grid), 4))
    values[:, axis] = sign * net * done
    shift = net * SHIFT[axis]
    if rng.random() < 0.45:
        second = second_move(rng, axis, shift) * rng.integers(0, 2, 4)
        values += done[:, None] * second
    if rng.random() < 0.35:
        tremble = jitter(rng, rng.uniform(0.05, 1) * min(0.12 * shift, LIMITS.move_jitter), 2.0, 9.0, grid, grid[-1])
        values += tremble * _envelope(grid, start, start + length, 0.15)[:, None]
    first, last = (float(start + np.interp(d, done[_inside(phase)], phase[_inside(phase)]) * length) for d in DONE)
    return values, Event(label, first, last)


def _inside(phase: Array) -> NDArray[np.bool_]:
    """The samples from the last before a move to the first after it."""
    return np.asarray((phase > 0) & (phase < 1))


def _shaken(rng: Rng, grid: Array, start: float, length: float) -> tuple[Array, Event]:
    length = max(length, 0.6)
    low, high = LIMITS.shake
    rms = log_uniform(rng, high, LIMITS.strong_shake) if rng.random() < 0.08 else log_uniform(rng, low * 1.1, high)
    waves = jitter(rng, rms, rng.uniform(1.8, 3.0), rng.uniform(4.0, 9.0), grid - start, length)
    return waves * _envelope(grid, start, start + length, 0.1)[:, None], Event("shake", start, start + length)


def _envelope(grid: Array, start: float, end: float, ramp: float) -> Array:
    """1 from start to end, falling to 0 over ``ramp`` seconds inside."""
    return np.asarray(np.clip(np.minimum(grid - start, end - grid) / ramp, 0, 1), np.float64)
