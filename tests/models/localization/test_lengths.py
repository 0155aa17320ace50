"""Features of any length are searched: one row, odd numbers, just above and below what a tile or a window holds."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from vidact.models.localization import blocks
from vidact.models.localization.bmn import BMN, RULES
from vidact.models.localization.settings import from_json
from vidact.models.localizer import Localizer
from vidact.models.zoo.bmn import SPECS
from vidact.records import Contract, LocalizerSpec
from vidact.training.localizer import Shape, fresh

LENGTHS = (1, 2, 3, 5, 7, 17, 33, 65, 100, 129)
CONTRACT = Contract("native", 16, 4, 8.0, 16, "i3d")


def search(localizer: Localizer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every length, with tiles as long as the sequence and with short ones: finite, ordered, in the video, the
    same."""
    contract = localizer.contract
    for length in LENGTHS:
        features = np.random.default_rng(length).normal(0, 1, (length, contract.dimension)).astype(np.float32)
        fps = 25.0 if contract.fps == "native" else contract.fps
        duration = ((length - 1) * contract.stride + contract.window) / fps
        whole = localizer.localize(features, duration=duration, fps=fps)
        assert np.isfinite(whole.score).all() and ((whole.score >= 0) & (whole.score <= 1)).all(), length
        assert (whole.start >= 0).all() and (whole.start <= whole.end).all(), length
        assert (whole.end <= duration + 1e-3).all(), length
        with monkeypatch.context() as patch:
            patch.setattr(blocks, "_TILE", 12)
            tiles = localizer.localize(features, duration=duration, fps=fps)
        np.testing.assert_allclose(tiles.score, whole.score, atol=1e-5, err_msg=f"{length} rows")


@pytest.mark.parametrize(
    ("architecture", "shape"),
    [
        ("actionformer", Shape(width=16, length=32, levels=4, window=7)),
        ("actionformer", Shape(width=16, length=32, levels=4, window=1, codes=True)),
        ("actionformer", Shape(width=16, length=48, levels=4, window=7, fit="resize")),
        ("tridet", Shape(width=16, length=32, levels=4)),
        ("tcn", Shape(width=16, length=32, layers=4)),
        ("bmn", Shape(width=16, length=32)),
        ("bmn", Shape(width=16, length=32, fit="resize")),
    ],
)
def test_any_length(architecture: str, shape: Shape, monkeypatch: pytest.MonkeyPatch) -> None:
    start = fresh(architecture, "any", CONTRACT, ["a", "b", "c"], shape)
    search(Localizer(start.network, start.spec, start.settings), monkeypatch)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_any_length_by_the_rules_of_published_bmns(spec: LocalizerSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    (form, settings), *_ = spec.settings.items()
    small = dataclasses.replace(spec, contract=dataclasses.replace(spec.contract, dimension=16))
    network = BMN(16, width=16, reduced=8, samples=4, sampled=8, mapped=8, rules=RULES[form], **spec.network)
    search(Localizer(network, small, from_json(dict(settings))), monkeypatch)
