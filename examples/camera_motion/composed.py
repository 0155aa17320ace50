"""Held-out sequences: real footage filmed along known courses, joined by real cuts and fades, written as video files.

Shares no code with the generator but the names of the labels. Every shot is a stretch of a real video whose camera
stands still (or was steadied); a pinhole camera (filming.py) looks through a window of it that rests and moves. A move
counts from 2 % to 98 % of its way, a cut is the instant of the first frame of the new shot, a fade has its true extent.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import av
import cv2
import numpy as np
from filming import AXES, RANGES, SHIFT, SIDE, render
from footage import MOST_SWAY, Frames, Window, own_motion, read_frames, steadied, videos
from numpy.typing import NDArray

Array = NDArray[np.float64]
Rng = np.random.Generator
Event = tuple[str, float, float]

RATES = (12.0, 15.0, 24.0, 25.0, 30.0, 30.0, 50.0, 60.0)
SIZES = ((320, 180), (256, 192), (192, 192), (180, 320), (320, 136))
CLIP_SECONDS = 4 / 3  # what the ranges of filming.py are for
LONGEST_SIDE = 360


@dataclass(frozen=True)
class Stretch:
    """Some seconds of a real video in which its camera stands still: ``window.frames`` at ``fps``."""

    window: Window
    fps: float


@dataclass(frozen=True)
class Composed:
    """A sequence: frames (T, H, W, 3) at ``fps``, its events (label, start, end), and the videos it was made of."""

    frames: Frames
    fps: float
    events: list[Event]
    sources: list[str]


def stretches(path: Path, most: int = 3, tried: int = 6, seconds: float = 4.0) -> list[Stretch]:
    """Calm stretches of a video, up to ``seconds`` long, where need be steadied; ``tried`` of them are looked at."""
    frames, fps = read_frames(path, LONGEST_SIDE, 60.0)
    step = max(1, round(fps / 30))
    frames, fps = frames[::step], fps / step
    length = round(seconds * fps)
    found: list[Stretch] = []
    for first in np.linspace(0, max(0, len(frames) - length), tried).astype(int):
        clip = np.stack(frames[first : first + length])
        if len(clip) < 1.2 * fps or len(found) == most or not _uncut(clip):
            continue
        own = own_motion(clip)
        window = Window(path.name, first / fps, clip, own)
        steady = own is not None and np.abs(own[:, :2]).max() < MOST_SWAY
        calm = window if window.calm else steadied(window) if steady else None
        if calm is not None and calm.calm:
            found.append(Stretch(calm, fps))
        if len(frames) <= length:
            break
    return found


def _uncut(clip: Frames) -> bool:
    """Whether no frame differs from the one before as the first of another shot would."""
    small = np.stack([cv2.resize(frame, (32, 32), interpolation=cv2.INTER_AREA) for frame in clip]).astype(np.int16)
    change = np.abs(np.diff(small, axis=0)).mean(axis=(1, 2, 3))
    return bool(change.max() < 10 + 2.5 * np.median(change))


def course(rng: Rng, seconds: float) -> tuple[Callable[[Array], Array], list[Event]]:
    """Camera (x, y, zoom, roll) over a shot, and its moves: a quarter of the shots have none."""
    parts: list[tuple[int, float, float, float, Callable[[Array], Array]]] = []
    shaken: list[tuple[float, float, Callable[[Array], Array]]] = []
    events: list[Event] = []
    time = rng.uniform(0, 1.5)
    while rng.random() > (0.25 if not events else 0.1):
        length = math.exp(rng.uniform(math.log(0.5), math.log(8)))
        if time + length > seconds - 0.1:
            break
        if rng.random() < 1 / 9:
            length = max(length, 0.7)
            size = math.exp(rng.uniform(math.log(0.005), math.log(0.03)))
            shaken.append((time, time + length, _shaking(rng, size, length)))
            events.append(("shake", time, time + length))
        else:
            label = str(rng.choice(list(AXES)))
            axis, sign = AXES[label]
            least, most, fastest = RANGES[axis]
            low = max(least, 0.9 * least * length / CLIP_SECONDS)
            net = math.exp(
                rng.uniform(math.log(low), math.log(max(1.1 * low, min(most * length / CLIP_SECONDS, fastest))))
            )
            done = _done(rng)
            parts.append((axis, sign * net, time, length, done))
            fine = np.linspace(0, 1, 501)
            first, last = np.interp((0.02, 0.98), done(fine), fine)
            events.append((label, time + first * length, time + last * length))
        time += length + rng.uniform(0.3, 2.5)
    tremble = _shaking(rng, rng.uniform(0, 0.0009), seconds)

    def track(times: Array) -> Array:
        values = tremble(times)
        for axis, net, start, length, done in parts:
            values[:, axis] += net * done(np.clip((times - start) / length, 0, 1))
        for start, end, wave in shaken:
            weight = np.clip(np.minimum(times - start, end - times) / 0.08, 0, 1)
            values += weight[:, None] * wave(times - start)
        return values

    whole = track(np.arange(0, seconds, 0.02))
    middle = (whole.min(0) + whole.max(0)) / 2
    return lambda times: track(times) - middle, events


def _done(rng: Rng) -> Callable[[Array], Array]:
    """Share of a move done at a share of its time: even, or with ramps of its speed at both ends."""
    up, down = rng.uniform(0.05, 0.45, 2)
    if rng.random() < 0.35:
        return lambda t: t
    top = 1 / (1 - up / 2 - down / 2)

    def done(t: Array) -> Array:
        rising = np.minimum(t, up) ** 2 / (2 * up)
        falling = np.maximum(t - (1 - down), 0) ** 2 / (2 * down)
        return np.asarray(top * (rising + np.maximum(t - up, 0) - falling), np.float64)

    return done


def _shaking(rng: Rng, rms: float, seconds: float) -> Callable[[Array], Array]:
    """Band-limited random motion of 2 to 8 Hz; ``rms`` of the shift in frames."""
    rate = 120.0
    count = int((seconds + 2) * rate)
    spectrum = np.fft.rfft(rng.standard_normal((count, 4)), axis=0)
    frequency = np.fft.rfftfreq(count, 1 / rate)
    spectrum[(frequency < rng.uniform(1.8, 3)) | (frequency > rng.uniform(5, 8))] = 0
    wave = np.fft.irfft(spectrum, count, axis=0)
    weight = np.array([1, rng.uniform(0.3, 1.2), rng.uniform(0, 0.3), rng.uniform(0, 0.6)])
    wave = wave / wave.std(0) * weight / math.sqrt((weight**2).sum()) * rms / SHIFT
    grid = np.arange(count) / rate - 0.5
    return lambda times: np.stack([np.interp(times, grid, wave[:, c]) for c in range(4)], axis=1)


def shoot(rng: Rng, stretch: Stretch, seconds: float, fps: float) -> tuple[Frames, list[Event]] | None:
    """A shot of so many seconds, its frames resized to ``SIDE``; None where no course stays inside the picture."""
    times = np.arange(round(seconds * fps)) / fps
    count = len(stretch.window.frames)
    index = (times * stretch.fps).astype(int) + int(rng.integers(count))
    index = np.abs((index + count - 1) % (2 * count - 2) - (count - 1))  # there and back
    window = replace(stretch.window, frames=stretch.window.frames[index])
    for _ in range(12):
        track, events = course(rng, seconds)
        frames = render(rng, window, track, times)
        if frames is not None:
            return frames, events
    return None


def compose(rng: Rng, pool: dict[str, list[Stretch]], seconds: float) -> Composed:
    """Shots of different videos joined by cuts (two of three), dissolves and fades through black or white."""
    fps = float(rng.choice(RATES))
    done: list[Frames] = []
    events: list[Event] = []
    sources: list[str] = []
    overlap: Frames | None = None
    while sum(map(len, done)) < seconds * fps:
        name = str(rng.choice([n for n in pool if not sources or n != sources[-1]]))
        made = shoot(rng, pool[name][int(rng.integers(len(pool[name])))], rng.uniform(2.5, 11), fps)
        if made is None or (done and _alike(done[-1][-1] if overlap is None else overlap[0], made[0][0])):
            continue
        frames, moves = made
        begin = sum(map(len, done)) / fps
        if overlap is not None:
            share = (np.arange(len(overlap)) / len(overlap))[:, None, None, None]
            frames[: len(overlap)] = np.round(overlap * (1 - share) + frames[: len(overlap)] * share)
            overlap = None
        frames = _flashed(rng, frames)
        kind = str(rng.choice(["cut", "dissolve", "through"], p=(0.66, 0.19, 0.15)))
        count = min(round(rng.uniform(0.3, 1.8) * fps), len(frames) // 3)
        end = begin + len(frames) / fps
        if kind == "dissolve":
            overlap, frames = frames[-count:], frames[:-count]
            events.append(("fade", end - count / fps, end))
        elif kind == "through":
            half, level = max(1, count // 2), 255 if rng.random() < 0.15 else 0
            weight = (np.arange(1, half + 1) / half)[:, None, None, None]
            frames[-half:] = np.round(frames[-half:] * (1 - weight) + level * weight)
            overlap = np.full((half, SIDE, SIDE, 3), level, np.uint8)
            events.append(("fade", end - half / fps, end + half / fps))
        else:
            events.append(("cut", end, end))
        events += [(label, begin + start, begin + last) for label, start, last in moves]
        done.append(frames)
        sources.append(name)
    whole = np.concatenate(done)[: round(seconds * fps)]
    length = len(whole) / fps
    kept = [(label, start, min(end, length)) for label, start, end in events if start < length - 0.2]
    kept = [event for event in kept if event[0] == "cut" or event[2] - event[1] > 0.3]
    return Composed(_dressed(rng, whole), fps, sorted(kept, key=lambda e: e[1]), sources)


def _alike(first: Frames, second: Frames) -> bool:
    return float(np.abs(first.astype(np.int16) - second).mean()) < 15


def _flashed(rng: Rng, frames: Frames) -> Frames:
    """One shot in eight is lit by a flash of one to three frames."""
    if rng.random() < 0.125 and len(frames) > 30:
        at, count = int(rng.integers(10, len(frames) - 10)), int(rng.integers(1, 4))
        frames[at : at + count] = np.clip(frames[at : at + count] * rng.uniform(1.6, 4) + 30, 0, 255)
    return frames


def _dressed(rng: Rng, frames: Frames) -> Frames:
    """Bars, a line of text, and one of several sizes."""
    if rng.random() < 0.2:
        bar = int(SIDE * rng.uniform(0.04, 0.13))
        frames[:, :bar] = frames[:, -bar:] = 0
    if rng.random() < 0.2:
        place = (int(rng.integers(5, SIDE // 2)), int(rng.choice((24, SIDE - 14))))
        for frame in frames:
            cv2.putText(frame, "vidact test", place, cv2.FONT_HERSHEY_SIMPLEX, 0.6, (255, 255, 255), 2, cv2.LINE_AA)
    size = SIZES[int(rng.integers(len(SIZES)))]
    return np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in frames])


def write_video(path: Path, composed: Composed, quality: int) -> None:
    """H.264 at a constant rate factor."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(
            "libx264", rate=round(composed.fps), options={"crf": str(quality), "preset": "veryfast"}
        )
        stream.width, stream.height, stream.pix_fmt = composed.frames.shape[2], composed.frames.shape[1], "yuv420p"
        for frame in composed.frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def gather(directory: Path, say: Callable[[str], None]) -> dict[str, list[Stretch]]:
    """The calm stretches of every video of a directory that has some."""
    pool = {}
    for path in videos(directory):
        found = stretches(path)
        say(f"{path.name}: {len(found)} calm stretches")
        if found:
            pool[path.name] = found
    return pool
