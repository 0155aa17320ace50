"""Made-up data for trainings: batches of coloured noise, and small videos whose colour is their label."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from media import make

from vidact.records import Geometry, Sampling, Spec
from vidact.training.classifier import Batch

COLOURS = {"blue": (40, 40, 210), "green": (40, 200, 40), "red": (210, 40, 40)}

SPEC = Spec(
    name="attention-r3d-10.made",
    architecture="attention-r3d-10",
    sampling=Sampling(frames=4, stride=1, fps=8.0),
    geometry=Geometry(size=(16, 16), resize="squash", short_side=16),
    mean=(0.5, 0.5, 0.5),
    std=(0.25, 0.25, 0.25),
    labels=tuple(COLOURS),
    classes=3,
    network={"width": 4, "stem": [3, 3, 3], "stem_stride": [1, 2, 2], "stem_pool": False, "dropout": 0.2},
)


class Noise:
    """The ``Data`` of a training: batches that follow from the round and their number alone."""

    def batches(self, number: int, skip: int) -> Iterator[Batch]:
        for step in range(skip, self.steps()):
            yield self._batch((number, step))

    def held_out(self) -> Iterator[Batch]:
        yield self._batch((99, 0))

    def steps(self) -> int:
        return 3

    def _batch(self, seed: tuple[int, int]) -> Batch:
        rng = np.random.default_rng(seed)
        labels = rng.integers(3, size=4)
        colours = np.array(list(COLOURS.values()))[labels]
        clips = colours[:, None, None, None] + rng.integers(-30, 30, (4, 4, 16, 16, 3))
        return torch.from_numpy(clips.clip(0, 255).astype(np.uint8)), torch.from_numpy(labels)


def coloured_videos(root: Path, each: int, *, frames: int = 8) -> Path:
    """``each`` videos of every colour under ``root/colour/``, no two alike."""
    rng = np.random.default_rng(0)
    for label, colour in COLOURS.items():
        (root / label).mkdir(parents=True, exist_ok=True)
        for n in range(each):
            shade = np.clip(np.array(colour) + rng.integers(-25, 25, 3), 0, 255)

            def picture(number: int, width: int, height: int, shade: np.ndarray = shade) -> np.ndarray:
                noise = np.random.default_rng(number).integers(-10, 10, (height, width, 3))
                return np.clip(shade + noise, 0, 255).astype(np.uint8)

            make(root / label / f"{n}.mp4", frames=frames, fps=10, size=(32, 32), codec="mpeg4", picture=picture)
    return root
