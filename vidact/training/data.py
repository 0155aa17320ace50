"""Batches of clips out of labelled videos: where in the video, which part of the picture, which order.

Every choice follows from (seed, round, index), so that a training that is resumed sees what the uninterrupted one would
have seen. A video that cannot be read costs its clip and is remembered, never the training. Decoding is vidact's own.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from vidact.errors import UsageError, VideoError
from vidact.records import Sampling, Spec, VideoFacts
from vidact.training.classifier import Batch
from vidact.training.lists import Example, Examples
from vidact.video.decode import ClipReader
from vidact.video.index import Index, read_index
from vidact.video.sampling import TOLERANCE, ClipGrid, displayed
from vidact.video.transform import Plan, plan

Picture = NDArray[np.uint8]
Key = tuple[int, int]
"""(round, index); a round of -1 is validation: nothing is random then."""

_ORDER_SEED = 7919


@dataclass(frozen=True, slots=True)
class Augmentation:
    """What is left to chance: the share of the picture a crop keeps, its shape, and whether it may be mirrored."""

    area: tuple[float, float] = (0.4, 1.0)
    aspect: tuple[float, float] = (0.8, 1.25)
    flip: bool = True


@dataclass(frozen=True, slots=True)
class Failure:
    """A video that could not be read, and why."""

    path: str
    reason: str


class Clips(Dataset[Any]):
    """One clip of every example: at a random time and place for training, the central one for validation."""

    def __init__(self, examples: Sequence[Example], spec: Spec, augmentation: Augmentation, seed: int) -> None:
        self.examples, self.spec, self.augmentation, self.seed = examples, spec, augmentation, seed
        self.numbers = {label: number for number, label in enumerate(spec.labels)}

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, key: Key) -> tuple[Picture, int] | Failure:
        number, index = key
        example = self.examples[index]
        rng = np.random.default_rng((self.seed, number, index)) if number >= 0 else None
        try:
            return self._clip(example, rng), self.numbers[example.label]
        except VideoError as error:
            return Failure(example.path, f"{error.kind}: {error.message}")

    def _clip(self, example: Example, rng: np.random.Generator | None) -> Picture:
        index = read_index(example.path)
        geometry = self.spec.geometry
        crop = (
            plan(index.facts, geometry)
            if rng is None
            else random_crop(index.facts, geometry.size, self.augmentation, rng)
        )
        grid = one_clip(index, self.spec.sampling, example, rng)
        with ClipReader(index, grid, crop) as reader:
            for decoded in reader:
                if decoded is not None:
                    frames: Picture = decoded.frames[0]
                    mirrored = rng is not None and self.augmentation.flip and rng.random() < 0.5
                    return np.ascontiguousarray(frames[:, :, ::-1]) if mirrored else frames
        raise VideoError("Undecodable", "the frames of its clip cannot be decoded")


def one_clip(index: Index, sampling: Sampling, example: Example, rng: np.random.Generator | None) -> ClipGrid:
    """A clip at a random time of the example's stretch, or in its middle; a short stretch repeats its last frame."""
    duration = float(index.ends[-1])
    first = min(example.start or 0.0, duration)
    last = duration if example.end is None else min(example.end, duration)
    spare = last - first - sampling.seconds
    begin = first + max(spare, 0.0) * (0.5 if rng is None else rng.random())
    times = begin + (np.arange(sampling.frames) + 0.5) * (sampling.seconds / sampling.frames)
    frames = displayed(index, np.minimum(times, max(last - 2 * TOLERANCE, first)))[None]
    starts, ends = np.array([begin]), np.array([min(begin + sampling.seconds, last)])
    return ClipGrid(starts, ends, np.array([spare < 0]), frames)


