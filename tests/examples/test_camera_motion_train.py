"""The recipe of the bundled weights: labels follow their clips, and one short run leaves weights that classify."""

from __future__ import annotations

import itertools
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2", reason="the examples need OpenCV")

RECIPE = Path(__file__).resolve().parents[2] / "examples" / "camera_motion"
sys.path.insert(0, str(RECIPE))

from train import SPEC, SWAPS, change, split  # noqa: E402

DOTS = np.array([(0.9, 0.1), (-0.5, 0.7), (-0.4, -0.8)])
"""Places (x, y) of a red, a green and a blue dot, in a square from -1 to 1."""

MOVES = {
    "pan-left": (1, 0, 0, 0),
    "pan-right": (-1, 0, 0, 0),
    "tilt-up": (0, 1, 0, 0),
    "tilt-down": (0, -1, 0, 0),
    "zoom-in": (0, 0, 1, 0),
    "zoom-out": (0, 0, -1, 0),
    "roll-clockwise": (0, 0, 0, -1),
    "roll-counterclockwise": (0, 0, 0, 1),
}
"""How the content moves when the camera does: right, down, apart, turning clockwise on the screen."""


def filmed(label: str) -> np.ndarray:
    """Three dots moving as ``label`` says: uint8 (16, 96, 96, 3)."""
    right, down, apart, turn = MOVES[label]
    clip = np.zeros((16, 96, 96, 3), np.uint8)
    for number, frame in enumerate(clip):
        step = number / 15 - 0.5
        angle = 0.6 * turn * step
        rotation = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        places = (DOTS @ rotation.T) * (1 + 0.4 * apart * step) * 30 + 48 + 20 * step * np.array([right, down])
        for channel, (x, y) in enumerate(places.round().astype(int)):
            frame[y - 1 : y + 2, x - 1 : x + 2, channel] = 255
    return clip


def seen(clip: np.ndarray) -> str:
    """The label of a clip of three dots, by the affine map from its first frame to its last."""
    places = []
    for frame in (clip[0], clip[-1]):
        dots = [np.argwhere(frame[..., channel] > 128).mean(0)[::-1] for channel in range(3)]
        places.append(np.array(dots) - 47.5)
    first, last = places
    matrix = np.linalg.lstsq(np.column_stack([first, np.ones(3)]), last, rcond=None)[0]
    found = np.array(
        [matrix[2, 0], matrix[2, 1], 30 * (matrix[0, 0] + matrix[1, 1] - 2), 15 * (matrix[0, 1] - matrix[1, 0])]
    )
    return max(MOVES, key=lambda label: float(found @ np.array(MOVES[label])))


@pytest.mark.parametrize("label", MOVES)
def test_a_changed_clip_shows_what_its_new_label_says(label: str) -> None:
    names, clip = SPEC.labels, filmed(label)
    assert seen(clip) == label
    for count in range(1, 5):
        for kinds in itertools.combinations(SWAPS, count):
            changed, number = change(clip, names.index(label), kinds)
            assert seen(changed) == names[number], kinds


@pytest.mark.parametrize("label", ["static", "shake", "cut", "fade"])
def test_what_has_no_direction_keeps_its_label(label: str) -> None:
    number = SPEC.labels.index(label)
    assert change(np.zeros((16, 96, 96, 3), np.uint8), number, list(SWAPS))[1] == number


def test_one_command_makes_clips_and_trains(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(4):
        picture = cv2.resize(rng.integers(0, 255, (12, 16, 3), np.uint8), (160, 120), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(tmp_path / f"{number}.png"), picture)
    sizes = {"minutes": 0.02, "batch-size": 4, "reservoir": 64, "round-steps": 4, "validation": 12, "held-out": 0.25}
    words = [
        word for name, value in {**sizes, "trainers": 1, "generators": 1}.items() for word in (f"--{name}", str(value))
    ]
    output = tmp_path / "out"
    command = [sys.executable, str(RECIPE / "train.py"), "--sources", str(tmp_path), "--output", str(output), *words]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=280, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "round 1 " in done.stdout and "weakest:" in done.stdout

    from vidact import load_model

    model = load_model(checkpoint=output / f"{SPEC.name}.safetensors")
    assert model.spec.labels == SPEC.labels
    scores = model.scores(model.prepare(filmed("pan-left")[None]))
    assert scores.shape == (1, 12) and float(scores.sum()) == pytest.approx(1.0, abs=1e-5)


def test_a_directory_without_sources_is_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no picture or video in 'nowhere': name another"):
        split("nowhere", tmp_path, 0.1)
    assert not list(tmp_path.iterdir())
