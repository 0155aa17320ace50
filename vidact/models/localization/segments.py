"""From overlapping candidate segments to the ones worth reporting: suppression, voting, fusion with video-level scores.

Plain numpy and torch's sort, float32, and equal to what the published localizers compiled. Times may be in any unit;
nothing here knows networks, videos or labels' names, nor how the candidates to keep are found.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch

from vidact.errors import VideoError
from vidact.models.localization.hard import best_kept
from vidact.models.localization.picks import Floats, Integers, descending
from vidact.models.localization.rounds import best_picks
from vidact.models.localization.settings import Fusion, Suppression

_VOTERS = 32  # kept segments that vote together


class Detections(NamedTuple):
    """Segments, best first unless said otherwise: ``segments`` (N, 2) float32, ``scores`` (N,) float32, ``labels``
    (N,) int64."""

    segments: Floats
    scores: Floats
    labels: Integers

    def take(self, index: Any) -> Detections:
        """The rows an index array, a mask or a slice picks."""
        return Detections(self.segments[index], self.scores[index], self.labels[index])


def finite(values: torch.Tensor) -> torch.Tensor:
    """The scores or times a network gave, if they are all finite; else VideoError ``NonFiniteScores``."""
    if not values.isfinite().all():
        raise VideoError(
            "NonFiniteScores",
            "the localizer gave scores or times that are not finite: its features are far from those it was trained "
            "on, or its weights are damaged",
            stage="model",
        )
    return values


def suppress(candidates: Detections, rules: Suppression) -> Detections:
    """The candidates that survive, best first, with lowered scores and, after voting, moved boundaries.

    Each segment must be finite and end at or after its start.
    A kept segment without length cannot vote (it overlaps nothing, not even itself) and is left out when voting is on.
    """
    if len(candidates.scores) == 0:
        return candidates
    if rules.method == "proposals":
        return proposals(candidates, rules)
    segments = np.ascontiguousarray(candidates.segments, dtype=np.float32)
    if rules.unit != 1:
        segments = segments / np.float32(rules.unit)
    scores = np.ascontiguousarray(candidates.scores, dtype=np.float32)
    if rules.method == "none":
        return candidates.take(descending(scores)[: rules.max_segments])
    lines = np.zeros(len(scores), dtype=np.int64)
    if rules.by_class:
        lines = candidates.labels - candidates.labels.min()
        if lines.max() >= 2 * len(lines):
            lines = np.unique(lines, return_inverse=True)[1]
    best = best_kept if rules.method == "hard" else best_picks
    rows, lowered = best(segments, scores, lines, rules)
    result = Detections(np.asarray(candidates.segments, dtype=np.float32)[rows], lowered, candidates.labels[rows])
    if rules.by_class or rules.voting <= 0:
        return result
    moved = vote(segments[rows], segments, scores, rules.voting, by_iou=rules.voting_by_iou) * np.float32(rules.unit)
    return result._replace(segments=moved).take(~np.isnan(moved).any(axis=1))


def vote(kept: Floats, segments: Floats, scores: Floats, iou: float, *, by_iou: bool = False) -> Floats:
    """Kept segments (K, 2) moved to the weighted mean of the candidates they overlap by ``iou`` or more: (K, 2).

    Weights are the scores, times the IoU with ``by_iou``. A segment that overlaps nothing, itself included (no length),
    becomes NaN.
    """
    moved = np.empty((len(kept), 2), dtype=np.float32)
    since, until, in_time = np.zeros(len(kept), np.int64), np.full(len(kept), len(scores)), np.arange(len(kept))
    if len(kept) > _VOTERS:
        order = np.argsort(segments[:, 0])
        segments, scores = segments[order], scores[order]
        # Starts of segments that overlap by so much are no further apart than this, with a little room for rounding.
        reach = np.maximum(1 / iou - 1, 0) * (kept[:, 1] - kept[:, 0]) * 1.001 + 1e-5 * (1 + np.abs(kept).max(axis=1))
        since = np.searchsorted(segments[:, 0], kept[:, 0] - reach)
        until = np.searchsorted(segments[:, 0], kept[:, 0] + reach, side="right")
        in_time = np.argsort(kept[:, 0])
    lengths = segments[:, 1] - segments[:, 0]
    with np.errstate(invalid="ignore", divide="ignore"):
        for first in range(0, len(kept), _VOTERS):
            voted = in_time[first : first + _VOTERS]
            near = slice(since[voted].min(), until[voted].max())
            part = kept[voted]
            right = np.minimum(part[:, 1:], segments[near, 1])
            shared = np.maximum(right - np.maximum(part[:, :1], segments[near, 0]), np.float32(0))
            overlap = shared / (part[:, 1:] - part[:, :1] + lengths[near] - shared)
            weights = (overlap >= np.float32(iou)) * scores[near]
            if by_iou:
                weights = np.where(weights > 0, weights * overlap, np.float32(0))
            weights = weights / weights.sum(axis=1, keepdims=True, dtype=np.float32)
            moved[voted] = weights @ segments[near]
    return moved


def fuse(found: Detections, class_scores: np.ndarray[Any, Any], rules: Fusion) -> Detections:
    """Class-agnostic segments repeated for the best classes of a video-level classifier, class by class.

    ``class_scores`` (classes,). Labels become the positions of those classes in it.
    """
    given = np.asarray(class_scores, dtype=np.float64)
    if len(given) > len(rules.columns) > 0:
        given = given[list(rules.columns)]
    if rules.softmax_factor > 0:
        raised = np.exp(given - given.max())
        given = raised / raised.sum() * rules.softmax_factor
    best = np.argsort(given)[::-1][: rules.top]
    scores = given[best][:, None] * found.scores.astype(np.float64)[None, :]
    if rules.root:
        scores = np.sqrt(scores)
    return Detections(
        np.tile(found.segments, (len(best), 1)),
        scores.astype(np.float32).reshape(-1),
        np.repeat(best.astype(np.int64), len(found.scores)),
    )


def proposals(found: Detections, rules: Suppression) -> Detections:
    """Proposals thinned out by the array rule boundary-matching networks were first evaluated with.

    Lowered by the Gaussian where IoU exceeds ``low`` + (``high`` - ``low``) × the winner's length in units. Unlike
    :func:`suppress` nothing is discarded for its score, and a single proposal is left as it is.
    """
    order = np.argsort(found.scores.astype(np.float64))[::-1]
    times, left = found.segments.astype(np.float64)[order] / rules.unit, found.scores.astype(np.float64)[order]
    picks: list[int] = []
    picked = np.zeros(len(left), dtype=bool)
    scores: list[float] = []
    with np.errstate(invalid="ignore", divide="ignore"):
        while len(picks) < min(rules.max_segments + 1, len(left)):
            best = int(np.where(picked, -np.inf, left).argmax())
            picks.append(best)
            scores.append(float(left[best]))
            picked[best] = True
            start, end = times[best]
            shared = np.maximum(np.minimum(end, times[:, 1]) - np.maximum(start, times[:, 0]), 0.0)
            # On a grid overlaps often are the threshold itself: then the order of this sum decides.
            overlap = shared / (end - start - shared + times[:, 1] - times[:, 0])
            near = (overlap > rules.low + (rules.high - rules.low) * (end - start)) & ~picked
            left[near] *= np.exp(-np.square(overlap[near]) / rules.sigma)
    # Sorted once more, and cut only then: equal scores change places.
    lowered = np.array(scores)
    best_first = np.argsort(lowered)[::-1][: rules.max_segments]
    rows = order[picks][best_first]
    return Detections(found.segments[rows], lowered[best_first].astype(np.float32), found.labels[rows])
