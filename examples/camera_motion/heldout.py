"""The held-out test set: known camera paths applied to real footage, real splices and real fades.

Shares no code with the generator but the list of labels. A pinhole camera looks through a window of the
native-resolution frames while the video plays; the window never leaves the picture; every view is averaged
down to 96 x 96. Cuts and fades join shots of different videos, or clearly different views of one. Part of
the clips pass through H.264, carry a flash, a logo or bars. No procedural picture, no pasted subject.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path

import av
import cv2
import numpy as np
from filming import SIDE, film_window, loose_shot
from footage import Frames, Window, steadied, videos, windows
from numpy.typing import NDArray
from paths import FRAMES, LABELS, SIZE, TIMES

Array = NDArray[np.float64]
Rng = np.random.Generator
Shot = tuple[Frames, str]
Row = tuple[Frames, str, str, str]


@dataclass(frozen=True)
class HeldOut:
    """Test clips (n, 16, 96, 96, 3), their labels, the video each comes from, and what is special about it.

    ``natural`` holds clips of the same videos as they are, ``measured`` what their camera seems to do.
    """

    clips: NDArray[np.uint8]
    labels: NDArray[np.int64]
    sources: NDArray[np.str_]
    kinds: NDArray[np.str_]
    natural: NDArray[np.uint8]
    measured: NDArray[np.str_]

    def save(self, path: Path) -> None:
        np.savez_compressed(path, allow_pickle=False, **{f.name: getattr(self, f.name) for f in fields(self)})

    @classmethod
    def read(cls, path: Path) -> HeldOut:
        with np.load(path) as stored:
            return cls(**{f.name: stored[f.name] for f in fields(cls)})


@dataclass(frozen=True)
class Footage:
    """The windows of one video: those whose camera stands still (or was steadied), and all of them."""

    calm: list[Window]
    loose: list[Window]


def gather(path: Path, most: int = 8) -> Footage:
    """Windows of a video; slow motion is resorted to only where nothing else is calm."""
    loose = list(windows(path, 0.67, most=most + 4))
    calm = _calm(loose[:most])
    if len(calm) < 3:
        calm += _calm(list(windows(path, 0.67, speed=0.4, most=most)))
    return Footage(calm, loose)


def _calm(found: list[Window]) -> list[Window]:
    kept = []
    for window in found:
        still = window if window.calm else steadied(window)
        if still is not None and still.calm:
            kept.append(still)
    return kept


def build(directory: Path, per_class: int, seed: int = 0, say: Callable[[str], None] = lambda _: None) -> HeldOut:
    """The test set from all videos of a directory: ``per_class`` clips a label, spread evenly over the videos."""
    rng = np.random.default_rng(seed)
    rows: list[Row] = []
    shots: list[Shot] = []
    natural: list[Window] = []
    paths = videos(directory)
    share = math.ceil(1.6 * per_class / len(paths))
    for path in paths:
        footage = gather(path)
        say(f"{path.name}: {len(footage.calm)} calm windows of {len(footage.loose)}")
        natural += [replace(window, frames=_small(window.frames)) for window in footage.loose]
        for label in LABELS[:10]:
            rows += _clips_of(rng, footage, label, share)
        pool = [window for window in footage.loose + footage.calm if window.uncut]
        for i in range(5 * share if pool else 0):
            shot = loose_shot(rng, pool[i % len(pool)])
            shots.append((shot, path.name))
    rows = _even(rng, rows, per_class)
    rows += [_spliced(rng, shots) for _ in range(per_class)]
    rows += [_faded(rng, shots) for _ in range(per_class)]
    done = [_finish(rng, clip, label, kind) for clip, label, _, kind in rows]
    return HeldOut(
        np.stack([clip for clip, _ in done]),
        np.array([LABELS.index(label) for _, label, _, _ in rows]),
        np.array([source for _, _, source, _ in rows]),
        np.array([kind for _, kind in done]),
        np.stack([window.frames for window in natural]),
        np.array([window.measured_label() for window in natural]),
    )


def _small(frames: Frames) -> Frames:
    """The frames squashed to the size of the network's input."""
    return np.stack([cv2.resize(frame, (SIZE, SIZE), interpolation=cv2.INTER_AREA) for frame in frames])


