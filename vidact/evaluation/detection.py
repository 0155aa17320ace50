"""How good segments are: mean average precision over overlaps, recall of the best few, recall by number of proposals.

Each published benchmark counts a little differently; ``Rules`` say how. Works on arrays; knows no files, no
video.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from vidact.errors import UsageError

Floats = np.ndarray[Any, np.dtype[np.float64]]
Array = np.ndarray[Any, Any]

_PROPOSAL_TIOUS = tuple(np.linspace(0.5, 0.95, 10))
_POINTS = 100
"""Overlaps and numbers of proposals by which ActivityNet measures recall."""


class Events(NamedTuple):
    """Segments of many videos as arrays of one length: ``video``, ``start``, ``end`` (seconds), ``label``; for
    predictions also ``score``. Labels are names or numbers, of one kind in truth and prediction."""

    video: Array
    start: Floats
    end: Floats
    label: Array
    score: Floats | None = None

    def take(self, rows: Any) -> Events:
        """The rows an index array or a mask picks."""
        score = None if self.score is None else self.score[rows]
        return Events(self.video[rows], self.start[rows], self.end[rows], self.label[rows], score)


@dataclass(frozen=True, slots=True)
class Rules:
    """How a benchmark counts.

    Events that lie within ``duplicate`` seconds of an earlier one of the same label are dropped (None: kept), and those
    shorter than ``shortest`` (or, with 0, of no length at all; None: kept); with ``short_count`` these still make later
    ones duplicates. ``unknown``: what a predicted label that no event has means: ``refuse`` it, ``ignore`` it, or let a
    number ``collide`` with the class at that place among the sorted known ones. ``match``: ``predictions`` take their
    best free event, best score first, from an overlap of the threshold on; or ``events`` take their best free
    prediction, above the threshold only. ``ambiguous`` names a label whose events excuse the unmatched predictions they
    touch. ``points`` > 0 averages precision at that many even recalls.
    """

    duplicate: float | None = None
    shortest: float | None = None
    short_count: bool = False
    unknown: Literal["refuse", "ignore", "collide"] = "ignore"
    match: Literal["predictions", "events"] = "predictions"
    ambiguous: str | None = None
    points: int = 0


@dataclass(frozen=True, slots=True)
class Detection:
    """``ap`` (thresholds, classes) for the ``classes`` in sorted order, from ``events`` events at overlaps
    ``tious``."""

    tious: tuple[float, ...]
    classes: tuple[Any, ...]
    ap: Floats
    events: int

    @property
    def map(self) -> Floats:
        """Mean over classes for each threshold."""
        mean: Floats = self.ap.mean(axis=1)
        return mean

    @property
    def average(self) -> float:
        """Mean over thresholds too."""
        return float(self.map.mean())


def overlap(one: Floats, others: Floats) -> Floats:
    """IoU (P, G) of segments (P, 2) with segments (G, 2); 0 / 0 is NaN."""
    first, last = np.maximum(one[:, None, 0], others[None, :, 0]), np.minimum(one[:, None, 1], others[None, :, 1])
    shared = np.clip(last - first, 0, None)
    union = (others[:, 1] - others[:, 0])[None, :] + (one[:, 1] - one[:, 0])[:, None] - shared
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Floats = shared / union
    return found


def cleaned(truth: Events, rules: Rules) -> Events:
    """The events these rules count, in their order."""
    if rules.duplicate is None and rules.shortest is None:
        return truth
    kept: list[int] = []
    earlier: dict[tuple[Any, Any], list[int]] = {}
    for row in range(len(truth.start)):
        length = truth.end[row] - truth.start[row]
        short = rules.shortest is not None and (length <= 0 or length < rules.shortest)
        if short and not rules.short_count:
            continue
        same = earlier.setdefault((truth.video[row], truth.label[row]), [])
        if rules.duplicate is not None and any(
            abs(truth.start[row] - truth.start[one]) <= rules.duplicate
            and abs(truth.end[row] - truth.end[one]) <= rules.duplicate
            for one in same
        ):
            continue
        same.append(row)
        if not short:
            kept.append(row)
    return truth.take(np.array(kept, dtype=np.int64))


def average_precision(
    truth: Events, found: Events, tious: Sequence[float], rules: Rules, *, classes: Sequence[Any] | None = None
) -> Detection:
    """Average precision of every class at every overlap.

    ``classes`` fixes which are averaged (default: all that have events). Raises UsageError for labels without events
    where the rules refuse them.
    """
    events, names, pairs = by_class(truth, found, rules, classes)
    ap = np.zeros((len(tious), len(names)))
    excuses = None if rules.ambiguous is None else truth.take(truth.label == rules.ambiguous)
    for column, (own, predicted) in enumerate(pairs):
        if not len(predicted.start) or not len(own.start):
            continue
        predicted = predicted.take(best_first(predicted, rules))
        hits = matches(own, predicted, np.asarray(tious, dtype=np.float64), rules)
        excused = np.zeros(len(predicted.start), dtype=bool) if excuses is None else touched(predicted, excuses)
        for row, hit in enumerate(hits):
            ranks = ranked(predicted, hit, rules)
            counted = hit[ranks][(hit | ~excused)[ranks]]
            ap[row, column] = precision(counted, len(own.start), rules.points)
    return Detection(tuple(float(one) for one in tious), names, ap, len(events.start))


def recall_of_best(
    truth: Events, found: Events, tious: Sequence[float], rules: Rules, times: Sequence[int] = (1, 5)
) -> Floats:
    """Recall (thresholds, times) of the best k × n predictions in each video with n events of a class, mean over
    classes."""
    _, names, pairs = by_class(truth, found, rules, None)
    recall = np.zeros((len(tious), len(times), len(names)))
    for column, (own, predicted) in enumerate(pairs):
        if not len(predicted.start):
            continue
        predicted = predicted.take(best_first(predicted, rules))
        for _, events, picks in _by_video(own, predicted):
            count = len(events)
            iou = overlap(_times(predicted, picks), _times(own, events))
            for place, several in enumerate(times):
                for row, tiou in enumerate(tious):
                    recall[row, place, column] += (iou[: several * count] >= tiou).any(axis=0).sum()
        recall[:, :, column] /= len(own.start)
    mean: Floats = recall.mean(axis=2)
    return mean


@dataclass(frozen=True, slots=True)
class ProposalRecall:
    """``recall`` (thresholds, points) at ``proposals`` (points,) proposals a video; ``average`` over the thresholds."""

    recall: Floats
    proposals: Floats

    @property
    def average(self) -> Floats:
        mean: Floats = self.recall.mean(axis=0)
        return mean

    @property
    def auc(self) -> float:
        """Area under average recall by number of proposals, in percent of the whole."""
        average, at = self.average, self.proposals
        area = float(((average[1:] + average[:-1]) / 2 * np.diff(at)).sum())
        return 100 * area / float(at[-1])


def proposal_recall(truth: Events, found: Events, *, most: float | None = 100) -> ProposalRecall:
    """Recall of class-agnostic proposals by their average number a video, at 100 numbers up to ``most``.

    ``most`` None takes all there are. Every video keeps the same share of its own proposals, best first.
    """
    videos = np.unique(truth.video)
    if not len(found.start) or not len(videos):
        raise UsageError("there are no proposals or no events to compare", hint="check the files' videos")
    most = len(found.start) / len(videos) if most is None else most
    share = most * len(videos) / len(found.start)
    ious: list[Floats] = []
    retrieved = 0
    ordered = found.take(best_first(found, Rules()))
    for video in videos:
        own, picks = _times(truth, truth.video == video), _times(ordered, ordered.video == video)
        kept = min(int(len(picks) * share), len(picks))
        retrieved += kept
        ious.append(overlap(own, picks[:kept]) if len(picks) else np.zeros((len(own), 1)))
    portions = np.arange(1, _POINTS + 1) / _POINTS * (most * len(videos) / max(retrieved, 1))
    events = sum(len(iou) for iou in ious)
    recall = np.zeros((len(_PROPOSAL_TIOUS), _POINTS))
    for iou in ious:
        counts = np.minimum((iou.shape[1] * portions).astype(np.int64), iou.shape[1])
        for row, tiou in enumerate(_PROPOSAL_TIOUS):
            good = iou >= tiou
            # The first proposal that finds an event decides from how many on the event is found.
            first = np.where(good.any(axis=1), good.argmax(axis=1) if iou.shape[1] else 0, iou.shape[1] + 1)
            recall[row] += (first[:, None] < counts[None, :]).sum(axis=0)
    return ProposalRecall(recall / events, portions * (max(retrieved, 1) / len(videos)))


def by_class(
    truth: Events, found: Events, rules: Rules, classes: Sequence[Any] | None
) -> tuple[Events, tuple[Any, ...], list[tuple[Events, Events]]]:
    """The events that count, the classes, and each class's events and predictions."""
    events = cleaned(truth, rules)
    if rules.ambiguous is not None:
        events = events.take(events.label != rules.ambiguous)
    names = tuple(np.unique(events.label).tolist()) if classes is None else tuple(classes)
    strangers = [label for label in np.unique(found.label).tolist() if label not in names]
    if strangers and rules.unknown == "refuse":
        raise UsageError(
            f"{len(strangers)} predicted labels are not in the truth (first: {strangers[0]!r})",
            hint="give the predictions the truth's labels, or judge them by other rules",
        )
    pairs = []
    for place, name in enumerate(names):
        mine = found.label == name
        if rules.unknown == "collide" and np.issubdtype(found.label.dtype, np.integer):
            mine |= (found.label == place) & np.isin(found.label, strangers)
        pairs.append((events.take(events.label == name), found.take(mine)))
    return events, names, pairs


