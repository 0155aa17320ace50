"""Every kind of error is told from the others, on cases made by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from vidact.evaluation.detection import Events, Rules, average_precision
from vidact.evaluation.diagnosis import (
    BACKGROUND,
    BADLY_PLACED,
    BOTH,
    CATEGORIES,
    DOUBLED,
    ERRORS,
    MISSED,
    RIGHT,
    WRONG_LABEL,
    diagnose,
)


def events(*rows: tuple[Any, ...]) -> Events:
    """(video, start, end, label[, score])."""
    columns = list(zip(*rows, strict=True))
    score = np.array(columns[4], float) if len(columns) > 4 else None
    times = (np.array(column, float) for column in columns[1:3])
    return Events(np.array(columns[0]), *times, np.array(columns[3]), score)


TRUTH = events(("v", 0, 10, "a"), ("v", 20, 30, "b"), ("w", 0, 10, "a"))


@pytest.mark.parametrize(
    ("start", "end", "label", "kind"),
    [
        (0, 10, "a", RIGHT),
        (0, 5, "a", RIGHT),  # half of it, which is the overlap asked for
        (0, 10, "b", WRONG_LABEL),
        (0, 4.9, "a", BADLY_PLACED),
        (0, 1, "a", BADLY_PLACED),  # an overlap of 0.1 is the least
        (0, 0.9, "a", BACKGROUND),
        (0, 4.9, "b", BOTH),
        (12, 18, "a", BACKGROUND),
        (5, 5, "a", BACKGROUND),  # no length
        (9, 2, "a", BACKGROUND),  # reversed
    ],
)
def test_kinds_of_errors(start: float, end: float, label: str, kind: str) -> None:
    found = diagnose(TRUTH, events(("v", start, end, label, 0.9)), 0.5, Rules())
    assert found.counts == {name: int(name == kind) for name in CATEGORIES}
    assert found.missed == (2 if kind == RIGHT else 3)
    assert found.events == 3


def test_a_better_prediction_makes_the_second_one_doubled() -> None:
    found = diagnose(TRUTH, events(("v", 0, 10, "a", 0.5), ("v", 0, 9, "a", 0.9)), 0.5, Rules())
    assert (found.counts[RIGHT], found.counts[DOUBLED], found.missed) == (1, 1, 2)


def test_the_same_time_in_another_video_is_background() -> None:
    found = diagnose(TRUTH, events(("w", 20, 30, "b", 0.9)), 0.5, Rules())
    assert found.counts[BACKGROUND] == 1


def test_gains_are_what_removing_the_errors_would_give() -> None:
    predicted = events(("v", 0, 10, "b", 0.9), ("v", 20, 30, "b", 0.8), ("v", 0, 10, "a", 0.7))
    found = diagnose(TRUTH, predicted, 0.5, Rules())
    assert found.ap == average_precision(TRUTH, predicted, [0.5], Rules()).average == 0.5
    # Without the wrong label b is perfect, without the missed event a is: 0.5 to 1 for one of two classes.
    assert found.gains == {name: pytest.approx(0.25 if name in (WRONG_LABEL, MISSED) else 0) for name in found.gains}
    assert set(found.gains) == {*ERRORS, MISSED}


def test_a_class_that_is_missed_as_a_whole_costs_what_it_holds_back() -> None:
    found = diagnose(TRUTH, events(("v", 0, 10, "a", 0.9), ("w", 0, 10, "a", 0.8)), 0.5, Rules())
    assert (found.ap, found.missed) == (0.5, 1)
    assert found.gains == {name: pytest.approx(0.5 if name == MISSED else 0) for name in found.gains}
    assert diagnose(TRUTH, events(("v", 12, 18, "a", 0.9)), 0.5, Rules()).gains[MISSED] == 0  # no class is left


def test_only_the_best_few_are_counted() -> None:
    rows = [("v", 12, 18, "a", 0.1)] * 100 + [("v", 0, 10, "a", 0.9)]
    found = diagnose(TRUTH, events(*rows), 0.5, Rules(), best=2)
    assert sum(found.counts.values()) == 4  # two events of a
    assert found.counts[RIGHT] == 1


def test_ambiguous_events_excuse() -> None:
    truth = events(("v", 0, 10, "a"), ("v", 40, 50, "Ambiguous"))
    predicted = events(("v", 41, 49, "a", 0.9), ("v", 0, 10, "a", 0.8))
    found = diagnose(truth, predicted, 0.5, Rules(ambiguous="Ambiguous"))
    assert found.counts[BACKGROUND] == 0
    assert found.ap == 1.0
    assert diagnose(truth, predicted, 0.5, Rules()).counts[WRONG_LABEL] == 1
