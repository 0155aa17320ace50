"""What a network should have said, given the true segments in rows: points of a pyramid, pairs of a map, frames.

A row counts as the time of its centre; everything is float32 tensors. Knows no network and no file.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

_SAME_LENGTH = 1e-3  # rows; segments that differ by less share a point


class Points(NamedTuple):
    """Points of all levels, one after the other: ``at`` row, ``low`` to ``high`` the distances a point answers for, in
    rows, ``stride`` of its level."""

    at: Tensor
    low: Tensor
    high: Tensor
    stride: Tensor


def reach(level: int, levels: int, overlapping: bool = False) -> tuple[float, float]:
    """The distances to the farther end, in rows, that a level answers for: 0 to 4, 4 to 8, 8 to 16 and so on, the last
    one without an end (ActionFormer, section 3.3). ``overlapping``: as published for EPIC, from half the lower end."""
    low = 0.0 if level == 0 else float(2 ** (level + 1)) / (2 if overlapping else 1)
    return low, math.inf if level == levels - 1 else float(2 ** (level + 2))


def points(lengths: Sequence[int], *, overlapping: bool = False, device: torch.device | None = None) -> Points:
    """The points of a pyramid whose level l has ``lengths[l]`` positions, 2^l rows apart."""
    columns: list[list[Tensor]] = [[], [], [], []]
    for level, length in enumerate(lengths):
        low, high = reach(level, len(lengths), overlapping)
        at = torch.arange(length, dtype=torch.float32, device=device) * 2**level
        for column, value in zip(columns, (at, low, high, 2.0**level), strict=True):
            column.append(value if isinstance(value, Tensor) else torch.full_like(at, value))
    return Points(*(torch.cat(column) for column in columns))


def assign(where: Points, segments: Tensor, labels: Tensor, classes: int, radius: float) -> tuple[Tensor, Tensor]:
    """Classes (P, classes) and distances to start and end (P, 2), in positions of the level, that points should find.

    A point answers for a segment (N, 2) that it lies in, no more than ``radius`` strides from its centre (0: anywhere),
    and whose farther end is within its reach; of several for the shortest, with the labels of all as short as that.
    """
    if len(segments) == 0:
        return where.at.new_zeros(len(where.at), classes), where.at.new_zeros(len(where.at), 2)
    distances = torch.stack([where.at[:, None] - segments[:, 0], segments[:, 1] - where.at[:, None]], dim=-1)
    inside = distances.amin(-1) > 0
    if radius > 0:
        centre = 0.5 * (segments[:, 0] + segments[:, 1])
        inside &= (where.at[:, None] - centre).abs() < radius * where.stride[:, None]
    far = distances.amax(-1)
    inside &= (far >= where.low[:, None]) & (far <= where.high[:, None])
    lengths = (segments[:, 1] - segments[:, 0]).expand(len(where.at), -1).masked_fill(~inside, math.inf)
    shortest, which = lengths.min(dim=1)
    chosen = (lengths <= shortest[:, None] + _SAME_LENGTH) & inside
    found = (chosen.float() @ F.one_hot(labels, classes).float()).clamp(max=1.0)
    rows = torch.arange(len(which), device=which.device)
    return found, distances[rows, which] / where.stride[:, None]


def boundaries(segments: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """How much each row (as an interval from i to i + 1) is a start and an end (length,): its share that lies within
    1.5 rows of one (BMN, section 3.4)."""
    first = torch.arange(length, dtype=torch.float32, device=segments.device)[:, None]
    found = []
    for edge in (segments[:, 0], segments[:, 1]):
        shared = torch.minimum(first + 1, edge + 1.5) - torch.maximum(first, edge - 1.5)
        found.append(shared.clamp(min=0).amax(1) if len(segments) else first.new_zeros(length))
    return found[0], found[1]


def pairs(segments: Tensor, length: int, durations: int) -> tuple[Tensor, Tensor]:
    """The best overlap of every pair (start row t, duration d + 1) with a segment, and which pairs fit into the
    sequence: (durations, length) each."""
    duration, start = torch.meshgrid(
        torch.arange(durations, device=segments.device), torch.arange(length, device=segments.device), indexing="ij"
    )
    fits = start + duration < length
    if len(segments) == 0:
        return torch.zeros(fits.shape, device=segments.device), fits
    first, last = start[..., None].float(), (start + duration + 1)[..., None].float()
    shared = (torch.minimum(last, segments[:, 1]) - torch.maximum(first, segments[:, 0])).clamp(min=0)
    union = (last - first) + (segments[:, 1] - segments[:, 0]) - shared
    return (shared / union).amax(-1), fits


def frames(segments: Tensor, labels: Tensor, classes: int, length: int) -> Tensor:
    """Which classes each row shows (length, classes): those of the segments its centre lies in; a segment too short to
    hold a centre has the nearest one."""
    found = torch.zeros(length, classes, device=segments.device)
    for (start, end), label in zip(segments.tolist(), labels.tolist(), strict=True):
        first, last = math.ceil(start), math.floor(end)
        if first > last:
            first = last = min(max(round(0.5 * (start + end)), 0), length - 1)
        found[max(first, 0) : max(last + 1, 0), label] = 1.0
    return found
