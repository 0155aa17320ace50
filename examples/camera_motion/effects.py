"""What happens to a clip after it was filmed: exposure, noise, compression, bars, overlays, stutter.

Functions take and give uint8 clips (n, height, width, 3); none of them changes the label.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray
from paths import DURATION, FPS, FRAMES
from textures import noise, procedural

Clip = NDArray[np.uint8]
Array = NDArray[np.float64]

RATES = (12.0, 12.5, 14.985, 15.0, 18.0, 20.0, 23.976, 24.0, 25.0, 25.0, 29.97, 30.0, 30.0, 48.0, 50.0, 59.94, 60.0)


def sample_times(rng: np.random.Generator) -> tuple[Array, float]:
    """When the frames on display at the 16 sampling times were taken, and the source's frame rate.

    The source runs at 12 to 60 fps (now and then 8 to 12), sometimes with uneven frame times, repeated or
    frozen frames.
    """
    kind = rng.random()
    if kind < 0.7:
        fps = float(rng.choice(RATES))
    else:
        fps = float(rng.uniform(12, 60)) if kind < 0.95 else float(rng.uniform(8, 12))
    wanted = (np.arange(FRAMES) + 0.5) / FPS
    phase = rng.random() / fps
    times = np.floor((wanted - phase) * fps) / fps + phase
    if rng.random() < 0.08:
        times = np.maximum.accumulate(times + rng.uniform(-0.4, 0.4, FRAMES) / fps)
    if rng.random() < 0.04:
        at, length = int(rng.integers(1, FRAMES - 2)), int(rng.integers(1, 4))
        times[at : at + length] = times[at - 1]
    return np.clip(times, -0.1, DURATION + 0.1), fps


def grade(rng: np.random.Generator, clip: Clip) -> Clip:
    """Fixed exposure, contrast and colour of the whole clip, with slow drift, flicker and flashes."""
    values = np.arange(256, dtype=np.float32) / 255
    curve = values ** math.exp(rng.normal(0, 0.25))
    curve = (curve - 0.5) * rng.uniform(0.6, 1.15) + 0.5 + rng.normal(0, 0.05)
    tints = rng.normal(1, 0.06 if rng.random() < 0.8 else 0.2, 3)
    table = np.clip(255 * curve[:, None] * tints * rng.uniform(0.75, 1.12), 0, 255).astype(np.uint8)
    rows = clip.reshape(-1, clip.shape[2], 3)
    graded = np.asarray(cv2.LUT(rows, table[None]), np.uint8)
    if rng.random() < 0.12:
        grey = cv2.cvtColor(graded, cv2.COLOR_RGB2GRAY)
        graded = np.asarray(cv2.merge([grey, grey, grey]), np.uint8)
    return graded.reshape(clip.shape)


def flicker(rng: np.random.Generator, clip: Clip) -> Clip:
    """Slow change of exposure (at most a fifth), flicker of lamps, and now and then a flash."""
    gain = np.ones(len(clip))
    if rng.random() < 0.2:
        gain *= 1 + rng.uniform(-0.2, 0.2) * np.linspace(-0.5, 0.5, len(clip))
    if rng.random() < 0.12:
        gain *= 1 + rng.uniform(0.01, 0.1) * np.sin(np.arange(len(clip)) * rng.uniform(0.5, 3.1) + rng.uniform(0, 6))
    flash = np.zeros(len(clip))
    if rng.random() < 0.07:
        for _ in range(int(rng.integers(1, 4))):
            at = int(rng.integers(len(clip)))
            flash[at] = rng.uniform(30, 255)
            if at + 1 < len(clip) and rng.random() < 0.5:
                flash[at + 1] = flash[at] * rng.uniform(0.1, 0.6)
    changed = np.flatnonzero((np.abs(gain - 1) > 0.004) | (flash > 0))
    if not len(changed):
        return clip
    result = clip.copy()
    for i in changed:
        result[i] = cv2.convertScaleAbs(clip[i], alpha=gain[i] * (1 + flash[i] / 255), beta=flash[i] * 0.7)
    return result


def soften(rng: np.random.Generator, clip: Clip) -> Clip:
    """Low resolution, soft focus or sharpening."""
    kind = rng.random()
    if kind > 0.27:
        return clip
    height, width = clip.shape[1:3]
    scale, sigma = rng.uniform(0.4, 0.85), rng.uniform(0.4, 1.3)
    small = (max(8, int(width * scale)), max(8, int(height * scale)))
    result = np.empty_like(clip)
    for i, frame in enumerate(clip):
        if kind < 0.1:
            result[i] = cv2.resize(
                cv2.resize(frame, small, interpolation=cv2.INTER_AREA), (width, height), interpolation=cv2.INTER_LINEAR
            )
        elif kind < 0.18:
            result[i] = cv2.GaussianBlur(frame, (0, 0), sigma)
        else:
            result[i] = cv2.addWeighted(frame, 1 + sigma, cv2.GaussianBlur(frame, (3, 3), 0), -sigma, 0)
    return result


def grain(rng: np.random.Generator, clip: Clip) -> Clip:
    """Sensor noise, new in every frame."""
    if rng.random() < 0.4:
        return clip
    sigma = rng.uniform(0.5, 4) if rng.random() < 0.85 else rng.uniform(4, 14)
    height, width = clip.shape[1:3]
    bank = np.empty((height * 3, width * 2, 3), np.int16)
    cv2.setRNGSeed(int(rng.integers(2**31)))
    cv2.randn(bank, (0, 0, 0), (sigma, sigma, sigma) if rng.random() < 0.5 else (sigma, 0.6 * sigma, 1.3 * sigma))
    result = np.empty_like(clip)
    for i, frame in enumerate(clip):
        top, left = int(rng.integers(2 * height)), int(rng.integers(width))
        result[i] = cv2.add(frame, bank[top : top + height, left : left + width], dtype=cv2.CV_8U)
    return result


def compress(rng: np.random.Generator, clip: Clip) -> Clip:
    """Block artefacts: every frame on its own (JPEG), or blocks that stay until they differ enough."""
    kind = rng.random()
    if kind < 0.25:
        return _jpeg(rng, clip)
    if kind < 0.42:
        return _hold_blocks(rng, clip)
    return clip


def _jpeg(rng: np.random.Generator, clip: Clip) -> Clip:
    count, height, width = clip.shape[:3]
    columns = 4
    sheet = (
        clip.reshape(count // columns, columns, height, width, 3)
        .transpose(0, 2, 1, 3, 4)
        .reshape(-1, columns * width, 3)
    )
    _, data = cv2.imencode(".jpg", sheet, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(18, 75))])
    back = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
    return back.reshape(count // columns, height, columns, width, 3).transpose(0, 2, 1, 3, 4).reshape(clip.shape)


def _hold_blocks(rng: np.random.Generator, clip: Clip) -> Clip:
    """Skipped blocks, as in video codecs at a low rate, with a key frame now and then."""
    threshold, period = rng.uniform(1.0, 4.5), int(rng.integers(6, 40))
    first, size = int(rng.integers(period)), 8
    height, width = clip.shape[1:3]
    cells = (max(1, width // size), max(1, height // size))
    result = clip.copy()
    for i in range(1, len(clip)):
        if (i + first) % period == 0:
            continue
        change = cv2.resize(cv2.absdiff(clip[i], result[i - 1]).max(2), cells, interpolation=cv2.INTER_AREA)
        held = cv2.resize((change < threshold).astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
        cv2.copyTo(result[i - 1], held, result[i])
    return result


def framed(rng: np.random.Generator, clip: Clip, size: int) -> Clip:
    """The clip in the middle of a square of ``size``, with black (seldom white or blurred) bars around it."""
    height, width = clip.shape[1:3]
    if (height, width) == (size, size):
        return clip
    result = np.zeros((len(clip), size, size, 3), np.uint8)
    kind = rng.random()
    if kind < 0.06:
        result[:] = rng.integers(0, 256, 3)
    elif kind < 0.22:
        for i, frame in enumerate(clip):
            result[i] = cv2.resize(
                cv2.resize(frame, (6, 6), interpolation=cv2.INTER_AREA), (size, size), interpolation=cv2.INTER_CUBIC
            )
    top, left = (size - height) // 2, (size - width) // 2
    result[:, top : top + height, left : left + width] = clip
    return result


def overlay(rng: np.random.Generator, clip: Clip) -> Clip:
    """Marks that stay in place on the screen: a logo, subtitles (which may come or go), a vignette."""
    size = clip.shape[1]
    if rng.random() < 0.14:
        clip = _subtitle(rng, clip, size)
    if rng.random() < 0.14:
        part = rng.uniform(0.06, 0.24, 2) * size
        height, width = max(5, int(part[0])), max(5, int(part[1]))
        top = int(rng.choice((2, size - height - 2, rng.integers(0, size - height))))
        left = int(rng.choice((2, size - width - 2, rng.integers(0, size - width))))
        logo = cv2.resize(procedural(rng, 64, 64), (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)
        alpha = rng.uniform(0.3, 1) * (noise(rng, height, width, 3)[..., None] > rng.uniform(0, 0.6))
        clip = clip.copy()
        part_of = clip[:, top : top + height, left : left + width]
        part_of[:] = (part_of * (1 - alpha) + logo * alpha).astype(np.uint8)
    if rng.random() < 0.08:
        ys, xs = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
        shade = np.clip(1 - rng.uniform(0.1, 0.7) * (xs**2 + ys**2) ** 1.5 / 2, 0, 1)
        clip = ((clip * (shade * 256).astype(np.uint16)[..., None]) >> 8).astype(np.uint8)
    return clip


def _subtitle(rng: np.random.Generator, clip: Clip, size: int) -> Clip:
    scale, letters = 4, np.frombuffer(b"abcdefghiklmnoprstuvwy    ABCDE,.", dtype=np.uint8)
    height = int(rng.uniform(0.07, 0.2) * size)
    alpha = np.zeros((height * scale, size * scale), np.uint8)
    for row in range(int(rng.integers(1, 3))):
        text = bytes(rng.choice(letters, int(rng.integers(5, 24)))).decode()
        place = (int(rng.uniform(0.05, 0.3) * size * scale), int((0.45 + 0.5 * row) * height * scale))
        cv2.putText(alpha, text, place, 0, height * scale / 90, 255, int(rng.integers(2, 6)), cv2.LINE_AA)
    mask = cv2.resize(alpha, (size, height), interpolation=cv2.INTER_AREA)[..., None] / np.float32(255)
    bar = rng.uniform(0.2, 0.9) if rng.random() < 0.3 else 0.0
    top = int(rng.choice((size - height - 1, 1, rng.integers(0, size - height)), p=(0.8, 0.1, 0.1)))
    first, last = 0, len(clip)
    if rng.random() < 0.3:
        first, last = sorted(int(v) for v in rng.integers(0, len(clip) + 1, 2))
    colour = rng.choice((255, rng.integers(0, 256)))
    result = clip.copy()
    part = result[first:last, top : top + height]
    part[:] = (part * (1 - bar) * (1 - mask) + colour * mask).astype(np.uint8)
    return result
