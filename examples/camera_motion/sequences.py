"""Untrimmed sequences with known segments, made on the fly from any directory of pictures and videos.

    sequence = draw_sequence(np.random.default_rng(0), Sources.load("pictures-and-videos/"))
    sequence.frames        # (T, 96, 96, 3) uint8 RGB: frame k is what is on display at k / 24 s
    sequence.events        # moves, cuts and fades with their times in seconds

Shots of 0.6 to 14 s follow one another by cuts and fades; inside a shot the camera rests and moves as tours.py says.
The source runs at 12 to 60 frames a second. A cut is an instant (``start == end``); a fade has its true extent, one
through black or white from the beginning of its first half to the end of its second.
"""

from __future__ import annotations

from collections.abc import Sequence as Many
from dataclasses import dataclass, replace

import cv2
import numpy as np
from effects import RATES, compress, flicker, framed, grade, grain, overlay, soften
from generate import draw_look
from numpy.typing import NDArray
from paths import SIZE, log_uniform
from planes import Look
from scene import draw_material, film
from sources import Sources
from tours import LABELS as MOVING
from tours import Event, draw_tour

Clip = NDArray[np.uint8]
Array = NDArray[np.float64]
Rng = np.random.Generator

FPS = 24.0
LABELS = (*MOVING, "cut", "fade")
CUT_HALF_WIDTH = 0.5
PIECE = 64  # frames that share a flicker, an overlay and a codec's state


@dataclass(frozen=True)
class Sequence:
    """Frames (T, 96, 96, 3) at 24 a second and what happens in them."""

    frames: Clip
    events: tuple[Event, ...]

    @property
    def seconds(self) -> float:
        return len(self.frames) / FPS


@dataclass(frozen=True)
class Layer:
    """A shot, or with a ``level`` a plain card, that comes over what was there: at once or over ``rise`` seconds."""

    begin: float
    end: float
    rise: float = 0.0
    level: int | None = None


def as_segments(events: Many[Event], seconds: float) -> list[Event]:
    """Events as segments inside 0 .. ``seconds``: a cut becomes its instant ± 0.5 s."""
    half = CUT_HALF_WIDTH
    wide = [replace(e, start=e.start - half, end=e.end + half) if e.label == "cut" else e for e in events]
    clipped = [replace(e, start=max(0.0, e.start), end=min(seconds, e.end)) for e in wide]
    return [e for e in clipped if e.end - e.start > 0.1]


def plan(rng: Rng, seconds: float, fps: float, brisk: bool) -> tuple[list[Layer], list[Event]]:
    """The shots of a sequence and its transitions; every shot begins with a frame of the source."""
    layers: list[Layer] = []
    events: list[Event] = []
    begin, rise = 0.0, 0.0
    if rng.random() < 0.15:
        rise = _fade_length(rng)
        layers.append(Layer(0.0, rise, 0.0, level=0))
        events.append(Event("fade", 0.0, rise))
    while begin < seconds:
        shot = log_uniform(rng, 0.6, 3.0) if brisk else log_uniform(rng, 1.2, 14.0)
        end = round((begin + rise + shot) * fps) / fps
        if end > seconds - 0.3:
            layers.append(Layer(begin, seconds + 1, rise))
            break
        kind = rng.choice(("cut", "dissolve", "through"), p=(0.66, 0.19, 0.15))
        length = _fade_length(rng)
        if kind == "cut":
            layers.append(Layer(begin, end, rise))
            events.append(Event("cut", end, end))
            begin, rise = end, 0.0
        elif kind == "dissolve":
            layers.append(Layer(begin, end + length, rise))
            events.append(Event("fade", end, end + length))
            begin, rise = end, length
        else:
            half, held = length * rng.uniform(0.4, 0.6), rng.choice((0.0, rng.uniform(0, 0.4)))
            turn = round((end + half + held) * fps) / fps
            layers.append(Layer(begin, end + half, rise))
            layers.append(Layer(end, turn + length, half, level=255 if rng.random() < 0.2 else 0))
            begin, rise = turn, length - half
            events.append(Event("fade", end, turn + rise))
    if rng.random() < 0.15 and seconds - layers[-1].begin > 3:
        start = seconds - _fade_length(rng)
        layers.append(Layer(start, seconds + 1, seconds - start, level=0))
        events.append(Event("fade", start, seconds))
    return layers, events


