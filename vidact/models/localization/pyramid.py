"""What the one-stage localizers with a feature pyramid share: the trunk, the points of a level, the choice of
candidates.

Position i of level l stands for row i × 2^l of the sequence. Knows no network's layers, checkpoint format or seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vidact.models.localization.blocks import ConvNorm, position_codes, sinusoids
from vidact.models.localization.segments import Detections, finite
from vidact.models.localization.settings import Settings


@dataclass(frozen=True, slots=True)
class PyramidRules:
    """In what the projects that published a pyramid localizer differ.

    ``norm_eps``: floor of the norms outside attention. ``mask_after_norm``: whether padding is zero again after a norm.
    ``mask_outputs``: whether the heads' outputs are zero on padding. ``per_level``: whether the cap on candidates
    holds for each level instead of all together. ``sift_single``: whether a network of one class drops candidates by
    score, number and length at all. ``fused_norm``: which of two roundings its norms have.
    """

    norm_eps: float
    mask_after_norm: bool
    mask_outputs: bool
    per_level: bool
    sift_single: bool
    fused_norm: bool


ORIGINAL = PyramidRules(
    norm_eps=1e-5, mask_after_norm=False, mask_outputs=True, per_level=True, sift_single=True, fused_norm=False
)
OPENTAD = PyramidRules(
    norm_eps=1e-6, mask_after_norm=True, mask_outputs=False, per_level=False, sift_single=False, fused_norm=True
)


class Level(NamedTuple):
    """One pyramid level: ``logits`` (B, T, classes), ``offsets`` (B, T, values), ``mask`` (B, T), 1 on real positions.

    ``starts`` and ``ends`` (B, T, classes) are boundary logits, for networks that have them.
    """

    logits: Tensor
    offsets: Tensor
    mask: Tensor
    starts: Tensor | None = None
    ends: Tensor | None = None


class Trunk(nn.Module):
    """Embedding convolutions, optional position codes, blocks at full length, then blocks that halve it."""

    def __init__(
        self, embed: list[ConvNorm], stem: list[nn.Module], branch: list[nn.Module], *, width: int, codes: int
    ) -> None:
        """``codes`` is the length of the table of position codes, 0 for a network without."""
        super().__init__()
        self.embed, self.stem, self.branch = nn.ModuleList(embed), nn.ModuleList(stem), nn.ModuleList(branch)
        self.codes: Tensor | None
        self.register_buffer("codes", sinusoids(codes, width) if codes else None, persistent=False)

    def forward(self, x: Tensor, mask: Tensor, whole: int = 0) -> list[tuple[Tensor, Tensor]]:
        """(B, C, T) and (B, 1, T) → features and mask of every level; position codes as for length ``whole``, or T."""
        for conv in self.embed:
            x = conv(x, mask)
        if self.codes is not None:
            codes = position_codes(self.codes, max(whole, x.shape[-1]))[:, :, : x.shape[-1]]
            x = x + codes.to(x.dtype) * mask
        for block in self.stem:
            x, mask = block(x, mask)
        levels = [(x, mask)]
        for block in self.branch:
            x, mask = block(x, mask)
            levels.append((x, mask))
        return levels


def padded(length: int, shortest: int, multiple: int) -> int:
    """How long the published code makes a sequence: ``shortest``, or the next multiple of ``multiple`` beyond it."""
    return shortest if length <= shortest else -(-length // multiple) * multiple


def pad(features: Tensor, whole: int) -> tuple[Tensor, Tensor]:
    """(C, T) → (1, C, ``whole``) with zeros at the end and its mask (1, 1, ``whole``)."""
    length = features.shape[1]
    x = torch.nn.functional.pad(features, (0, whole - length)).unsqueeze(0)
    mask = (torch.arange(whole, device=x.device) < length).to(x.dtype).view(1, 1, -1)
    return x, mask


Decode = Callable[[Level, Tensor, Tensor], Tensor]
"""(level, positions (K,), labels (K,)) → distances to start and end (K, 2), in positions of that level."""


def candidates(levels: list[Level], decode: Decode, settings: Settings, rules: PyramidRules) -> Detections:
    """The candidates of the first sequence of a batch, times in rows, before suppression. VideoError if there are
    scores or times that are no finite numbers."""
    classes = levels[0].logits.shape[-1]
    sift = rules.sift_single or classes > 1
    groups = [[number] for number in range(len(levels))] if rules.per_level and sift else [[*range(len(levels))]]
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    for group in groups:
        scores = finite(torch.cat([_scores(levels[number]).flatten() for number in group]))
        kept = (scores > settings.threshold).nonzero().flatten() if sift else _real(levels, classes)
        scores = scores[kept]
        if sift:
            scores, order = scores.sort(descending=True)
            scores, kept = scores[: settings.top], kept[order[: settings.top]]
        segments = finite(_segments(levels, group, kept // classes, kept % classes, decode))
        if settings.min_length is not None:
            long = segments[:, 1] - segments[:, 0] > settings.min_length
            segments, scores, kept = segments[long], scores[long], kept[long]
        found.append((segments, scores, kept % classes))
    return Detections(*(torch.cat(parts).cpu().numpy() for parts in zip(*found, strict=True)))


def _scores(level: Level) -> Tensor:
    return level.logits[0].float().sigmoid() * level.mask[0, :, None]


def _real(levels: list[Level], classes: int) -> Tensor:
    """The positions of real candidates when all levels stand one after the other."""
    return torch.cat([level.mask[0, :, None].expand(-1, classes).flatten() for level in levels]).nonzero().flatten()


def _segments(levels: list[Level], group: list[int], points: Tensor, labels: Tensor, decode: Decode) -> Tensor:
    """Segments (K, 2) in rows of the sequence, for points counted over the levels of a group."""
    segments = torch.empty((len(points), 2), device=points.device)
    first = 0
    for number in group:
        length = levels[number].logits.shape[1]
        here = (points >= first) & (points < first + length)
        position = points[here] - first
        distances = decode(levels[number], position, labels[here]).float()
        stride = float(2**number)
        segments[here] = torch.stack(
            (position * stride - distances[:, 0] * stride, position * stride + distances[:, 1] * stride), dim=1
        )
        first += length
    return segments
