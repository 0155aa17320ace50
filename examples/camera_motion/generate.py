"""Training clips for camera motion, made on the fly from any directory of pictures and videos.

    sources = Sources.load("pictures-and-videos/")
    clips = GeneratedClips(sources, seed=0, epoch_size=50_000)
    frames, label = clips[0]          # (16, 96, 96, 3) uint8 RGB, index into LABELS

A clip is a pure function of (seed, epoch, index) and the sources. The camera turns, not the picture: in
pan-right the content moves left. What makes a move a move stands in paths.py. A cut lies between any two
sampled frames; of a fade at least a third of its length and two fifths of its change lie inside the clip.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path as FilePath

import cv2
import numpy as np
from effects import compress, flicker, framed, grade, grain, overlay, sample_times, soften
from numpy.typing import NDArray
from paths import FIRST, FRAMES, LABELS, LAST, MOVES, SIZE, draw_path, log_uniform
from planes import Look
from scene import Material, draw_material, film
from sources import Sources

__all__ = ["LABELS", "GeneratedClips", "Sources", "sample_clip"]

Clip = NDArray[np.uint8]
Array = NDArray[np.float64]
Rng = np.random.Generator


@dataclass(frozen=True)
class GeneratedClips:
    """An endless, balanced, reproducible set of clips, ``epoch_size`` of them at a time."""

    sources: Sources
    seed: int = 0
    epoch_size: int = 12_000
    epoch: int = 0

    def __len__(self) -> int:
        return self.epoch_size

    def __getitem__(self, index: int) -> tuple[Clip, int]:
        if not 0 <= index < self.epoch_size:
            raise IndexError(f"clip {index} of {self.epoch_size}")
        if cv2.getNumThreads() != 1:
            cv2.setNumThreads(1)
        rng = np.random.default_rng((self.seed, self.epoch, index))
        label = index % len(LABELS)
        return sample_clip(rng, self.sources, LABELS[label]), label

    def set_epoch(self, epoch: int) -> None:
        """Turns to another epoch: other clips under the same indices."""
        object.__setattr__(self, "epoch", epoch)


def sample_clip(rng: Rng, sources: Sources, label: str) -> Clip:
    """One clip (16, 96, 96, 3) of this label, finished as a video would be."""
    times, fps = sample_times(rng)
    look = draw_look(rng, fps)
    if label == "cut":
        clip = _cut(rng, sources, times, look)
    elif label == "fade":
        clip = _fade(rng, sources, times, look)
    else:
        clip = _single(rng, sources, label, times, look)
    return finish(rng, clip)


def _single(rng: Rng, sources: Sources, label: str, times: Array, look: Look) -> Clip:
    """A clip of one shot; for a moving camera on something whose motion can be seen."""
    path = draw_path(rng, label)
    clip: Clip = np.empty((0,), np.uint8)
    for _ in range(4):
        clip = film(rng, sources, draw_material(rng, sources), path, times, look, big=label == "static")
        if label == "static" or _shows_motion(clip):
            break
    return clip


def _difference(first: Clip, second: Clip) -> float:
    """Mean absolute difference of two frames, in grey levels."""
    return float(cv2.norm(first, second, cv2.NORM_L1)) / first.size


def _shows_motion(clip: Clip) -> bool:
    """Whether the picture has texture and changes: a pan over a blank wall teaches nothing."""
    grey = cv2.cvtColor(clip[len(clip) // 2], cv2.COLOR_RGB2GRAY)[::2, ::2].astype(np.int16)
    across, down = np.abs(np.diff(grey, axis=1)), np.abs(np.diff(grey, axis=0))
    if min(np.quantile(across, 0.9), np.quantile(down, 0.9)) < 7:
        return False
    return max(_difference(clip[0], clip[i]) for i in (3, 7, 11, 15)) > 3


def finish(rng: Rng, clip: Clip) -> Clip:
    """Grading, bars, overlays, noise and compression."""
    clip = flicker(rng, grade(rng, clip)) if rng.random() < 0.8 else clip
    clip = grain(rng, soften(rng, clip))
    return compress(rng, overlay(rng, framed(rng, clip, SIZE)))


def draw_look(rng: Rng, fps: float) -> Look:
    """Shape of the picture, size of its part of the frame, rendering quality, exposure time."""
    shapes = (16 / 9, 4 / 3, 9 / 16, 1.0, 2.35, 1.85, 3 / 4, 1.5)
    aspect = float(rng.choice(shapes, p=(0.4, 0.16, 0.1, 0.06, 0.08, 0.08, 0.05, 0.07)))
    if rng.random() < 0.2:
        aspect = log_uniform(rng, 9 / 16, 21 / 9)
    width = height = SIZE
    bars = rng.random()
    if bars < 0.08:
        height = int(SIZE * rng.uniform(0.7, 0.96))
    elif bars < 0.14:
        width = int(SIZE * rng.uniform(0.32, 0.95))
    elif bars < 0.155:
        width, height = int(SIZE * rng.uniform(0.6, 0.95)), int(SIZE * rng.uniform(0.6, 0.95))
    quality = 2 if rng.random() < 0.25 else 1
    exposure = rng.uniform(0.05, 0.75) / max(fps, 20.0)
    return Look(width, height, aspect, quality, exposure)


def _shot(rng: Rng, sources: Sources, material: Material, times: Array, look: Look) -> Clip:
    """Something a cut or fade may lead from or to: at rest, a moderate move, or a hand-held camera."""
    kind = rng.random()
    label = "static" if kind < 0.5 else "shake" if kind < 0.62 else str(rng.choice(list(MOVES)))
    return film(rng, sources, material, draw_path(rng, label, gentle=True), times, look)


def _second(rng: Rng, sources: Sources, first: Material) -> Material:
    """The material after a transition: mostly another one, sometimes another view of the same."""
    if rng.random() < 0.28:
        return first
    return draw_material(rng, sources)


def _card(rng: Rng, count: int, look: Look) -> Clip:
    """A still card of one colour."""
    colour = rng.choice((0, 255), p=(0.75, 0.25)) * np.ones(3) if rng.random() < 0.7 else rng.uniform(0, 255, 3)
    return np.full((count, look.height, look.width, 3), colour).astype(np.uint8)


def _jump(clip: Clip, at: int) -> bool:
    """Whether the change between frames ``at - 1`` and ``at`` stands out from the rest of the clip."""
    change = np.array([_difference(clip[i - 1], clip[i]) for i in range(1, len(clip))])
    others = np.delete(change, at - 1)
    near = np.max(others[max(0, at - 4) : at + 2], initial=0.0)
    return bool(change[at - 1] > max(7.0, 2.0 * near))


def _cut(rng: Rng, sources: Sources, times: Array, look: Look) -> Clip:
    clip: Clip = np.empty((0,), np.uint8)
    for attempt in range(5):
        at = int(rng.integers(1, FRAMES))
        first = draw_material(rng, sources)
        second = _second(rng, sources, first) if attempt < 3 else draw_material(rng, sources)
        shots = [_shot(rng, sources, first, times[:at], look)]
        other = replace(look, aspect=log_uniform(rng, 0.5625, 2.33)) if rng.random() < 0.1 else look
        if rng.random() < 0.04:
            shots.append(_card(rng, FRAMES - at, look))
        elif rng.random() < 0.1 and FRAMES - at > 4:
            again = at + int(rng.integers(2, FRAMES - at - 1))
            third = first if rng.random() < 0.5 else draw_material(rng, sources)
            shots += [
                _shot(rng, sources, second, times[at:again], other),
                _shot(rng, sources, third, times[again:], look),
            ]
        else:
            shots.append(_shot(rng, sources, second, times[at:], other))
        if rng.random() < 0.3:
            shots = [grade(rng, shot) for shot in shots]
        clip = np.concatenate(shots)
        if rng.random() < 0.5:
            clip = clip if rng.random() < 0.5 else clip[:, :, ::-1]
        if _jump(clip, at):
            break
    return np.ascontiguousarray(clip)


def _curve(rng: Rng, times: Array) -> Array:
    """How far a transition has come at each time, 0..1; see the module's docstring for what must lie inside."""
    while True:
        length = log_uniform(rng, 0.25, 2.2)
        start = rng.uniform(-length, LAST)
        inside = min(start + length, LAST) - max(start, FIRST)
        done = np.clip((times - start) / length, 0, 1)
        if rng.random() < 0.35:
            done = done * done * (3 - 2 * done)
        part = np.count_nonzero((done > 0.06) & (done < 0.94))
        if inside >= length / 3 and np.ptp(done) >= 0.4 and part >= 2:
            return np.asarray(done, np.float64)


