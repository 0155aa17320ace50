"""All that is told about the segments of a run: mAP, recall, proposals, frames, errors, by a benchmark's rules.

Puts the metrics of this package together; reads no files and prints nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from vidact.errors import UsageError
from vidact.evaluation.benchmarks import Benchmark
from vidact.evaluation.detection import (
    Detection,
    Events,
    Floats,
    ProposalRecall,
    Rules,
    average_precision,
    cleaned,
    proposal_recall,
    recall_of_best,
    rows_by_video,
)
from vidact.evaluation.diagnosis import Diagnosis, diagnose
from vidact.evaluation.frames import SAMPLES, drawn, frame_average_precision

TIMES = (1, 5)
PROPOSALS = (1, 5, 10, 50, 100)
RATE = 10.0
"""Frames a second segments are drawn at where frames are judged."""


@dataclass(frozen=True, slots=True)
class Frames:
    """``ap`` by class of frames, ``rate`` a second; ``map`` over the classes whose AP is not 0."""

    ap: dict[str, float]
    map: float
    rate: float
    frames: int


@dataclass(frozen=True, slots=True)
class Report:
    """``recall`` (thresholds ``tious``, TIMES) of the best k × n predictions, from ``events`` events; ``proposals``
    None where there are none. What needs labels, ``detection`` and ``diagnosis``, is None for predictions without."""

    tious: tuple[float, ...]
    events: int
    recall: Floats
    proposals: ProposalRecall | None
    detection: Detection | None
    frames: Frames | None
    diagnosis: Diagnosis | None
    unknown: dict[str, int]


def judge(truth: Events, found: Events, benchmark: Benchmark, durations: Mapping[Any, float] | None = None) -> Report:
    """Judge predictions by the events of the same videos. ``durations`` (seconds) where they are known.

    UsageError when there are no events, or no predicted label is a label of theirs.
    """
    _refuse_nothing(truth)
    rules = benchmark.rules
    known = set(np.unique(truth.label).tolist())
    labels, counts = np.unique(found.label, return_counts=True)
    unknown = {name: count for name, count in zip(labels.tolist(), counts.tolist(), strict=True) if name not in known}
    if len(labels) and len(unknown) == len(labels):
        raise UsageError(
            f"no predicted label is in the truth, which has {_some(known)}; predicted are {_some(unknown)}",
            hint="names must be equal: run again with --labels FILE, or choose the truth of the same classes",
        )
    detection = average_precision(truth, found, benchmark.tious, rules)
    return Report(
        detection.tious,
        detection.events,
        recall_of_best(truth, found, benchmark.tious, rules, TIMES),
        _proposals(cleaned(truth, rules), found),
        detection,
        _frames(truth, found, benchmark, durations or {}) if benchmark.frames else None,
        diagnose(truth, found, benchmark.errors, rules),
        unknown,
    )


def judge_proposals(truth: Events, found: Events, benchmark: Benchmark) -> Report:
    """Judge predictions without labels: AR@AN and AUC as ``judge`` has them, and the recall of the best k × n, here in
    each video with n events of any class.

    Which events count is told by their labels, before these are forgotten. UsageError when none does.
    """
    _refuse_nothing(truth)
    rules = benchmark.rules
    events = cleaned(truth, rules)
    counted = events if rules.ambiguous is None else events.take(events.label != rules.ambiguous)
    _refuse_nothing(counted)
    own, predicted = (side._replace(label=np.zeros(len(side.start), dtype=np.int64)) for side in (counted, found))
    recall = recall_of_best(own, predicted, benchmark.tious, Rules(match=rules.match), TIMES)
    tious = tuple(float(one) for one in benchmark.tious)
    return Report(tious, len(own.start), recall, _proposals(events, found), None, None, None, {})


def _refuse_nothing(truth: Events) -> None:
    if not len(truth.start):
        raise UsageError("the truth has no events in these videos", hint="choose another --subset, or another file")


def _some(names: Any) -> str:
    shown = sorted(names)
    return ", ".join(repr(name) for name in shown[:3]) + (", …" if len(shown) > 3 else "")


def _proposals(truth: Events, found: Events) -> ProposalRecall | None:
    return proposal_recall(truth, found, most=PROPOSALS[-1]) if len(found.start) else None


def _frames(truth: Events, found: Events, benchmark: Benchmark, durations: Mapping[Any, float]) -> Frames:
    """Class by class, so that a set of hours and a hundred classes fits in memory."""
    assert found.score is not None
    lengths = {video: float(truth.end[rows].max()) for video, rows in rows_by_video(truth).items()} | dict(durations)
    frames = {video: max(1, round(seconds * RATE)) for video, seconds in lengths.items()}
    if benchmark.sampled:
        frames = {video: count for video, count in frames.items() if count > SAMPLES}
    if not frames:
        return Frames({}, 0.0, RATE, 0)
    ap: dict[str, float] = {}
    counted = 0
    for name in np.unique(truth.label).tolist():
        columns: list[list[Any]] = [[], []]
        for column, events in zip(columns, (found, truth), strict=True):
            own = events.take(events.label == name)
            score = np.ones(len(own.start)) if own.score is None else own.score
            rows = rows_by_video(own)
            for video, count in frames.items():
                at = rows.get(video, np.empty(0, dtype=np.int64))
                column.append(drawn(own.start[at], own.end[at], score[at], count, RATE))
        result = frame_average_precision(*columns, sampled=benchmark.sampled)
        ap[name], counted = float(result.ap[0]), result.frames
    positive = [value for value in ap.values() if value > 0]
    return Frames(ap, float(np.mean(positive)) if positive else 0.0, RATE, counted)
