"""Labels that mark an instant (a cut): their segments moved onto the frame the features themselves point at.

A row of features may hold a number for every frame of its window. It tells the frame where a localizer, which thinks in
rows, tells only the neighbourhood. Pure arithmetic; knows no network and no file.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vidact.models.localization.segments import Detections
from vidact.models.localization.settings import Instants
from vidact.records import Contract

_EDGE = 0.02
"""Seconds from the begin or end of a video within which a segment counts as cut off there."""


def placed(
    found: Detections, features: np.ndarray[Any, Any], contract: Contract, rule: Instants, duration: float
) -> Detections:
    """Detections in seconds, those of ``rule.label`` centred half a frame before the likeliest frame near their middle.

    ``features`` (T, C) at a contract with a number for fps. Of several that come to lie on one frame the best stays.
    """
    own = np.flatnonzero(found.labels == rule.label)
    if not len(own) or contract.fps == "native":
        return found
    scores = _by_frame(features, contract, rule)
    segments, kept, taken = found.segments.copy(), np.ones(len(found.labels), bool), set[int]()
    for row in own[np.argsort(-found.scores[own], kind="stable")]:
        start, end = segments[row].tolist()
        middle = _middle(start, end, rule.half, duration)
        first = max(0, int(np.floor((middle - rule.within) * contract.fps)))
        near = scores[first : int(np.ceil((middle + rule.within) * contract.fps)) + 1]
        if not len(near):
            continue
        frame = first + int(np.argmax(near))
        kept[row] = frame not in taken
        taken.add(frame)
        instant = (frame - 0.5) / contract.fps
        segments[row] = np.clip((instant - rule.half, instant + rule.half), 0.0, duration)
    return found._replace(segments=segments).take(np.flatnonzero(kept))


def _by_frame(features: np.ndarray[Any, Any], contract: Contract, rule: Instants) -> np.ndarray[Any, Any]:
    """(frames,) of each frame the number of the row in whose window it lies nearest the middle."""
    rows = np.arange(len(features))
    scores = np.full((len(features) - 1) * contract.stride + rule.frames, -np.inf)
    distance = np.full(len(scores), np.inf)
    for place in range(rule.frames):
        at, away = rows * contract.stride + place, abs(place - (rule.frames - 1) / 2)
        nearer = away < distance[at]
        scores[at[nearer]] = features[nearer, rule.column + place]
        distance[at[nearer]] = away
    return scores


def _middle(start: float, end: float, half: float, duration: float) -> float:
    """The instant a segment stands for, also where the video's begin or end has cut a part of it off."""
    if start <= _EDGE:
        return end - half
    return start + half if end >= duration - _EDGE else (start + end) / 2
