"""Segments that mark an instant, moved onto the frame their features point at."""

from __future__ import annotations

import numpy as np

from vidact.models.localization.instants import placed
from vidact.models.localization.segments import Detections
from vidact.models.localization.settings import Instants, Settings, from_json
from vidact.records import Contract

CONTRACT = Contract(24.0, 32, 8, 16.0, 40, "a backbone")
RULE = Instants(label=1, column=4, frames=32, within=0.25, half=0.5)


def features(frames: list[int], rows: int = 20) -> np.ndarray:
    """Every window says 5 for these frames of the video and -5 for the others."""
    found = np.full((rows, 40), -5.0, np.float32)
    for row in range(rows):
        for frame in frames:
            if 0 <= frame - 8 * row < 32:
                found[row, 4 + frame - 8 * row] = 5.0
    return found


def detections(*rows: tuple[float, float, float, int]) -> Detections:
    table = np.array(rows, float)
    return Detections(table[:, :2].astype(np.float32), table[:, 2].astype(np.float32), table[:, 3].astype(np.int64))


def test_an_instant_lies_half_a_frame_before_the_first_frame_behind_it() -> None:
    found = placed(detections((1.55, 2.55, 0.9, 1), (1.0, 3.0, 0.8, 0)), features([51]), CONTRACT, RULE, 8.0)
    np.testing.assert_allclose(found.segments[0], [50.5 / 24 - 0.5, 50.5 / 24 + 0.5], atol=1e-6)
    np.testing.assert_array_equal(found.segments[1], [1.0, 3.0])  # other labels stay where they are


def test_of_several_on_one_frame_the_best_stays() -> None:
    found = placed(
        detections((1.5, 2.5, 0.5, 1), (1.7, 2.7, 0.9, 1), (2.9, 3.9, 0.4, 1)), features([51, 80]), CONTRACT, RULE, 8.0
    )
    np.testing.assert_allclose(found.scores, [0.9, 0.4])
    np.testing.assert_allclose(found.segments.mean(axis=1), [50.5 / 24, 79.5 / 24], atol=1e-6)


def test_a_segment_cut_off_by_an_end_of_the_video_knows_its_instant() -> None:
    end = features([8, 150])
    found = placed(detections((0.0, 0.8, 0.9, 1), (5.8, 6.5, 0.8, 1)), end, CONTRACT, RULE, 6.5)
    np.testing.assert_allclose(found.segments, [[0, 7.5 / 24 + 0.5], [149.5 / 24 - 0.5, 6.5]], atol=1e-6)


def test_nothing_to_place_changes_nothing_and_settings_travel() -> None:
    nothing = Detections(np.zeros((0, 2), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))
    assert len(placed(nothing, features([]), CONTRACT, RULE, 8.0).scores) == 0
    settings = Settings(64, instants=RULE)
    assert from_json(settings.to_json()) == settings
