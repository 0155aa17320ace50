"""Things that move on their own in front of the background: cut-out patches and swarms of small ones.

A subject lives in the world (the camera passes it), or is followed by the camera (it stays in view).
Lengths are in frame heights, the origin is the middle of the view at rest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from paths import DURATION
from sources import Image, Sources
from textures import blob_mask

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Subject:
    """A premultiplied RGBA patch and, for every frame, its place, size, angle and stretch."""

    patch: Image
    place: Array
    size: Array
    angle: Array
    stretch: Array
    in_world: bool


def cut_out(rng: np.random.Generator, sources: Sources, height: int, width: int) -> Image:
    """A patch of some picture in the form of a blob, colours multiplied by its alpha."""
    picture = sources.picture(rng)
    part = min(1.0, max(0.15, rng.uniform(0.2, 1.0)))
    rows, columns = max(8, int(picture.shape[0] * part)), max(8, int(picture.shape[1] * part))
    top, left = int(rng.integers(picture.shape[0] - rows + 1)), int(rng.integers(picture.shape[1] - columns + 1))
    crop = cv2.resize(picture[top : top + rows, left : left + columns], (width, height), interpolation=cv2.INTER_AREA)
    mask = blob_mask(rng, height, width)[..., None]
    if rng.random() < 0.06:
        mask = mask * rng.uniform(0.4, 0.85)
    return np.concatenate([crop * mask, mask * 255], axis=2).astype(np.uint8)


def draw_subjects(
    rng: np.random.Generator, sources: Sources, times: Array, aspect: float, pixels: int, big: bool
) -> list[Subject]:
    """No subject, a few, one big one, or a swarm; ``pixels`` is the height of the rendered frame."""
    kind = rng.random()
    if big and kind < 0.28:
        return [_subject(rng, sources, times, aspect, pixels, rng.uniform(0.65, 1.0), 0.18)]
    if kind < 0.45:
        return []
    if kind < 0.55:
        return _swarm(rng, sources, times, aspect, pixels)
    return [_subject(rng, sources, times, aspect, pixels, _size(rng), 0.6) for _ in range(int(rng.integers(1, 4)))]


def _size(rng: np.random.Generator) -> float:
    return float(math.exp(rng.uniform(math.log(0.08), math.log(0.55))))


def _course(rng: np.random.Generator, times: Array, reach: float) -> Array:
    """A way across the picture: straight, swinging, bouncing or wandering."""
    phase = times / DURATION
    kind = rng.random()
    speed = rng.uniform(0.05, 1.3) * (2.0 if rng.random() < 0.12 else 1.0) * min(1.0, reach / 0.3)
    angle = rng.choice((rng.uniform(0, 2 * math.pi), rng.choice((0.0, math.pi)) + rng.normal(0, 0.15)))
    heading = np.array([math.cos(angle), math.sin(angle)])
    if kind < 0.5:
        return (phase[:, None] - rng.uniform(0.2, 0.8)) * speed * 1.2 * heading
    if kind < 0.75:
        turns = rng.uniform(0.4, 3.0)
        return 0.4 * speed * np.sin(2 * math.pi * (turns * phase + rng.random()))[:, None] * heading
    knots = rng.normal(0, 0.25 * speed, (5, 2))
    smooth = cv2.resize(knots.astype(np.float32), (2, 64), interpolation=cv2.INTER_CUBIC)
    return np.stack([np.interp(phase, np.linspace(0, 1, 64), smooth[:, c]) for c in range(2)], axis=1)


def _subject(
    rng: np.random.Generator, sources: Sources, times: Array, aspect: float, pixels: int, size: float, spread: float
) -> Subject:
    shape = rng.uniform(0.45, 1.5)
    patch = cut_out(rng, sources, max(6, int(size * pixels)), max(6, int(size * pixels * shape)))
    middle = rng.uniform(-spread, spread, 2) * (aspect, 1.0) * 0.8
    course = _course(rng, times, spread) if rng.random() < 0.88 else np.zeros((len(times), 2))
    phase = times / DURATION
    grow = np.exp(rng.normal(0, 0.35) * (phase - 0.5)) if rng.random() < 0.4 else np.ones(len(times))
    angle = rng.normal(0, 0.9) * phase + rng.normal(0, 0.2) if rng.random() < 0.4 else np.zeros(len(times))
    stretch = np.ones(len(times))
    if rng.random() < 0.4:
        stretch = 1 + rng.uniform(0.05, 0.3) * np.sin(2 * math.pi * (rng.uniform(0.5, 4) * phase + rng.random()))
    return Subject(patch, middle + course, size * grow, angle, stretch, bool(rng.random() < 0.6))


def _swarm(rng: np.random.Generator, sources: Sources, times: Array, aspect: float, pixels: int) -> list[Subject]:
    """Rain, traffic, a crowd: many small things going roughly one way."""
    heading = rng.normal(0, 0.5, 2)
    size = rng.uniform(0.03, 0.14)
    members = []
    patches = [
        cut_out(rng, sources, max(3, int(size * pixels)), max(3, int(size * pixels * rng.uniform(0.5, 1.6))))
        for _ in range(3)
    ]
    in_world = bool(rng.random() < 0.7)
    for _ in range(int(rng.integers(6, 22))):
        way = heading * rng.uniform(0.6, 1.4) + rng.normal(0, 0.05, 2)
        start = rng.uniform(-0.6, 0.6, 2) * (aspect, 1.0)
        place = start + (times[:, None] - DURATION / 2) * way
        still = np.ones(len(times))
        members.append(
            Subject(
                patches[int(rng.integers(3))], place, size * still * rng.uniform(0.7, 1.2), 0 * still, still, in_world
            )
        )
    return members


def seen_from(place: Array, params: Array, focus: tuple[float, float], aspect: float) -> Array:
    """Where a point of the world lies in the view of a camera with these (x, y, zoom, roll)."""
    x, y, zoom, roll = params
    middle = np.array([focus[0] * aspect, focus[1]])
    far = place - middle - (x * aspect, y)
    cos, sin = math.cos(roll), math.sin(roll)
    return math.exp(zoom) * np.array([cos * far[0] + sin * far[1], -sin * far[0] + cos * far[1]]) + middle


def paint(frame: Image, subject: Subject, index: int, params: Array, focus: tuple[float, float], aspect: float) -> None:
    """Draws the subject into ``frame`` as the camera sees it in frame ``index``."""
    height, width = frame.shape[:2]
    place, size, angle = subject.place[index], float(subject.size[index]), float(subject.angle[index])
    if subject.in_world:
        place = seen_from(place, params, focus, aspect)
        size, angle = size * math.exp(params[2]), angle - params[3]
    centre = ((place[0] / aspect + 0.5) * width, (place[1] + 0.5) * height)
    scale = size * height / subject.patch.shape[0]
    stretch = float(subject.stretch[index])
    squash = width / (height * aspect)
    cos, sin = math.cos(angle) * scale, math.sin(angle) * scale
    linear = np.array([[cos * stretch * squash, -sin * squash], [sin * stretch, cos]])
    rows, columns = subject.patch.shape[:2]
    half = np.abs(linear) @ np.array([columns / 2, rows / 2])
    left, right = max(0, int(centre[0] - half[0])), min(width, int(centre[0] + half[0]) + 2)
    top, bottom = max(0, int(centre[1] - half[1])), min(height, int(centre[1] + half[1]) + 2)
    if right - left < 1 or bottom - top < 1:
        return
    offset = np.array([centre[0] - left, centre[1] - top]) - linear @ np.array([columns / 2, rows / 2])
    drawn = cv2.warpAffine(
        subject.patch, np.column_stack([linear, offset]), (right - left, bottom - top), flags=cv2.INTER_LINEAR
    )
    cover(frame[top:bottom, left:right], np.asarray(drawn, np.uint8))


def cover(frame: Image, layer: Image) -> None:
    """Puts a premultiplied RGBA layer over the frame, in place."""
    clear = cv2.bitwise_not(layer[..., 3])
    behind = cv2.multiply(frame, cv2.merge([clear, clear, clear]), scale=1 / 255)
    cv2.add(behind, cv2.cvtColor(layer, cv2.COLOR_RGBA2RGB), dst=behind)
    np.copyto(frame, behind)
