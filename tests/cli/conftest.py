"""The command line in this process, on videos that are none and a model without tensors: nothing decodes or scores."""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cli.runs import outcome

from vidact.cli.app import main
from vidact.engine import run as engine
from vidact.models import zoo
from vidact.models.weights import spec_to_json
from vidact.records import Outcome


class Result(NamedTuple):
    """How a command ended and what it said."""

    code: int
    out: str
    err: str


Vidact = Callable[..., Result]
Classify = Callable[..., Any]


@pytest.fixture
def vidact(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Vidact:
    """Run ``vidact ARGUMENTS`` in an empty folder, through ``main`` and its one try."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("vidact.cli.app._leave", sys.exit)  # other tests of this process may have loaded Ray
    for name in ("DEVICE", "DECODER", "ADDRESS", "DEBUG"):
        monkeypatch.delenv(f"VIDACT_{name}", raising=False)

    def run(*arguments: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["vidact", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main()
        said = capsys.readouterr()
        return Result(int(stop.value.code or 0), said.out, said.err)

    return run


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A checkpoint with the spec of the default model and not a single tensor: enough for everything but scoring."""
    spec = zoo.ENTRIES[zoo.DEFAULT].spec
    header = json.dumps({"__metadata__": {"vidact": json.dumps(spec_to_json(spec))}}).encode()
    path = tmp_path / "empty.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    return path


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """Three files that are videos by name."""
    folder = tmp_path / "videos"
    folder.mkdir()
    for name in ("a.mp4", "b.mkv", "c.mov"):
        (folder / name).write_bytes(b"not a video")
    return folder


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> list[engine.Prepared]:
    """Instead of decoding, every video gets two clips; one whose name holds ``bad`` fails. What was asked is kept."""
    asked: list[engine.Prepared] = []

    def execute(
        prepared: engine.Prepared, sink: Any, *, stop: Callable[[], bool], progress: Any, stage: Any
    ) -> Iterator[Outcome]:
        asked.append(prepared)
        sink.withdraw(prepared.todo.withdrawn)
        for video in prepared.todo.videos:
            if stop():
                return
            made = outcome(video, status="failed" if "bad" in video.video else "ok")
            progress(2, 4.0)
            sink.add(made)
            yield made

    monkeypatch.setattr(engine, "execute", execute)
    return asked


@pytest.fixture
def classify(vidact: Vidact, checkpoint: Path, videos: Path, scored: list[engine.Prepared]) -> Classify:
    """``vidact classify videos --checkpoint …`` with more arguments."""
    return lambda *more: vidact("classify", videos, "--checkpoint", checkpoint, *more)
