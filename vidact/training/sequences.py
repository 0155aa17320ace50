"""Batches of feature sequences with their true segments in rows: times to rows, cutting, order.

Every choice follows from (seed, round, index), so that a training that is resumed sees what the uninterrupted one would
have seen. Rows and seconds are mapped as inference maps them back.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vidact.errors import UsageError
from vidact.models.localization import timing
from vidact.models.localization.settings import Settings
from vidact.models.localizer import check
from vidact.records import Contract
from vidact.store.features import Features
from vidact.training.objectives import Sequences, stack
from vidact.training.truth import Example, Truth

Floats = NDArray[np.float64]
_TRIALS = 200
_ORDER_SEED = 7919


class Source(Protocol):
    """Where features come from."""

    @property
    def contract(self) -> Contract:
        """What all of them are."""

    def read(self, name: str) -> Features:
        """Those of one video."""


@dataclass(frozen=True, slots=True)
class Cutting:
    """How long sequences are cut while training: to ``length`` rows, and shorter ones to a random share ``crop`` of
    theirs (None: never). A segment stays when at least ``least`` of it is inside."""

    length: int
    crop: tuple[float, float] | None = (0.9, 1.0)
    least: float = 0.5


class FeatureSet:
    """Features of the examples: checked when first read, kept in memory up to ``limit`` bytes."""

    def __init__(self, source: Source, contract: Contract, limit: int = 4 << 30) -> None:
        self.source, self.contract = source, contract
        self._kept: dict[str, Features] = {}
        self._room = limit

    def read(self, example: Example) -> Features:
        """The features of one example. UsageError, with its name, when they are not what the contract says."""
        name = example.features
        if name in self._kept:
            return self._kept[name]
        found = self.source.read(name)
        try:
            found = dataclasses.replace(found, array=check(found.array, self.contract))
        except UsageError as error:
            turned = 'extract them again, or say "layout": "CT" in manifest.json where files are (C, T)'
            hint = turned if "shape" in error.message else error.hint
            raise UsageError(f"{name!r}: {error.message}", hint=hint) from error
        size = found.array.nbytes  # in memory now, also of a file that was mapped
        if size <= self._room:
            self._kept[name] = found
            self._room -= size
        return found


def opened(source: Source, examples: Sequence[Example]) -> FeatureSet:
    """The features of the examples, with the dimension of the first where nobody stated it."""
    contract = source.contract
    if not contract.dimension:
        array = source.read(examples[0].features).array
        contract = dataclasses.replace(contract, dimension=int(array.shape[1]))
    return FeatureSet(source, contract)


def rate_and_duration(contract: Contract, features: Features, example: Example) -> tuple[float, float]:
    """Frames a second and seconds: what the features say of their video, else the annotations, else what rows cover."""
    duration, fps = features.duration or example.video.duration, features.fps or example.video.fps
    try:
        return timing.rate_and_duration(contract, len(features.array), duration, fps)
    except UsageError as error:
        hint = "give them in the annotations, or under videos in manifest.json"
        raise UsageError(f"{example.video.video!r}: {error.message}", hint=hint) from error


def in_rows(contract: Contract, settings: Settings, features: Features, example: Example) -> Floats:
    """The true segments (N, 2) in rows of the sequence the network reads."""
    rate, duration = rate_and_duration(contract, features, example)
    clock = timing.clock(contract, settings, len(features.array), duration, rate, features.centres)
    return clock.rows(np.stack([example.video.start, example.video.end], axis=1))


def cut(
    length: int, segments: Floats, cutting: Cutting, reach: float, rng: np.random.Generator | None
) -> tuple[int, int, NDArray[np.int64], Floats]:
    """First and last row (exclusive) of a piece of a sequence, which segments (N, 2) stay, and where, in its rows.

    Pieces are drawn until one holds a segment; without ``rng`` it is the piece around the first segment. A segment may
    reach ``reach`` rows beyond the piece.
    """
    size = min(length, cutting.length)
    if rng is not None and length <= cutting.length and cutting.crop is not None:
        low, high = (round(share * length) for share in cutting.crop)
        size = int(rng.integers(max(low, 1), min(max(high, 1), length) + 1))
    for _ in range(_TRIALS):
        if rng is not None:
            first = int(rng.integers(length - size + 1))
        else:
            first = int(np.clip(round(segments[0].mean() - size / 2), 0, length - size)) if len(segments) else 0
        inside = np.clip(segments, first - reach, first + size + reach)
        share = (inside[:, 1] - inside[:, 0]) / np.maximum(segments[:, 1] - segments[:, 0], 1e-9)
        kept = np.flatnonzero(share >= cutting.least)
        if len(kept) or not len(segments) or rng is None:
            break
    return first, first + size, kept, inside[kept] - first


class SequenceData:
    """The ``Data`` of a localizer's training.

    Batches are as long as their longest sequence, rounded up to a multiple of ``multiple``, or always
    ``cutting.length`` rows where ``whole``.
    """

    def __init__(
        self,
        feature_set: FeatureSet,
        truth: Truth,
        settings: Settings,
        cutting: Cutting,
        *,
        batch_size: int,
        seed: int,
        multiple: int = 1,
        whole: bool = False,
    ) -> None:
        self.feature_set, self.truth, self.settings = feature_set, truth, settings
        self.train, self.validation = truth.train, truth.held_out
        self.cutting, self.batch_size, self.seed = cutting, min(batch_size, len(truth.train)), seed
        self.numbers = {label: number for number, label in enumerate(truth.labels)}
        self._multiple, self._whole = multiple, whole
        self._reach = 0.5 * feature_set.contract.window / feature_set.contract.stride

    def steps(self) -> int:
        """Batches in a round; a rest smaller than a batch is left out, another one in every round."""
        return len(self.train) // self.batch_size

    def batches(self, number: int, skip: int) -> Iterator[Sequences]:
        """The batches of round ``number``, in its own order, without the first ``skip``."""
        order = np.random.default_rng((self.seed, number, _ORDER_SEED)).permutation(len(self.train))
        for step in range(skip, self.steps()):
            chosen = order[step * self.batch_size : (step + 1) * self.batch_size]
            rngs = [np.random.default_rng((self.seed, number, int(index))) for index in chosen]
            yield self.batch([self.train[index] for index in chosen], rngs)

    def held_out(self) -> Iterator[Sequences]:
        """The validation sequences, in their order, cut without chance."""
        for first in range(0, len(self.validation), self.batch_size):
            chosen = self.validation[first : first + self.batch_size]
            yield self.batch(chosen, [None] * len(chosen))

    def batch(self, examples: Sequence[Example], rngs: Sequence[np.random.Generator | None]) -> Sequences:
        """A batch of these examples, each cut by the chance of its own generator."""
        rows = [self._one(example, rng) for example, rng in zip(examples, rngs, strict=True)]
        longest = max(features.shape[1] for features, _, _ in rows)
        length = self.cutting.length if self._whole else -(-longest // self._multiple) * self._multiple
        features, mask = stack([one for one, _, _ in rows], length)
        return Sequences(features, mask, tuple(one for _, one, _ in rows), tuple(one for _, _, one in rows))

    def _one(self, example: Example, rng: np.random.Generator | None) -> tuple[Tensor, Tensor, Tensor]:
        """Features (C, T), segments (N, 2) in rows and labels (N,) of one example."""
        found = self.feature_set.read(example)
        segments = in_rows(self.feature_set.contract, self.settings, found, example)
        fixed = self.settings.resize != "none"
        length = self.settings.length if fixed else len(found.array)
        first, last, kept, inside = cut(length, segments, self.cutting, self._reach, None if fixed else rng)
        # A copy: what is mapped from a file must not be written to, and only the piece is to be read.
        rows = torch.from_numpy(np.array(found.array if fixed else found.array[first:last])).T
        features = timing.resize(rows, self.settings) if fixed else rows
        labels = torch.tensor([self.numbers[example.video.labels[index]] for index in kept], dtype=torch.int64)
        return features, torch.from_numpy(inside).float(), labels