def best_first(found: Events, rules: Rules) -> Array:
    """Best score first; among equal scores the later prediction, as a stable sort read backwards gives, or where events
    choose the earlier."""
    if found.score is None:
        raise UsageError("predictions need scores", hint="give every predicted segment a score")
    if rules.match == "events":
        return np.argsort(-found.score, kind="stable")
    order: Array = np.argsort(found.score, kind="stable")[::-1]
    return order


def ranked(found: Events, right: np.ndarray[Any, np.dtype[np.bool_]], rules: Rules) -> Array:
    """In which order predictions, best first, count once it is known which are right: where events choose, the right
    ones of equal scores come first, because that code collects them apart."""
    if rules.match == "events":
        assert found.score is not None
        return np.lexsort((~right, -found.score))
    return np.arange(len(right))


def _times(events: Events, rows: Any = slice(None)) -> Floats:
    return np.stack([events.start[rows], events.end[rows]], axis=1)


def _by_video(own: Events, predicted: Events) -> Iterator[tuple[Any, Array, Array]]:
    """(video, its events' rows, its predictions' rows) for every video that has both, rows in their order."""
    events, picks = rows_by_video(own), rows_by_video(predicted)
    for video in sorted(events.keys() & picks.keys()):
        yield video, events[video], picks[video]


