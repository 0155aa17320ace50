"""One shot as the virtual camera films it: background, near layer, subjects, motion blur."""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray
from paths import ROLL, ZOOM, Path, X, Y
from planes import Look, Plane, render_plane, still_plane, video_plane, view_matrices
from sources import Image, Matrix, Shot, Sources
from subjects import Subject, cover, draw_subjects, paint
from textures import near_mask, noise

Array = NDArray[np.float64]
Material = Image | Shot
SUBJECTS_TURN = 2.5  # seconds


def draw_material(rng: np.random.Generator, sources: Sources, video: float = 0.45) -> Material:
    """A still picture, or with probability ``video`` a shot of real footage."""
    if sources.shots and rng.random() < video:
        return sources.shots[int(rng.integers(len(sources.shots)))]
    return sources.picture(rng)


def film(
    rng: np.random.Generator,
    sources: Sources,
    material: Material,
    path: Path,
    times: Array,
    look: Look,
    big: bool = False,
) -> Image:
    """The frames (n, height, width, 3) of a shot at ``times``; ``big`` allows a subject that fills most of the view."""
    plane = None
    if isinstance(material, Shot):
        for _ in range(3):
            plane = video_plane(rng, material, times, path, look)
            if plane is not None:
                break
        else:
            material = sources.picture(rng)
    if plane is None:
        plane = still_plane(rng, np.asarray(material), path, look)
    near = _near_layer(rng, sources, plane) if rng.random() < (0.08 if plane.moving else 0.3) else None
    share = 0.35 if plane.moving else 1.0
    # In a long shot subjects turn back after some seconds, or they would all be gone.
    moments = np.abs((times + SUBJECTS_TURN) % (2 * SUBJECTS_TURN) - SUBJECTS_TURN)
    subjects = (
        draw_subjects(rng, sources, moments, plane.aspect, look.render_size[1], big) if rng.random() < share else []
    )
    shimmer = _Shimmer.draw(rng, look) if not plane.moving and rng.random() < 0.07 else None
    return _render(plane, near, subjects, shimmer, path, times, look)


def _near_layer(rng: np.random.Generator, sources: Sources, plane: Plane) -> Plane:
    """A layer closer to the camera, which moves faster than the background."""
    picture = np.asarray(cv2.resize(sources.picture(rng), None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA), np.uint8)
    mask = near_mask(rng, picture.shape[0], picture.shape[1])[..., None]
    layer = np.concatenate([picture * mask, mask * 255], axis=2).astype(np.uint8)
    scale = min(picture.shape[:2]) * rng.uniform(0.4, 1.0)
    centre = (picture.shape[1] * rng.uniform(0.3, 0.7), picture.shape[0] * rng.uniform(0.3, 0.7))
    return replace(
        plane,
        pictures=(layer,),
        centre=centre,
        density=float(scale),
        own=None,
        moving=False,
        depth=float(rng.uniform(1.15, 2.2)),
    )