def random_crop(facts: VideoFacts, size: tuple[int, int], chance: Augmentation, rng: np.random.Generator) -> Plan:
    """A random part of the frame, scaled to ``size`` (height, width); written as a plan: scale all, then cut."""
    height, width = facts.height, facts.width
    area = height * width * rng.uniform(*chance.area)
    aspect = math.exp(rng.uniform(*np.log(chance.aspect))) * size[1] / size[0]
    tall = min(math.sqrt(area / aspect), height)
    wide = min(math.sqrt(area * aspect), width)
    scaled_height, scaled_width = (
        max(round(height * size[0] / tall), size[0]),
        max(round(width * size[1] / wide), size[1]),
    )
    corner = int(rng.integers(scaled_height - size[0] + 1)), int(rng.integers(scaled_width - size[1] + 1))
    return Plan(scaled_height, scaled_width, (corner,), size)


class _Order(Sampler[Key]):
    """The keys of one round, shuffled; ``skip`` of them have been used before the training was stopped."""

    def __init__(self, count: int, seed: int) -> None:
        self.count, self.seed, self.number, self.skip = count, seed, -1, 0

    def __len__(self) -> int:
        return self.count - self.skip

    def __iter__(self) -> Iterator[Key]:
        order = np.random.default_rng((self.seed, self.number, _ORDER_SEED)).permutation(self.count)
        return iter([(self.number, int(index)) for index in order[self.skip :]])


class VideoData:
    """The ``Data`` of a training on videos. ``failures`` are the videos that could not be read so far, by path."""

    def __init__(
        self,
        examples: Examples,
        spec: Spec,
        *,
        batch_size: int,
        workers: int,
        seed: int,
        augmentation: Augmentation,
        output: Path,
    ) -> None:
        self.failures: dict[str, str] = {}
        self._list = output / "unreadable.csv"
        self._size = min(batch_size, len(examples.train))
        train = Clips(examples.train, spec, augmentation, seed)
        self._order = _Order(len(train), seed)
        # A generator of its own: the loaders must not draw from the one whose state is saved for resuming.
        options: dict[str, Any] = {
            "num_workers": workers,
            "collate_fn": _collate,
            "generator": torch.Generator().manual_seed(seed),
            "persistent_workers": workers > 0,
        }
        self._train = DataLoader(train, self._size, sampler=self._order, drop_last=True, **options)
        held = Clips(examples.held_out, spec, augmentation, seed)
        keys: Any = [(-1, index) for index in range(len(held))]
        self._held = DataLoader(held, batch_size, sampler=keys, **options)

    def steps(self) -> int:
        """Batches in a round."""
        return self._order.count // self._size

    def batches(self, number: int, skip: int) -> Iterator[Batch]:
        """The batches of round ``number``, in its own order, without the first ``skip``."""
        self._order.number, self._order.skip = number, skip * self._size
        return self._readable(self._train, "train", skip)

    def held_out(self) -> Iterator[Batch]:
        """The validation clips, in the order of the list."""
        return self._readable(self._held, "validate")

    def _readable(self, loader: Any, purpose: str, skip: int = 0) -> Iterator[Batch]:
        known, any_good, any_bad = len(self.failures), False, False
        for batch, failures in loader:
            any_bad = any_bad or bool(failures)
            self.failures.update((failure.path, failure.reason) for failure in failures)
            if batch is not None:
                any_good = True
                yield batch
        if len(self.failures) > known:
            self._write()
        if not any_good and (any_bad or not skip):  # of a resumed round nothing may be left
            example = next(iter(self.failures.items()), ("", ""))
            raise UsageError(
                f"not one of the videos to {purpose} on can be read; {example[0]!r}: {example[1]}",
                hint=f"the list of them is {str(self._list)!r}",
            )

    def _write(self) -> None:
        self._list.parent.mkdir(parents=True, exist_ok=True)
        with open(self._list, "w", newline="", encoding="utf-8", errors="surrogateescape") as file:
            writer = csv.writer(file)
            writer.writerow(("path", "error"))
            writer.writerows(sorted(self.failures.items()))


def _collate(rows: Sequence[tuple[Picture, int] | Failure]) -> tuple[tuple[Tensor, Tensor] | None, list[Failure]]:
    failures = [row for row in rows if isinstance(row, Failure)]
    good = [row for row in rows if not isinstance(row, Failure)]
    if not good:
        return None, failures
    clips = torch.from_numpy(np.stack([clip for clip, _ in good]))
    return (clips, torch.tensor([label for _, label in good])), failures
