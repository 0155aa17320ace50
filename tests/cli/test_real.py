"""The whole way, without a stand-in: real videos, a real if untrained network, everything in this process."""

from __future__ import annotations

import dataclasses
import io
import json
import sys
from pathlib import Path

import pytest
from cli.conftest import Vidact
from media import make

from vidact.models import zoo
from vidact.models.weights import write_checkpoint
from vidact.store.reader import Reader


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """An attention-r3d-10 of four channels, random but always the same."""
    torch = pytest.importorskip("torch")
    from vidact.models.recognition.attention_r3d import AttentionR3D

    torch.manual_seed(0)
    spec = zoo.ENTRIES[zoo.DEFAULT].spec
    tensors = AttentionR3D(10, spec.classes, width=4).state_dict()
    path = tmp_path / "tiny.safetensors"
    write_checkpoint(path, tensors, dataclasses.replace(spec, network={"width": 4}))
    return path


def test_classify_show_and_stream_agree(
    vidact: Vidact, network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    make(folder / "short.mp4", frames=10)
    make(folder / "long.mp4", frames=90)
    (folder / "text.mp4").write_text("not a video")
    common = ("--checkpoint", network, "--workers", 0, "--batch-size", 2)

    done = vidact("classify", folder, *common)
    assert done.code == 5
    assert "2 of 3 videos done" in done.out
    reader = Reader(str(tmp_path / "vidact-out"))
    rows = {row["video"]: row for row in reader.videos().to_pylist()}
    assert {name: row["status"] for name, row in rows.items()} == {
        "short.mp4": "ok",
        "long.mp4": "ok",
        "text.mp4": "failed",
    }

    shown = [line.split("\t") for line in vidact("show", "vidact-out", "--clips", "--top", 5).out.splitlines()]
    assert len(shown) == 5 * sum(row["clips"] for row in rows.values() if row["clips"])
    told = [json.loads(line) for line in vidact("show", "vidact-out", "--clips", "--top", 5, "--json").out.splitlines()]
    assert [row["padded"] for row in told if row["video"] == "short.mp4"] == [True] * 5
    best = [line.split("\t")[1] for line in vidact("show", "vidact-out", "--status", "ok").out.splitlines()]
    assert set(best) <= set(zoo.ENTRIES[zoo.DEFAULT].spec.labels)

    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, write_through=True))
    assert vidact("classify", folder, *common, "-o", "-").code == 5
    lines = [json.loads(line) for line in raw.getvalue().splitlines()]
    streamed = [line for line in lines if line.pop("table") == "predictions"]
    stored = reader.detail().to_pylist()

    def key(row: dict[str, object]) -> tuple[str, int, int]:
        return str(row["video"]), -1 if row["clip"] is None else int(str(row["clip"])), int(str(row["rank"]))

    for left, right in zip(sorted(streamed, key=key), sorted(stored, key=key), strict=True):
        assert left == {**right, "score": pytest.approx(right["score"], rel=1e-6)}
