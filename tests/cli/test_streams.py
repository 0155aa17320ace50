"""Flow and two streams from the command line: real videos, small pictures, everything in this process."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from cli.conftest import Vidact
from media import make
from models.golden import Record

from vidact.engine.request import Request
from vidact.engine.run import prepare
from vidact.models.weights import write_checkpoint
from vidact.models.zoo import ENTRIES
from vidact.records import Geometry
from vidact.store.reader import Reader

NAME = "two-stream-tsn-r50.k400-mmaction2"
RGB, FLOW = ENTRIES[NAME].spec.streams


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Both streams of TSN as checkpoints of our own that ask for two small pictures of each clip."""
    folder = tmp_path_factory.mktemp("streams")
    found = {}
    for name, record in ((RGB, "mma_tsn_r50_rgb"), (FLOW, "mma_tsn_r50_flow")):
        spec = ENTRIES[name].described()
        sampling = dataclasses.replace(spec.sampling, frames=2, stride=15)
        spec = dataclasses.replace(spec, sampling=sampling, geometry=Geometry((32, 32), short_side=40))
        found[name] = folder / f"{name}.safetensors"
        write_checkpoint(found[name], Record(record).state(), spec)
    return found


def sliding_texture(n: int, width: int, height: int) -> np.ndarray:
    """A picture that moves two pixels to the right in every frame."""
    noise = np.random.default_rng(3).integers(0, 256, (height // 8, 40)).astype(np.uint8)
    wide = np.kron(noise, np.ones((8, 8), np.uint8))
    return np.repeat(np.roll(wide, 2 * n, axis=1)[:height, :width, None], 3, axis=2)


def scores(out: Path) -> dict[tuple[int | None, int], float]:
    """(clip, label) → score."""
    return {(row["clip"], row["label_id"]): row["score"] for row in Reader(str(out)).detail().to_pylist()}


def test_two_streams_are_one_command(vidact: Vidact, files: dict[str, Path], tmp_path: Path) -> None:
    video = make(tmp_path / "a.mp4", frames=45, picture=sliding_texture)
    common = ("--workers", 0, "--batch-size", 2, "--top-k", 400)
    parts = [item for name, file in files.items() for item in ("--backbone-checkpoint", f"{name}={file}")]
    assert vidact("classify", video, "--model", NAME, *parts, *common, "-o", "both").code == 0
    for out, name in (("rgb", RGB), ("flow", FLOW)):
        assert vidact("classify", video, "--model", name, "--checkpoint", files[name], *common, "-o", out).code == 0
    both, rgb, flow = (scores(tmp_path / out) for out in ("both", "rgb", "flow"))
    assert len(both) == 400 * 3  # two clips, and the video
    for key, score in both.items():
        assert score == pytest.approx((rgb[key] + flow[key]) / 2, abs=1e-5)
    assert max(abs(rgb[key] - flow[key]) for key in both) > 1e-3
    frozen = json.loads((tmp_path / "both" / "run.json").read_text())["frozen"]
    assert frozen["model"] == NAME and len(frozen["weights_hash"]) == 64
    write_checkpoint(tmp_path / "other.safetensors", {}, dataclasses.replace(ENTRIES[RGB].described(), notes="another"))
    parts[1] = f"{RGB}={tmp_path / 'other.safetensors'}"
    changed = vidact("classify", video, "--model", NAME, *parts, *common, "-o", "both")
    assert changed.code == 4 and "weights" in changed.err


def test_features_of_two_streams_stand_side_by_side(vidact: Vidact, files: dict[str, Path], tmp_path: Path) -> None:
    video = make(tmp_path / "a.mp4", frames=45, picture=sliding_texture)
    parts = [item for name, file in files.items() for item in ("--backbone-checkpoint", f"{name}={file}")]
    done = vidact(
        *("features", video, "--model", NAME, *parts, "--fps", "native", "--stride", 15),
        *("--cache", tmp_path / "cache", "--workers", 0, "--batch-size", 2, "-o", "out"),
    )
    assert done.code == 0, done.err
    row = Reader(str(tmp_path / "out")).detail().to_pylist()[0]
    assert (row["rows"], row["dimension"]) == (2, 4096)
    assert ", 2 rows, " in done.out and "localize" not in done.err


def test_a_part_without_a_file_is_named(vidact: Vidact, files: dict[str, Path], tmp_path: Path) -> None:
    video = make(tmp_path / "a.mp4", frames=5)
    given = f"{RGB}={files[RGB]}"
    done = vidact("classify", video, "--model", NAME, "--backbone-checkpoint", given, "--workers", 0)
    assert done.code == 3
    assert FLOW in done.err and "--backbone-checkpoint" in done.err
    both = vidact("classify", video, "--model", NAME, "--backbone-checkpoint", given, "--checkpoint", files[RGB])
    assert both.code == 2


def test_a_localizer_reads_what_two_streams_make(tmp_path: Path) -> None:
    video = make(tmp_path / "a.mp4", frames=5)
    files = {name: tmp_path / f"{name}.safetensors" for name in ENTRIES["two-stream-i3d.k400"].spec.streams}
    for name, file in files.items():
        write_checkpoint(file, {}, ENTRIES[name].described())
    parts = tuple(f"{name}={file}" for name, file in files.items())
    request = Request(
        (str(video),), command="features", model="actionformer.thumos14-i3d", backbone_checkpoint=parts, workers=0
    )
    made = prepare(request).choice
    assert made.name == "two-stream-i3d.k400" and made.contract is not None
    contract = made.contract
    assert (contract.fps, contract.window, contract.stride, contract.offset) == ("native", 16, 4, 8.0)
    assert (contract.dimension, contract.flow, contract.backbone) == (2048, True, made.name)
