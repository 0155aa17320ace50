"""The background seen through the moving view: geometry, still planes, real video that keeps playing.

Lengths are in frame heights unless a name says pixels. A view matrix maps a pixel of the rendered frame
to a pixel of the plane, so that moving the view one way moves the content the other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from paths import ROLL, ZOOM, Path, X, Y
from sources import Image, Matrix, Shot

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Look:
    """How the frames of a clip are rendered."""

    width: int
    height: int
    aspect: float
    quality: int
    exposure: float

    @property
    def render_size(self) -> tuple[int, int]:
        """Width and height of the frames before they are averaged down."""
        return self.width * self.quality, self.height * self.quality


@dataclass(frozen=True)
class Plane:
    """A picture (or one per frame) and the part of it that fills the view when the camera is at rest."""

    pictures: tuple[Image, ...]
    centre: tuple[float, float]
    density: float
    aspect: float
    focal: float | None = None
    depth: float = 1.0
    own: Matrix | None = None
    moving: bool = False


def view_matrices(params: Array, plane: Plane, size: tuple[int, int], focus: tuple[float, float]) -> Matrix:
    """For each row of ``params`` the 3x3 map from rendered pixels to pixels of the plane."""
    width, height = size
    aspect, count = plane.aspect, len(params)
    near = params * np.array([plane.depth, plane.depth, plane.depth, 1.0])
    x, y, zoom, roll = near[:, X], near[:, Y], near[:, ZOOM], near[:, ROLL]
    pixel = np.array(
        [[aspect / width, 0, aspect * (0.5 / width - 0.5)], [0, 1 / height, 0.5 / height - 0.5], [0, 0, 1]]
    )
    turn = np.zeros((count, 3, 3))
    scale = np.exp(-zoom)
    fx, fy = focus[0] * aspect, focus[1]
    turn[:, 0, 0] = turn[:, 1, 1] = scale * np.cos(roll)
    turn[:, 0, 1], turn[:, 1, 0] = -scale * np.sin(roll), scale * np.sin(roll)
    turn[:, 0, 2] = fx - turn[:, 0, 0] * fx - turn[:, 0, 1] * fy
    turn[:, 1, 2] = fy - turn[:, 1, 0] * fx - turn[:, 1, 1] * fy
    turn[:, 2, 2] = 1
    onto = np.array([[plane.density, 0, plane.centre[0]], [0, plane.density, plane.centre[1]], [0, 0, 1]])
    matrices: Matrix = onto @ _shift(x * aspect, y, plane.focal) @ turn @ pixel
    if plane.own is not None:
        matrices = plane.own @ matrices
    return matrices


def _shift(x: Array, y: Array, focal: float | None) -> Matrix:
    """Moving the view by (x, y): a translation, or the turn of a camera with this focal length."""
    moved = np.tile(np.eye(3), (len(x), 1, 1))
    if focal is None:
        moved[:, 0, 2], moved[:, 1, 2] = x, y
        return moved
    yaw, pitch = np.arctan(x / focal), np.arctan(y / focal)
    across, down = np.tile(np.eye(3), (len(x), 1, 1)), np.tile(np.eye(3), (len(x), 1, 1))
    across[:, 0, 0] = across[:, 2, 2] = np.cos(yaw)
    across[:, 0, 2], across[:, 2, 0] = np.sin(yaw), -np.sin(yaw)
    down[:, 1, 1] = down[:, 2, 2] = np.cos(pitch)
    down[:, 1, 2], down[:, 2, 1] = np.sin(pitch), -np.sin(pitch)
    onto_sensor, from_sensor = np.diag([focal, focal, 1.0]), np.diag([1 / focal, 1 / focal, 1.0])
    rotated: Matrix = onto_sensor @ across @ down @ from_sensor
    return rotated


def draw_focal(rng: np.random.Generator, path: Path, aspect: float) -> float | None:
    """A focal length for a turning camera, or None for plain translation; wide turns are never perspective."""
    focal = rng.uniform(0.7, 2.5) * aspect
    reach = float(np.abs(path.values[:, :2] * (aspect, 1.0)).max())
    return float(focal) if rng.random() < 0.55 and reach / focal < 0.45 else None


def still_plane(rng: np.random.Generator, picture: Image, path: Path, look: Look) -> Plane:
    """A part of a still picture, mirrored beyond its borders where the view leaves it."""
    if rng.random() < 0.5:
        picture = picture[:, ::-1]
    if rng.random() < 0.06:
        picture = picture[::-1]
    height, width = picture.shape[:2]
    density = min(height, width / look.aspect) * rng.uniform(0.5, 1.0)
    density = max(density, 0.55 * look.height)
    free_x, free_y = max(0.0, width - density * look.aspect), max(0.0, height - density)
    centre = (width / 2 + rng.uniform(-0.5, 0.5) * free_x, height / 2 + rng.uniform(-0.5, 0.5) * free_y)
    return Plane(
        _pyramid(np.ascontiguousarray(picture)), centre, float(density), look.aspect, draw_focal(rng, path, look.aspect)
    )


def _pyramid(picture: Image, levels: int = 3) -> tuple[Image, ...]:
    pyramid = [picture]
    while len(pyramid) < levels and min(pyramid[-1].shape[:2]) > 40:
        pyramid.append(
            np.asarray(cv2.resize(pyramid[-1], None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.uint8)
        )
    return tuple(pyramid)


def video_plane(rng: np.random.Generator, shot: Shot, times: Array, path: Path, look: Look) -> Plane | None:
    """Real frames playing behind the view, their own camera motion taken out; None if there is too much of it."""
    rate = shot.fps * rng.choice((1.0, 1.0, rng.uniform(0.5, 1.4)))
    index = np.floor((times - times[0]) * rate).astype(int)
    room = len(shot.frames) - index[-1] - 1
    if room >= 0:
        index += int(rng.integers(0, room + 1))
    else:  # footage shorter than the shot plays there and back
        last = len(shot.frames) - 1
        index = np.abs((index + int(rng.integers(2 * last)) + last) % (2 * last) - last)
    own = _own_motion(shot, index)
    if own is None:
        return None
    frames = shot.frames[index]
    height, width = frames.shape[1:3]
    if rng.random() < 0.5:
        frames = frames[:, :, ::-1]
        mirror = np.array([[-1.0, 0, width - 1], [0, 1, 0], [0, 0, 1]])
        own = mirror @ own @ mirror
    reach = np.ptp(path.at(times), axis=0)
    whole = reach[X] + reach[Y] < 0.03 and rng.random() < 0.6
    aspect = width / height if whole else look.aspect
    room_x, room_y = width / aspect / (1 + min(reach[X], 0.5)), height / (1 + min(reach[Y], 0.5))
    density = height if whole else max(min(room_x, room_y) * rng.uniform(0.75, 1.05), 0.45 * height)
    centre = ((width - 1) / 2, (height - 1) / 2)
    if not whole:
        slack = max(0.0, width - density * aspect * (1 + reach[X]))
        centre = (centre[0] + rng.uniform(-0.5, 0.5) * slack, centre[1])
    quiet = bool(np.abs(own - np.eye(3)).max() == 0)
    focal = None if whole else draw_focal(rng, path, aspect)
    return Plane(tuple(frames), centre, float(density), aspect, focal, own=None if quiet else own, moving=True)


def _own_motion(shot: Shot, index: NDArray[np.int_]) -> Matrix | None:
    """The footage's own camera motion at these frames: nothing where it is tiny, None where it is large or unsure."""
    height, width = shot.frames.shape[1:3]
    motion = shot.motion[index] @ np.linalg.inv(shot.motion[index[0]])
    centre = np.array([width / 2, height / 2, 1.0])
    moved = (motion @ centre - centre)[:, :2] / (width, height)
    zoom = 0.5 * np.log(np.maximum(np.linalg.det(motion[:, :2, :2]), 1e-6))
    roll = np.arctan2(motion[:, 1, 0], motion[:, 0, 0])
    size = np.array([np.abs(moved[:, 0]).max(), np.abs(moved[:, 1]).max(), np.abs(zoom).max(), np.abs(roll).max()])
    trust = float(shot.trust[index.min() + 1 : index.max() + 1].min(initial=1.0))
    if np.all(size < (0.003, 0.003, 0.003, 0.003)) and trust > 0.3:
        return np.tile(np.eye(3), (len(index), 1, 1))
    if np.all(size < (0.12, 0.12, 0.1, 0.12)) and trust > 0.55:
        return motion
    return None


