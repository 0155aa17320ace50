"""Pictures and real video shots to make clips from, kept downscaled in memory within a budget.

Reads any directory: pictures and videos are told apart by suffix, unreadable files are left out. Videos
are split into shots at hard cuts, and the camera motion they already contain is measured (sparse optical
flow, robust similarity), so that a generated path can be the only camera motion of a clip.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from textures import procedural

Image = NDArray[np.uint8]
Matrix = NDArray[np.float64]

PICTURES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"}
VIDEOS = {".mp4", ".mov", ".mkv", ".webm", ".avi", ".gif", ".m4v", ".mpg", ".ts", ".wmv", ".flv"}
STILL_HEIGHT = 224
VIDEO_HEIGHT = 160
LONGEST_SHOT = 96


@dataclass(frozen=True)
class Shot:
    """Frames of one uncut stretch of a real video.

    ``motion[i]`` maps a point of frame 0 to its place in frame i (3x3, pixels): the camera motion that
    the footage itself contains. ``trust[i]`` is the share of points that agreed on the step to frame i.
    """

    frames: NDArray[np.uint8]
    fps: float
    motion: Matrix
    trust: NDArray[np.float64]
    name: str

    @property
    def seconds(self) -> float:
        return len(self.frames) / self.fps


@dataclass(frozen=True)
class Sources:
    """All material a generator draws from."""

    stills: tuple[Image, ...]
    shots: tuple[Shot, ...]
    textures: tuple[Image, ...]

    @classmethod
    def load(cls, directory: str | Path, budget_mb: int = 1500, textures: int = 400, seed: int = 0) -> Sources:
        """Everything usable under ``directory``; of what exceeds the budget a fixed random part."""
        rng = np.random.default_rng(seed)
        files = sorted(p for p in Path(directory).rglob("*") if p.is_file())
        stills = _load_stills([p for p in files if p.suffix.lower() in PICTURES], budget_mb * 0.4, rng)
        shots = _load_shots([p for p in files if p.suffix.lower() in VIDEOS], budget_mb * 0.6)
        if not stills and not shots:
            raise ValueError(f"no readable picture or video under {directory}")
        return cls(stills, shots, _textures(rng, textures))

    @classmethod
    def made_up(cls, textures: int = 40, seed: int = 0) -> Sources:
        """Procedural pictures alone: needs no files."""
        return cls((), (), _textures(np.random.default_rng(seed), textures))

    def picture(self, rng: np.random.Generator) -> Image:
        """A photograph, a frame of a video or a procedural picture."""
        choice = rng.random()
        if self.stills and choice < 0.68:
            return self.stills[int(rng.integers(len(self.stills)))]
        if self.shots and choice < 0.75:
            shot = self.shots[int(rng.integers(len(self.shots)))]
            return shot.frames[int(rng.integers(len(shot.frames)))]
        return self.textures[int(rng.integers(len(self.textures)))]


def _textures(rng: np.random.Generator, count: int) -> tuple[Image, ...]:
    return tuple(procedural(rng) for _ in range(count))


def _shrink(image: Image, height: int) -> Image:
    """The picture in RGB with its short side at most ``height``."""
    scale = height / min(image.shape[:2])
    if scale < 1:
        size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    return np.ascontiguousarray(image[..., ::-1])


def _load_stills(paths: list[Path], budget_mb: float, rng: np.random.Generator) -> tuple[Image, ...]:
    stills: list[Image] = []
    used = 0
    for index in rng.permutation(len(paths)):
        image = cv2.imread(str(paths[index]), cv2.IMREAD_COLOR)
        if image is None or min(image.shape[:2]) < 64:
            continue
        still = _shrink(np.asarray(image, np.uint8), STILL_HEIGHT)
        used += still.nbytes
        if used > budget_mb * 1e6:
            break
        stills.append(still)
    return tuple(stills)


def _load_shots(paths: list[Path], budget_mb: float) -> tuple[Shot, ...]:
    """Shots of every video; each video may use an equal part of the budget that is still left."""
    shots: list[Shot] = []
    left = budget_mb * 1e6
    for index, path in enumerate(paths):
        share = left / (len(paths) - index)
        for shot in read_shots(path, share):
            shots.append(shot)
            left -= shot.frames.nbytes
    return tuple(shots)


def read_shots(path: Path, budget_bytes: float) -> list[Shot]:
    """Shots of one video, at most 30 frames a second; of a long one, stretches spread over its length."""
    capture = cv2.VideoCapture(str(path))
    fps = capture.get(cv2.CAP_PROP_FPS)
    fps = fps if 1 <= fps <= 240 else 25.0
    step = max(1, round(fps / 30))
    expected = max(1.0, capture.get(cv2.CAP_PROP_FRAME_COUNT) / step)
    shots: list[Shot] = []
    frames: list[Image] = []
    used, index, skip = 0.0, 0, 0
    while used < budget_bytes and capture.grab():
        index += 1
        if index % step or skip > 0:
            skip -= index % step == 0
            continue
        good, image = capture.retrieve()
        if not good:
            break
        frame = _shrink(np.asarray(image, np.uint8), VIDEO_HEIGHT)
        used += frame.nbytes
        full = len(frames) >= LONGEST_SHOT
        if full or (frames and _is_cut(frames[-1], frame)):
            shots += _finish(frames, fps / step, path.stem)
            frames = []
        if full:
            skip = int(LONGEST_SHOT * max(0.0, expected * frame.nbytes / budget_bytes - 1))
        frames.append(frame)
        if skip > 0:
            frames = []
    capture.release()
    return shots + _finish(frames, fps / step, path.stem)


def _is_cut(first: Image, second: Image) -> bool:
    """Whether two neighbouring frames are likely to belong to different shots."""
    if first.shape != second.shape:
        return True
    small = [cv2.resize(f, (48, 48), interpolation=cv2.INTER_AREA).astype(np.float32) for f in (first, second)]
    if np.abs(small[0] - small[1]).mean() < 14:
        return False
    colours = [
        cv2.calcHist([f], [0, 1, 2], None, [6, 6, 6], [0, 256] * 3).ravel() / (f.size / 3) for f in (first, second)
    ]
    return bool(np.minimum(colours[0], colours[1]).sum() < 0.6)


def _finish(frames: list[Image], fps: float, name: str) -> list[Shot]:
    if len(frames) < 12 or np.mean([f.std() for f in frames[::8]]) < 6:
        return []
    motion, trust = camera_motion(frames)
    return [Shot(np.stack(frames), fps, motion, trust, name)]


def camera_motion(frames: list[Image] | NDArray[np.uint8]) -> tuple[Matrix, NDArray[np.float64]]:
    """Where points of the first frame lie in each frame, as similarities, and how many points agreed."""
    greys = [cv2.cvtColor(f, cv2.COLOR_RGB2GRAY) for f in frames]
    total = np.tile(np.eye(3), (len(greys), 1, 1))
    trust = np.ones(len(greys))
    for i in range(1, len(greys)):
        step, trust[i] = _step(greys[i - 1], greys[i])
        total[i] = step @ total[i - 1]
    return total, trust


def _step(first: Image, second: Image) -> tuple[Matrix, float]:
    """The similarity from one grey frame to the next, and the share of points that follow it."""
    points = cv2.goodFeaturesToTrack(first, 160, 0.005, 6)
    if points is None or len(points) < 8:
        return np.eye(3), 0.0
    moved, found, _ = cv2.calcOpticalFlowPyrLK(first, second, points, None, winSize=(15, 15), maxLevel=3)
    kept = found.ravel() == 1
    if kept.sum() < 8:
        return np.eye(3), 0.0
    matrix, inliers = cv2.estimateAffinePartial2D(points[kept], moved[kept], ransacReprojThreshold=0.6, maxIters=500)
    if matrix is None:
        return np.eye(3), 0.0
    return np.vstack([matrix, [0.0, 0.0, 1.0]]), float(inliers.sum() / len(points))
