"""A whole run on real files, in this process: prepared, executed, resumed; and the same from Python."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engine.fakes import FakeTask
from media import make

import vidact
from vidact.engine import machine, run
from vidact.engine.local import Load, LocalPool
from vidact.engine.run import Nowhere, Request, execute, prepare
from vidact.errors import ModelError, RunError, UsageError
from vidact.models import weights, zoo
from vidact.models.zoo import protocols
from vidact.records import Outcome
from vidact.store import manifest
from vidact.store.reader import Reader
from vidact.tasks.classify import Classify

SPEC = zoo.ENTRIES[zoo.DEFAULT].spec


class Model:
    """Scores a clip by its mean brightness; stands in for a network."""

    def prepare(self, frames: np.ndarray) -> np.ndarray:
        return 1 + frames.reshape(len(frames), -1).mean(axis=1)

    def scores(self, clips: np.ndarray) -> Any:
        raw = np.arange(1, SPEC.classes + 1) + np.outer(clips, np.ones(SPEC.classes))
        return torch.from_numpy((raw / raw.sum(axis=1, keepdims=True)).astype(np.float32))


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A file of weights; what is in it is never loaded, only its hash and spec are read."""
    path = tmp_path / "weights.safetensors"
    weights.write_checkpoint(path, {"a": torch.zeros(1)}, SPEC)
    monkeypatch.setattr(Classify, "load", lambda self: Model())
    return str(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "in"
    (made / "sub").mkdir(parents=True)
    make(made / "a.mp4", frames=60, fps=12)
    make(made / "sub" / "b.mp4", frames=8, fps=12)
    (made / "text.mp4").write_text("this is no video")
    return made


def outcomes(request: Request) -> dict[str, Outcome]:
    return {outcome.video.video: outcome for outcome in execute(prepare(request), Nowhere())}


def test_the_threads_of_the_caller_are_left_as_they_were() -> None:
    before = torch.get_num_threads()
    with LocalPool(Load(FakeTask(), machine.split("cpu", workers=0), 8)):
        torch.set_num_threads(before + 1)
    assert torch.get_num_threads() == before


def test_real_files_get_their_rows(folder: Path, checkpoint: str) -> None:
    done = outcomes(Request((str(folder),), checkpoint=checkpoint, workers=0, top_k=1))
    assert sorted(done) == ["a.mp4", "sub/b.mp4", "text.mp4"]
    assert {name: one.status for name, one in done.items()} == {"a.mp4": "ok", "sub/b.mp4": "ok", "text.mp4": "failed"}
    row = done["a.mp4"].row
    assert (row["clips"], row["frames"], row["duration"], row["attempts"]) == (4, 60, 5.0, 1)
    assert row["decoder"] in ("decord", "pyav") and row["codec"] == "h264"
    assert len(done["a.mp4"].details["label"]) == 5
    assert done["text.mp4"].row["stage"] == "index" and not done["text.mp4"].details


def test_views_batches_and_order_do_not_change_a_score(folder: Path, checkpoint: str) -> None:
    found = []
    for batch, views in ((1, None), (7, None), (2, "3x1"), (5, "3x1")):
        done = outcomes(Request((str(folder),), checkpoint=checkpoint, workers=0, batch_size=batch, views=views))
        found.append({name: np.asarray(one.details.get("score", [])).tolist() for name, one in done.items()})
    assert found[0] == found[1] and found[2] == found[3] and found[0] != found[2]


def test_a_run_is_resumed_and_an_idle_one_starts_nothing(
    folder: Path, checkpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = str(tmp_path / "out")
    options: dict[str, Any] = {"checkpoint": checkpoint, "out": out, "workers": 0}
    assert len(list(vidact.classify(folder, **options))) == 3
    make(folder / "c.mp4", frames=12, fps=12)
    make(folder / "a.mp4", frames=30, fps=12)
    request = Request((str(folder),), **options)
    prepared = prepare(request)
    todo = prepared.todo
    assert (todo.new, todo.changed, todo.failed, todo.done, prepared.resumed) == (1, 1, 1, 1, True)
    assert sorted(outcome.video.video for outcome in vidact.classify(folder, **options)) == ["a.mp4", "c.mp4"]
    table = Reader(out).videos(["video", "frames"]).to_pydict()
    frames = dict(zip(table["video"], table["frames"], strict=True))
    assert frames == {"a.mp4": 30, "c.mp4": 12, "sub/b.mp4": 8, "text.mp4": None}
    monkeypatch.setattr(run, "LocalPool", None)
    assert list(vidact.classify(folder, **options)) == []


def test_a_run_keeps_its_settings(folder: Path, checkpoint: str, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    request = Request((str(folder),), checkpoint=checkpoint, out=out, workers=0)
    settings = prepare(request).settings
    assert not Path(out).exists(), "preparing writes nothing"
    assert (settings.model, settings.dtype, settings.root, settings.workers) == (SPEC.name, "float32", str(folder), 0)
    assert len(list(vidact.classify(folder, checkpoint=checkpoint, out=out, workers=0, limit=1))) == 1
    with pytest.raises(RunError, match="top_k: 5 → 3"):
        prepare(Request((str(folder),), checkpoint=checkpoint, out=out, top_k=3))
    assert prepare(Request((str(folder),), checkpoint=checkpoint, out=out, batch_size=3)).resumed
    # The root stays that of the first run, whatever is given now.
    again = prepare(Request((str(folder / "sub"),), checkpoint=checkpoint, out=out))
    assert [video.video for video in again.found.videos] == ["sub/b.mp4"]


def test_nonsense_is_refused_before_anything_starts(folder: Path, checkpoint: str) -> None:
    for options, told in (({"views": "2x3"}, "crops"), ({"views": "2x1", "stride_seconds": 1.0}, "stride-seconds")):
        with pytest.raises(UsageError, match=told):
            prepare(Request((str(folder),), checkpoint=checkpoint, **options))


PAPER = replace(SPEC, protocol=protocols.mmaction(16, 1, "2x3", short_side=96, size=96))


def test_the_published_protocol_brings_its_own_views(folder: Path, checkpoint: str, tmp_path: Path) -> None:
    weights.write_checkpoint(checkpoint, {"a": torch.zeros(1)}, PAPER)
    out = str(tmp_path / "out")
    done = {
        one.video.video: one
        for one in vidact.classify(folder, checkpoint=checkpoint, out=out, workers=0, top_k=1, protocol="paper")
    }
    rows = done["a.mp4"].details
    # Sixteen frames in a row from the first one and up to the last one; a video of eight begins again at its front.
    assert rows["start"].tolist() == pytest.approx([0, 0, 44 / 12])
    assert rows["end"].tolist() == pytest.approx([5, 16 / 12, 5])
    assert not rows["padded"].any() and done["sub/b.mp4"].details["padded"].all()
    assert manifest.load_run(out)["frozen"]["protocol"] == "paper"
    with pytest.raises(RunError, match='protocol: "paper" → "clips"'):
        prepare(Request((str(folder),), checkpoint=checkpoint, out=out))


def test_a_protocol_is_only_frozen_where_it_is_used(folder: Path, checkpoint: str) -> None:
    plain = prepare(Request((str(folder),), checkpoint=checkpoint)).settings.spec_hash
    weights.write_checkpoint(checkpoint, {"a": torch.zeros(1)}, PAPER)
    settings = [
        prepare(Request((str(folder),), checkpoint=checkpoint, protocol=name)).settings for name in ("clips", "paper")
    ]
    assert settings[0].spec_hash == plain != settings[1].spec_hash


def test_a_protocol_that_cannot_be_is_refused(folder: Path, checkpoint: str) -> None:
    with pytest.raises(ModelError, match=r"no published test of attention-r3d-10\.camera-motion-1") as caught:
        prepare(Request((str(folder),), checkpoint=checkpoint, protocol="paper"))
    assert "--views" in (caught.value.hint or "")
    area = replace(SPEC, protocol=protocols.pyslowfast(16, 1, "2x3", size=96))
    weights.write_checkpoint(checkpoint, {"a": torch.zeros(1)}, area)
    for options, told in (
        ({"views": "2x1"}, "--views"),
        ({"clip_seconds": 1.0}, "--clip-seconds"),
        ({"stride_seconds": 1.0}, "--stride-seconds"),
        ({"decoder": "decord"}, "area"),
        ({"protocol": "book"}, "book"),
    ):
        with pytest.raises(UsageError, match=told):
            prepare(Request((str(folder),), checkpoint=checkpoint, **{"protocol": "paper", **options}))


def test_preparing_and_an_idle_run_load_neither_ray_nor_torch(folder: Path, checkpoint: str, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    list(vidact.classify(folder, checkpoint=checkpoint, out=out, workers=0))
    code = (
        "import sys, vidact\n"
        f"assert list(vidact.classify({str(folder)!r}, checkpoint={checkpoint!r}, out={out!r})) == []\n"
        "print([name for name in ('torch', 'ray', 'av', 'decord') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_auto_is_resolved(folder: Path, checkpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "gpus", lambda: 2)
    monkeypatch.setattr(machine, "cpus", lambda: 8)
    prepared = prepare(Request((str(folder),), checkpoint=checkpoint))
    settings = prepared.settings
    assert (settings.device, settings.workers, settings.decoders) == ("cuda", 2, 6)
    assert (
        settings.batch_size > prepare(Request((str(folder),), checkpoint=checkpoint, device="cpu")).settings.batch_size
    )


@pytest.mark.parametrize(("device", "other", "usual"), [("cpu", "cuda", "float32"), ("cuda", "cpu", "bfloat16")])
def test_auto_is_bfloat16_on_a_gpu_and_stays_what_it_was(
    folder: Path, checkpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str, other: str, usual: str
) -> None:
    monkeypatch.setattr(machine, "gpus", lambda: 1)
    options: dict[str, Any] = {"checkpoint": checkpoint, "out": str(tmp_path / "out")}
    asked = Request((str(folder),), **options, dtype="float16", device=device)
    assert prepare(asked).settings.dtype == "float16"
    list(vidact.classify(folder, **options, workers=0, device=device, limit=1))
    assert manifest.load_run(options["out"])["frozen"]["dtype"] == usual
    again = prepare(Request((str(folder),), **options, device=other))
    assert again.resumed and again.settings.dtype == usual


def test_features_are_float32_on_a_gpu_too(folder: Path, checkpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "gpus", lambda: 1)
    settings = prepare(Request((str(folder),), checkpoint=checkpoint, command="features", device="cuda")).settings
    assert (settings.device, settings.dtype) == ("cuda", "float32")
