"""Videos that are hardly one, through the published test and through two streams: a row each, the others are fine."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from cli.conftest import Vidact
from cli.test_evaluate_protocol import network
from cli.test_streams import NAME, files
from media import make

from vidact.store.reader import Reader

__all__ = ["files", "network"]  # fixtures


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    """One frame, two frames, portrait, turned, cut off, damaged in the middle, sound alone, text."""
    folder = tmp_path / "bad"
    folder.mkdir()
    make(folder / "good.mp4", frames=16)
    make(folder / "one.mp4", frames=1)
    make(folder / "two.mp4", frames=2)
    make(folder / "portrait.mp4", frames=8, size=(90, 160))
    make(folder / "turned.mp4", frames=8, rotation=90)
    whole = make(folder / "cut.ts", frames=24).read_bytes()
    (folder / "cut.ts").write_bytes(whole[: len(whole) // 2])
    data = bytearray(make(folder / "hole.ts", frames=24).read_bytes())
    data[len(data) // 3 : len(data) // 2] = bytes(len(data) // 2 - len(data) // 3)
    (folder / "hole.ts").write_bytes(data)
    with av.open(str(folder / "sound.mp4"), "w") as out:
        stream = out.add_stream("aac", rate=44100, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 44100
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            out.mux(packet)
    (folder / "text.mp4").write_text("no video")
    return folder


def statuses(out: Path) -> dict[str, str]:
    rows = Reader(str(out)).videos(["video", "status", "error"]).to_pylist()
    return {row["video"]: row["error"] if row["status"] == "failed" else row["status"] for row in rows}


@pytest.mark.parametrize("way", ["paper", "two streams"])
def test_hardly_videos(
    way: str, vidact: Vidact, network: Path, files: dict[str, Path], bad: Path, tmp_path: Path
) -> None:
    parts = [item for name, file in files.items() for item in ("--backbone-checkpoint", f"{name}={file}")]
    given = {
        "paper": ("classify", bad, "--checkpoint", network, "--protocol", "paper"),
        "two streams": ("classify", bad, "--model", NAME, *parts),
    }[way]
    done = vidact(*given, "--workers", 0, "--batch-size", 2, "-o", "out")
    assert done.code == 5, done.err
    found = statuses(tmp_path / "out")
    assert {found[name] for name in ("good.mp4", "one.mp4", "two.mp4", "portrait.mp4", "turned.mp4")} == {"ok"}, found
    assert found["cut.ts"] in ("ok", "partial") and found["hole.ts"] in ("ok", "partial"), found
    assert (found["sound.mp4"], found["text.mp4"]) == ("NoVideoStream", "NotAVideo"), found
    rows = Reader(str(tmp_path / "out")).detail().to_pylist()
    assert {row["video"] for row in rows} == set(found) - {"sound.mp4", "text.mp4"}
    assert all(0 <= row["score"] <= 1 for row in rows if "score" in row)
