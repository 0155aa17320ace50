"""The weights inside the package: the file is the one the zoo describes, and it knows left from right."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from vidact import load_model
from vidact.models import weights, zoo
from vidact.models.recognizer import Recognizer

ENTRY = zoo.ENTRIES[zoo.DEFAULT]
LARGEST = 8 << 20

MOVES = {
    "static": (0.0, 0.0, 0.0, 0.0),
    "pan-left": (-0.4, 0.0, 0.0, 0.0),
    "pan-right": (0.4, 0.0, 0.0, 0.0),
    "tilt-up": (0.0, -0.4, 0.0, 0.0),
    "tilt-down": (0.0, 0.4, 0.0, 0.0),
    "zoom-in": (0.0, 0.0, -0.4, 0.0),
    "zoom-out": (0.0, 0.0, 0.4, 0.0),
    "roll-clockwise": (0.0, 0.0, 0.0, 0.4),
    "roll-counterclockwise": (0.0, 0.0, 0.0, -0.4),
}
"""What happens to the view over the clip: right, down (half frames), logarithm of its size, its turn (radians)."""


def texture(seed: int) -> torch.Tensor:
    """A smooth random picture with detail of every size, float (1, 3, 384, 384) in 0..255."""
    noise = torch.Generator().manual_seed(seed)
    layers = [
        F.interpolate(torch.randn(1, 3, size, size, generator=noise), (384, 384), mode="bicubic")
        for size in (6, 12, 24, 48)
    ]
    return (128 + 35 * torch.stack(layers).sum(0)).clamp(0, 255)


def filmed(label: str, seed: int) -> np.ndarray:
    """A clip uint8 (1, 16, 96, 96, 3) of a virtual camera that moves as ``label`` says over a random picture."""
    right, down, size, turn = MOVES[label]
    steps = torch.linspace(-0.5, 0.5, 16)
    half = 0.25 * torch.exp(size * steps)  # the view is a quarter of the picture wide
    angle = turn * steps
    rows = torch.stack(
        [
            torch.stack([half * torch.cos(angle), -half * torch.sin(angle), 0.5 * right * steps], dim=-1),
            torch.stack([half * torch.sin(angle), half * torch.cos(angle), 0.5 * down * steps], dim=-1),
        ],
        dim=1,
    )
    grid = F.affine_grid(rows, [16, 3, 96, 96], align_corners=False)
    frames = F.grid_sample(texture(seed).expand(16, -1, -1, -1), grid, align_corners=False, padding_mode="reflection")
    return frames.permute(0, 2, 3, 1).round().to(torch.uint8).numpy()[None]


@pytest.fixture(scope="module")
def model() -> Recognizer:
    found: Recognizer = load_model()
    return found


def test_the_file_is_the_one_described() -> None:
    assert ENTRY.bundled is not None
    file = weights.bundled(ENTRY.bundled)
    assert file.stat().st_size == ENTRY.size <= LARGEST
    assert weights.file_hash(file) == ENTRY.sha256
    inside = weights.read_spec(file)
    assert inside is not None
    assert dataclasses.replace(inside, published=None, notes="") == dataclasses.replace(
        ENTRY.spec, published=None, notes=""
    )


@pytest.mark.parametrize("label", MOVES)
def test_it_names_the_move(model: Recognizer, label: str) -> None:
    clips = np.concatenate([filmed(label, seed) for seed in range(6)])
    said = [model.spec.labels[i] for i in model.scores(model.prepare(clips)).argmax(1).tolist()]
    assert said.count(label) >= 5, said


def test_it_finds_a_cut_and_a_fade(model: Recognizer) -> None:
    joined, faded = [], []
    light = np.clip((np.arange(16) - 3) / 8, 0, 1)[:, None, None, None]
    for seed in range(6):
        first, second = filmed("static", seed)[0], filmed("static", seed + 50)[0]
        joined.append(np.concatenate([first[:7], second[7:]]))
        faded.append((first * (1 - light)).astype(np.uint8))
    for label, clips in (("cut", joined), ("fade", faded)):
        said = [model.spec.labels[i] for i in model.scores(model.prepare(np.stack(clips))).argmax(1).tolist()]
        assert said.count(label) >= 5, said


def test_its_features_have_the_dimension_promised(model: Recognizer) -> None:
    clips = model.prepare(filmed("pan-left", 0))
    assert model.features(clips).shape == (1, model.spec.feature_dimension)
    assert model.features(clips, pool=False).shape == (1, model.spec.feature_dimension, 4, 3, 3)
    assert math.isclose(float(model.scores(clips).sum()), 1.0, abs_tol=1e-5)


@pytest.mark.parametrize("name", [zoo.DEFAULT, "shots-r3d-10.camera-motion-1"])
def test_sixteen_bits_say_the_same(name: str) -> None:
    exact, short = load_model(name), load_model(name, dtype="bfloat16")
    for label in ("pan-left", "zoom-in"):
        frames = filmed(label, seed=1).repeat(exact.spec.sampling.frames // 16, axis=1)
        logits, rounded = exact(exact.prepare(frames)), short(short.prepare(frames))
        assert (rounded - logits).abs().max() < 0.1 * logits.std()
        assert rounded.argmax() == logits.argmax()
        features = exact.features(exact.prepare(frames))
        assert (short.features(short.prepare(frames)) - features).abs().max() < 0.2 * features.std()
