"""Which candidates suppression keeps, one step after the other: float32 and equal to the compiled loops the published
localizers used, down to the order of equal scores. Those loops swap the winner to the front and fill the place of a
discarded candidate with the last one, and so does this module, for all groups at once.

It knows arrays of segments and scores in groups that do not touch each other; neither labels nor voting nor units.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import torch

from vidact.models.localization.settings import Suppression

Floats = np.ndarray[Any, np.dtype[np.float32]]
Integers = np.ndarray[Any, np.dtype[np.int64]]

_LENGTH_FLOOR = np.float32(1e-6)  # what the compiled loops add to a length before dividing by it


def descending(scores: Floats) -> Integers:
    """The order from the best score to the worst, equal ones as torch's sort leaves them: the published rule."""
    order: Integers = np.argsort(-scores)
    falling = scores[order]
    if (falling[1:] == falling[:-1]).any():
        order = torch.from_numpy(scores).sort(descending=True).indices.numpy()
    return order


class Found(NamedTuple):
    """The best picks, best first, and whether others that score less than the last could change nothing."""

    rows: Integers
    scores: Floats
    certain: bool


def merged(rows: Integers, scores: Floats, groups: Integers, most: int, above: float = -np.inf) -> Found:
    """Picks of all groups, each group's best first, sorted and cut as the published rule has it: ``most`` a group and
    in all. ``groups`` are their numbers."""
    by_group = np.argsort(groups, kind="stable")
    rows, scores, groups = rows[by_group], scores[by_group], groups[by_group]
    within = np.arange(len(groups)) - np.searchsorted(groups, groups) < most
    return best_of(rows[within], scores[within], most, above)


def best_of(rows: Integers, scores: Floats, most: int, above: float = -np.inf) -> Found:
    """The ``most`` best picks, given group by group and each group's best first. Certain where all of these score more
    than ``above`` and no two of them the same."""
    order = descending(scores)
    best = scores[order[: most + 1]]
    certain = len(best) >= most and bool(best[:most].min(initial=np.inf) > above) and bool((best[1:] < best[:-1]).all())
    return Found(rows[order[:most]], best[:most], certain)


def stepwise(segments: Floats, scores: Floats, lines: Integers, rules: Suppression) -> Found:
    """The best ``rules.max_segments`` picks of soft suppression, exact where scores are equal."""
    groups = [np.flatnonzero(lines == line) for line in np.unique(lines)]
    picks = list(islice(soft_picks(segments, scores, groups, rules), rules.max_segments))
    rows, lowered, numbers = (np.concatenate(parts) for parts in zip(*picks, strict=True))
    return merged(rows, lowered, numbers, rules.max_segments)


class Picks(NamedTuple):
    """One pick of each group that still has candidates: the candidates' ``rows``, their lowered ``scores`` and the
    groups' numbers."""

    rows: Integers
    scores: Floats
    groups: Integers


