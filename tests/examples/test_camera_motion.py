"""The camera-motion recipe: clips are reproducible, labels mean what they say, the test set tells the truth."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2")
sys.path.insert(0, str(Path(__file__).parents[2] / "examples" / "camera_motion"))

import baseline  # noqa: E402
import evaluate  # noqa: E402
import filming  # noqa: E402
import paths  # noqa: E402
from footage import Window, own_motion, steadied  # noqa: E402
from generate import GeneratedClips, Sources, sample_clip  # noqa: E402
from heldout import HeldOut  # noqa: E402
from paths import GRID, LIMITS, MOVES, TIMES  # noqa: E402
from planes import Plane, render_plane, view_matrices  # noqa: E402
from sources import read_shots  # noqa: E402
from textures import noise, procedural  # noqa: E402


@pytest.fixture(scope="module")
def sources() -> Sources:
    return Sources.made_up(textures=16, seed=3)


def busy_picture(seed: int, height: int = 240, width: int = 320) -> np.ndarray:
    """A picture with detail everywhere."""
    rng = np.random.default_rng(seed)
    channels = [noise(rng, height, width, 7, 0.4) for _ in range(3)]
    return (np.stack(channels, axis=2) * 255).astype(np.uint8)


def content_flow(first: np.ndarray, last: np.ndarray) -> tuple[float, float, float, float]:
    """Mean shift of the content (right, down; in frames), its divergence and its clockwise turn on the screen."""
    greys = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (first, last)]
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(greys[0], greys[1], None)
    height, width = greys[0].shape
    ys, xs = np.mgrid[0:height, 0:width]
    xs, ys = xs - width / 2, ys - height / 2
    radius = float((xs**2 + ys**2).mean())
    right, down = flow[..., 0], flow[..., 1]
    spread = float((right * xs + down * ys).mean()) / radius
    turn = float((down * xs - right * ys).mean()) / radius
    return float(right.mean()) / width, float(down.mean()) / height, spread, turn


def net_flow(clip: np.ndarray) -> np.ndarray:
    """``content_flow`` summed over neighbouring frames."""
    steps = [content_flow(clip[i], clip[i + 1]) for i in range(len(clip) - 1)]
    return np.sum(steps, axis=0)


def expected_content(label: str) -> tuple[int, int]:
    """Which of (right, down, spread, clockwise turn) a move shows on the screen, and its sign."""
    return {
        "pan-left": (0, 1),
        "pan-right": (0, -1),
        "tilt-up": (1, 1),
        "tilt-down": (1, -1),
        "zoom-in": (2, 1),
        "zoom-out": (2, -1),
        "roll-clockwise": (3, -1),
        "roll-counterclockwise": (3, 1),
    }[label]


class TestClips:
    def test_the_same_seed_epoch_and_index_give_the_same_clip(self, sources: Sources) -> None:
        one, other = GeneratedClips(sources, 5, 24), GeneratedClips(sources, 5, 24)
        for index in (0, 9, 10, 11):
            np.testing.assert_array_equal(one[index][0], other[index][0])

    def test_another_epoch_or_seed_gives_other_clips(self, sources: Sources) -> None:
        made = GeneratedClips(sources, 5, 24)
        first = made[1][0]
        made.set_epoch(1)
        assert not np.array_equal(first, made[1][0])
        assert not np.array_equal(first, GeneratedClips(sources, 6, 24)[1][0])

    def test_shape_kind_and_balance(self, sources: Sources) -> None:
        made = GeneratedClips(sources, 1, 24)
        rows = [made[i] for i in range(len(made))]
        assert np.bincount([label for _, label in rows]).tolist() == [2] * 12
        for clip, _ in rows:
            assert clip.shape == (16, 96, 96, 3) and clip.dtype == np.uint8 and clip.flags.c_contiguous
        assert np.mean([clip.std() > 4 for clip, _ in rows]) > 0.8

    def test_an_index_outside_is_an_error(self, sources: Sources) -> None:
        with pytest.raises(IndexError):
            GeneratedClips(sources, 1, 24)[24]

    def test_pictures_and_videos_are_found(self, tmp_path: Path) -> None:
        cv2.imwrite(str(tmp_path / "still.png"), busy_picture(1))
        (tmp_path / "broken.jpg").write_bytes(b"no picture")
        (tmp_path / "deep").mkdir()
        write_video(tmp_path / "deep" / "shots.avi", [busy_picture(2)] * 20 + [255 - busy_picture(3)] * 20)
        loaded = Sources.load(tmp_path, textures=2)
        assert len(loaded.stills) == 1 and len(loaded.shots) == 2
        assert loaded.stills[0].shape[0] == 224
        assert GeneratedClips(loaded, 0, 12)[1][0].shape == (16, 96, 96, 3)

    def test_a_directory_without_material_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="no readable picture"):
            Sources.load(tmp_path)


def write_video(path: Path, frames: list[np.ndarray]) -> None:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 25.0, frames[0].shape[1::-1])
    for frame in frames:
        writer.write(frame)
    writer.release()


class TestPaths:
    @pytest.mark.parametrize("label", MOVES)
    def test_a_move_goes_its_way_far_enough_and_further_than_any_other_way(self, label: str) -> None:
        axis, sign = MOVES[label]
        least = (LIMITS.shift[0], LIMITS.shift[0], LIMITS.zoom[0], LIMITS.roll[0])[axis]
        for seed in range(40):
            values = paths.draw_path(np.random.default_rng(seed), label).at(np.array([paths.FIRST, paths.LAST]))
            net = values[1] - values[0]
            assert sign * net[axis] > 0.85 * least
            shifts = np.abs(net) * paths.SHIFT
            assert np.delete(shifts, axis).max() < 0.6 * shifts[axis]

    def test_static_stays_below_the_gap(self) -> None:
        for seed in range(60):
            values = paths.draw_path(np.random.default_rng(seed), "static").at(TIMES)
            assert np.all(np.ptp(values, axis=0) * paths.SHIFT < 0.02)
            assert np.all(np.abs(values[-1] - values[0]) < 1.35 * np.array(LIMITS.static))

    def test_shake_moves_without_getting_anywhere(self) -> None:
        inside = (GRID >= 0) & (GRID <= paths.DURATION)
        for seed in range(60):
            values = paths.draw_path(np.random.default_rng(seed), "shake").values[inside] * paths.SHIFT
            rms = math.sqrt(((values - values.mean(0)) ** 2).sum(1).mean())
            assert 0.004 < rms < 0.08
            early, late = values[: len(values) // 3].mean(0), values[-len(values) // 3 :].mean(0)
            assert np.abs(late - early).max() < 2 * rms


class TestDirections:
    @pytest.mark.parametrize("label", MOVES)
    @pytest.mark.parametrize("focal", [None, 1.6])
    def test_content_moves_against_the_camera_by_the_right_amount(self, label: str, focal: float | None) -> None:
        axis, sign = MOVES[label]
        params = np.zeros((2, 4))
        params[1, axis] = 0.04 * sign
        plane = Plane((busy_picture(7),), (160.0, 120.0), 130.0, 16 / 9, focal)
        views = view_matrices(params, plane, (96, 96), (0.0, 0.0))
        moved = content_flow(*(render_plane(plane, views, i, (96, 96)) for i in range(2)))
        seen, direction = expected_content(label)
        # Squashing to a square shears a turn but keeps the mean of both sides: (a + 1/a) / 2.
        amount = 0.04 * (1.17 if axis == 3 else 1.0)
        assert moved[seen] == pytest.approx(direction * amount, rel=0.2)

    @pytest.mark.parametrize("label", MOVES)
    def test_finished_clips_keep_their_direction(self, sources: Sources, label: str) -> None:
        seen, direction = expected_content(label)
        net = [direction * net_flow(sample_clip(np.random.default_rng(s), sources, label))[seen] for s in range(7)]
        assert np.median(net) > 0.02
        assert np.mean(np.array(net) > 0) >= 0.7

    @pytest.mark.parametrize("label", MOVES)
    def test_the_filmed_test_set_has_the_same_directions(self, label: str) -> None:
        window = Window("made up", 0.0, np.stack([busy_picture(11)] * 16), np.zeros((5, 4)))
        filmed = None
        seed = 0
        while filmed is None:
            filmed = filming.film_window(np.random.default_rng(seed), window, label)
            seed += 1
        seen, direction = expected_content(label)
        assert direction * net_flow(filmed[0])[seen] > 0.02


class TestTransitions:
    def test_a_cut_jumps_once_or_twice(self, sources: Sources) -> None:
        jumps = []
        for seed in range(16):
            clip = sample_clip(np.random.default_rng(seed), sources, "cut").astype(np.int16)
            change = np.sort(np.abs(np.diff(clip, axis=0)).mean(axis=(1, 2, 3)))
            jumps.append(change[-1] / (change[-3] + 0.5))
        assert np.median(jumps) > 3
        assert np.mean(np.array(jumps) > 1.5) > 0.85

    def test_a_fade_changes_in_several_steps(self, sources: Sources) -> None:
        shares = []
        for seed in range(16):
            clip = sample_clip(np.random.default_rng(seed), sources, "fade").astype(np.int16)
            steps = np.abs(np.diff(clip, axis=0)).mean(axis=(1, 2, 3))
            shares.append(np.abs(clip[-1] - clip[0]).mean() / max(1.0, float(steps.max())))
        assert np.median(shares) > 2


class TestFootage:
    def test_camera_motion_of_footage_is_measured_with_its_sign(self) -> None:
        frames = pan_frames(step=4)
        found = own_motion(frames)
        assert found is not None
        assert found[-1, 0] == pytest.approx(4 * 15 / 240, abs=0.01)
        assert np.abs(found[-1, 1:]).max() < 0.01
        assert Window("x", 0.0, frames, found).measured_label() == "pan-right"

    def test_moderate_motion_can_be_taken_out(self) -> None:
        frames = pan_frames(step=1)
        still = steadied(Window("x", 0.0, frames, own_motion(frames)))
        assert still is not None and still.calm and still.margin > 15 / 240

    def test_shots_are_split_at_a_cut_and_motion_between_frames_is_known(self, tmp_path: Path) -> None:
        write_video(tmp_path / "v.avi", [*pan_frames(step=2), *([255 - busy_picture(9)[:200, :240]] * 16)])
        first, second = read_shots(tmp_path / "v.avi", 1e9)
        assert len(first.frames) == len(second.frames) == 16
        scale = first.frames.shape[2] / 240
        assert first.motion[15, 0, 2] == pytest.approx(-2 * 15 * scale, abs=1.5)


def pan_frames(step: int) -> np.ndarray:
    """A camera that moves ``step`` pixels to the right per frame, 240 x 200."""
    wide = busy_picture(21, 200, 400)
    return np.stack([np.ascontiguousarray(wide[:, i * step : i * step + 240]) for i in range(16)])


class TestEvaluation:
    def test_the_baseline_tells_clear_moves(self) -> None:
        picture = busy_picture(5, 400, 600)
        window = Window("made up", 0.0, np.stack([picture] * 16), np.zeros((5, 4)))
        right = 0
        for seed, label in enumerate(MOVES):
            filmed = filming.film_window(np.random.default_rng(seed + 50), window, label)
            clip = [cv2.resize(f, (96, 96), interpolation=cv2.INTER_AREA) for f in filmed[0]] if filmed else []
            right += bool(clip) and baseline.decide(baseline.measure(np.stack(clip)), baseline.Thresholds()) == label
        assert right >= 6

    def test_scores_intervals_and_storage(self, tmp_path: Path) -> None:
        labels = np.arange(24) % 12
        test = HeldOut(
            np.zeros((24, 16, 96, 96, 3), np.uint8),
            labels,
            np.array(["a", "b", "c"] * 8),
            np.array(["plain", "fast"] * 12),
            np.zeros((3, 16, 96, 96, 3), np.uint8),
            np.array(["static", "unclear", "pan-left"]),
        )
        test.save(tmp_path / "t.npz")
        read = HeldOut.read(tmp_path / "t.npz")
        perfect = evaluate.judge(read, lambda clips: labels)
        assert perfect["top1"] == 1.0 and perfect["interval"] == (1.0, 1.0) and perfect["sources"] == 3
        lazy = evaluate.judge(read, lambda clips: np.zeros(len(clips), int))
        assert lazy["top1"] == pytest.approx(1 / 12) and lazy["recall"]["static"] == 1.0
        assert lazy["interval"][0] < 1 / 12 < lazy["interval"][1]
        natural = evaluate.unwarped(read, lambda clips: np.zeros(len(clips), int))
        assert natural["said"] == {"static": 3} and natural["agreement on clear moves"] == [0, 1]
        assert "top-1 1.000" in evaluate.report("model", perfect)

    def test_a_procedural_picture_is_never_blank(self) -> None:
        assert min(procedural(np.random.default_rng(seed)).std() for seed in range(30)) > 3
