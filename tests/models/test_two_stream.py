"""Two streams are their two networks, put together as the originals do; named and hashed as one model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from models.golden import Record
from torch import Tensor, nn

from vidact import load_model
from vidact.errors import ModelError
from vidact.models.build import describe
from vidact.models.recognizer import Recognizer
from vidact.models.two_stream import TwoStream
from vidact.models.zoo import ENTRIES

TSN = "two-stream-tsn-r50.k400-mmaction2"
RGB, FLOW = ENTRIES[TSN].spec.streams


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """These networks are too small for more."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Both checkpoints as mmaction2 wraps them."""
    folder = tmp_path_factory.mktemp("streams")
    records = {RGB: "mma_tsn_r50_rgb", FLOW: "mma_tsn_r50_flow"}
    return {name: str(Record(record).write_checkpoint(folder)) for name, record in records.items()}


def test_scores_are_averaged_and_features_put_side_by_side(files: dict[str, str]) -> None:
    model = load_model(TSN, checkpoint=files)
    alone = {RGB: model.rgb, FLOW: model.flow}
    assert [one.spec.name for one in alone.values()] == list(files)
    torch.manual_seed(0)
    rgb, flow = torch.randn(2, 3, 2, 64, 64), torch.randn(2, 10, 2, 64, 64)
    mean = (alone[RGB].scores(rgb) + alone[FLOW].scores(flow)) / 2
    assert torch.allclose(model.scores((rgb, flow)), mean, atol=1e-6)
    assert torch.allclose(model((rgb, flow)).softmax(-1), mean, atol=1e-6)
    expected = torch.cat([alone[RGB].features(rgb), alone[FLOW].features(flow)], dim=1)
    assert torch.equal(model.features((rgb, flow)), expected)
    assert expected.shape == (2, model.spec.feature_dimension) == (2, 4096)
    assert model.features((rgb, flow), pool=False).shape[:2] == (2, 4096)
    assert model.spec.labels == alone[RGB].spec.labels and model.spec.flow.fields == 5


class Flat(nn.Module):
    """A network of one layer over the mean of its clip."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layer = nn.Linear(channels, 4)

    def features(self, clips: Tensor, pool: bool = True) -> Tensor:
        return clips.mean(dim=(2, 3, 4)) if pool else clips

    def forward(self, clips: Tensor) -> Tensor:
        return self.layer(self.features(clips))


def test_logits_of_i3d_are_added() -> None:
    spec = replace(ENTRIES["two-stream-i3d.k400"].spec, classes=4)
    assert spec.average == "logits" and spec.feature_dimension == 2048
    torch.manual_seed(1)
    rgb, flow = (
        Recognizer(Flat(channels), replace(ENTRIES[name].spec, classes=4))
        for channels, name in zip((3, 2), spec.streams, strict=True)
    )
    clips = torch.randn(2, 3, 4, 8, 8), torch.randn(2, 2, 4, 8, 8)
    model = TwoStream(rgb, flow, spec)
    total = rgb(clips[0]) + flow(clips[1])
    assert torch.equal(model(clips), total)
    assert torch.equal(model.scores(clips), total.softmax(-1))
    assert model.features(clips).shape == (2, 5)


def test_the_hash_is_one_over_both_files(files: dict[str, str], tmp_path: Path) -> None:
    chosen = describe(TSN, files)
    assert chosen.file == files and chosen.spec.streams == (RGB, FLOW)
    assert len(chosen.weights_hash) == 64
    assert chosen.weights_hash not in {describe(name, file).weights_hash for name, file in files.items()}
    other = tmp_path / "other.pth"
    other.write_bytes(Path(files[FLOW]).read_bytes() + b" ")
    assert describe(TSN, {**files, FLOW: str(other)}).weights_hash != chosen.weights_hash
    with pytest.raises(ModelError, match="was changed"):
        load_model(TSN, checkpoint=files, sha256="0" * 64)


def test_what_is_missing_or_wrong_is_named(files: dict[str, str]) -> None:
    with pytest.raises(ModelError, match=FLOW) as caught:
        describe(TSN, {RGB: files[RGB]})
    assert f"--backbone-checkpoint {FLOW}=FILE" in caught.value.hint
    with pytest.raises(ModelError, match=r"has no part 'i3d\.k400'"):
        describe(TSN, {**files, "i3d.k400": "x"})
    with pytest.raises(ModelError, match="is two networks"):
        describe(TSN, files[RGB])
    with pytest.raises(ModelError, match="is one network"):
        describe(RGB, files)
    with pytest.raises(ModelError, match="takes clips of 10 channels, expected 3"):
        load_model(TSN, checkpoint={RGB: files[FLOW], FLOW: files[RGB]})