def _even(rng: Rng, rows: list[Row], per_class: int) -> list[Row]:
    """``per_class`` clips of each label, taken in turn from every source."""
    kept = []
    for label in LABELS[:10]:
        of_label = [row for row in rows if row[1] == label]
        rank: dict[str, int] = {}
        keyed = []
        for row in of_label:
            rank[row[2]] = rank.get(row[2], 0) + 1
            keyed.append((rank[row[2]], float(rng.random()), row))
        keyed.sort(key=lambda item: item[:2])
        kept += [row for _, _, row in keyed[:per_class]]
    return kept


def _clips_of(rng: Rng, footage: Footage, label: str, count: int) -> list[Row]:
    made: list[Row] = []
    for _ in range(3 * count if footage.calm else 0):
        window = footage.calm[int(rng.integers(len(footage.calm)))]
        filmed = film_window(rng, window, label)
        if filmed is not None:
            made.append((filmed[0], label, window.source, filmed[1]))
        if len(made) == count:
            break
    return made


def _spliced(rng: Rng, shots: list[Shot]) -> Row:
    """A hard cut between two shots; every fourth joins two views of the same video that clearly differ."""
    first, second, same = _pair(rng, shots)
    at = int(rng.integers(1, FRAMES))
    return np.concatenate([first[0][:at], second[0][at:]]), "cut", first[1], "same video" if same else "plain"


def _pair(rng: Rng, shots: list[Shot]) -> tuple[Shot, Shot, bool]:
    """Two shots that do not look alike."""
    same = bool(rng.random() < 0.25)
    for _ in range(400):
        first, second = (shots[int(i)] for i in rng.integers(0, len(shots), 2))
        apart = np.abs(first[0][::5].astype(np.int16) - second[0][::5]).mean(axis=(1, 2, 3)).min()
        if (first[1] == second[1]) == same and apart > 18:
            return first, second, same
    raise ValueError("no two shots differ enough to be joined: give more videos")


def _faded(rng: Rng, shots: list[Shot]) -> Row:
    """To black, from black, through white, or a dissolve; most of the change lies inside the clip."""
    first, second, _ = _pair(rng, shots)
    length = rng.uniform(0.3, 1.6)
    for _ in range(200):
        start = rng.uniform(-length, TIMES[-1])
        done = np.clip((TIMES - start) / length, 0, 1)
        if np.ptp(done) > 0.5 and np.count_nonzero((done > 0.05) & (done < 0.95)) >= 3:
            break
    kind = str(rng.choice(["dissolve", "to black", "from black", "to white"], p=(0.4, 0.25, 0.25, 0.1)))
    while kind in ("to black", "from black") and first[0].mean() < 30:
        first = shots[int(rng.integers(len(shots)))]
    goal = second[0] if kind == "dissolve" else np.full_like(first[0], 255 if kind == "to white" else 0)
    weight = (done[::-1] if kind == "from black" else done)[:, None, None, None]
    mixed = first[0] * (1 - weight) + goal * weight
    return np.round(mixed).astype(np.uint8), "fade", first[1], kind


def _finish(rng: Rng, clip: Frames, label: str, kind: str) -> tuple[Frames, str]:
    """Flash, bars, logo and H.264 on part of the clips, then the final size."""
    if label not in ("cut", "fade") and kind == "plain" and rng.random() < 0.1:
        at, gain = int(rng.integers(1, FRAMES - 1)), rng.uniform(1.6, 4)
        clip = clip.copy()
        clip[at] = np.clip(clip[at] * gain + 30, 0, 255)
        kind = "flash"
    if rng.random() < 0.1:
        clip = clip.copy()
        bar = int(SIDE * rng.uniform(0.04, 0.13))
        clip[:, :bar] = clip[:, -bar:] = 0
    if rng.random() < 0.1:
        clip = clip.copy()
        _write(clip, rng)
    if rng.random() < 0.6:
        clip = _through_h264(clip, int(rng.integers(20, 34)))
    return _small(clip), kind


def _write(clip: Frames, rng: Rng) -> None:
    """A line of text that stays in place."""
    place = (int(rng.integers(5, SIDE // 2)), int(rng.choice((24, SIDE - 14))))
    for frame in clip:
        cv2.putText(frame, "vidact test", place, cv2.FONT_HERSHEY_SIMPLEX, 0.6, (255, 255, 255), 2, cv2.LINE_AA)


def _through_h264(clip: Frames, quality: int) -> Frames:
    """The clip encoded and decoded (constant rate factor ``quality``)."""
    store = io.BytesIO()
    with av.open(store, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=12, options={"crf": str(quality), "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = clip.shape[2], clip.shape[1], "yuv420p"
        for frame in clip:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    store.seek(0)
    with av.open(store) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
