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
_AT_ONCE = 2048  # so few candidates cost little more than a part of them


def descending(scores: Floats) -> Integers:
    """The order from the best score to the worst, equal ones as torch's sort leaves them: the published rule."""
    order: Integers = torch.from_numpy(scores).sort(descending=True).indices.numpy()
    return order


def best_picks(segments: Floats, scores: Floats, lines: Integers, rules: Suppression) -> tuple[Integers, Floats]:
    """The best ``rules.max_segments`` picks of all groups: their rows and lowered scores, best first.

    Scores only fall, so a candidate that starts below the last pick kept changes nothing: it is tried with the best few
    first. Equal scores are the exception, because their order depends on where every candidate stands.
    """
    groups = [np.flatnonzero(lines == line) for line in range(lines.max() + 1)]
    share = max(4 * rules.max_segments, _AT_ONCE)
    while share < len(scores):
        floor = np.partition(scores, len(scores) - share)[len(scores) - share]
        found = _race(segments, scores, [group[scores[group] > floor] for group in groups], rules, floor)
        if found.tied:
            break
        if found.certain:
            return found.rows, found.scores
        share *= 2
    found = _race(segments, scores, groups, rules, -np.inf)
    return found.rows, found.scores


class _Found(NamedTuple):
    """The best picks, best first; whether no other candidate could be among them; whether equal scores met."""

    rows: Integers
    scores: Floats
    certain: bool
    tied: bool


