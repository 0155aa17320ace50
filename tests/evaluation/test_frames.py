"""Frame scores give the numbers of the published evaluation codes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from vidact.evaluation.frames import drawn, frame_average_precision, spaced

FOLDER = Path(__file__).resolve().parents[1] / "golden" / "localization"


@pytest.mark.parametrize("protocol", ["valid_frames_only", "sampled_25"])
def test_frame_record(protocol: str) -> None:
    facts = json.loads((FOLDER / "metric_frame_map.json").read_text(encoding="utf-8"))
    with np.load(FOLDER / "metric_frame_map.npz") as file:
        scores = [file[f"v{number}_probs"] for number in range(len(facts["videos"]))]
        labels = [file[f"v{number}_labels"] for number in range(len(facts["videos"]))]
    expected = facts["expected"][protocol]
    found = frame_average_precision(scores, labels, sampled=protocol == "sampled_25")
    np.testing.assert_allclose(found.ap, expected["ap"], rtol=0, atol=1e-6)
    assert 100 * found.map == pytest.approx(expected["map_mean_over_nonzero_classes_percent"], abs=1e-4)
    assert 100 * found.ap.mean() == pytest.approx(expected["map_mean_over_all_classes_percent"], abs=1e-4)
    assert found.frames == expected["frames"]


def test_spaced_frames() -> None:
    assert len(spaced(25)) == 0
    np.testing.assert_array_equal(spaced(26), np.arange(1, 26))
    np.testing.assert_array_equal(spaced(60)[:3], [1, 3, 5])


def test_segments_are_drawn_over_the_frames_whose_middle_they_cover() -> None:
    start, end = np.array([0.0, 0.5, 0.95]), np.array([1.0, 0.75, 9.0])
    column = drawn(start, end, np.array([0.5, 0.9, 0.2]), 12, 10.0)
    np.testing.assert_allclose(column[:, 0], [0.5] * 5 + [0.9] * 2 + [0.5] * 3 + [0.2] * 2)
    assert not drawn(start[:0], end[:0], end[:0], 3, 10.0).any()
    assert not drawn(np.array([2.0]), np.array([1.0]), np.array([1.0]), 30, 10.0).any()  # reversed
