"""Labels of videos are judged as by the published evaluation code."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from vidact.evaluation.recognition import Answers, judge
from vidact.store.labelled import Labelled

FOLDER = Path(__file__).resolve().parents[1] / "golden" / "localization"


def test_classification_record() -> None:
    facts = json.loads((FOLDER / "metric_classification.json").read_text(encoding="utf-8"))
    ranked = np.argsort(-np.array(facts["scores"]), axis=1)
    best = {f"{row}.mp4": [(int(one), f"class {one}") for one in classes] for row, classes in enumerate(ranked)}
    truth = Labelled({f"{row}.mp4": str(label) for row, label in enumerate(facts["labels"])}, numbers=True)
    report = judge(Answers(best, (), True, {"model": ""}), truth)
    assert report.top1 == pytest.approx(facts["top1"], abs=1e-6)
    assert report.top5 == pytest.approx(facts["top5"], abs=1e-6)
    # There a class without videos counts as 0 once it is predicted; here the mean is over those with videos.
    classes, asked = len(report.labels), int((report.videos > 0).sum())
    assert classes == asked + 1
    assert report.mean_class * asked / classes == pytest.approx(facts["mean_class_accuracy"], abs=1e-6)
