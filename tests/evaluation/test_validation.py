"""The number that chooses among the rounds of a training."""

from __future__ import annotations

import numpy as np
import pytest

from vidact.evaluation.validation import mean_precision
from vidact.records import Segments
from vidact.store.annotations import AnnotatedVideo


def found(labels: list[str]) -> Segments:
    """Each of these where it happens."""
    start = np.array([{"jump": 0.0, "Ambiguous": 10.0}[label] for label in labels])
    return Segments(start, start + 5, np.ones(len(labels), np.float32), np.zeros(len(labels), np.int32), tuple(labels))


def test_a_label_called_ambiguous_that_is_learnt_counts() -> None:
    video = AnnotatedVideo("a", 20.0, None, None, np.array([0.0, 10.0]), np.array([5.0, 15.0]), ("jump", "Ambiguous"))
    jump, both = (found(labels) for labels in (["jump"], ["jump", "Ambiguous"]))
    assert mean_precision([video], [both]) == pytest.approx(1.0)
    assert mean_precision([video], [jump]) == pytest.approx(0.5)
