"""One number for how good the segments of annotated videos are, for choosing among the rounds of a training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vidact.evaluation.detection import PROTOCOLS, Events, average_precision
from vidact.records import Segments
from vidact.store.annotations import AnnotatedVideo

TIOUS = (0.3, 0.4, 0.5, 0.6, 0.7)
"""The overlaps THUMOS-14 is judged at."""


def mean_precision(truth: Sequence[AnnotatedVideo], found: Sequence[Segments], tious: Sequence[float] = TIOUS) -> float:
    """mAP, averaged over overlaps, of what was found in each of these videos; over the labels that occur in them."""
    counts = [len(video.labels) for video in truth]
    events = Events(
        np.repeat(np.arange(len(truth)), counts),
        np.concatenate([video.start for video in truth]),
        np.concatenate([video.end for video in truth]),
        np.array([label for video in truth for label in video.labels], dtype=object),
    )
    predictions = Events(
        np.repeat(np.arange(len(found)), [len(one) for one in found]),
        np.concatenate([one.start for one in found]),
        np.concatenate([one.end for one in found]),
        np.array([label for one in found for label in one.label], dtype=object),
        np.concatenate([one.score for one in found]).astype(np.float64),
    )
    return average_precision(events, predictions, tious, PROTOCOLS["opentad"]).average
