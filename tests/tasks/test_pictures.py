"""What flow networks are shown: which frames are read, which flow comes of them, and where each field ends up."""

from __future__ import annotations

import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

from vidact.records import Contract, Flow, Geometry, Sampling, Spec, VideoFacts
from vidact.tasks.pictures import Pictures
from vidact.video import flow
from vidact.video.index import Index
from vidact.video.sampling import sliding
from vidact.video.windows import windows

SPEC = Spec(
    name="tiny-flow.test",
    architecture="tiny-flow",
    sampling=Sampling(3, 1, 10.0),
    geometry=Geometry((32, 32), short_side=48),
    mean=(0.5, 0.5),
    std=(0.5, 0.5),
    labels=(),
    classes=3,
    flow=Flow(chained=True, still=128.0),
)
STACKED = replace(SPEC, flow=Flow(fields=2), mean=(0.5,) * 4, std=(0.5,) * 4)


def steady(frames: int, fps: float) -> Index:
    """An index without a file."""
    ends = (np.arange(frames) + 1) / fps
    facts = VideoFacts(float(ends[-1]), 0.0, fps, 64, 48, 0, "h264", frames)
    seconds = np.concatenate([[0.0], ends[:-1]])
    keys, order = np.zeros(1, np.int64), np.zeros(0, np.int64)
    pts, base = np.arange(frames), Fraction(1, 1000)
    return Index("no.mp4", facts, base, pts, seconds, ends, keys, False, "pts", order, True, 0, "mp4", 0)


class Eyes:
    """Stands in for a model: gives back the levels it is shown."""

    device = torch.device("cpu")

    def normalise(self, levels: torch.Tensor) -> torch.Tensor:
        return levels

    def prepare(self, pictures: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(pictures)


class TwoEyes:
    device = torch.device("cpu")
    rgb = flow = Eyes()


def scene(steps: list[int], side: int = 48) -> np.ndarray:
    """uint8 (N, side, side, 3): a coarse texture that has moved so many pixels to the right in each picture."""
    noise = torch.rand((1, 1, 12, 16), generator=torch.Generator().manual_seed(7))
    wide = torch.nn.functional.interpolate(noise, size=(side, side + 32), mode="bicubic", align_corners=True)[0, 0]
    texture = (wide.clamp(0, 1) * 255).round().to(torch.uint8).numpy()
    return np.stack([np.repeat(texture[:, 16 - step : 16 - step + side, None], 3, axis=2) for step in steps])


def test_a_model_of_pictures_is_left_alone() -> None:
    spec = replace(SPEC, flow=None, mean=(0.5,) * 3, std=(0.5,) * 3)
    pictures = Pictures(spec)
    assert pictures.item == (3, 32, 32, 3) and pictures.geometry == spec.geometry
    index = steady(30, 10.0)
    grid = sliding(index, spec.sampling)
    assert pictures.follow(index, grid) is grid
    frames = np.zeros((2, 3, 32, 32, 3), np.uint8)
    assert pictures.clips(Eyes(), frames).shape == frames.shape


def test_chained_flow_reads_one_frame_more() -> None:
    pictures = Pictures(SPEC)
    assert pictures.item == (4, 48, 48, 3) and pictures.geometry.size == (48, 48)
    for fps, expected in ((10.0, [[0, 1, 2, 3], [3, 4, 5, 6], [6, 7, 8, 8]]), (20.0, [[1, 3, 5, 7], [4, 6, 8, 8]])):
        index = steady(9, fps)
        assert pictures.follow(index, sliding(index, SPEC.sampling)).frames.tolist() == expected


def test_stacked_flow_reads_the_frames_behind_each() -> None:
    pictures = Pictures(STACKED)
    assert pictures.item == (9, 48, 48, 3)
    index = steady(18, 20.0)
    frames = pictures.follow(index, sliding(index, STACKED.sampling)).frames
    assert frames[0].tolist() == [1, 2, 3, 3, 4, 5, 5, 6, 7]
    assert frames[-1].tolist() == [13, 14, 15, 15, 16, 17, 17, 17, 17]


def test_windows_of_features_end_where_the_next_begins() -> None:
    index = steady(12, 25.0)
    for rate in ("native", 25.0):
        contract = Contract(rate, 4, 2, 2.0, 8, "tiny-flow.test", flow=True)  # type: ignore[arg-type]
        grid, _ = windows(index, contract, 4)
        found = Pictures(SPEC, 4).follow(index, grid, ahead=0.0).frames
        assert found.tolist() == [[i, i + 1, i + 2, i + 3, min(i + 4, 11)] for i in (0, 2, 4, 6, 8)]


def test_chained_flow_has_x_and_y_of_every_step() -> None:
    levels = Pictures(SPEC).clips(Eyes(), scene([0, 2, 2, -1])[None])
    assert levels.shape == (1, 2, 3, 32, 32)
    middle = levels[0, :, :, 8:-8, 8:-8].mean(dim=(2, 3))
    expected = 128 + 6.375 * torch.tensor([2.0, 0.0, -3.0])
    assert (middle[0] - expected).abs().max() < 2
    assert (middle[1] - 128).abs().max() < 1


def test_stacked_flow_has_x_and_y_of_each_field_in_turn() -> None:
    first, second, third = [0, 1, 3], [0, 0, 0], [2, 1, -2]
    levels = Pictures(STACKED).clips(Eyes(), scene(first + second + third)[None])
    assert levels.shape == (1, 4, 3, 32, 32)
    middle = levels[0, :, :, 8:-8, 8:-8].mean(dim=(2, 3))
    expected = 127.5 + 6.375 * torch.tensor([[1.0, 0.0, -1.0], [2.0, 0.0, -3.0]])
    assert (middle[0::2] - expected).abs().max() < 2  # x of the first field, then of the second
    assert (middle[1::2] - 128).abs().max() < 1


def test_flow_is_made_of_the_whole_square_and_cut_afterwards() -> None:
    shown = scene([0, 2])
    field = flow.tvl1(*(flow.grey(torch.from_numpy(one))[None] for one in shown))[0]
    expected = flow.levels(field[:, 8:40, 8:40], 128.0)
    spec = replace(SPEC, sampling=Sampling(1, 1, 10.0))
    assert torch.equal(Pictures(spec).clips(Eyes(), shown[None])[0, :, 0], expected)


def test_two_streams_see_the_same_frames() -> None:
    for spec, places in ((SPEC, [0, 1, 2]), (STACKED, [0, 3, 6])):
        pictures = Pictures(replace(spec, streams=("a", "b")))
        shown = scene(list(range(pictures.item[0])))
        rgb, levels = pictures.clips(TwoEyes(), shown[None])
        assert torch.equal(rgb[0], torch.from_numpy(shown[places, 8:40, 8:40]))
        assert torch.equal(levels, Pictures(spec).clips(Eyes(), shown[None]))


def test_what_clips_share_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    computed, tvl1 = [], flow.tvl1

    def counted(first: Any, second: Any) -> Any:
        computed.append(len(first))
        return tvl1(first, second)

    monkeypatch.setattr(flow, "tvl1", counted)
    shown = scene([0, 1, 3, 2, 5, 4])
    pictures = Pictures(SPEC)
    batches = [np.stack([shown[0:4], shown[1:5]]), np.stack([shown[2:6], np.zeros_like(shown[:4])])]
    found = [pictures.clips(Eyes(), batch) for batch in batches]
    assert computed == [4, 2]
    for clip, expected in zip(torch.cat(found)[:3], (shown[0:4], shown[1:5], shown[2:6]), strict=True):
        assert torch.equal(clip, Pictures(SPEC).clips(Eyes(), expected[None])[0])
    assert (found[1][1] == 128).all()


def test_what_threads_share_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    computed, tvl1, together = [], flow.tvl1, threading.Barrier(4)
    shown = scene([0, 1, 3, 2, 5, 4, 6])
    clips = [shown[first : first + 4][None] for first in range(4)]
    expected = [Pictures(SPEC).clips(Eyes(), clip) for clip in clips]

    def slow(first: Any, second: Any) -> Any:
        computed.append(len(first))
        time.sleep(0.1)
        return tvl1(first, second)

    def one(clip: np.ndarray) -> torch.Tensor:
        together.wait(10)
        return pictures.clips(Eyes(), clip)

    monkeypatch.setattr(flow, "tvl1", slow)
    pictures = pickle.loads(pickle.dumps(Pictures(SPEC)))
    with ThreadPoolExecutor(4) as lanes:
        found = list(lanes.map(one, clips))
    assert sum(computed) == 6
    assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))


