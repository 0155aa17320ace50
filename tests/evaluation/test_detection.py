"""Detection metrics give the numbers of the published evaluation codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vidact.errors import UsageError
from vidact.evaluation.benchmarks import RULES
from vidact.evaluation.detection import (
    Events,
    Rules,
    average_precision,
    cleaned,
    proposal_recall,
    recall_of_best,
)

FOLDER = Path(__file__).resolve().parents[1] / "golden" / "localization"
MAP, KIT, PROPOSALS = (
    json.loads((FOLDER / f"metric_{name}.json").read_text(encoding="utf-8"))["cases"]
    for name in ("map", "thumos14_kit", "ar_an")
)
CODES = {
    "activitynet_official": "activitynet",
    "actionformer": "actionformer",
    "tridet": "tridet",
    "opentad": "opentad",
}


def events(videos: dict[str, list[dict[str, Any]]], label: str = "label") -> Events:
    rows = [(video, *row["segment"], row[label], row.get("score")) for video, own in videos.items() for row in own]
    columns = list(zip(*rows, strict=True)) or [(), (), (), (), ()]
    scores = None if columns[4] and columns[4][0] is None else np.array(columns[4], dtype=float)
    return Events(
        np.array(columns[0]), np.array(columns[1], float), np.array(columns[2], float), np.array(columns[3]), scores
    )


def read(case: dict[str, Any], label: str = "label") -> tuple[Events, Events]:
    videos = case["gt"]["database"].items()
    truth = {video: facts["annotations"] for video, facts in videos if facts["subset"] in ("validation", "test")}
    return events(truth, label), events(case["pred"]["results"], label)


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("name", MAP)
def test_average_precision_record(name: str, code: str) -> None:
    rules = RULES[CODES[code]]
    # These two codes compare numbers, the others names.
    truth, found = read(MAP[name], "label_id" if code in ("actionformer", "tridet") else "label")
    for grid in MAP[name]["expected"].values():
        expected = grid[code]
        if "raises" in expected:
            with pytest.raises(UsageError, match="not in the truth"):
                average_precision(truth, found, grid["tiou"], rules)
            continue
        result = average_precision(truth, found, grid["tiou"], rules)
        index = expected.get("class_index") or {int(k): v for k, v in expected["class_index_of_label_id"].items()}
        ap = np.array(expected["ap_per_class_by_tiou"])[:, [index[label] for label in result.classes]]
        np.testing.assert_allclose(result.ap, ap, rtol=0, atol=1e-6)
        np.testing.assert_allclose(result.map, expected["mAP_per_tiou"], rtol=0, atol=1e-6)
        assert result.average == pytest.approx(expected["average_mAP"], abs=1e-6)
        assert result.events == expected.get("num_gt_after_filtering", result.events)
        if "recall_kx_per_tiou" in expected:
            recall = recall_of_best(truth, found, grid["tiou"], rules, expected["top_k"])
            np.testing.assert_allclose(recall, expected["recall_kx_per_tiou"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", KIT)
def test_thumos14_kit_record(name: str) -> None:
    truth, found = read(KIT[name])
    classes = KIT[name]["classes"]
    tious = [float(tiou) for tiou in KIT[name]["expected"]]
    result = average_precision(truth, found, tious, RULES["thumos14-kit"], classes=classes)
    expected = [[by_class[label] for label in classes] for by_class in KIT[name]["expected"].values()]
    np.testing.assert_allclose(result.ap, expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(result.map, list(KIT[name]["expected_map"].values()), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", PROPOSALS)
def test_proposal_recall_record(name: str) -> None:
    truth, found = read(PROPOSALS[name])
    compared = 0
    for most, by_code in PROPOSALS[name]["expected"].items():
        for code, expected in by_code.items():
            if not expected or "raises" in expected:
                continue
            own = cleaned(truth, RULES["opentad"]) if code == "opentad" else truth
            result = proposal_recall(own, found, most=None if most == "None" else float(most))
            average, auc = result.average, expected.get("auc_percent", expected.get("auc"))
            assert result.auc == pytest.approx(100 * expected["AUC"] if auc is None else auc, abs=1e-6)
            for key, value in expected.items():
                if key.startswith("AR@"):
                    assert average[int(key[3:]) - 1] == pytest.approx(value, abs=1e-6)
            if "avg_recall" in expected:
                np.testing.assert_allclose(average, expected["avg_recall"], rtol=0, atol=1e-6)
                np.testing.assert_allclose(result.proposals, expected["proposals_per_video"], rtol=0, atol=1e-6)
            if "recall_tiou_by_100" in expected:
                np.testing.assert_allclose(result.recall, expected["recall_tiou_by_100"], rtol=0, atol=1e-6)
            compared += 1
    assert compared >= 3


def test_a_second_prediction_of_one_event_is_wrong() -> None:
    truth = events({"v": [{"segment": [0, 10], "label": "a"}]})
    found = events(
        {"v": [{"segment": [0, 10], "label": "a", "score": 0.9}, {"segment": [0, 9], "label": "a", "score": 0.95}]}
    )
    assert average_precision(truth, found, [0.5], Rules()).average == 1.0
    reversed_ = found._replace(score=np.array([0.9, 0.1]))
    assert average_precision(truth, reversed_, [0.95], Rules()).average == 1.0
    assert average_precision(truth, found, [0.95], Rules()).average == 0.5


@pytest.mark.parametrize(("code", "kept"), [("actionformer", [0.0]), ("tridet", [0.0]), ("opentad", [5.0, 0.0])])
def test_only_tridet_counts_empty_events_before_it_drops_them(code: str, kept: list[float]) -> None:
    segments = [5, 5], [5, 5.0008], [0, 10], [0.0005, 10]
    truth = events({"v": [{"segment": list(segment), "label": "a"} for segment in segments]})
    assert cleaned(truth, RULES[code]).start.tolist() == kept


def test_predictions_without_scores_are_refused() -> None:
    truth = events({"v": [{"segment": [0, 10], "label": "a"}]})
    with pytest.raises(UsageError, match="scores"):
        average_precision(truth, truth, [0.5], Rules())


def test_no_proposals_are_refused() -> None:
    truth = events({"v": [{"segment": [0, 10], "label": "a"}]})
    with pytest.raises(UsageError, match="no proposals"):
        proposal_recall(truth, truth.take(np.zeros(1, dtype=bool))._replace(score=np.empty(0)))


def test_the_kit_counts_equal_scores_right_ones_first() -> None:
    """Its code sorts stably: the earlier of equal detections is matched, and those matched are listed before others."""
    truth = events({"v": [{"segment": [0, 10], "label": "a"}], "w": [{"segment": [0, 10], "label": "a"}]})
    wrong, right = {"segment": [50, 60], "label": "a", "score": 0.5}, {"segment": [0, 10], "label": "a", "score": 0.5}
    found = events({"v": [right, wrong], "w": [right, wrong]})
    assert average_precision(truth, found, [0.5], RULES["thumos14-kit"]).average == 1.0
    twice = events({"v": [{**right, "segment": [0, 9]}, right]})
    assert average_precision(truth.take(truth.video == "v"), twice, [0.85], RULES["thumos14-kit"]).average == 1.0