def rows_by_video(events: Events) -> dict[Any, Array]:
    """Video → its rows, in their order."""
    order = np.argsort(events.video, kind="stable")
    videos, first = np.unique(events.video[order], return_index=True)
    return dict(zip(videos.tolist(), np.split(order, first[1:]), strict=True)) if len(order) else {}


def matches(own: Events, predicted: Events, tious: Floats, rules: Rules) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which predictions (best first) are right, (thresholds, predictions)."""
    right = np.zeros((len(tious), len(predicted.start)), dtype=bool)
    for _, events, picks in _by_video(own, predicted):
        iou = overlap(_times(predicted, picks), _times(own, events))
        for row, tiou in enumerate(tious):
            if rules.match == "predictions":
                right[row, picks] = _predictions_choose(iou, tiou)
            else:
                right[row, picks] = _events_choose(iou, tiou)
    return right


def _predictions_choose(iou: Floats, tiou: float) -> np.ndarray[Any, np.dtype[np.bool_]]:
    right = np.zeros(len(iou), dtype=bool)
    free = np.ones(iou.shape[1], dtype=bool)
    for row in np.flatnonzero(~(iou < tiou).all(axis=1)):
        for event in np.argsort(iou[row], kind="stable")[::-1]:
            if iou[row, event] < tiou:
                break
            if free[event]:
                free[event] = False
                right[row] = True
                break
    return right


def _events_choose(iou: Floats, tiou: float) -> np.ndarray[Any, np.dtype[np.bool_]]:
    right = np.zeros(len(iou), dtype=bool)
    for column in iou.T:
        left = np.where(right, -1.0, column)
        best = int(left.argmax())
        if left[best] > tiou:
            right[best] = True
    return right


def touched(predicted: Events, excuses: Events) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which predictions share any time with an excusing event of their video."""
    found = np.zeros(len(predicted.start), dtype=bool)
    for _, events, picks in _by_video(excuses, predicted):
        found[picks] = (overlap(_times(predicted, picks), _times(excuses, events)) > 0).any(axis=1)
    return found


def precision(right: np.ndarray[Any, np.dtype[np.bool_]], events: int, points: int) -> float:
    """Average precision of predictions, best first: area under the curve, or the mean at ``points`` recalls."""
    if not right.any():
        return 0.0
    hits = np.cumsum(right)
    recall, precision = hits / events, hits / np.arange(1, len(right) + 1)
    if points:
        wanted = np.arange(points) / (points - 1)  # 3 / 10 and not 3 × 0.1, which a recall of 0.3 would miss
        return float(np.mean([precision[recall >= one].max(initial=0.0) for one in wanted]))
    best = np.maximum.accumulate(precision[::-1])[::-1]
    return float((best * np.diff(recall, prepend=0.0)).sum())
