"""Which candidates of one group soft suppression keeps, one pick after the other: each lowers all that are left, until
these are so few that all pairs are compared at once and a pick is one row of that matrix. Where equal scores meet, the
loop the published localizers compiled is followed to the letter: which it picks depends on where it moved them.

It knows neither labels nor what else suppression does, and groups only as runs of candidates that do not touch.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from vidact.models.localization.picks import Floats, Found, Integers, best_of, decay, lengths_of
from vidact.models.localization.settings import Suppression

FEW = 400  # candidates whose pairs stay in the processor's cache
_PICK = 2000  # pairs compared in the time a pick takes that lowers all others by itself
_LOOK = 8  # picks between two looks at what is left


def pick_apart(segments: Floats, scores: Floats, lines: Integers, rules: Suppression) -> Found:
    """The best ``rules.max_segments`` picks of all groups, one group after the other; ``lines`` (N,) are the groups'
    numbers."""
    counts = np.bincount(lines).tolist()
    if counts[-1] == len(lines):
        return best_of(*pick_alone(segments, scores, rules), rules.max_segments)
    order = np.argsort(lines.astype(np.min_scalar_type(len(counts))), kind="stable")
    groups = [group for group in np.split(order, np.cumsum(counts)[:-1]) if len(group)]
    for prune in (True, False):  # once more with all picks where those that were left out could matter
        rows: list[Integers] = []
        values: list[Floats] = []
        floor, made = -np.inf, 0
        for group in groups:
            if prune and made >= rules.max_segments:
                floor = np.partition(np.concatenate(values), made - rules.max_segments)[made - rules.max_segments]
            picks, lowered = pick_alone(segments[group], scores[group], rules, floor)
            rows.append(group[picks])
            values.append(lowered)
            made += len(picks)
        found = best_of(np.concatenate(rows), np.concatenate(values), rules.max_segments)
        if found.certain or floor == -np.inf:
            break
    return found


def pick_alone(segments: Floats, scores: Floats, rules: Suppression, floor: float = -np.inf) -> tuple[Integers, Floats]:
    """The picks of one group, (N, 2) and (N,) with N > 0: their rows and lowered scores, best first;
    ``rules.max_segments`` at most, and none below ``floor`` but the first."""
    times = np.empty((3, len(scores)), np.float32)
    times[0], times[1] = segments.T
    times[2] = lengths_of(times[0], times[1])
    found = None
    if rules.min_score > 0 and scores.min() >= 0:
        found = _quickly(times, scores, rules, np.float32(max(floor, rules.min_score)))
    return found or _literally(times, scores, rules, floor)


def _quickly(times: Floats, scores: Floats, rules: Suppression, least: Any) -> tuple[Integers, Floats] | None:
    """Picks that score at least ``least``, and the first; None where equal scores meet."""
    left, names = scores, np.arange(len(scores))
    rows, values = [names[:0]], [scores[:0]]
    made, most = 0, min(rules.max_segments, len(scores))
    picks_left = most
    while made < most and len(left):
        at_once = len(left) <= FEW and len(left) ** 2 < _PICK * picks_left
        count = min(most - made, len(left) if at_once else _LOOK)
        history = np.empty((count + 1, len(left)), np.float32)
        history[0] = left
        picks = np.array(_all_pairs(times, history, rules, least) if at_once else _each(times, history, rules))
        lowered = history[np.arange(len(picks)), picks]
        good = max(int(np.count_nonzero(lowered >= least)), not made)
        if np.count_nonzero(history[:good] == lowered[:good, None]) > good:
            return None
        rows.append(names[picks[:good]])
        values.append(lowered[:good])
        made += good
        if good < count:
            break
        there = np.flatnonzero(history[count] >= least)
        picks_left = min(most - made, len(there) * count // max(len(left) - len(there), 1))
        left, names, times = history[count].take(there), names.take(there), times.take(there, axis=1)
    return np.concatenate(rows), np.concatenate(values)


def _all_pairs(times: Floats, history: Floats, rules: Suppression, least: Any) -> list[Any]:
    """Fill ``history``, the scores before and after each pick, until nothing as good as ``least`` is left; the picks,
    a few too many."""
    side = history.shape[1]
    weights, spare = np.empty((2, side, side), np.float32)
    decay(times[:, :, None], times[:, None], rules, weights, spare)
    weights.reshape(-1)[:: side + 1] = 0
    return pick_rows(weights, history, np.nextafter(least, np.float32(-1)))


def pick_rows(weights: Floats, history: Floats, bar: Any) -> list[Any]:
    """Picks by their rows of ``weights`` (N, N), what they leave of each other, until nothing better than ``bar`` is
    left; a few too many. Fills ``history`` (picks + 1, N), the scores before and after each, from the first row on."""
    multiply, picks, now = np.multiply, [], history[0]
    for first in range(1, len(history), _LOOK):
        for after in history[first : first + _LOOK]:
            best = now.argmax()
            picks.append(best)
            multiply(now, weights[best], after)
            now = after
        if now.max() <= bar:
            break
    return picks


def _each(times: Floats, history: Floats, rules: Suppression) -> list[Any]:
    """The same for many candidates, a pick after the other."""
    space = np.empty((5, history.shape[1]), np.float32)
    winner, weights, spare = space[:3], space[3], space[4]
    picks = []
    for now, after in pairwise(history):
        best = now.argmax()
        picks.append(best)
        np.copyto(winner, times[:, best, None])  # numpy compares two arrays faster than an array with one number
        decay(winner, times, rules, weights, spare)
        weights[best] = 0
        np.multiply(now, weights, after)
    return picks


def _literally(times: Floats, scores: Floats, rules: Suppression, floor: float) -> tuple[Integers, Floats]:
    """The compiled loop itself, exact for any rules and scores: it picks the foremost of the best, puts the front
    candidate in its place, and fills the place of one that falls below the least score with the last."""
    left, at, count = scores.copy(), np.arange(len(scores)), len(scores)
    pairs = np.empty((2, count, count), np.float32) if count <= FEW else None
    if pairs is not None:
        decay(times[:, :, None], times[:, None], rules, *pairs)
    rows: list[Any] = []
    values: list[Any] = []
    least = np.array(rules.min_score, np.float32)
    for front in range(min(rules.max_segments, count)):
        if front == count:
            break
        best = left[front:count].argmax() + front
        pick, value = at[best], left[best]
        if front and value < floor:
            break
        rows.append(pick)
        values.append(value)
        at[best], left[best] = at[front], left[front]
        others, rest = at[front + 1 : count], left[front + 1 : count]
        if pairs is None:
            weights, spare = np.empty((2, len(rest)), np.float32)
            decay(times[:, pick, None], times.take(others, axis=1), rules, weights, spare)
        else:
            weights = pairs[0, pick].take(others)
        np.multiply(rest, weights, rest)
        low = rest < least
        if np.count_nonzero(low):
            for hole in (low.nonzero()[0] + (front + 1)).tolist():
                while hole < count and left[hole] < least:
                    count -= 1
                    at[hole], left[hole] = at[count], left[count]
    return np.array(rows), np.array(values, np.float32)
