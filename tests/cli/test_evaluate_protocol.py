"""``vidact evaluate protocol``: the published test on videos made here, with an untrained network."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from cli.conftest import Vidact
from media import make

from vidact.models import zoo
from vidact.models.weights import write_checkpoint
from vidact.models.zoo import protocols
from vidact.records import Published
from vidact.store.reader import Reader

SPEC = dataclasses.replace(
    zoo.ENTRIES[zoo.DEFAULT].spec,
    network={"width": 4},
    protocol=protocols.pyslowfast(16, 1, "2x3", size=96),
    published=Published(75.0, 99.5, "2 clips x 3 crops", "a test"),
)


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """An attention-r3d-10 of four channels, random but always the same, that was published with a test."""
    torch = pytest.importorskip("torch")
    from vidact.models.recognition.attention_r3d import AttentionR3D

    torch.manual_seed(0)
    path = tmp_path / "tiny.safetensors"
    write_checkpoint(path, AttentionR3D(10, SPEC.classes, width=4).state_dict(), SPEC)
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A list of three videos, one of which is missing; next to them lies one that is not in it."""
    for name in ("a.mp4", "b.mp4", "other.mp4"):
        (tmp_path / "videos").mkdir(exist_ok=True)
        make(tmp_path / "videos" / name, frames=20)
    file = tmp_path / "val.csv"
    file.write_text("path,label\na.mp4,static\nb.mp4,static\nmissing.mp4,cut\n", encoding="utf-8")
    return file


def test_measured_beside_published(vidact: Vidact, network: Path, data: Path, tmp_path: Path) -> None:
    common = ("--data", data, "--checkpoint", network, "--workers", 0, "-o", tmp_path / "out")
    done = vidact("evaluate", "protocol", zoo.DEFAULT, *common)
    assert done.code == 0, done.err
    reader = Reader(str(tmp_path / "out"))
    assert reader.settings["protocol"] == "paper"
    assert reader.videos(["video"]).column("video").to_pylist() == ["videos/a.mp4", "videos/b.mp4"]
    best = [row["label"] for row in reader.detail().to_pylist() if row["clip"] is None and row["rank"] == 1]
    share = 100 * best.count("static") / 2
    assert f"top-1\t{share:.2f} %\t75.00 %\t{share - 75:+.2f}" in done.out
    assert "Published: 2 clips x 3 crops (a test). Measured on 2 videos." in done.out
    assert "Videos of the truth that are not in the run, not counted: 1 (first: missing.mp4)." in done.err
    again = vidact("evaluate", "protocol", zoo.DEFAULT, *common, "--json")  # goes on: nothing left to do
    facts = json.loads(again.out)
    assert (facts["videos"], facts["top1"], facts["published"]["top1"]) == (2, share / 100, 75.0)


def test_what_cannot_be_tested_is_said(vidact: Vidact, network: Path, data: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = vidact(
        "evaluate", "protocol", zoo.DEFAULT, "--data", data, "--videos", tmp_path / "empty", "--checkpoint", network
    )
    assert done.code == 2
    assert "no video of the list, which has 3, is among the 0 below" in done.err
    done = vidact("evaluate", "protocol", zoo.DEFAULT, "--data", data, "--workers", 0)
    assert done.code == 3
    assert "no published test of" in done.err
    assert "`vidact evaluate recognition`" in done.err and "--views" not in done.err
    done = vidact("evaluate", "protocol", zoo.DEFAULT, "--data", data, "--checkpoint", network, "-o", "-")
    assert done.code == 2
    assert "needs a run folder" in done.err