def _fade_length(rng: Rng) -> float:
    return log_uniform(rng, 0.3, 2.2)


def draw_sequence(rng: Rng, sources: Sources, seconds: float | None = None, brisk: bool = False) -> Sequence:
    """One sequence of 20 to 60 s, or of ``seconds``; ``brisk`` makes shots short and transitions many."""
    if cv2.getNumThreads() != 1:
        cv2.setNumThreads(1)
    length = rng.uniform(20, 60) if seconds is None else seconds
    fps = float(rng.choice(RATES)) if rng.random() < 0.7 else float(rng.uniform(12, 60))
    # What is on display at k / 24 s is the source frame that began last; a few sources repeat frames.
    times = np.floor(np.arange(int(length * FPS)) / FPS * fps + 1e-6) / fps
    look = draw_look(rng, fps)
    layers, events = plan(rng, length, fps, brisk)
    frames = np.zeros((len(times), look.height, look.width, 3), np.uint8)
    for layer in layers:
        first, last = (int(np.searchsorted(times, t - 1e-9)) for t in (layer.begin, layer.end))
        if first < last:
            events += _paint(rng, sources, layer, times[first:last], frames, first, look)
    events = [replace(e, end=min(e.end, length)) for e in events if e.start < length - 0.1]
    return Sequence(_finished(rng, frames), tuple(sorted(events, key=lambda e: e.start)))


def _paint(rng: Rng, sources: Sources, layer: Layer, times: Array, frames: Clip, first: int, look: Look) -> list[Event]:
    """Puts a layer into the frames from number ``first`` on; gives the moves of its shot."""
    part = frames[first : first + len(times)]
    moves: list[Event] = []
    if layer.level is not None:
        clip: Clip = np.full_like(part, layer.level)
    else:
        path, moves = draw_tour(rng, layer.end - layer.begin)
        for _ in range(4):
            clip = film(rng, sources, draw_material(rng, sources), path, times - layer.begin, look, big=not moves)
            if first == 0 or _apart(frames[first - 1], clip[0]) > (18 if layer.rise else 10):
                break
        clip = grade(rng, clip) if rng.random() < 0.5 else clip
    weight = np.clip((times - layer.begin) / layer.rise, 0, 1) if layer.rise else np.ones(len(times))
    if rng.random() < 0.35:
        weight = weight * weight * (3 - 2 * weight)
    for i, share in enumerate(weight):
        part[i] = clip[i] if share == 1 else cv2.addWeighted(part[i], 1 - share, clip[i], share, 0)
    # A move is told from the time on at which half of the picture is its own.
    inside = layer.begin + layer.rise / 2, layer.end
    clipped = [(e, max(e.start, inside[0]), min(e.end, inside[1])) for e in (m.later(layer.begin) for m in moves)]
    return [replace(e, start=start, end=end) for e, start, end in clipped if end - start > 0.35]


def _apart(first: Clip, second: Clip) -> float:
    """Mean absolute difference of two frames, in grey levels."""
    return float(cv2.norm(first, second, cv2.NORM_L1)) / first.size


def _finished(rng: Rng, frames: Clip) -> Clip:
    """Grading, bars, flicker and flashes, overlays that come and go, noise and compression."""
    frames = grade(rng, frames) if rng.random() < 0.6 else frames
    frames = soften(rng, framed(rng, frames, SIZE))
    noisy, coded, quiet = rng.random() < 0.5, rng.random() < 0.6, rng.random() < 0.4
    pieces = []
    for start in range(0, len(frames), PIECE):
        piece = frames[start : start + PIECE]
        piece = flicker(rng, piece) if not quiet else piece
        piece = overlay(rng, piece) if not quiet else piece
        piece = grain(rng, piece) if noisy else piece
        pieces.append(compress(rng, piece) if coded and len(piece) % 4 == 0 else piece)
    return np.concatenate(pieces)