def test_flow_that_other_threads_push_out_is_still_there_for_who_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    tvl1, begun, others_done = flow.tvl1, threading.Event(), threading.Event()
    shown, pictures = scene([0, 1, 3, 2, 5]), Pictures(SPEC)
    expected = pictures.clips(Eyes(), shown[None, :4]), Pictures(SPEC).clips(Eyes(), shown[None, 1:])

    def held(first: Any, second: Any) -> Any:
        if threading.current_thread() is not threading.main_thread():
            begun.set()
            assert others_done.wait(10)
        return tvl1(first, second)

    monkeypatch.setattr(flow, "tvl1", held)
    with ThreadPoolExecutor(1) as lane:
        found = lane.submit(pictures.clips, Eyes(), shown[None, 1:])  # two of its three are known
        assert begun.wait(10)
        for steps in ([7, 8, 9, 10], [10, 8, 6, 4], [-1, -3, -5, -7]):
            pictures.clips(Eyes(), scene(steps)[None])
        others_done.set()
        assert torch.equal(found.result(), expected[1])
    assert torch.equal(pictures.clips(Eyes(), shown[None, :4]), expected[0])


def test_flow_that_fails_fails_for_all_who_wait_and_is_tried_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    shown, pictures, together = scene([0, 1, 3, 2])[None], Pictures(SPEC), threading.Barrier(4)

    def broken(first: Any, second: Any) -> Any:
        time.sleep(0.05)
        raise MemoryError("no room")

    def one(_: int) -> None:
        together.wait(10)
        with pytest.raises(MemoryError, match="no room"):
            pictures.clips(Eyes(), shown)

    with monkeypatch.context() as patch, ThreadPoolExecutor(4) as lanes:
        patch.setattr(flow, "tvl1", broken)
        assert len(list(lanes.map(one, range(4)))) == 4
    assert torch.equal(pictures.clips(Eyes(), shown), Pictures(SPEC).clips(Eyes(), shown))


def test_several_crops_are_where_they_would_be_without_flow() -> None:
    pictures = Pictures(SPEC, crops=3)
    assert pictures.item == (4, 32, 32, 3) and pictures.geometry == SPEC.geometry
    assert pictures.clips(Eyes(), scene([0, 1, 2, 3], 32)[None]).shape == (1, 2, 3, 32, 32)
