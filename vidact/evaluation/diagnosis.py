"""Why segments are wrong: every prediction and every event in one category, and what each kind of error costs.

After DETAD (Alwassel, Caba Heilbron, Escorcia, Ghanem: Diagnosing Error in Temporal Action Detectors, ECCV 2018), with
its lower overlap of 0.1. Works on arrays; knows no files.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from vidact.evaluation.detection import (
    Array,
    Events,
    Floats,
    Rules,
    best_first,
    by_class,
    matches,
    overlap,
    precision,
    ranked,
    rows_by_video,
    touched,
)

RIGHT = "right"
DOUBLED = "doubled"
WRONG_LABEL = "wrong label"
BADLY_PLACED = "badly placed"
BOTH = "wrong label, badly placed"
BACKGROUND = "background"
MISSED = "missed"
CATEGORIES = (RIGHT, DOUBLED, WRONG_LABEL, BADLY_PLACED, BOTH, BACKGROUND)
ERRORS = CATEGORIES[1:]
LOWEST = 0.1
"""Overlap with an event below which a prediction has nothing to do with it."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Errors at the overlap ``tiou``.

    ``counts`` by category of the best predictions of each class, ``best`` times as many as it has events; ``missed`` of
    ``events`` no prediction finds. ``ap`` is the mean over classes, ``gains`` what it would rise by without the
    predictions of one kind (``missed``: if those events were not asked for; a class with no event left then has no
    place in the mean, as in TIDE, Bolya et al., ECCV 2020, and a gain needs one class that has).
    """

    tiou: float
    best: int
    counts: dict[str, int]
    missed: int
    events: int
    ap: float
    gains: dict[str, float]


def diagnose(truth: Events, found: Events, tiou: float, rules: Rules, *, best: int = 10) -> Diagnosis:
    """Put every prediction into the first category that fits.

    ``right``: the rules match it to an event of its label at ``tiou`` or more. ``doubled``: it overlaps such an
    event as much, but a better prediction has it. ``wrong label``: it overlaps an event of another label as much.
    ``badly placed``: it overlaps an event of its label by 0.1 or more, but less than ``tiou``. ``wrong label, badly
    placed``: the same with an event of another label. ``background``: it overlaps no event by 0.1. An event is
    ``missed`` when no prediction at all is matched to it.
    """
    events, _, pairs = by_class(truth, found, rules, None)
    excuses = None if rules.ambiguous is None else truth.take(truth.label == rules.ambiguous)
    times = np.stack([events.start, events.end], axis=1)
    others = {video: (times[rows], events.label[rows]) for video, rows in rows_by_video(events).items()}
    counts = dict.fromkeys(CATEGORIES, 0)
    gains: dict[str, list[float]] = {name: [] for name in ERRORS}
    scores: list[float] = []
    reached: list[float] = []  # without the missed events, of the classes that still have one
    missed = 0
    for own, predicted in pairs:
        predicted = predicted.take(best_first(predicted, rules))
        hits = matches(own, predicted, np.array([tiou]), rules)[0]
        ranks = ranked(predicted, hits, rules)
        predicted, hits = predicted.take(ranks), hits[ranks]
        if excuses is not None:
            counted = hits | ~touched(predicted, excuses)
            predicted, hits = predicted.take(counted), hits[counted]
        kinds = _kinds(own, predicted, hits, others, tiou)
        for number, name in enumerate(CATEGORIES):
            counts[name] += int((kinds[: best * len(own.start)] == number).sum())
        score, asked = precision(hits, len(own.start), rules.points), int(hits.sum())
        scores.append(score)
        missed += len(own.start) - asked
        for number, name in enumerate(ERRORS, 1):
            gains[name].append(precision(hits[kinds != number], len(own.start), rules.points) - score)
        reached += [precision(hits, asked, rules.points)] if asked else []
    mean = {name: float(np.mean(values)) if values else 0.0 for name, values in gains.items()}
    ap = float(np.mean(scores)) if scores else 0.0
    mean[MISSED] = float(np.mean(reached)) - ap if reached else 0.0
    return Diagnosis(tiou, best, counts, missed, len(events.start), ap, mean)


def _kinds(own: Events, predicted: Events, hits: Array, others: dict[Any, tuple[Floats, Array]], tiou: float) -> Array:
    """The number of the category of each prediction of one class."""
    kinds = np.full(len(predicted.start), CATEGORIES.index(BACKGROUND))
    label = own.label[0] if len(own.label) else None
    for video, picks in rows_by_video(predicted).items():
        if video not in others:
            continue
        times, labels = others[video]
        iou = np.nan_to_num(overlap(np.stack([predicted.start[picks], predicted.end[picks]], axis=1), times))
        same = labels == label
        mine, strange = iou[:, same].max(axis=1, initial=0.0), iou[:, ~same].max(axis=1, initial=0.0)
        kinds[picks] = np.select(
            [mine >= tiou, strange >= tiou, mine >= LOWEST, strange >= LOWEST],
            [CATEGORIES.index(name) for name in (DOUBLED, WRONG_LABEL, BADLY_PLACED, BOTH)],
            CATEGORIES.index(BACKGROUND),
        )
    kinds[hits] = CATEGORIES.index(RIGHT)
    return kinds
