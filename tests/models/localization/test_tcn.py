"""The plain temporal convolutional network: its stretches, its reach, its checkpoint."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from vidact import load_model
from vidact.errors import ModelError
from vidact.models.localization.settings import Settings, Suppression
from vidact.models.localization.tcn import TCN, stretches
from vidact.models.weights import write_checkpoint
from vidact.records import Contract, LocalizerSpec

SPEC = LocalizerSpec(
    name="tcn.made-up",
    architecture="tcn",
    contract=Contract(25.0, 16, 4, 8.0, 5, "a backbone"),
    classes=2,
    labels=("run", "jump"),
    settings={"vidact": Settings(64, threshold=0.05, nms=Suppression(sigma=0.5, min_score=0.01)).to_json()},
)


def test_stretches_end_where_the_score_crosses_the_cut() -> None:
    scores = np.array([0.0, 0.0, 0.8, 0.8, 0.4, 0.0, 0.0])
    found = stretches(scores, 3, [0.6])
    np.testing.assert_allclose(found.segments, [[1.75, 3.5]])
    np.testing.assert_allclose(found.scores, [0.8], rtol=1e-6)
    assert found.labels.tolist() == [3]


def test_stretches_reach_half_a_row_beyond_the_sequence() -> None:
    found = stretches(np.array([0.9, 0.9, 0.9]), 0, [0.1, 0.5])
    np.testing.assert_allclose(found.segments, [[-0.5, 2.5]])
    assert len(stretches(np.zeros(3), 0, [0.1]).scores) == 0
    assert len(stretches(np.array([0.9, 0.0, 0.9]), 0, [0.5]).scores) == 2


def test_a_layer_more_doubles_the_reach() -> None:
    torch.manual_seed(0)
    network = TCN(4, width=6, layers=3, classes=2).eval()
    with torch.no_grad():
        for weight in network.parameters():
            weight.abs_()  # so that no unit stands still
    x = torch.rand(1, 4, 41)
    changed = x.clone()
    changed[..., 20] += 1
    mask = torch.ones(1, 1, 41)
    moved = (network(x, mask) - network(changed, mask)).abs().sum(-1)[0] > 0
    assert moved.nonzero().flatten().tolist() == list(range(20 - 7, 20 + 8))


def test_padding_changes_nothing() -> None:
    torch.manual_seed(0)
    network = TCN(4, width=6, layers=4, classes=2).eval()
    x = torch.randn(1, 4, 10)
    padded = torch.nn.functional.pad(x, (0, 6), value=3.0)
    mask = (torch.arange(16) < 10).float().view(1, 1, -1)
    found = network(padded, mask)[:, :10]
    torch.testing.assert_close(found, network(x, mask[:, :, :10]))


def test_its_checkpoint_says_everything(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = TCN(5, width=8, layers=2, classes=2).eval()
    file = tmp_path / "tcn.safetensors"
    write_checkpoint(file, network.state_dict(), SPEC)
    features = np.random.default_rng(0).normal(0, 3, (30, 5)).astype(np.float32)
    for name in (None, "tcn", "tcn.made-up"):
        model = load_model(name, checkpoint=file)
        assert model.contract == SPEC.contract
        found = model.localize(features)
        assert len(found) > 0 and set(found.label) <= {"run", "jump"}
        assert found.start.min() >= 0 and found.end.max() <= (29 * 4 + 16) / 25
    with pytest.raises(ModelError, match=r"holds tcn\.made-up, not tridet"):
        load_model("tridet", checkpoint=file)


def test_a_tcn_has_no_published_weights() -> None:
    with pytest.raises(ModelError, match="alone does not say") as raised:
        load_model("tcn")
    assert "none is published" in raised.value.hint
