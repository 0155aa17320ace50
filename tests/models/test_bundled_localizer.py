"""The localizer inside the package and the network its features come from: the files are those described, and work."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from vidact import load_model
from vidact.engine.request import Request, choose
from vidact.models import weights, zoo
from vidact.models.localizer import Localizer
from vidact.models.recognizer import Recognizer
from vidact.models.zoo import localizers

SHOTS = zoo.ENTRIES["shots-r3d-10.camera-motion-1"]
ENTRY = localizers.ENTRIES["actionformer.camera-motion-1"]
LARGEST = 8 << 20
FPS = 24


@pytest.fixture(scope="module")
def shots() -> Recognizer:
    found: Recognizer = load_model(SHOTS.spec.name)
    return found


@pytest.fixture(scope="module")
def localizer() -> Localizer:
    found: Localizer = load_model("actionformer")
    return found


def texture(seed: int) -> torch.Tensor:
    """A smooth random picture with detail of every size, float (1, 3, 384, 384) in 0..255."""
    noise = torch.Generator().manual_seed(seed)
    layers = [
        F.interpolate(torch.randn(1, 3, size, size, generator=noise), (384, 384), mode="bicubic")
        for size in (6, 12, 24, 48)
    ]
    return (128 + 35 * torch.stack(layers).sum(0)).clamp(0, 255)


def video() -> np.ndarray:
    """Twelve seconds, uint8 (288, 96, 96, 3): a pan to the right from second 2 to 4.5, a cut at second 7."""
    times = torch.arange(288) / FPS
    right = 0.6 * ((times - 2) / 2.5).clamp(0, 1) - 0.3
    shots = []
    for seed, part in ((3, times < 7), (8, times >= 7)):
        count = int(part.sum())
        rows = torch.zeros(count, 2, 3)
        rows[:, 0, 0] = rows[:, 1, 1] = 0.3
        rows[:, 0, 2] = right[part] if seed == 3 else 0.0
        grid = F.affine_grid(rows, [count, 3, 96, 96], align_corners=False)
        shots.append(F.grid_sample(texture(seed).expand(count, -1, -1, -1), grid, align_corners=False))
    return torch.cat(shots).permute(0, 2, 3, 1).round().to(torch.uint8).numpy()


def features(shots: Recognizer, frames: np.ndarray, stride: int) -> np.ndarray:
    firsts = range(0, len(frames) - 32 + 1, stride)
    return shots.features(shots.prepare(np.stack([frames[i : i + 32] for i in firsts]))).numpy()


def test_the_files_are_the_ones_described() -> None:
    for entry in (SHOTS, ENTRY):
        assert entry.bundled is not None
        file = weights.bundled(entry.bundled)
        assert file.stat().st_size == entry.size <= LARGEST
        assert weights.file_hash(file) == entry.sha256
    inside = weights.read_localizer_spec(weights.bundled(str(ENTRY.bundled)))
    assert inside is not None
    assert weights.spec_to_json(inside) == weights.spec_to_json(ENTRY.spec)
    own = weights.read_spec(weights.bundled(str(SHOTS.bundled)))
    assert own is not None
    assert dataclasses.replace(own, notes="") == dataclasses.replace(SHOTS.spec, notes="")


def test_the_trunk_is_the_bundled_recogniser(shots: Recognizer) -> None:
    own = load_model(zoo.DEFAULT).network.state_dict()
    trunk = shots.network.trunk.state_dict()
    assert trunk.keys() == own.keys()
    assert all(torch.equal(trunk[key], own[key]) for key in own)


@pytest.mark.parametrize("name", ["actionformer", "actionformer.camera-motion", "actionformer.camera-motion-1"])
def test_every_name_means_it_and_its_features_can_be_made(name: str) -> None:
    chosen = choose(Request(command="localize", model=name), {})
    assert chosen.localizer is not None and chosen.recogniser is not None
    assert chosen.localizer.spec.name == ENTRY.spec.name
    assert chosen.recogniser.weights_hash == SHOTS.sha256


def test_a_pan_and_a_cut_are_found_where_they_are(shots: Recognizer, localizer: Localizer) -> None:
    found = localizer.localize(features(shots, video(), localizer.contract.stride), duration=12.0)
    best = {label: i for i, label in reversed(list(enumerate(found.label)))}
    cut, pan = best["cut"], best["pan-right"]
    assert abs((found.start[cut] + found.end[cut]) / 2 - 7.0) <= 2 / FPS
    assert found.score[cut] > 0.5
    shared = min(found.end[pan], 4.5) - max(found.start[pan], 2.0)
    assert shared / (max(found.end[pan], 4.5) - min(found.start[pan], 2.0)) > 0.5
    others = [found.score[i] for i, label in enumerate(found.label) if label not in ("cut", "pan-right")]
    assert max(others, default=0.0) < min(found.score[pan], found.score[cut])
