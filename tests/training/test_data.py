"""Clips out of labelled videos: when, where, in which order, and what unreadable ones cost."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from media import make, number
from training.made import COLOURS, SPEC, coloured_videos

from vidact.errors import UsageError
from vidact.records import VideoFacts
from vidact.training.data import Augmentation, Clips, VideoData, one_clip, random_crop
from vidact.training.lists import Example, Examples, read_examples
from vidact.video.index import read_index

STILL = Augmentation(area=(1.0, 1.0), aspect=(1.0, 1.0), flip=False)


def data(examples: Examples, output: Path, *, workers: int = 0, batch_size: int = 4) -> VideoData:
    return VideoData(
        examples, SPEC, batch_size=batch_size, workers=workers, seed=1, augmentation=Augmentation(), output=output
    )


def seen(batches: object) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [(clips.clone(), labels.clone()) for clips, labels in batches]  # type: ignore[attr-defined]


def equal(one: list[tuple[torch.Tensor, ...]], other: list[tuple[torch.Tensor, ...]]) -> bool:
    return len(one) == len(other) and all(
        torch.equal(a, b) for x, y in zip(one, other, strict=True) for a, b in zip(x, y, strict=True)
    )


def test_a_clip_lies_inside_its_stretch(tmp_path: Path) -> None:
    index = read_index(str(make(tmp_path / "a.mp4", frames=60, fps=20)))
    rng = np.random.default_rng(0)
    example = Example("", "", 1.0, 2.0)
    begins = set()
    for _ in range(50):
        frames = one_clip(index, SPEC.sampling, example, rng).frames[0]
        begins.add(int(frames[0]))
        assert frames.min() >= 20 and frames.max() < 40
    assert len(begins) > 5
    middle = one_clip(index, SPEC.sampling, example, None)
    assert (middle.starts[0] + middle.ends[0]) / 2 == pytest.approx(1.5)


def test_a_short_stretch_repeats_its_last_frame(tmp_path: Path) -> None:
    index = read_index(str(make(tmp_path / "a.mp4", frames=60, fps=20)))
    grid = one_clip(index, SPEC.sampling, Example("", "", 1.0, 1.2), None)
    assert grid.padded[0]
    assert grid.frames[0].tolist() == [21, 23, 23, 23]


def test_validation_sees_the_frames_themselves(tmp_path: Path) -> None:
    path = make(tmp_path / "a.mp4", frames=30, fps=8, codec="mpeg4", options={"qscale": "2"}, size=(64, 64))
    clips = Clips([Example(str(path), "red")], SPEC, STILL, 0)
    clip, label = clips[(-1, 0)]
    assert label == 2 and clip.shape == (4, 16, 16, 3)
    assert [number(np.kron(frame, np.ones((4, 4, 1), np.uint8))) for frame in clip] == [13, 14, 15, 16]


def test_mirroring_mirrors_the_picture(tmp_path: Path) -> None:
    path = make(tmp_path / "a.mp4", frames=8, fps=8, codec="mpeg4", options={"qscale": "2"}, size=(64, 64))
    flipping = Clips([Example(str(path), "red")], SPEC, Augmentation((1.0, 1.0), (1.0, 1.0), flip=True), 0)
    bright = {tuple(clip[0, 1, [1, 14], 1] > 125) for clip, _ in (flipping[(n, 0)] for n in range(12))}
    assert bright == {(True, False), (False, True)}


def test_crops_stay_in_the_picture_and_keep_their_share() -> None:
    facts = VideoFacts(1.0, 0.0, 30.0, 320, 180, 0, "h264", 30)
    rng = np.random.default_rng(0)
    for _ in range(200):
        crop = random_crop(facts, (48, 64), Augmentation(area=(0.3, 0.9)), rng)
        (y, x), (height, width) = crop.crops[0], crop.size
        assert 0 <= y <= crop.height - height and 0 <= x <= crop.width - width
        assert (height / crop.height) * (width / crop.width) <= 0.95


def test_rounds_differ_and_a_skipped_part_is_the_rest_of_the_whole(tmp_path: Path) -> None:
    examples = read_examples(str(coloured_videos(tmp_path / "videos", 4)), share=0.25)
    one = data(examples, tmp_path)
    first, second = seen(one.batches(0, 0)), seen(one.batches(1, 0))
    assert len(first) == one.steps() == 2
    assert not equal(first, second)
    again = data(examples, tmp_path)
    assert equal(seen(again.batches(1, 1)), second[1:])
    assert equal(seen(again.held_out()), seen(one.held_out()))


def test_worker_processes_give_the_same_batches(tmp_path: Path) -> None:
    examples = read_examples(str(coloured_videos(tmp_path / "videos", 2)), share=0.5)
    alone, helped = data(examples, tmp_path, batch_size=2), data(examples, tmp_path, batch_size=2, workers=1)
    assert equal(seen(alone.batches(3, 0)), seen(helped.batches(3, 0)))


def test_unreadable_videos_are_listed_and_left_out(tmp_path: Path) -> None:
    videos = coloured_videos(tmp_path / "videos", 3)
    (videos / "red" / "broken.mp4").write_bytes(b"no video at all")
    train = [Example(str(videos / label / f"{n}.mp4"), label) for label in COLOURS for n in range(2)]
    train += [Example(str(videos / "red" / "broken.mp4"), "red"), Example(str(videos / "gone.mp4"), "red")]
    held = [Example(str(videos / label / "2.mp4"), label) for label in COLOURS]
    one = data(Examples(tuple(train), tuple(held), tuple(COLOURS)), tmp_path / "out", batch_size=8)
    (clips, labels), *_ = seen(one.batches(0, 0))
    assert len(clips) == len(labels) == 6
    assert {Path(path).name for path in one.failures} == {"broken.mp4", "gone.mp4"}
    with open(tmp_path / "out" / "unreadable.csv", newline="") as file:
        assert {Path(row["path"]).name for row in csv.DictReader(file)} == {"broken.mp4", "gone.mp4"}


def test_nothing_readable_is_an_error(tmp_path: Path) -> None:
    rows = tuple(Example(str(tmp_path / f"{n}.mp4"), "red") for n in range(4))
    one = data(Examples(rows, rows, tuple(COLOURS)), tmp_path)
    with pytest.raises(UsageError, match=r"not one of the videos to train on"):
        list(one.batches(0, 0))


def test_a_round_of_which_nothing_is_left_is_no_error(tmp_path: Path) -> None:
    examples = read_examples(str(coloured_videos(tmp_path / "videos", 4)), share=0.25)
    one = data(examples, tmp_path)
    assert seen(one.batches(0, one.steps())) == []
