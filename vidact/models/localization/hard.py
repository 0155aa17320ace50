"""Which candidates hard suppression keeps: each takes away what it overlaps by a threshold, best first.

While candidates crowd, the best few are compared with each other as one matrix, and those that stay take away what they
overlap of all others; once candidates do not crowd, all pairs near in time are looked up and decided at once. What
stays is what stays in the compiled loops the published localizers used; soft suppression is :mod:`rounds`' work.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vidact.models.localization.picks import Floats, Integers, decay, descending, lengths_of, merged
from vidact.models.localization.settings import Suppression

_AT_ONCE = 2048  # so few candidates cost little more than a part of them
_BLOCK = 64  # candidates compared with each other
_CROWDED = 0.5  # share of them that stay up to which those take away most of the others
_PAIRS = 1 << 16  # looked up at once, at most
_ROUNDING = 0.999  # times the threshold: below it by more than rounding could carry an IoU


def best_kept(segments: Floats, scores: Floats, lines: Integers, rules: Suppression) -> tuple[Integers, Floats]:
    """The best ``rules.max_segments`` that stay: their rows and scores, best first. ``lines`` (N,) are the groups'
    numbers, from 0; candidates of different groups let each other be.

    Only better ones decide about a candidate, so the best few are tried first.
    """
    order, tied = _ranked(scores, lines, rules)
    share = len(order) if tied else max(4 * rules.max_segments, _AT_ONCE)
    while True:
        best = order[:share]
        most = len(best) if tied else rules.max_segments
        rows = best[_kept(segments.take(best, axis=0), lines.take(best), rules, most)]
        if len(rows) >= most or share >= len(order):
            break
        share *= 4
    if tied:
        found = merged(rows, scores[rows], lines[rows], rules.max_segments)
        return found.rows, found.scores
    rows = rows[: rules.max_segments]
    return rows, scores[rows]


def _ranked(scores: Floats, lines: Integers, rules: Suppression) -> tuple[Integers, bool]:
    """The rows whose scores count, best first, equal ones of a group as :func:`descending` has them; and whether any
    are equal."""
    order = np.argsort(-scores)
    if rules.min_score > 0:
        order = order[: np.count_nonzero(scores > rules.min_score)]
    falling = scores.take(order)
    same = falling[1:] == falling[:-1]
    tied = bool(same.any())
    for line in np.unique(lines[order[1:][same]]) if tied else ():
        places = np.flatnonzero(lines[order] == line)
        group = np.sort(order[places])
        order[places] = group[descending(scores[group])]
    return order, tied


def _kept(segments: Floats, lines: Integers, rules: Suppression, most: int) -> Integers:
    """The places of those that stay among candidates sorted best first, in order: all, or ``most`` and some more."""
    starts, ends = segments.T
    times = np.stack([starts, ends, lengths_of(starts, ends)])
    left, kept, total = np.arange(len(lines)), [np.empty(0, np.int64)], 0
    while len(left) and total < most:
        block, left = left[:_BLOCK], left[_BLOCK:]
        stay = block[_first_of(_takes(times, lines, block, block, rules))]
        kept.append(stay)
        total += len(stay)
        for first in range(0, len(left), _AT_ONCE):
            part = left[first : first + _AT_ONCE]
            part[_takes(times, lines, stay, part, rules).any(axis=0)] = -1
        left = left[left >= 0]
        if len(stay) > _CROWDED * len(block) and rules.iou > 0:  # what does not touch is taken away by one of 0
            near = _near_in_time(times.take(left, axis=1), lines.take(left), rules)
            if near is not None:
                kept.append(left[_decided(*near, len(left))])
                break
    return np.concatenate(kept)


def _takes(times: Floats, lines: Integers, these: Integers, those: Integers, rules: Suppression) -> Any:
    """Whether each of ``these`` takes away each of ``those``, (these, those), were it better."""
    out, spare = np.empty((2, len(these), len(those)), np.float32)
    decay(times.take(these, axis=1)[..., None], times.take(those, axis=1)[:, None], rules, out, spare)
    takes = out == 0
    if lines.any():
        takes &= lines[these][:, None] == lines[those]
    return takes


def _first_of(takes: Any) -> list[int]:
    """Which of a few, best first, stay, given which take away which (few, few): as bits of one number."""
    packed = np.packbits(takes, axis=1, bitorder="little")
    bits, width = packed.tobytes(), packed.shape[1]
    left, stay = (1 << len(takes)) - 1, []
    while left:
        first = (left & -left).bit_length() - 1
        stay.append(first)
        left &= ~(int.from_bytes(bits[first * width : (first + 1) * width], "little") | 1 << first)
    return stay


def _near_in_time(times: Floats, lines: Integers, rules: Suppression) -> tuple[Integers, Integers] | None:
    """All pairs of one group (better, worse; places) that overlap enough, or None where too many are near in time.

    Of two that overlap by a share t, the later starts within 1 - t of the length of the earlier.
    """
    starts, lengths = times[0].astype(np.float64), times[2].astype(np.float64)
    ends = starts + (1 - _ROUNDING * rules.iou) * lengths
    moved = lines * (2 * (ends.max(initial=0) - starts.min(initial=0)) + 1)  # groups one after the other
    order = np.argsort(starts + moved)
    starts, ends = (starts + moved)[order], (ends + moved)[order]
    since = np.arange(1, len(order) + 1)
    counts = np.maximum(np.searchsorted(starts, ends, side="right") - since, 0)
    total = int(counts.sum())
    if total > _PAIRS:
        return None
    first = np.repeat(np.arange(len(order)), counts)
    second = np.arange(total) + (since - (np.cumsum(counts) - counts))[first]
    sorted_times = times.take(order, axis=1)
    out, spare = np.empty((2, total), np.float32)
    decay(sorted_times.take(first, axis=1), sorted_times.take(second, axis=1), rules, out, spare)
    near = np.flatnonzero(out == 0)
    one, other = order[first[near]], order[second[near]]
    return np.minimum(one, other), np.maximum(one, other)


def _decided(better: Integers, worse: Integers, count: int) -> Any:
    """Which of ``count`` stay (mask), given the pairs of which the worse goes if the better stays.

    Whoever nothing better threatens stays and takes away its own; then again among the rest.
    """
    there = np.ones(count, bool)
    while len(better):
        threatened = np.zeros(count, bool)
        threatened[worse] = True
        there[worse[~threatened[better]]] = False
        alive = there[better] & there[worse]
        better, worse = better[alive], worse[alive]
    return there
