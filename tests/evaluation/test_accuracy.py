"""Accuracy and average precision of labels give the numbers of the published evaluation codes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from vidact.evaluation import accuracy

FOLDER = Path(__file__).resolve().parents[1] / "golden" / "localization"


def test_classification_record() -> None:
    facts = json.loads((FOLDER / "metric_classification.json").read_text(encoding="utf-8"))
    scores, labels, several = (np.array(facts[key]) for key in ("scores", "labels", "multilabel"))
    assert accuracy.top_k(scores, labels, 1) == pytest.approx(facts["top1"], abs=1e-6)
    assert accuracy.top_k(scores, labels, 5) == pytest.approx(facts["top5"], abs=1e-6)
    assert accuracy.mean_class_accuracy(scores, labels) == pytest.approx(facts["mean_class_accuracy"], abs=1e-6)
    assert accuracy.mean_sample_precision(scores, several) == pytest.approx(facts["mmit_mAP"], abs=1e-6)
    assert accuracy.mean_average_precision(scores, several) == pytest.approx(facts["mAP_macro"], abs=1e-6)
    tied = np.array(facts["tied_scores"])
    assert accuracy.top_k(tied, labels, 1) == pytest.approx(facts["tied_top1"], abs=1e-6)
    assert accuracy.top_k(tied, labels, 5) == pytest.approx(facts["tied_top5"], abs=1e-6)


def test_equal_scores_count_together() -> None:
    assert accuracy.average_precision(np.array([0.5, 0.5]), np.array([0, 1])) == 0.5
    assert np.isnan(accuracy.average_precision(np.array([0.5]), np.array([0])))