class _Shimmer:
    """Water or leaves: a part of the background that wobbles in place."""

    def __init__(self, fields: NDArray[np.float32], rate: float, size: tuple[int, int]) -> None:
        self._fields, self._rate = fields, rate
        ys, xs = np.mgrid[0 : size[1], 0 : size[0]].astype(np.float32)
        self._base = np.stack([xs, ys])

    @classmethod
    def draw(cls, rng: np.random.Generator, look: Look) -> _Shimmer:
        width, height = look.render_size
        where = np.clip(3 * noise(rng, height, width, 2) - rng.uniform(0.8, 1.6), 0, 1)
        strength = rng.uniform(0.008, 0.03) * height
        fields = np.stack([(noise(rng, height, width, 4, 0.7) - 0.5) * where * 2 * strength for _ in range(4)])
        return cls(fields.reshape(2, 2, height, width).astype(np.float32), float(rng.uniform(0.5, 3)), (width, height))

    def apply(self, frame: Image, time: float) -> Image:
        angle = 2 * math.pi * self._rate * time
        maps = self._base + math.sin(angle) * self._fields[0] + math.cos(angle) * self._fields[1]
        warped = cv2.remap(frame, maps[0], maps[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
        return np.asarray(warped, np.uint8)


def _render(
    plane: Plane,
    near: Plane | None,
    subjects: list[Subject],
    shimmer: _Shimmer | None,
    path: Path,
    times: Array,
    look: Look,
) -> Image:
    size = look.render_size
    params = path.at(times)
    travel = path.at(times + look.exposure / 2) - path.at(times - look.exposure / 2)
    frames = np.empty((len(times), look.height, look.width, 3), np.uint8)
    views = view_matrices(params, plane, size, path.focus)
    near_views = None if near is None else view_matrices(params, near, size, path.focus)
    swept = _swept_views(plane, path, times, look, travel)
    for i in range(len(times)):
        frame = _swept(plane, swept, i, size) if i in swept else render_plane(plane, views, i, size)
        if shimmer is not None:
            frame = shimmer.apply(frame, float(times[i]))
        if near is not None and near_views is not None:
            cover(frame, render_plane(near, near_views, i, size))
        for subject in subjects:
            if subject.in_world:
                paint(frame, subject, i, params[i], path.focus, plane.aspect)
        frame = _streak(frame, travel[i])
        for subject in subjects:
            if not subject.in_world:
                paint(frame, subject, i, params[i], path.focus, plane.aspect)
        frames[i] = (
            cv2.resize(frame, (look.width, look.height), interpolation=cv2.INTER_AREA) if look.quality > 1 else frame
        )
    return frames


def _swept_views(plane: Plane, path: Path, times: Array, look: Look, travel: Array) -> dict[int, Matrix]:
    """For frames in which zoom or roll smears the borders: several views across the exposure."""
    smear = np.maximum(np.abs(travel[:, ZOOM]), np.abs(travel[:, ROLL])) * 0.5 * look.render_size[1]
    swept: dict[int, Matrix] = {}
    for i in np.flatnonzero(smear > 1.5):
        count = int(min(6, 2 + smear[i] // 2))
        moments = times[i] + np.linspace(-0.5, 0.5, count) * look.exposure
        only = plane if plane.own is None else replace(plane, own=np.repeat(plane.own[i : i + 1], count, 0))
        swept[int(i)] = view_matrices(path.at(moments), only, look.render_size, path.focus)
    return swept


def _swept(plane: Plane, swept: dict[int, Matrix], index: int, size: tuple[int, int]) -> Image:
    """The mean of the views of one exposure."""
    views = swept[index]
    held = replace(plane, pictures=(plane.pictures[index],) * len(views)) if plane.moving else plane
    total = np.zeros((size[1], size[0], 3), np.float32)
    for k in range(len(views)):
        cv2.accumulate(render_plane(held, views, k, size), total)
    return (total / len(views)).astype(np.uint8)


def _streak(frame: Image, travel: Array) -> Image:
    """Motion blur along the way the view goes during the exposure."""
    across, down = travel[X] * frame.shape[1], travel[Y] * frame.shape[0]
    length = math.hypot(across, down)
    if length < 0.8:
        return frame
    reach = math.ceil(length / 2) + 1
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    for step in np.linspace(-0.5, 0.5, max(3, int(length * 2))):
        x, y = reach + step * across, reach + step * down
        left, top = math.floor(x), math.floor(y)
        part_x, part_y = x - left, y - top
        corner = np.outer((1 - part_y, part_y), (1 - part_x, part_x))
        rows = slice(top, min(top + 2, len(kernel)))
        columns = slice(left, min(left + 2, len(kernel)))
        kernel[rows, columns] += corner[: rows.stop - top, : columns.stop - left]
    return np.asarray(cv2.filter2D(frame, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT_101), np.uint8)
