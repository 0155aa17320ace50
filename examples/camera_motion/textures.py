"""Procedural pictures: noise, stripes, polygons, gradients, text-like marks. Needs no files.

Also the masks that cut moving subjects and near layers out of other pictures.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
FloatImage = NDArray[np.float32]


def noise(rng: np.random.Generator, height: int, width: int, scales: int = 6, power: float = 1.0) -> FloatImage:
    """Smooth noise at several scales, between 0 and 1; ``power`` > 1 favours the coarse ones."""
    total = np.zeros((height, width), np.float32)
    for octave in range(scales):
        cells = 2 + 2**octave
        grid = rng.random((cells, max(2, cells * width // height)), dtype=np.float32)
        total += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC) / 2 ** (octave * power)
    low, high = float(total.min()), float(total.max())
    return (total - low) / max(high - low, 1e-6)


def palette(rng: np.random.Generator, value: FloatImage) -> Image:
    """Colours ``value`` (0..1) through a random table of a few anchors."""
    anchors = rng.integers(2, 7)
    table = rng.uniform(0, 255, (anchors, 3))
    if rng.random() < 0.5:
        table = table.mean(1, keepdims=True) + (table - table.mean(1, keepdims=True)) * rng.uniform(0, 0.5)
    steps = np.linspace(0, anchors - 1, 256)
    lut = np.stack([np.interp(steps, np.arange(anchors), table[:, c]) for c in range(3)], axis=1)
    return lut.astype(np.uint8)[(np.clip(value, 0, 1) * 255).astype(np.uint8)]


def procedural(rng: np.random.Generator, height: int = 224, width: int = 300) -> Image:
    """One random picture."""
    makers = (_cloud, _stripes, _polygons, _gradient, _text, _tiles, _grain)
    image = makers[int(rng.choice(len(makers), p=(0.24, 0.12, 0.24, 0.06, 0.12, 0.12, 0.1)))](rng, height, width)
    if rng.random() < 0.4:
        strength = rng.uniform(10, 70)
        fine = noise(rng, height, width, 7, rng.uniform(0, 0.6))[..., None] - 0.5
        image = np.clip(image + strength * fine, 0, 255).astype(np.uint8)
    return image


def _cloud(rng: np.random.Generator, height: int, width: int) -> Image:
    return palette(rng, noise(rng, height, width, int(rng.integers(3, 8)), rng.uniform(0.2, 1.3)))


def _stripes(rng: np.random.Generator, height: int, width: int) -> Image:
    ys, xs = np.mgrid[0:height, 0:width].astype(np.float32)
    angle, period = rng.uniform(0, math.pi), rng.uniform(12, 90)
    wave = (math.cos(angle) * xs + math.sin(angle) * ys) / period
    wave += rng.uniform(0, 2.0) * noise(rng, height, width, 3)
    value = np.sin(2 * math.pi * wave) * 0.5 + 0.5
    if rng.random() < 0.5:
        value = (value > 0.5).astype(np.float32)
    value = value * rng.uniform(0.4, 1) + noise(rng, height, width, 6, 0.5) * rng.uniform(0.2, 0.6)
    return palette(rng, (value / value.max()).astype(np.float32))


def _polygons(rng: np.random.Generator, height: int, width: int) -> Image:
    image = _cloud(rng, height, width) if rng.random() < 0.6 else _gradient(rng, height, width)
    for _ in range(int(rng.integers(5, 60))):
        centre = rng.uniform((0, 0), (width, height))
        size = rng.uniform(5, 0.35 * height) * rng.random()
        angles = np.sort(rng.uniform(0, 2 * math.pi, int(rng.integers(3, 8))))
        points = centre + size * np.stack([np.cos(angles), np.sin(angles)], 1)
        colour = rng.integers(0, 256, 3).tolist()
        if rng.random() < 0.25:
            cv2.circle(image, (int(centre[0]), int(centre[1])), max(2, int(size)), colour, -1, cv2.LINE_AA)
        else:
            cv2.fillPoly(image, [points.astype(np.int32)], colour, cv2.LINE_AA)
    return image


def _gradient(rng: np.random.Generator, height: int, width: int) -> Image:
    ys, xs = np.mgrid[0:height, 0:width].astype(np.float32)
    angle = rng.uniform(0, 2 * math.pi)
    value = math.cos(angle) * xs / width + math.sin(angle) * ys / height
    value = (value - value.min()) / np.ptp(value) + 0.15 * noise(rng, height, width, 6, 0.3)
    return palette(rng, (value / value.max()).astype(np.float32))


def _text(rng: np.random.Generator, height: int, width: int) -> Image:
    image = _gradient(rng, height, width)
    letters = np.frombuffer(b"ABCDEFGHKLMNOPRSTUVWXYZabdeghknopqrstuy0123456789    ", dtype=np.uint8)
    for _ in range(int(rng.integers(4, 22))):
        text = bytes(rng.choice(letters, int(rng.integers(3, 16)))).decode()
        place = (int(rng.uniform(-20, width)), int(rng.uniform(0, height)))
        thick = int(rng.integers(1, 4))
        cv2.putText(
            image,
            text,
            place,
            int(rng.integers(0, 5)),
            rng.uniform(0.4, 2.2),
            rng.integers(0, 256, 3).tolist(),
            thick,
            cv2.LINE_AA,
        )
    return image


def _tiles(rng: np.random.Generator, height: int, width: int) -> Image:
    rows, columns = int(rng.integers(4, 18)), int(rng.integers(4, 24))
    cells = rng.integers(0, 256, (rows, columns, 3)).astype(np.uint8)
    if rng.random() < 0.5:
        cells = cells[..., :1].repeat(3, 2)
    mode = cv2.INTER_NEAREST if rng.random() < 0.6 else cv2.INTER_LINEAR
    image = cv2.resize(cells, (width, height), interpolation=mode)
    shade = 0.6 + 0.4 * noise(rng, height, width, 6, 0.5)
    return (image * shade[..., None]).astype(np.uint8)


def _grain(rng: np.random.Generator, height: int, width: int) -> Image:
    """Dense fine texture: grass, gravel, foliage."""
    value = rng.standard_normal((height, width)).astype(np.float32)
    sigma = rng.uniform(1.2, 5.0)
    value = cv2.GaussianBlur(value, (0, 0), sigma, sigmaY=sigma * rng.uniform(0.5, 2.0))
    value = value / (np.abs(value).max() + 1e-6) * 0.5 + 0.5
    return palette(rng, 0.7 * value + 0.3 * noise(rng, height, width, 4))


def blob_mask(rng: np.random.Generator, height: int, width: int) -> FloatImage:
    """One soft-edged shape, 0..1, reaching near the sides of its box."""
    angles = np.linspace(0, 2 * math.pi, 48, endpoint=False)
    radius = np.ones(48)
    for harmonic in range(2, 7):
        radius += rng.uniform(0, 0.5 / harmonic) * np.cos(harmonic * angles + rng.uniform(0, 2 * math.pi))
    radius *= 0.47 / radius.max()
    points = np.stack([width * (0.5 + radius * np.cos(angles)), height * (0.5 + radius * np.sin(angles))], 1)
    if rng.random() < 0.25:
        points = np.array([[0.06, 0.06], [0.94, 0.06], [0.94, 0.94], [0.06, 0.94]]) * (width, height)
    mask = np.zeros((height, width), np.float32)
    cv2.fillPoly(mask, [points.astype(np.int32)], 1.0, cv2.LINE_AA)
    return cv2.GaussianBlur(mask, (0, 0), rng.uniform(0.5, 2.0))


def near_mask(rng: np.random.Generator, height: int, width: int) -> FloatImage:
    """A near layer with holes: blots, posts or leaves covering a tenth to two fifths of the plane."""
    kind = rng.random()
    if kind < 0.6:
        value = noise(rng, height, width, int(rng.integers(2, 5)), 1.0)
        level = float(np.quantile(value, rng.uniform(0.6, 0.9)))
        mask = np.clip((value - level) * rng.uniform(15, 60), 0, 1)
    else:
        mask = np.zeros((height, width), np.float32)
        for _ in range(int(rng.integers(2, 7))):
            at, thick = int(rng.uniform(0, width)), int(rng.uniform(4, max(5.0, 0.09 * width)))
            lean = int(rng.uniform(-0.15, 0.15) * width)
            cv2.line(mask, (at, 0), (at + lean, height), 1.0, thick, cv2.LINE_AA)
    return cv2.GaussianBlur(mask.astype(np.float32), (0, 0), rng.uniform(0.6, 2.5))