class _Table:
    """Candidates as one line a group: ``times`` (starts, ends and lengths; 3, groups, longest), ``left`` (scores so
    far, -inf at places without a candidate) and ``rows``, (groups, longest), of which the first ``counts`` are there.
    """

    def __init__(self, segments: Floats, scores: Floats, groups: list[Integers]) -> None:
        counts = np.array([len(group) for group in groups])
        rows = np.zeros((len(groups), counts.max(initial=0)), dtype=np.int64)
        for line, group in zip(rows, groups, strict=True):
            line[: len(group)] = group
        starts, ends = segments[rows, 0], segments[rows, 1]
        # One block, so that a candidate moves in one piece; the numbers of rows lie in it as the bits they are.
        names = rows.astype(np.int32).view(np.float32)
        self.keep(np.stack([starts, ends, lengths_of(starts, ends), scores[rows], names]))
        self.counts, self.numbers = counts, np.arange(len(groups))
        self.there = np.arange(rows.shape[1]) < counts[:, None]
        self.left[~self.there] = -np.inf

    def keep(self, block: Floats) -> None:
        self.block = np.ascontiguousarray(block)
        self.times, self.left, self.rows = self.block[:3], self.block[3], self.block[4].view(np.int32)
        self.begins = np.arange(block.shape[1]) * block.shape[2]

    def shrink(self, going: np.ndarray[Any, np.dtype[np.bool_]]) -> None:
        """Forget the groups that are done."""
        self.keep(self.block[:, going])
        self.counts, self.numbers, self.there = self.counts[going], self.numbers[going], self.there[going]

    def bring(self, best: Integers, first: int) -> None:
        """Swap each group's best candidate with the one at place ``first``."""
        flat, best, here = self.block.reshape(len(self.block), -1), self.begins + best, self.begins + first
        before = flat.take(here, axis=1)
        flat[:, here] = flat.take(best, axis=1)
        flat[:, best] = before

    def discard(self, lines: Integers, places: Integers, first: int) -> None:
        """Fill each discarded place, in order, with its group's last candidate that stays; places start at
        ``first``."""
        touched, line = np.unique(lines, return_inverse=True)
        counts = self.counts[touched, None] - first
        doomed = np.zeros((len(touched), int(counts.max())), dtype=bool)
        doomed[line, places - first] = True
        stay = counts - doomed.sum(axis=1, keepdims=True)
        place = np.arange(doomed.shape[1])
        holes, hole = (doomed & (place < stay)).nonzero()
        fillers, filler = (~doomed & (place >= stay) & (place < counts))[:, ::-1].nonzero()
        filler = doomed.shape[1] - 1 - filler
        self.block[:, touched[holes], hole + first] = self.block[:, touched[fillers], filler + first]
        ended, end = ((place >= stay) & (place < counts)).nonzero()
        self.left[touched[ended], end + first] = -np.inf
        self.there[touched[ended], end + first] = False
        self.counts[touched] = first + stay[:, 0]


def soft_picks(segments: Floats, scores: Floats, groups: list[Integers], rules: Suppression) -> Iterator[Picks]:
    """The best segment left in each group, one a group a step, after what the earlier picks did to the scores."""
    table = _Table(segments, scores, groups)
    space = np.empty((2, table.left.size), np.float32)
    for first in range(table.left.shape[1]):
        going: Any = slice(None)
        if table.counts.min() <= first:
            going = table.counts > first
            if 2 * np.count_nonzero(going) <= len(going):
                table.shrink(going)
                going = slice(None)
            if not len(table.counts):
                return
        width = int(table.counts.max())
        table.bring(table.left[:, first:width].argmax(axis=1) + first, first)
        yield Picks(table.rows[going, first].astype(np.int64), table.left[going, first].copy(), table.numbers[going])
        rest = slice(first + 1, width)
        left, there = table.left[:, rest], table.there[:, rest]
        out, spare = space[:, : left.size].reshape(2, *left.shape)
        decay(table.times[:, :, first, None], table.times[:, :, rest], rules, out, spare)
        np.multiply(left, out, out=left, where=there)
        fallen = (left < rules.min_score) & there
        if np.count_nonzero(fallen):
            line, place = fallen.nonzero()
            table.discard(line, place + rest.start, rest.start)


def lengths_of(starts: Floats, ends: Floats) -> Floats:
    """Lengths as the compiled loops add them up."""
    lengths: Floats = ends - starts + _LENGTH_FLOOR
    return lengths


def decay(winners: Floats, others: Floats, rules: Suppression, out: Floats, spare: Floats) -> None:
    """What picks leave of the scores of others, 0 to 1, pair by pair in ``out``. Both have starts, ends and lengths
    first, in shapes that broadcast to that of ``out`` and ``spare``. IoU is rounded as the compiled loops do."""
    start, end, length = winners
    starts, ends, lengths = others
    np.minimum(end, ends, out=out)
    np.maximum(start, starts, out=spare)
    np.minimum(spare, out, out=spare)
    np.subtract(out, spare, out)
    np.add(length, lengths, spare)
    np.subtract(spare, out, spare)
    np.divide(out, spare, out)
    method = rules.method
    if method in ("hard", "zero"):
        np.less(out, np.float32(rules.iou), out=out)
        return
    far = None
    if method != "gaussian":
        low, high = np.float32(rules.low), np.float32(rules.high)
        far = out < (low + high * length if method == "widening" else np.float32(rules.iou))
    if method == "linear":
        np.subtract(np.float32(1), out, out)
    else:
        np.multiply(out, out, out)
        # A number in an array: numpy is slow to make out what a bare one is.
        np.divide(out, np.array(-rules.sigma, np.float32), out)
        np.exp(out, out)
    if far is not None:
        out[far] = 1
