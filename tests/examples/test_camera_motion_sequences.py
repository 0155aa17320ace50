"""The localizer's recipe: sequences hold what they say, scores count what they should."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2", reason="the examples need OpenCV")
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples" / "camera_motion"))

import composed  # noqa: E402
import evaluate_segments  # noqa: E402
import overlap  # noqa: E402
from branch import labelled  # noqa: E402
from footage import Window  # noqa: E402
from paths import MOVES  # noqa: E402
from sequences import FPS, as_segments, draw_sequence, plan  # noqa: E402
from sources import Sources  # noqa: E402
from textures import procedural  # noqa: E402
from tours import DONE, Event, draw_tour  # noqa: E402


@pytest.fixture(scope="module")
def sources() -> Sources:
    return Sources.made_up(textures=16, seed=3)


def test_a_tour_goes_where_its_moves_say_and_rests_between_them() -> None:
    moves = 0
    for seed in range(40):
        path, events = draw_tour(np.random.default_rng(seed), 12.0, quiet=0.0)
        for event in (e for e in events if e.label in MOVES):
            axis, sign = MOVES[event.label]
            first, last = path.at(np.array([event.start, event.end]))
            assert sign * (last - first)[axis] > 0.03
            moves += 1
        assert all(a.end <= b.start + 1e-6 for a, b in itertools.pairwise(events))
    assert moves > 40


def test_a_tour_without_moves_stays_within_rest() -> None:
    for seed in range(20):
        path, events = draw_tour(np.random.default_rng(seed), 6.0, quiet=1.1)
        assert events == []
        assert np.abs(np.ptp(path.values[:, :2], axis=0)).max() < 0.04


def test_a_sequence_is_reproducible_and_its_cuts_are_where_the_picture_jumps(sources: Sources) -> None:
    made = draw_sequence(np.random.default_rng(5), sources, seconds=12, brisk=True)
    again = draw_sequence(np.random.default_rng(5), sources, seconds=12, brisk=True)
    assert made.events == again.events
    assert np.array_equal(made.frames, again.frames)
    assert made.frames.shape == (288, 96, 96, 3)
    change = np.abs(np.diff(made.frames.astype(np.int16), axis=0)).mean(axis=(1, 2, 3))
    cuts = np.flatnonzero(labelled([(e.label, e.start, e.end) for e in made.events], 288)[:, 0])
    assert len(cuts) >= 2
    assert np.median(change[cuts - 1]) > 4 * np.median(change)


def test_transitions_are_planned_on_frames_of_the_source() -> None:
    for seed in range(20):
        layers, events = plan(np.random.default_rng(seed), 40.0, 25.0, brisk=False)
        cuts = [e.start for e in events if e.label == "cut"]
        assert np.allclose(np.array(cuts) * 25, np.round(np.array(cuts) * 25))
        assert layers[0].begin == 0
        assert max(layer.end for layer in layers) >= 40


def test_cuts_become_segments_around_their_instant_and_stay_inside() -> None:
    events = [Event("cut", 0.1, 0.1), Event("cut", 5.0, 5.0), Event("fade", 9.0, 11.0)]
    segments = as_segments(events, 10.0)
    assert [(e.start, e.end) for e in segments] == [(0.0, 0.6), (4.5, 5.5), (9.0, 10.0)]


def test_frames_are_labelled_by_what_is_on_display() -> None:
    truth = labelled([("cut", 0.5, 0.5), ("fade", 1.0, 1.5)], 48)
    assert np.flatnonzero(truth[:, 0]).tolist() == [12]
    assert np.flatnonzero(truth[:, 1]).tolist() == list(range(24, 36))
    assert FPS == 24.0


def stretch(seed: int) -> composed.Stretch:
    """A still picture as four seconds of video."""
    picture = cv2.resize(procedural(np.random.default_rng(seed), 300, 400), (400, 300))
    return composed.Stretch(Window(f"{seed}.mp4", 0.0, np.stack([picture] * 40), np.zeros((5, 4))), 10.0)


def test_a_composed_sequence_jumps_at_its_cuts_and_nowhere_else() -> None:
    pool = {f"{seed}.mp4": [stretch(seed)] for seed in range(6)}
    made = composed.compose(np.random.default_rng(2), pool, 15.0)
    assert len(made.frames) == round(15 * made.fps)
    times = [start for label, start, _ in made.events if label == "cut"]
    change = np.abs(np.diff(made.frames.astype(np.int16), axis=0)).mean(axis=(1, 2, 3))
    for time in times:
        at = round(time * made.fps)
        assert change[at - 1] == change[max(0, at - 4) : at + 3].max()
    assert all(0 <= start <= end <= 15.01 for _, start, end in made.events)


def test_a_course_covers_its_moves() -> None:
    for seed in range(30):
        track, events = composed.course(np.random.default_rng(seed), 10.0)
        for label, start, end in events:
            if label == "shake":
                continue
            axis, sign = composed.AXES[label]
            first, last = track(np.array([start, end]))
            assert sign * (last - first)[axis] > 0.03
    assert DONE == (0.02, 0.98)


def test_cuts_count_within_two_frames_of_the_file_and_fades_excuse() -> None:
    annotations = [{"label": "cut", "segment": [t, t]} for t in (2.0, 5.0)]
    annotations.append({"label": "fade", "segment": [7.0, 8.0]})
    database = {"a": {"fps": 25.0, "duration": 10.0, "annotations": annotations}}
    found = {"a": np.array([2.08, 2.02, 5.1, 7.5])}
    assert evaluate_segments.cut_counts(database, found).tolist() == [[1, 3, 2]]


def test_pictures_are_told_apart_and_the_same_one_smaller_is_not() -> None:
    one, other = (procedural(np.random.default_rng(seed), 200, 300) for seed in (1, 2))
    marks = [overlap.fingerprint(frame) for frame in (one, cv2.resize(one, (120, 80)), other)]
    assert None not in marks
    assert (marks[0] ^ marks[1]).bit_count() <= 8 < (marks[0] ^ marks[2]).bit_count()