def _race(segments: Floats, scores: Floats, groups: list[Integers], rules: Suppression, floor: float) -> _Found:
    """The picks among some candidates; ``floor`` is the best score of those left out."""
    pick = hard_picks if rules.method == "hard" else soft_picks
    most = rules.max_segments
    taken = [Picks(np.empty(0, np.int64), np.empty(0, np.float32), np.empty(0, np.int64), False)]
    total, look = 0, most
    for picks in islice(pick(segments, scores, groups, rules), most):
        taken.append(picks)
        total += len(picks.rows)
        if total > look:
            look = total + max(total // 8, 1)
            top = np.sort(np.concatenate([one.scores for one in taken]))[::-1][: most + 1]
            # Once enough picks lie above the latest of every group, no later one can rise among them.
            if top[-1] > picks.scores.max() and (np.diff(top) < 0).all():
                break
    rows, lowered, numbers = (np.concatenate(parts) for parts in list(zip(*taken, strict=True))[:3])
    by_group = np.argsort(numbers, kind="stable")
    rows, lowered = rows[by_group], lowered[by_group]
    order = descending(lowered)
    above = lowered[order[: most + 1]]
    tied = any(one.tied for one in taken) or bool((np.diff(above) == 0).any())
    certain = len(above) > most and above[-1] > floor
    return _Found(rows[order[:most]], above[:most], certain, tied)


class Picks(NamedTuple):
    """One pick of each group that still has candidates: the candidates' ``rows``, their lowered ``scores``, the groups'
    numbers, and whether another candidate had the same score as its group's pick."""

    rows: Integers
    scores: Floats
    groups: Integers
    tied: bool


class _Table:
    """Candidates as one line a group: ``starts``, ``ends``, ``left`` (scores so far) and ``rows``, (groups, longest).

    Places without a candidate have a score of -inf and a segment no other touches.
    """

    def __init__(self, segments: Floats, scores: Floats, groups: list[Integers]) -> None:
        self.counts = np.array([len(group) for group in groups])
        rows = np.zeros((len(groups), self.counts.max(initial=0)), dtype=np.int64)
        for line, group in zip(rows, groups, strict=True):
            line[: len(group)] = group
        # One block, so that a candidate moves in one piece; the numbers of rows lie in it as the bits they are.
        block = np.stack([segments[rows, 0], segments[rows, 1], scores[rows], rows.astype(np.int32).view(np.float32)])
        self.numbers = np.arange(len(groups))
        self._keep(block)
        self._vacate(*(np.arange(rows.shape[1]) >= self.counts[:, None]).nonzero())

    def _keep(self, block: Floats) -> None:
        self.block = block
        self.starts, self.ends, self.left = block[:3]
        self.rows = block[3].view(np.int32)

    def _vacate(self, lines: Integers, places: Integers) -> None:
        self.starts[lines, places], self.ends[lines, places], self.left[lines, places] = np.inf, -np.inf, -np.inf

    def shrink(self, going: np.ndarray[Any, np.dtype[np.bool_]]) -> None:
        """Forget the groups that are done."""
        self._keep(np.ascontiguousarray(self.block[:, going]))
        self.counts, self.numbers = self.counts[going], self.numbers[going]

    def bring(self, best: Integers, first: int) -> None:
        """Swap each group's best candidate with the one at place ``first``."""
        lines = np.arange(len(best))
        before = self.block[:, :, first].copy()
        self.block[:, :, first] = self.block[:, lines, best]
        self.block[:, lines, best] = before

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
        self._vacate(touched[ended], end + first)
        self.counts[touched] = first + stay[:, 0]


def hard_picks(segments: Floats, scores: Floats, groups: list[Integers], rules: Suppression) -> Iterator[Picks]:
    """The segments of each group that overlap no better one by ``rules.iou`` or more, best first, one a group a
    step."""
    if rules.min_score > 0:
        groups = [group[scores[group] > rules.min_score] for group in groups]
    table = _Table(segments, scores, [group[descending(scores[group])] for group in groups])
    for _ in range(table.rows.shape[1]):
        going = table.left.max(axis=1, initial=-np.inf) > -np.inf
        if not going.all():
            table.shrink(going)
        if not going.any():
            return
        best, lines = table.left.argmax(axis=1), np.arange(len(table.left))
        value = table.left[lines, best]
        tied = int(np.count_nonzero(table.left == value[:, None])) > len(lines)
        yield Picks(table.rows[lines, best], value, table.numbers, tied)
        table.left[lines, best] = -np.inf
        start, end = table.starts[lines, best], table.ends[lines, best]
        line, place = _touching(start, end, table.starts, table.ends, everywhere=rules.iou <= 0)
        overlap, _ = overlaps(start[line], end[line], table.starts[line, place], table.ends[line, place])
        gone = overlap >= np.float32(rules.iou)
        table.left[line[gone], place[gone]] = -np.inf


def soft_picks(segments: Floats, scores: Floats, groups: list[Integers], rules: Suppression) -> Iterator[Picks]:
    """The best segment left in each group, one a group a step, after what the earlier picks did to the scores."""
    table = _Table(segments, scores, groups)
    everywhere = reaches_everywhere(rules)
    for first in range(table.rows.shape[1]):
        going = table.counts > first
        if 2 * going.sum() <= len(going):
            table.shrink(going)
            going = table.counts > first
        if not len(going):
            return
        width = int(table.counts.max())
        table.bring(table.left[:, first:width].argmax(axis=1) + first, first)
        value, rows, numbers = table.left[:, first], table.rows[:, first], table.numbers
        if not going.all():
            value, rows, numbers = value[going], rows[going], numbers[going]
        tied = np.count_nonzero(table.left[:, first:width] == np.where(going, table.left[:, first], 0)[:, None])
        yield Picks(rows.astype(np.int64), value.copy(), numbers, bool(tied > len(value)))
        start, end = table.starts[:, first], table.ends[:, first]
        rest = slice(first + 1, width)
        line, place = _touching(start, end, table.starts[:, rest], table.ends[:, rest], everywhere=everywhere)
        place += first + 1
        overlap, length = overlaps(start[line], end[line], table.starts[line, place], table.ends[line, place])
        lowered = table.left[line, place] * weights_of(overlap, length, rules)
        table.left[line, place] = lowered
        # Scores that start below the minimum go with the first step; later only a lowered one can fall below it.
        fallen = lowered < rules.min_score
        line, place = line[fallen], place[fallen]
        if first == 0:
            line, place = ((table.left < rules.min_score) & np.isfinite(table.left)).nonzero()
            line, place = line[place > 0], place[place > 0]
        if len(line):
            table.discard(line, place, first + 1)


def reaches_everywhere(rules: Suppression) -> bool:
    """Where no overlap at all already reaches the threshold, even distant candidates are lowered."""
    return rules.method != "gaussian" and (rules.low if rules.method == "widening" else rules.iou) <= 0


def _touching(
    start: Floats, end: Floats, starts: Floats, ends: Floats, *, everywhere: bool
) -> tuple[Integers, Integers]:
    """Lines and places of the candidates that share time with their group's pick, or of all with ``everywhere``."""
    there = starts < np.inf if everywhere else (starts < end[:, None]) & (ends > start[:, None])
    line, place = np.divmod(np.flatnonzero(there), max(there.shape[1], 1))
    return line, place


def overlaps(start: Floats, end: Floats, starts: Floats, ends: Floats) -> tuple[Floats, Floats]:
    """IoU of segments with others, pair by pair, and their own lengths, as the compiled loops round them."""
    length = end - start + _LENGTH_FLOOR
    shared = np.maximum(np.minimum(end, ends) - np.maximum(start, starts), np.float32(0))
    return shared / (length + (ends - starts + _LENGTH_FLOOR) - shared), length


def weights_of(overlap: Floats, length: Floats, rules: Suppression) -> Floats:
    """What the scores of overlapping candidates are multiplied by."""
    lowered: Floats
    if rules.method == "linear":
        lowered = np.float32(1) - overlap
    elif rules.method == "zero":
        lowered = np.zeros_like(overlap)
    else:
        lowered = np.exp(-(overlap * overlap) / np.float32(rules.sigma))
        if rules.method == "gaussian":
            return lowered
    threshold: Any = np.float32(rules.iou)
    if rules.method == "widening":
        threshold = np.float32(rules.low) + np.float32(rules.high) * length
    weights: Floats = np.where(overlap >= threshold, lowered, np.float32(1))
    return weights