def _blend(first: Clip, second: Clip, done: Array) -> Clip:
    mixed = [cv2.addWeighted(a, 1 - float(d), b, float(d), 0) for a, b, d in zip(first, second, done, strict=True)]
    return np.stack(mixed).astype(np.uint8)


def _fade(rng: Rng, sources: Sources, times: Array, look: Look) -> Clip:
    clip: Clip = np.empty((0,), np.uint8)
    for _ in range(5):
        done = _curve(rng, times)
        first = draw_material(rng, sources)
        shot = _shot(rng, sources, first, times, look)
        kind = rng.random()
        if kind < 0.4:
            other = _shot(rng, sources, _second(rng, sources, first), times, look)
        else:
            level = 0 if kind < 0.88 else 255
            other = np.full_like(shot, level)
        if kind > 0.64:
            shot, other = other, shot
        clip = _blend(shot, other, done)
        if _difference(shot[FRAMES // 2], other[FRAMES // 2]) * np.ptp(done) > 9:
            break
    return clip


def contact_sheet(clips: list[Clip], columns: int = 8) -> Clip:
    """One row of every other frame per clip."""
    rows = [np.concatenate(list(clip[:: FRAMES // columns]), axis=1) for clip in clips]
    return np.concatenate(rows)


def main(show: Callable[[str], None] = print) -> None:
    parser = argparse.ArgumentParser(description="Show generated clips and how long they take.")
    parser.add_argument("media", type=FilePath, help="directory of pictures and videos")
    parser.add_argument("--clips", type=int, default=240)
    parser.add_argument("--sheet", type=FilePath, help="write a contact sheet (PNG), a row per clip")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    start = time.perf_counter()
    sources = Sources.load(options.media)
    loaded = time.perf_counter() - start
    megabytes = sum(shot.frames.nbytes for shot in sources.shots) / 1e6
    show(f"{len(sources.stills)} pictures, {len(sources.shots)} shots ({megabytes:.0f} MB), loaded in {loaded:.1f} s")
    made = GeneratedClips(sources, options.seed, options.clips)
    start = time.process_time()
    clips = [made[i][0] for i in range(len(made))]
    show(f"{1000 * (time.process_time() - start) / len(clips):.2f} ms of one core per clip")
    if options.sheet:
        cv2.imwrite(str(options.sheet), contact_sheet(clips[:48])[..., ::-1])


if __name__ == "__main__":
    main()
