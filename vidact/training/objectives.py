"""What each kind of localizer is taught: the loss of a network on a batch of sequences, by part.

Targets are made in ``targets.py`` and compared in ``losses.py``; here they meet the networks' raw outputs. Knows no
files and no schedule.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vidact.models.localization.bmn import Maps
from vidact.models.localization.pyramid import Level
from vidact.training import losses, targets

MOMENTUM = 0.9
"""Of the running number of positive points by which sums over points are divided."""


@dataclass(frozen=True, slots=True)
class Sequences:
    """A batch: ``features`` (B, C, T), ``mask`` (B, 1, T) with 1 on real rows, and of every sequence its true
    ``segments`` (N, 2), in rows of it, and their ``labels`` (N,)."""

    features: Tensor
    mask: Tensor
    segments: tuple[Tensor, ...]
    labels: tuple[Tensor, ...]

    def __len__(self) -> int:
        return len(self.segments)

    def to(self, device: torch.device) -> Sequences:
        """The same on a device."""
        both = (tuple(one.to(device, non_blocking=True) for one in many) for many in (self.segments, self.labels))
        return Sequences(self.features.to(device, non_blocking=True), self.mask.to(device, non_blocking=True), *both)


@dataclass(frozen=True, slots=True)
class Losses:
    """How a localizer is taught.

    Of pyramids: ``classification`` and ``regression`` name losses, the second weighs ``weight``; points learn within
    ``radius`` strides of a centre (0: anywhere inside); ``overlapping`` ranges as published for EPIC; ``normalizer`` is
    the number of positive points the running one starts from; ``iou_power``: the class loss of a positive point of a
    TriDet is multiplied by that power of its overlap. ``smoothing`` of labels, and ``class_weights`` (one a class;
    empty: equal) of what is positive, hold for pyramids and TCN. ``steadiness`` is the weight of TCN's second loss.
    """

    classification: Literal["focal", "cross-entropy"] = "focal"
    regression: Literal["diou", "giou", "smooth-l1"] = "diou"
    weight: float = 1.0
    radius: float = 1.5
    overlapping: bool = False
    normalizer: float = 100.0
    iou_power: float = 0.2
    smoothing: float = 0.0
    class_weights: tuple[float, ...] = ()
    steadiness: float = 0.15

    def of_classes(self, logits: Tensor, wanted: Tensor) -> Tensor:
        """The loss of every logit (..., classes) for targets 0 or 1."""
        aim = wanted * (1 - self.smoothing) + self.smoothing / (wanted.shape[-1] + 1) if self.smoothing else wanted
        found = losses.CLASS_LOSSES[self.classification](logits, aim)
        if not self.class_weights:
            return found
        weights = torch.tensor(self.class_weights, device=found.device)
        return found * torch.where(wanted > 0, weights, 1.0)


class Objective(Protocol):
    """A loss with whatever it remembers between steps."""

    def __call__(self, network: nn.Module, batch: Sequences) -> Mapping[str, Tensor]:
        """The parts of the loss, to be added."""

    parts: tuple[str, ...]
    running: float
    """What it remembers; 0 where it remembers nothing."""


class PyramidObjective:
    """ActionFormer and TriDet: every point of the pyramid tells classes and, where there is an action, its ends."""

    parts: tuple[str, ...] = ("class", "place")

    def __init__(self, options: Losses) -> None:
        self.options, self.running = options, options.normalizer

    def __call__(self, network: nn.Module, batch: Sequences) -> dict[str, Tensor]:
        """``class`` and ``place``, each a sum over points divided by the running number of positive ones (ActionFormer,
        equation 7; TriDet, equation 9)."""
        levels: list[Level] = network(batch.features, batch.mask)
        wanted, distances = self._targets(levels, batch)
        valid = torch.cat([level.mask for level in levels], dim=1) > 0
        positive = (wanted.sum(-1) > 0) & valid
        count = int(positive.sum())
        if network.training:
            self.running = MOMENTUM * self.running + (1 - MOMENTUM) * max(count, 1)
        norm = self.running if network.training else max(count, 1)
        logits = torch.cat([level.logits for level in levels], dim=1)
        class_loss = self.options.of_classes(logits, wanted) * valid.unsqueeze(-1)
        if levels[0].starts is None:
            found = torch.cat([level.offsets for level in levels], dim=1)[positive]
            aim = distances[positive]
        else:
            where = (wanted > 0) & positive.unsqueeze(-1)
            found, aim = self._expected(network, levels, where), distances[where.nonzero(as_tuple=True)[:2]]
            # The published weight is part of the graph: a place is also pulled by how sure its class is.
            share = losses.overlap(found.float(), aim).clamp(min=1e-6) ** self.options.iou_power
            class_loss = class_loss * torch.ones_like(class_loss).masked_scatter(where, share)
        place_loss = losses.PLACE_LOSSES[self.options.regression](found, aim)
        return {"class": class_loss.sum() / norm, "place": self.options.weight * place_loss.sum() / norm}

    def _targets(self, levels: Sequence[Level], batch: Sequences) -> tuple[Tensor, Tensor]:
        device, classes = batch.features.device, levels[0].logits.shape[-1]
        lengths = [level.logits.shape[1] for level in levels]
        where = targets.points(lengths, overlapping=self.options.overlapping, device=device)
        found = [
            targets.assign(where, segments, labels, classes, self.options.radius)
            for segments, labels in zip(batch.segments, batch.labels, strict=True)
        ]
        return torch.stack([one for one, _ in found]), torch.stack([one for _, one in found])

    def _expected(self, network: nn.Module, levels: Sequence[Level], where: Tensor) -> Tensor:
        """Distances (K, 2) of the points and classes ``where`` (B, points, classes) is true, in its order."""
        samples, points, labels = where.nonzero(as_tuple=True)
        found = torch.zeros(len(points), 2, device=where.device)
        first = 0
        for level in levels:
            here = ((points >= first) & (points < first + level.logits.shape[1])).nonzero().flatten()
            # Also where there is nothing: every level then has gradients, whichever segments a batch holds.
            distances = network.distances(level, samples[here], points[here] - first, labels[here])  # type: ignore[operator]
            found = found.index_copy(0, here, distances.float())
            first += level.logits.shape[1]
        return found


class MapObjective:
    """BMN: starts, ends, and of every pair how well it fits."""

    parts: tuple[str, ...] = ("boundary", "fit", "class")
    running: float = 0.0

    def __call__(self, network: nn.Module, batch: Sequences) -> dict[str, Tensor]:
        """``boundary``, ``fit`` (ten times half the squared error of the overlap) and ``class`` (an overlap above 0.9
        or not), weighted as published (BMN, section 3.4)."""
        maps: Maps = network(batch.features, batch.mask)
        length, durations = maps.starts.shape[1], maps.pairs.shape[2]
        edges = [targets.boundaries(segments, length) for segments in batch.segments]
        boundary = losses.balanced(maps.starts, torch.stack([start for start, _ in edges]), 0.5)
        boundary = boundary + losses.balanced(maps.ends, torch.stack([end for _, end in edges]), 0.5)
        overlaps = [targets.pairs(segments, length, durations) for segments in batch.segments]
        fits = overlaps[0][1]
        wanted = torch.stack([overlap[fits] for overlap, _ in overlaps])
        found = maps.pairs[:, :, fits]
        chance = torch.rand(wanted.shape, device=wanted.device)
        fit = losses.overlap_regression(found[:, 1].float().sigmoid(), wanted, chance)
        return {"boundary": boundary, "fit": 5.0 * fit, "class": losses.balanced(found[:, 0], wanted, 0.9)}


class FrameObjective:
    """TCN: every row tells its classes, and neighbours agree."""

    parts: tuple[str, ...] = ("class", "steady")
    running: float = 0.0

    def __init__(self, options: Losses) -> None:
        self.options = options

    def __call__(self, network: nn.Module, batch: Sequences) -> dict[str, Tensor]:
        """``class``, the mean over real rows and classes, and ``steady``."""
        logits: Tensor = network(batch.features, batch.mask)
        mask = batch.mask[:, 0]
        pairs = zip(batch.segments, batch.labels, strict=True)
        wanted = torch.stack([targets.frames(*one, logits.shape[-1], logits.shape[1]) for one in pairs])
        loss = (self.options.of_classes(logits, wanted) * mask.unsqueeze(-1)).sum() / (mask.sum() * logits.shape[-1])
        return {"class": loss, "steady": self.options.steadiness * losses.steadiness(logits, mask)}


def objective(architecture: str, options: Losses) -> Objective:
    """How an architecture is taught."""
    if architecture == "bmn":
        return MapObjective()
    return FrameObjective(options) if architecture == "tcn" else PyramidObjective(options)


def weights(counts: Iterable[int], power: float) -> tuple[float, ...]:
    """Weights of classes by how often they occur: (mean count / count)^``power``, scaled so that an example weighs 1 on
    average; 0: none. A class without examples weighs as much as the rarest."""
    seen = [max(count, 1) for count in counts]
    if power == 0 or not seen:
        return ()
    raw = [(sum(seen) / len(seen) / count) ** power for count in seen]
    scale = sum(seen) / sum(count * one for count, one in zip(seen, raw, strict=True))
    return tuple(scale * one for one in raw)


def stack(features: Sequence[Tensor], length: int) -> tuple[Tensor, Tensor]:
    """Sequences (C, T) padded with zeros to ``length`` rows: (B, C, length) and their mask (B, 1, length)."""
    padded = torch.stack([F.pad(one, (0, length - one.shape[1])) for one in features])
    sizes = torch.tensor([one.shape[1] for one in features])
    return padded, (torch.arange(length)[None, None] < sizes[:, None, None]).float()