def render_plane(plane: Plane, matrices: Matrix, index: int, size: tuple[int, int]) -> Image:
    """The plane seen through ``matrices[index]``."""
    matrix = matrices[index]
    step = math.sqrt(abs(matrix[0, 0] * matrix[1, 1] - matrix[0, 1] * matrix[1, 0]))
    if plane.moving:
        picture, factor = plane.pictures[index], 1.0
        if step > 1.25:
            factor = 1.0 / step
            picture = np.asarray(
                cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA), np.uint8
            )
            factor_x, factor_y = (
                picture.shape[1] / plane.pictures[index].shape[1],
                picture.shape[0] / plane.pictures[index].shape[0],
            )
            matrix = _scaled(matrix, factor_x, factor_y)
    else:
        level = min(len(plane.pictures) - 1, max(0, math.ceil(math.log2(max(step, 1e-6) / 1.45))))
        picture = plane.pictures[level]
        if level:
            matrix = _scaled(
                matrix, picture.shape[1] / plane.pictures[0].shape[1], picture.shape[0] / plane.pictures[0].shape[0]
            )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    if plane.focal is None:
        return np.asarray(
            cv2.warpAffine(picture, matrix[:2], size, flags=flags, borderMode=cv2.BORDER_REFLECT_101), np.uint8
        )
    return np.asarray(
        cv2.warpPerspective(picture, matrix, size, flags=flags, borderMode=cv2.BORDER_REFLECT_101), np.uint8
    )


def _scaled(matrix: Matrix, x: float, y: float) -> Matrix:
    """The same map onto the picture resized by (x, y), pixel centres kept in place."""
    scaled: Matrix = np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]]) @ matrix
    return scaled
