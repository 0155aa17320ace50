"""``features`` and ``localize`` on real files, in this process: rows, cache, folders, refusals, resume."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from media import make

import vidact
from vidact.engine.request import Request
from vidact.engine.run import prepare
from vidact.errors import ModelError, RunError, UsageError
from vidact.models import zoo
from vidact.models.localization.segments import Detections
from vidact.models.localization.settings import Settings, Suppression
from vidact.models.localization.tcn import TCN
from vidact.models.weights import bundled, write_checkpoint
from vidact.records import Contract, LocalizerSpec, Outcome
from vidact.store.feature_files import export, open_features
from vidact.store.features import STALE, FeatureCache
from vidact.store.reader import Reader

ENTRY = zoo.ENTRIES[zoo.DEFAULT]
CONTRACT = Contract(12.0, 16, 4, 8.0, 128, ENTRY.spec.name, f"sha256:{ENTRY.sha256}")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VIDACT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    folder = tmp_path / "videos"
    (folder / "day").mkdir(parents=True)
    make(folder / "a.mp4", frames=90)
    make(folder / "day" / "b.mkv", frames=20)
    (folder / "broken.mp4").write_text("no video")
    return folder


SETTINGS = Settings(64, threshold=0.05)


def localizer(path: Path, contract: Contract = CONTRACT, settings: Settings = SETTINGS) -> str:
    """A TCN with made-up weights that finds something in everything."""
    torch.manual_seed(0)
    facts = {"vidact": settings.to_json()}
    spec = LocalizerSpec("tcn.made-up", "tcn", contract, 2, ("run", "jump"), settings=facts)
    write_checkpoint(path, TCN(contract.dimension, width=6, layers=2, classes=2).state_dict(), spec)
    return str(path)


def localized(*inputs: Path, **options: Any) -> dict[str, Outcome]:
    found = vidact.localize([str(path) for path in inputs], workers=0, **options)
    return {outcome.video.video: outcome for outcome in found}


def same(one: Outcome, other: Outcome) -> None:
    for name in ("start", "end", "score", "label_id"):
        np.testing.assert_allclose(one.details[name], other.details[name], atol=1e-5)


def extract(videos: Path, out: Path, **options: Any) -> None:
    from vidact.engine.run import execute
    from vidact.store.rundir import RunDir

    prepared = prepare(Request((str(videos),), out=str(out), command="features", workers=0, **options))
    run = RunDir.open(str(out), prepared.settings)
    list(execute(prepared, run))
    run.close({"exit": "done"})


def test_segments_of_videos_of_cached_and_of_exported_features_are_the_same(videos: Path, tmp_path: Path) -> None:
    checkpoint = localizer(tmp_path / "x.safetensors")
    fresh = localized(videos, checkpoint=checkpoint, save_features=True)
    assert {name: outcome.status for name, outcome in fresh.items()} == {
        "a.mp4": "ok",
        "day/b.mkv": "ok",
        "broken.mp4": "failed",
    }
    assert len(fresh["a.mp4"].details["start"]) and fresh["a.mp4"].row["decoder"] == "decord"
    assert fresh["a.mp4"].details["end"].max() <= 3.0
    again = localized(videos, checkpoint=checkpoint)
    same(fresh["a.mp4"], again["a.mp4"])
    assert again["a.mp4"].row["decoder"] is None and again["a.mp4"].row["duration"] == 3.0  # nothing was decoded

    extract(videos, tmp_path / "features", model=ENTRY.spec.name)
    listed = localized(features=str(tmp_path / "features"), checkpoint=checkpoint)
    assert set(listed) == {"a.mp4", "day/b.mkv"}  # of the broken one there are no features
    same(fresh["a.mp4"], listed["a.mp4"])

    export(open_features(str(tmp_path / "features")), str(tmp_path / "export"), "npy", turned=True)
    exported = localized(videos, features=str(tmp_path / "export"), checkpoint=checkpoint)
    same(fresh["day/b.mkv"], exported["day/b.mkv"])


def test_features_are_those_of_the_model_and_rows_stand_where_the_contract_says(videos: Path, tmp_path: Path) -> None:
    extract(videos, tmp_path / "features", model=ENTRY.spec.name, stride=5)
    folder = open_features(str(tmp_path / "features"))
    features = folder.read("a.mp4")
    # 3 s are 36 frames at 12 a second: (36 - 16) / 5 + 1 windows.
    assert features.array.shape == (5, 128)
    np.testing.assert_allclose(features.centres, (np.arange(5) * 5 + 8) / 12)
    model = vidact.load_model()
    from vidact.video.decode import ClipReader
    from vidact.video.index import read_index
    from vidact.video.transform import plan
    from vidact.video.windows import windows

    index = read_index(str(videos / "a.mp4"))
    grid, _ = windows(index, folder.contract, 16)
    # 12 of 30 frames a second: row 1 begins with the frame on display at 5 / 12 s.
    assert grid.frames[1, 0] == int(5 / 12 * 30)
    with ClipReader(index, grid, plan(index.facts, ENTRY.spec.geometry, 1)) as reader:
        frames = np.concatenate([decoded.frames for decoded in reader if decoded])
    np.testing.assert_allclose(features.array, model.features(model.prepare(frames)), atol=1e-5)
    short = folder.read("day/b.mkv")
    assert short.array.shape == (1, 128)  # shorter than a window: padded, one row


def test_native_features_follow_the_frames_of_the_video(videos: Path, tmp_path: Path) -> None:
    extract(videos, tmp_path / "features", model=ENTRY.spec.name, fps="native", stride=4)
    features = open_features(str(tmp_path / "features")).read("a.mp4")
    assert features.array.shape == ((90 - 16) // 4 + 1, 128)
    np.testing.assert_allclose(features.centres, (4 * np.arange(19) + 8) / 30, atol=1e-6)


def test_features_of_another_contract_are_refused_with_both(videos: Path, tmp_path: Path) -> None:
    extract(videos, tmp_path / "features", model=ENTRY.spec.name, stride=5)
    with pytest.raises(UsageError) as caught:
        localized(features=str(tmp_path / "features"), checkpoint=localizer(tmp_path / "x.safetensors"))
    assert "stride is 5, wanted 4" in caught.value.message
    assert "at stride 5" in caught.value.details[0] and "at stride 4" in caught.value.details[1]
    other = dataclasses.replace(CONTRACT, weights="sha256:" + "0" * 64)
    with pytest.raises(ModelError, match="does not make the features wanted: weights"):
        localized(videos, checkpoint=localizer(tmp_path / "y.safetensors", other))


def test_a_localizer_whose_features_vidact_does_not_make(videos: Path, tmp_path: Path) -> None:
    foreign = Contract(30.0, 16, 4, 8.0, 128, "a network of somebody's")
    checkpoint = localizer(tmp_path / "x.safetensors", foreign)
    with pytest.raises(ModelError, match="reads features vidact does not make"):
        localized(videos, checkpoint=checkpoint)
    folder = tmp_path / "features"
    folder.mkdir()
    (folder / "manifest.json").write_text(json.dumps({"fps": 30, "window": 16, "stride": 4, "offset": 8}))
    np.save(folder / "a.npy", np.random.default_rng(0).normal(size=(20, 128)).astype(np.float32))
    np.save(folder / "nan.npy", np.full((20, 128), np.nan, np.float32))
    np.save(folder / "turned.npy", np.zeros((128, 20), np.float32))
    np.save(folder / "one.npy", np.zeros((1, 128), np.float32))
    (folder / "cut.npy").write_bytes(b"\x93NUMPY")
    found = localized(features=str(folder), checkpoint=checkpoint)
    assert {name: outcome.status for name, outcome in found.items()} == {
        "a": "ok",
        "nan": "failed",
        "turned": "failed",
        "one": "ok",
        "cut": "failed",
    }
    assert found["nan"].row["error"] == "BadFeatures" and "NaN" in found["nan"].row["error_message"]
    assert "transposed" in found["turned"].row["error_message"]
    # With videos named too, each takes its features; where there are none, that video fails and says so.
    found = localized(videos, features=str(folder), checkpoint=checkpoint)
    assert found["a.mp4"].status == "ok" and found["day/b.mkv"].row["error"] == "NoFeatures"
    with pytest.raises(ModelError):  # a backbone that was named is not left out in silence
        localized(videos, features=str(folder), checkpoint=checkpoint, backbone_checkpoint=("i3d.k400=x.pt",))


def test_options_that_thin_out(videos: Path, tmp_path: Path) -> None:
    checkpoint = localizer(tmp_path / "x.safetensors")
    every = localized(videos / "a.mp4", checkpoint=checkpoint, nms="none")["a.mp4"].details
    few = localized(videos / "a.mp4", checkpoint=checkpoint, nms="none", max_segments=1)["a.mp4"].details
    assert len(every["score"]) == 2 and len(few["score"]) == 1
    best = float(every["score"].max())
    assert few["score"].tolist() == [best]
    assert localized(videos / "a.mp4", checkpoint=checkpoint, min_score=best)["a.mp4"].details["score"].tolist() == [
        best
    ]


@pytest.mark.parametrize("score", [float("nan"), -0.1, 1.1])
def test_a_score_no_segment_can_have_is_refused(videos: Path, score: float) -> None:
    with pytest.raises(UsageError, match="min_score is"):
        list(vidact.localize(str(videos), workers=0, min_score=score))


def test_hard_suppression_keeps_what_does_not_overlap_where_the_weights_name_no_overlap(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = np.array([[0, 4], [0.2, 4], [6, 9]], np.float32)
    apart = Detections(rows, np.array([0.9, 0.8, 0.7], np.float32), np.zeros(3, np.int64))
    monkeypatch.setattr(TCN, "find", lambda network, features, settings: apart)
    nms = Suppression(iou=0.0, by_class=False)
    checkpoint = localizer(tmp_path / "x.safetensors", settings=Settings(64, nms=nms))
    scores = localized(videos / "a.mp4", checkpoint=checkpoint, nms="hard")["a.mp4"].details["score"]
    assert scores.tolist() == pytest.approx([0.9, 0.7])


def test_weights_may_say_below_which_score_segments_are_noise(videos: Path, tmp_path: Path) -> None:
    from vidact.models.weights import read_localizer_spec, read_tensors

    checkpoint = localizer(tmp_path / "x.safetensors")
    scores = localized(videos / "a.mp4", checkpoint=checkpoint)["a.mp4"].details["score"]
    spec = read_localizer_spec(checkpoint)
    assert spec is not None and spec.min_score == 0 and len(scores) > 1
    careful = str(tmp_path / "y.safetensors")
    write_checkpoint(careful, read_tensors(checkpoint), dataclasses.replace(spec, min_score=float(scores.max())))
    kept = localized(videos / "a.mp4", checkpoint=careful)["a.mp4"].details["score"]
    assert kept.tolist() == [scores.max()]
    every = localized(videos / "a.mp4", checkpoint=careful, min_score=0.0)["a.mp4"].details["score"]
    np.testing.assert_array_equal(every, scores)


def test_a_run_resumes_and_freezes_what_decides(videos: Path, tmp_path: Path) -> None:
    checkpoint, out = localizer(tmp_path / "x.safetensors"), str(tmp_path / "out")
    assert len(localized(videos, checkpoint=checkpoint, out=out)) == 3
    assert localized(videos, checkpoint=checkpoint, out=out) == {}
    reader = Reader(out)
    assert reader.folder.table == "segments" and set(reader.detail().column("video").to_pylist()) == {
        "a.mp4",
        "day/b.mkv",
    }
    assert (reader.detail().column("end").to_numpy() > reader.detail().column("start").to_numpy()).all()
    with pytest.raises(RunError, match="nms: null → "):
        localized(videos, checkpoint=checkpoint, out=out, nms="hard")
    with pytest.raises(RunError, match="holds a run of `vidact localize`, and this is `vidact classify`") as caught:
        list(vidact.classify(str(videos), out=out, workers=0))
    assert "-o" in caught.value.hint and "deletes the results" in caught.value.hint


def test_damaged_features_in_the_cache_are_made_anew_and_lost_ones_of_a_run_too(videos: Path, tmp_path: Path) -> None:
    make(videos / "one.mp4", frames=1)
    checkpoint, out = localizer(tmp_path / "x.safetensors"), tmp_path / "features"
    extract(videos, out, model=ENTRY.spec.name)
    paths = open_features(str(out)).paths
    whole = {name: path.read_bytes() for name, path in paths.items()}
    paths["a.mp4"].write_bytes(whole["a.mp4"][:-4])
    found = localized(videos, checkpoint=checkpoint, save_features=True)
    assert found["a.mp4"].status == "ok" and paths["a.mp4"].read_bytes() == whole["a.mp4"]
    assert not len(found["one.mp4"].details["start"])  # no segment of no length
    paths["day/b.mkv"].unlink()
    with pytest.raises(RunError, match=r"contract.stride: 4 → 5$"):
        extract(videos, out, model=ENTRY.spec.name, stride=5)
    extract(videos, out, model=ENTRY.spec.name)
    assert paths["day/b.mkv"].read_bytes() == whole["day/b.mkv"]
    assert sorted(Reader(str(out)).detail().column("video").to_pylist()) == ["a.mp4", "day/b.mkv", "one.mp4"]


def test_what_a_killed_run_left_half_written_goes_and_what_a_living_one_writes_stays(
    videos: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    shelf = cache / ("0" * 16) / "ab"
    shelf.mkdir(parents=True)
    names = (f".{'a' * 40}.{'0' * 16}.tmp", f".{'a' * 40}.{'1' * 16}.tmp", ".mine.tmp", f"{'a' * 40}.safetensors")
    for name in names:
        (shelf / name).write_bytes(b"half")
    old = time.time() - STALE - 60
    for name in names[1:]:
        os.utime(shelf / name, (old, old))
    checkpoint = localizer(tmp_path / "x.safetensors")
    localized(videos / "a.mp4", checkpoint=checkpoint, cache=str(cache))
    assert (shelf / names[1]).exists(), "a run that writes no features leaves the cache alone"
    localized(videos / "a.mp4", checkpoint=checkpoint, cache=str(cache), save_features=True)
    assert sorted(os.listdir(shelf)) == sorted({*names} - {names[1]})


def test_what_could_not_be_decoded_is_told_again_when_features_come_from_the_cache(tmp_path: Path) -> None:
    path = make(tmp_path / "a.mp4", frames=240)
    whole = bytearray(path.read_bytes())
    half = len(whole) // 2
    whole[half : half + len(whole) // 4] = bytes(len(whole) // 4)
    path.write_bytes(whole)
    options = {"checkpoint": localizer(tmp_path / "x.safetensors"), "save_features": True}
    first, again = (localized(path, **options)["a.mp4"] for _ in range(2))
    assert (first.row["decoder"], again.row["decoder"]) == ("pyav", None)
    for name in ("status", "error", "error_message"):
        assert again.row[name] == first.row[name] != "ok", name
    same(first, again)


@pytest.mark.parametrize("command", ["localize", "features"])
def test_a_cache_that_goes_away_meanwhile_is_no_failure_for_good(
    videos: Path, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    options: dict[str, Any] = {"checkpoint": localizer(tmp_path / "x.safetensors")}
    extract(videos, tmp_path / "out", **options)
    monkeypatch.setattr(FeatureCache, "read", gone(FeatureCache.read))
    if command == "localize":
        rows = [outcome.row for outcome in localized(videos, **options).values()]
    else:
        extract(videos, tmp_path / "again", **options)
        rows = Reader(str(tmp_path / "again")).videos().to_pylist()
    assert {row["error"] for row in rows if row["video"] != "broken.mp4"} == {"StillChanging"}


def gone(read: Any) -> Any:
    """As ``read``, but whatever was opened is there no longer when it is to be finished."""

    def changed(self: FeatureCache, video: Any, *, check: bool = False) -> Any:
        if not check:
            raise UsageError("there is no such file")
        return read(self, video, check=True)

    return changed


def test_a_cache_that_cannot_be_written_ends_the_run(videos: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunError, match="cannot write") as caught:
        extract(videos, tmp_path / "out", model=ENTRY.spec.name, cache=str(tmp_path / "file" / "cache"))
    assert "--cache" in caught.value.hint


def test_names_of_classes_and_files_that_are_not_what_they_should_be(videos: Path, tmp_path: Path) -> None:
    checkpoint, names = localizer(tmp_path / "x.safetensors"), tmp_path / "names.txt"
    names.write_text("gehen\nspringen\n")
    found = localized(videos / "a.mp4", checkpoint=checkpoint, labels=str(names))["a.mp4"].details
    assert set(found["label"]) <= {"gehen", "springen"} and len(found["label"])
    names.write_text("gehen\n")
    with pytest.raises(ModelError, match="hold 1 names, the model has 2 classes"):
        localized(videos, checkpoint=checkpoint, labels=str(names))
    recogniser = str(bundled(ENTRY.bundled))
    with pytest.raises(UsageError, match=r"builds on attention-r3d-10[.]camera-motion-1, not on 'other'"):
        localized(videos, checkpoint=checkpoint, backbone_checkpoint=(f"other={recogniser}",))
    with pytest.raises(ModelError, match="a recogniser, not a localizer"):
        localized(videos, checkpoint=recogniser)
    with pytest.raises(ModelError, match="a localizer, not a recogniser"):
        list(vidact.classify(str(videos), checkpoint=checkpoint, workers=0))
    with pytest.raises(ModelError, match="is a localizer, not a recogniser"):
        list(vidact.classify(str(videos), model="actionformer.thumos14-i3d", workers=0))
    (tmp_path / "x.pth").write_text("<!DOCTYPE html>")
    with pytest.raises(ModelError, match="is a web page, not weights"):
        localized(videos, checkpoint=str(tmp_path / "x.pth"))
    torch.save({"a": torch.zeros(2)}, tmp_path / "y.pth")
    with pytest.raises(ModelError, match="does not say which localizer"):
        localized(videos, checkpoint=str(tmp_path / "y.pth"))
    with pytest.raises(ModelError, match="is a web page, not weights"):
        vidact.load_model("slowfast-r50-8x8", checkpoint=str(tmp_path / "x.pth"))
    extract(videos, tmp_path / "features", checkpoint=checkpoint)  # those the localizer reads
    assert open_features(str(tmp_path / "features")).contract == dataclasses.replace(
        CONTRACT, normalisation="mean 0.5 0.5 0.5 std 0.25 0.25 0.25", crop="96x96, squashed"
    )
