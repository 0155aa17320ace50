"""Soft suppression many picks at a time: the same picks as :mod:`picks` makes step by step, found sooner where most
candidates overlap few others.

It gives no answer where equal scores meet, whose order only the steps know, or where everything overlaps everything.
"""

from __future__ import annotations

from collections import defaultdict
from heapq import heapify, heappop, heappush
from typing import NamedTuple

import numpy as np

from vidact.models.localization.picks import Floats, Integers, descending, overlaps, reaches_everywhere, weights_of
from vidact.models.localization.settings import Suppression

_AHEAD = 256  # candidates looked at together: more cost little until they begin to lower each other
_WORTH = 8  # picks a round that looking ahead must bring to be quicker than single steps


def look_ahead(segments: Floats, scores: Floats, lines: Integers, rules: Suppression) -> tuple[Integers, Floats] | None:
    """Soft suppression of all groups at once, many picks a round: rows and lowered scores as :func:`best_picks` has
    them, or None where equal scores meet or candidates overlap too much for this to be quicker.

    ``lines`` (N,) are the groups' numbers. Scores only fall, so what remains above all other candidates after the best
    few have lowered each other is picked next, whatever else happens.
    """
    if reaches_everywhere(rules) or rules.min_score < 0:
        return None
    field = _Field(segments, scores, lines, rules)
    picked, values = [np.empty(0, np.int64)], [np.empty(0, np.float32)]
    total, rounds, wanted, ahead = 0, 0, rules.max_segments, min(_AHEAD // 2, rules.max_segments + 1)
    while True:
        best, outside = field.best(ahead)
        if not len(best) or total > wanted:
            found = _sorted(field.rows[np.concatenate(picked)], np.concatenate(values), lines, rules.max_segments)
            if found.certain or not len(best):
                return None if found.tied else (found.rows, found.scores)
            wanted = len(scores)  # equal scores of different groups: their order depends on all picks
        lowered = field.contest(best, outside)
        if lowered is None or total < _WORTH * (rounds - 2):
            return None
        order = np.argsort(-lowered)[: int(np.count_nonzero(lowered > outside))]
        picked.append(best[order])
        values.append(lowered[order])
        total, rounds = total + len(order), rounds + 1
        field.lower(picked[-1])
        ahead = min(_AHEAD, max(4 * len(order), _WORTH))


class _Sorted(NamedTuple):
    """The best picks, best first; whether more picks could change them; whether equal scores met in one group."""

    rows: Integers
    scores: Floats
    certain: bool
    tied: bool


def _sorted(rows: Integers, scores: Floats, lines: Integers, most: int) -> _Sorted:
    """Picks of all groups, given in the order of their scores, as the published rule sorts and cuts them: ``most`` a
    group and in all."""
    by_group = np.argsort(lines[rows], kind="stable")
    rows, scores = rows[by_group], scores[by_group]
    line = lines[rows]
    tied = bool(((np.diff(scores) == 0) & (np.diff(line) == 0)).any())
    within = np.arange(len(line)) - np.searchsorted(line, line) < most
    rows, scores = rows[within], scores[within]
    order = descending(scores)
    certain = bool((np.diff(scores[order[: most + 1]]) < 0).all())
    return _Sorted(rows[order[:most]], scores[order[:most]], certain, tied)


class _Field:
    """Candidates of all groups side by side in time, a group's own in the order of their starts, so that those which
    share time lie together.

    ``left`` (N,) are the scores so far, -inf once picked or discarded; ``rows`` (N,) the candidates' numbers.
    """

    def __init__(self, segments: Floats, scores: Floats, lines: Integers, rules: Suppression) -> None:
        self.rules = rules
        low, high = float(segments[:, 0].min()), float(segments[:, 1].max())
        moved = segments + (lines * (2 * (high - low) + 1))[:, None]  # float64: rounded, but never out of order
        self.rows = np.argsort(moved[:, 0])
        self.moved = moved[self.rows]
        self.reached = np.maximum.accumulate(self.moved[:, 1])
        self.starts, self.ends = np.ascontiguousarray(segments[self.rows].T)
        self.left = scores[self.rows]
        if (self.left < rules.min_score).any():  # all go with the first pick of their group, but for the pick itself
            top = np.full(lines.max() + 1, -np.inf, np.float32)
            np.maximum.at(top, lines, scores)
            self.left[self.left < np.minimum(top, np.float32(rules.min_score))[lines[self.rows]]] = -np.inf

    def best(self, count: int) -> tuple[Integers, float]:
        """The places of the ``count`` best, in the order of time, and the best score of the others."""
        if count < len(self.left):
            parted = np.argpartition(self.left, len(self.left) - count - 1)[-count - 1 :]
            best, outside = np.sort(parted[1:]), float(self.left[parted[0]])
        else:
            best, outside = np.arange(len(self.left)), -np.inf
        return best[self.left[best] > -np.inf], outside

    def contest(self, places: Integers, outside: float) -> Floats | None:
        """What remains of the scores of some candidates by the time each would be picked, if that is above
        ``outside``; None where equal scores meet."""
        until = np.searchsorted(self.moved[places, 0], self.moved[places, 1], side="right")
        first, second = _ranges(np.arange(1, len(places) + 1), until)
        winner, loser = np.concatenate([first, second]), np.concatenate([second, first])
        weights = self.weights(places[winner], places[loser])
        lowers: dict[int, list[tuple[int, float]]] = defaultdict(list)
        for one, other, weight in zip(winner.tolist(), loser.tolist(), weights.tolist(), strict=True):
            lowers[one].append((other, weight))
        left = self.left[places]
        now = left.tolist()
        queue = [(-now[place], place) for place in lowers]
        heapify(queue)
        while queue and -queue[0][0] > outside:
            value, place = heappop(queue)
            if now[place] != -value:  # lowered or picked meanwhile
                continue
            left[place], now[place] = -value, -np.inf
            for other, weight in lowers[place]:
                if now[other] > -np.inf and weight < 1:
                    if now[other] == -value:
                        return None
                    # The product of two float32 is exact in float64, and so rounded once, as everywhere.
                    lowered = float(np.float32(now[other] * weight))
                    now[other] = lowered if lowered >= self.rules.min_score else -np.inf
                    left[other] = now[other]
                    heappush(queue, (-now[other], other))
        return left

    def lower(self, picks: Integers) -> None:
        """Take out picks, best first, and lower what they overlap, in this order."""
        self.left[picks] = -np.inf
        since = np.searchsorted(self.reached, self.moved[picks, 0])
        until = np.searchsorted(self.moved[:, 0], self.moved[picks, 1], side="right")
        pick, place = _ranges(since, until)
        pick = picks[pick]
        near = (self.left[place] > -np.inf) & (self.starts[place] < self.ends[pick])
        near &= self.ends[place] > self.starts[pick]
        pick, place = pick[near], place[near]
        np.multiply.at(self.left, place, self.weights(pick, place))
        self.left[place[self.left[place] < self.rules.min_score]] = -np.inf

    def weights(self, winners: Integers, losers: Integers) -> Floats:
        starts, ends = self.starts, self.ends
        return weights_of(*overlaps(starts[winners], ends[winners], starts[losers], ends[losers]), self.rules)


def _ranges(since: Integers, until: Integers) -> tuple[Integers, Integers]:
    """All numbers from ``since`` up to ``until``, range by range, with the range's own number before each."""
    counts = np.maximum(until - since, 0)
    number = np.repeat(np.arange(len(counts)), counts)
    return number, np.arange(len(number)) + (since - (np.cumsum(counts) - counts))[number]
