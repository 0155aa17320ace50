"""One number for how good the segments of annotated videos are, for choosing among the rounds of a training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from vidact.evaluation.benchmarks import BENCHMARKS
from vidact.evaluation.detection import Events, average_precision
from vidact.evaluation.segments import events_of
from vidact.records import Segments
from vidact.store.annotations import AnnotatedVideo


def mean_precision(truth: Sequence[AnnotatedVideo], found: Sequence[Segments]) -> float:
    """mAP of what was found in each of these videos, as THUMOS-14 is judged; over the labels that occur in them.

    All of these are learnt, so that ``Ambiguous`` is a label like the others: where it is not learnt, the truth of a
    training does not hold it.
    """
    predictions = Events(
        np.repeat(np.arange(len(found)), [len(one) for one in found]),
        np.concatenate([one.start for one in found]),
        np.concatenate([one.end for one in found]),
        np.array([label for one in found for label in one.label], dtype=np.str_),
        np.concatenate([one.score for one in found]).astype(np.float64),
    )
    benchmark = BENCHMARKS["thumos14"]
    return average_precision(
        events_of(truth), predictions, benchmark.tious, replace(benchmark.rules, ambiguous=None)
    ).average
