"""Which candidates soft suppression keeps, many picks a round: the best few of each group are compared with each other
as one matrix and picked in turn while nothing outside can be better; only then do all others learn of it. Where
candidates overlap so much that few are picked a round, single steps take over for a while.

The picks and scores are those of :mod:`picks`. Where groups are few and small, or one that crowds, :mod:`steps` is
quicker and works instead; where equal scores meet, whose order follows from where the published loops moved candidates,
these two take over: :mod:`steps` for few groups, :mod:`picks` for many.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from vidact.models.localization.picks import Floats, Found, Integers, decay, lengths_of, merged, stepwise
from vidact.models.localization.settings import Suppression
from vidact.models.localization.steps import FEW, pick_apart, pick_rows

Bools = np.ndarray[Any, np.dtype[np.bool_]]

_APART = 5  # so few small groups are quicker one after the other
_ALONE = 2  # and so few picked from
_AT_ONCE = 2048  # so few candidates cost little more than a part of them
_PAIRS = 1 << 16, 1 << 18  # compared before the picks of a round: at first, and at most
_CHUNK = 1 << 17  # pairs whose numbers stay in the processor's cache
_AHEAD = 144  # candidates of a group compared with each other, at most
_STEPS = 1, 12  # single steps at a time: at first, to see the crowd, and then
_CROWDED = 0.75  # share of candidates a pick lowers from which on single steps are quicker than rounds
_WORTH = 4  # and picks of a group in a round
_SPARSE = 16  # so many pairs in full cost as much as one that is looked up


def best_picks(segments: Floats, scores: Floats, lines: Integers, rules: Suppression) -> tuple[Integers, Floats]:
    """The best ``rules.max_segments`` picks of all groups: their rows and lowered scores, best first. ``lines`` (N,)
    are the groups' numbers.

    Scores only fall, so a candidate that starts below the last pick kept changes nothing: it is tried with the best few
    first.
    """
    counts = np.bincount(lines)
    groups = np.count_nonzero(counts)
    few = groups <= _APART
    found: Found | None = None
    if few and (counts.max() <= FEW or (groups == 1 and _crowded(segments, scores))):
        found = pick_apart(segments, scores, lines, rules)
        return found.rows, found.scores
    share = max(4 * rules.max_segments, _AT_ONCE)
    while 2 * share <= len(scores):
        floor = np.partition(scores, len(scores) - share)[len(scores) - share]
        part = np.flatnonzero(scores > floor)
        if len(part) > rules.max_segments:
            found = in_rounds(segments[part], scores[part], lines[part], rules, floor)
            if found is None:
                break
            if found.certain:
                return part[found.rows], found.scores
        share *= 4
    else:
        found = in_rounds(segments, scores, lines, rules)
    found = found or (pick_apart if few else stepwise)(segments, scores, lines, rules)
    return found.rows, found.scores


def _crowded(segments: Floats, scores: Floats) -> bool:
    """Whether the best of a group overlaps most of it."""
    (starts, ends), best = segments.T, scores.argmax()
    return bool(np.count_nonzero((starts < ends[best]) & (ends > starts[best])) > _CROWDED * len(starts))


def in_rounds(
    segments: Floats, scores: Floats, lines: Integers, rules: Suppression, floor: float = -np.inf
) -> Found | None:
    """The best picks among some candidates, or None where they depend on more than scores; ``floor`` is the best score
    of those left out."""
    table = _Lines(segments, scores, lines, rules)
    if rules.min_score <= 0 or (table.least < 0).any():
        return None
    made = [_Round(np.empty(0, np.int64), np.empty(0, np.float32), np.empty(0, np.int64))]
    total, look = 0, rules.max_segments
    table.shrink()
    while len(table.left):
        picks = table.picks()
        if picks.tied:
            return None
        made.append(picks)
        table.shrink()
        total += len(picks.rows)
        if total >= look and len(table.left):
            look = total + max(total // 8, 1)
            found = _merged(made, rules, max(table.left.max(), floor))
            if found.certain:
                return found
    return _merged(made, rules, floor)


class _Round(NamedTuple):
    """Picks: the candidates' rows, their scores, their groups' numbers, a group's own in their order; and whether equal
    scores met."""

    rows: Integers
    scores: Floats
    groups: Integers
    tied: bool = False


def _merged(made: list[_Round], rules: Suppression, above: float) -> Found:
    rows, scores, groups = (np.concatenate(parts) for parts in list(zip(*made, strict=True))[:3])
    return merged(rows, scores, groups, rules.max_segments, above)


class _Lines:
    """Candidates as one line a group: ``times`` (starts, ends and lengths; 3, groups, longest), ``left`` (scores so
    far, 0 where none is) and ``rows``, (groups, longest). Scores above ``least`` (groups,) count.

    What steers the way to the next picks: ``single``, take single steps (else a round); ``pairs``, how many pairs of
    all groups a round compares; ``ahead``, how many single steps are next; ``crowd``, the share of those of the last
    round that lower one another; ``sparse``, look up who is near a pick where that share is small, until once there
    were too many. ``in_time`` holds the candidates sorted by their starts for that, once asked for, until they move
    (``keep``). In ``space`` and, for what a round compares, ``boards`` is computed: new memory costs more than numbers.
    """

    def __init__(self, segments: Floats, scores: Floats, lines: Integers, rules: Suppression) -> None:
        self.rules = rules
        counts = np.bincount(lines)
        self.numbers = np.flatnonzero(counts)
        there = np.arange(counts.max()) < counts[self.numbers, None]
        rows = np.zeros(there.shape, np.int32)
        rows[there] = np.argsort(lines.astype(np.min_scalar_type(len(counts))), kind="stable")
        starts, ends = np.ascontiguousarray(segments.T).take(rows, axis=1)
        # One block, so that all moves in one piece; the numbers of rows lie in it as the bits they are.
        self.keep(np.stack([starts, ends, lengths_of(starts, ends), scores.take(rows), rows.view(np.float32)]))
        self.left[~there] = 0
        # The best of a group is picked whatever its score.
        least = np.minimum(np.float32(rules.min_score), self.left.max(axis=1))
        self.least = np.nextafter(least, np.float32(-1))
        self.space = np.empty((5, max(_CHUNK, (_AHEAD + 1) ** 2, self.left.size)), np.float32)
        self.boards = [np.empty(0, np.float32)] * 2
        self.pairs, self.ahead = _PAIRS[0], _STEPS[0]
        self.single = self.left.size * self.left.shape[1] > self.pairs
        self.crowd, self.sparse = 1.0, True

    def keep(self, block: Floats) -> None:
        self.block = np.ascontiguousarray(block)
        self.times, self.left, self.rows = self.block[:3], self.block[3], self.block[4].view(np.int32)
        self.in_time: tuple[Any, ...] = ()

    def shrink(self) -> None:
        """Forget groups that are done and, once they are an eighth of a line, candidates that are."""
        alive = self.left > self.least[:, None]
        counts = alive.sum(axis=1)
        most, going = int(counts.max()), counts > 0
        if 2 * np.count_nonzero(going) <= len(going):
            self.numbers, self.least = self.numbers[going], self.least[going]
            alive, counts = alive[going], counts[going]
            self.keep(self.block[:, going])
        groups, width = self.left.shape
        if 8 * most <= 7 * width:
            # Lines shorter than the longest end with copies of one that is gone.
            places = np.repeat(alive.argmin(axis=1) + np.arange(groups) * width, most).reshape(groups, most)
            places[np.arange(most) < counts[:, None]] = alive.reshape(-1).nonzero()[0]
            self.keep(self.block.reshape(5, -1).take(places, axis=1))

    def picks(self) -> _Round:
        """The next picks, one or more a group, in the way that was quicker lately."""
        if self.single:
            made, share = self.steps()
            self.single = share > _CROWDED
            return made
        made, count = self.round()
        groups = len(self.left)
        self.single = len(made.rows) < _WORTH * groups
        if 2 * len(made.rows) > count * groups:
            self.pairs = min(4 * self.pairs, _PAIRS[1])
        return made

    def round(self) -> tuple[_Round, int]:
        """Picks among each group's best, as many as are surely better than all others, and how many it looked at."""
        groups, width = self.left.shape
        count = min(_AHEAD, max(int((self.pairs / groups) ** 0.5), 1), width)
        line = (np.arange(groups) * width)[:, None]
        places, bar = np.arange(width) + line, self.least
        if count < width:
            places = np.argpartition(self.left, width - count - 1, axis=1) + line
            bar = np.maximum(self.left.take(places[:, -count - 1]), bar)
        others, places = places[:, :-count], places[:, -count:]
        left = self.left.take(places)
        history = self.board(1, (count + 1, groups, count + 1))
        contest = _contest(self.matrix(places), left, bar, history)
        picks = places[np.arange(groups)[:, None], contest.places]
        if count < width:
            self.lower(picks, contest.made, others)
        self.left.reshape(-1)[places] = contest.left
        return self.made(picks, contest.scores, contest.made, contest.tied), count

    def made(self, picks: Integers, scores: Floats, made: Bools, tied: bool) -> _Round:
        """Those of some picks, (groups, picks), that exist."""
        numbers = np.repeat(self.numbers, made.sum(axis=1))
        return _Round(self.rows.take(picks[made]), scores[made], numbers, tied)

    def matrix(self, places: Integers) -> Floats:
        """What candidates (groups, count) leave of each other, (groups, count + 1, count + 1): nothing of themselves,
        and all of one more that stands for those outside."""
        groups, count = places.shape
        side = count + 1
        times = np.zeros((3, groups, side), np.float32)
        times[:, :, :count] = self.times.reshape(3, -1).take(places, axis=1)
        times[2, :, count] = 1
        matrix = self.board(0, (groups, side, side))
        some = max(_CHUNK // side**2, 1)
        for first in range(0, groups, some):
            part, out = times[:, first : first + some], matrix[first : first + some]
            decay(part[..., None], part[:, :, None], self.rules, out, self.scratch(out.shape)[1])
        matrix[:, count] = matrix[:, :, count] = 1
        sample = matrix[:, ::4]
        self.crowd = 1 - np.count_nonzero(sample == 1) / sample.size
        matrix.reshape(groups, -1)[:, : -1 : side + 1] = 0
        return matrix

    def scratch(self, shape: tuple[int, ...]) -> Any:
        """Two arrays to compute in: new ones would cost more than what is computed."""
        return self.space[:2, : math.prod(shape)].reshape(2, *shape)

    def board(self, number: int, shape: tuple[int, ...]) -> Floats:
        """One of two larger ones."""
        size = math.prod(shape)
        if self.boards[number].size < size:
            self.boards[number] = np.empty(size, np.float32)
        return self.boards[number][:size].reshape(shape)

    def lower(self, picks: Integers, made: Bools, places: Integers) -> None:
        """Lower others, (groups, others), by some picks, (groups, picks), in their order, on which the products of
        float32 depend."""
        groups, count = picks.shape
        width = places.shape[1]
        if self.sparse and self.crowd < 1 / _SPARSE:
            self.sparse = self.lower_near(picks[made], picks.size * width // _SPARSE)
            if self.sparse:
                return
        times, left = self.times.reshape(3, -1), self.left.take(places)
        winners, others = times.take(picks, axis=1)[..., None], times.take(places, axis=1)[:, :, None]
        some = max(_CHUNK // (count * width), 1)
        few = max(_CHUNK // (some * width), 1)
        for first in range(0, groups, some):
            part = slice(first, first + some)
            for since in range(0, count, few):
                now = slice(since, since + few)
                weights, spare = self.scratch((len(left[part]), len(range(count)[now]), width))
                decay(winners[:, part, now], others[:, part], self.rules, weights, spare)
                if not made[part, now].all():
                    weights[~made[part, now]] = 1
                weights[:, 0] *= left[part]
                np.multiply.reduce(weights, axis=1, out=left[part])
        self.left.reshape(-1)[places] = left

    def lower_near(self, picks: Integers, most: int) -> bool:
        """The same for picks (N,), pair by pair in time, if these are fewer than ``most``.

        Pairs that do not overlap are left out, so zero needs an IoU threshold above 0. With one of 0 all lower all, a
        crowd in which :meth:`lower` does not come here.
        """
        if not self.in_time:
            starts, ends = self.times[:2].astype(np.float64)
            span = 2 * (ends.max() - starts.min()) + 1
            moved = (np.arange(len(starts)) * span)[:, None]
            starts, ends = (starts + moved).reshape(-1), (ends + moved).reshape(-1)
            order = np.argsort(starts)
            self.in_time = starts, ends, order, starts[order], np.maximum.accumulate(ends[order])
        starts, ends, order, sorted_starts, reached = self.in_time
        since = np.searchsorted(reached, starts[picks])
        counts = np.maximum(np.searchsorted(sorted_starts, ends[picks], side="right") - since, 0)
        total = int(counts.sum())
        if total >= most:
            return False
        number = np.repeat(np.arange(len(picks)), counts)
        place = order[np.arange(total) + (since - (np.cumsum(counts) - counts))[number]]
        near = np.flatnonzero(ends[place] > starts[picks][number])
        number, place = number[near], place[near]
        times = self.times.reshape(3, -1)
        weights, spare = np.empty((2, len(place)), np.float32)
        decay(times[:, picks[number]], times[:, place], self.rules, weights, spare)
        np.multiply.at(self.left.reshape(-1), place, weights)
        return True

    def steps(self) -> tuple[_Round, float]:
        """A few picks of each group, one after the other, and the share of candidates the last of them lowers."""
        groups, width = self.left.shape
        count, self.ahead = self.ahead, _STEPS[1]
        line, times = np.arange(groups) * width, self.times.reshape(3, -1)
        picked = np.empty((count, groups), np.int64)
        history = self.board(1, (count + 1, groups, width))
        history[0], now = self.left, history[0]
        weights, spare = self.scratch((groups, width))
        winner, flat = self.space[2:, : self.left.size].reshape(3, groups, width), weights.reshape(-1)
        for best, after in zip(picked, history[1:], strict=True):
            now.argmax(1, best)
            best += line
            np.copyto(winner, times.take(best, axis=1)[..., None])
            decay(winner, self.times, self.rules, weights, spare)
            flat[best] = 0
            now = np.multiply(now, weights, after)
        self.left[:] = now
        values = history[:-1].reshape(count, -1)[np.arange(count)[:, None], picked]
        made = (values > self.least).T
        floor = np.nextafter(self.least, np.float32(np.inf))
        same = np.count_nonzero(history[:-1] == np.maximum(values, floor)[..., None])
        picks = self.made(picked.T, values.T, made, bool(same > np.count_nonzero(made)))
        return picks, np.count_nonzero(weights < 1) / weights.size


class _Contest(NamedTuple):
    """Picks of a round, best first: their places among those compared and their scores, (groups, picks), and which of
    them exist; what is ``left`` of all compared; whether equal scores met."""

    places: Integers
    scores: Floats
    made: Bools
    left: Floats
    tied: bool


def _contest(matrix: Floats, left: Floats, bar: Floats, history: Floats) -> _Contest:
    """One pick of each group after the other, while one is above ``bar`` (groups,), which the last of the compared
    stands for: that one is picked again and again once nothing is better."""
    groups, count = left.shape
    history[0, :, :-1], history[0, :, -1] = left, bar
    if groups <= _ALONE:
        return _contests(matrix, bar, history)
    picked, weights, now = np.empty((count, groups), np.int64), np.empty_like(history[0]), history[0]
    rows, line = matrix.reshape(-1, count + 1), np.arange(groups) * (count + 1)
    place = np.empty_like(line)
    for step, (best, after) in enumerate(zip(picked, history[1:], strict=True)):
        now.argmax(1, best)
        rows.take(np.add(best, line, place), 0, weights, "clip")
        now = np.multiply(now, weights, after)
        if step % 8 == 7 and 2 * np.count_nonzero(best == count) >= groups:
            break
    made = picked[: step + 1] < count
    steps = int(np.count_nonzero(made.any(axis=1)))
    made, picked = made[:steps], picked[:steps]
    scores = history[np.arange(steps)[:, None], np.arange(groups), picked]
    tied = bool(np.count_nonzero(history[:steps] == scores[..., None]) > scores.size)
    return _Contest((picked * made).T, scores.T, made.T, history[steps, :, :-1], tied)


def _contests(matrix: Floats, bar: Floats, history: Floats) -> _Contest:
    """The same for a few groups, one after the other, each without the calls that several need."""
    groups, count = len(bar), history.shape[2] - 1
    places, scores = np.zeros((groups, count), np.int64), np.zeros((groups, count), np.float32)
    left, most, tied = np.empty((groups, count), np.float32), 0, False
    for group in range(groups):
        own = history[:, group]
        picks = np.array(pick_rows(matrix[group], own, bar[group]))
        values = own[np.arange(len(picks)), picks]
        made = int(np.count_nonzero(values > bar[group]))
        tied |= bool(np.count_nonzero(own[:made] == values[:made, None]) > made)
        places[group, :made], scores[group, :made], left[group] = picks[:made], values[:made], own[made, :-1]
        most = max(most, made)
    return _Contest(places[:, :most], scores[:, :most], scores[:, :most] > 0, left, tied)
