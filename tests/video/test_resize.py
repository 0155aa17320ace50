"""Scaling after decoding, against OpenCV, against torch, and against Pillow's filter written out as matrices."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch
from media import make

from vidact.models.zoo import protocols as known
from vidact.video.decode import ClipReader
from vidact.video.index import read_index
from vidact.video.protocols import published
from vidact.video.resize import Resizer
from vidact.video.transform import Kernel, Plan
from vidact.video.transform import published as plan_of

SIZES = [((256, 340), (224, 298)), ((240, 426), (256, 454)), ((360, 640), (112, 199)), ((96, 54), (227, 128))]


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)


def resized(picture: np.ndarray, height: int, width: int, kernel: Kernel) -> np.ndarray:
    native = picture.shape[0], picture.shape[1]
    return Resizer(Plan(height, width, ((0, 0),), (height, width), kernel, native))(picture)


@pytest.mark.parametrize(("source", "target"), SIZES)
def test_fixed_is_opencv_to_the_bit(source: tuple[int, int], target: tuple[int, int]) -> None:
    picture = noise(*source)
    assert (resized(picture, *target, "fixed") == cv2.resize(picture, target[::-1])).all()


@pytest.mark.parametrize(("source", "target"), SIZES)
def test_linear_is_torch_but_for_whole_levels(source: tuple[int, int], target: tuple[int, int]) -> None:
    picture = noise(*source)
    planes = torch.from_numpy(picture).permute(2, 0, 1)[None].float()
    expected = torch.nn.functional.interpolate(planes, size=target, mode="bilinear", align_corners=False)
    assert np.abs(resized(picture, *target, "linear") - expected[0].permute(1, 2, 0).numpy()).max() <= 0.52


def matrix(source: int, target: int) -> np.ndarray:
    """(target, source): a triangle stretched over the pixels of whichever side is coarser."""
    scale = max(source / target, 1.0)
    weights = np.zeros((target, source))
    for row in range(target):
        centre = (row + 0.5) * source / target
        for column in range(max(0, int(centre - scale + 0.5)), min(source, int(centre + scale + 0.5))):
            weights[row, column] = max(0.0, 1 - abs((column + 0.5 - centre) / scale))
    return weights / weights.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(("source", "target"), SIZES)
def test_the_filter_widens_as_pillows(source: tuple[int, int], target: tuple[int, int]) -> None:
    picture = noise(*source)
    across = np.einsum("ow,hwc->hoc", matrix(source[1], target[1]), picture.astype(np.float64))
    across = np.clip(np.floor(across + 0.5), 0, 255)
    expected = np.clip(np.floor(np.einsum("oh,hwc->owc", matrix(source[0], target[0]), across) + 0.5), 0, 255)
    difference = np.abs(resized(picture, *target, "antialiased") - expected)
    assert difference.max() <= 1 and difference.mean() < 0.03  # a sum that ends in .5 may fall either way


@pytest.mark.parametrize("kernel", ["fixed", "linear", "antialiased"])
def test_only_what_the_crops_show_is_computed(kernel: Kernel) -> None:
    picture = noise(120, 160)
    whole = resized(picture, 90, 120, kernel)
    resizer = Resizer(Plan(90, 120, ((10, 20), (14, 60)), (50, 40), kernel, (120, 160)))
    part = resizer(picture)
    assert part.shape == (54, 80, 3)
    for (y, x), (top, left) in zip(resizer.plan.crops, ((10, 20), (14, 60)), strict=True):
        assert (part[y : y + 50, x : x + 40] == whole[top : top + 50, left : left + 40]).all()


def frames_of(path: Path, size: tuple[int, int], interpolation: str) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [
            frame.reformat(*size[::-1], format="rgb24", interpolation=interpolation).to_ndarray()
            for frame in container.decode(video=0)
        ]


@pytest.mark.parametrize("decoder", ["decord", "pyav"])
def test_decoders_agree_at_native_size(tmp_path: Path, decoder: str) -> None:
    path = make(tmp_path / "a.mp4", frames=50, fps=25, size=(160, 120), options={"bf": "2"})
    index, protocol = read_index(str(path)), known.mmaction(4, 2, "2x3", short_side=64, size=64)
    grid, plan = published(index, protocol), plan_of(index.facts, protocol)
    with ClipReader(index, grid, plan, decoder=decoder, heartbeat=None) as reader:
        found = [item.frames for item in reader if item is not None]
    native = frames_of(path, (120, 160), "BICUBIC")
    assert len(found) == 2
    for views, row in zip(found, grid.frames, strict=True):
        pictures = np.stack([cv2.resize(native[frame], (85, 64)) for frame in row])
        for view, (y, x) in zip(views, ((0, 0), (0, 20), (0, 10)), strict=True):
            assert (view == pictures[:, y : y + 64, x : x + 64]).all()


def test_the_torchvision_reader_scales_by_area(tmp_path: Path) -> None:
    path = make(tmp_path / "a.mp4", frames=40, fps=25, size=(160, 120))
    index, protocol = read_index(str(path)), known.pyslowfast(4, 2, "2x3", size=64)
    grid, plan = published(index, protocol), plan_of(index.facts, protocol)
    with ClipReader(index, grid, plan, heartbeat=None) as reader:
        found = [item.frames for item in reader if item is not None]
    assert reader.decoder == "pyav"
    scaled = frames_of(path, (64, 85), "AREA")
    for views, row in zip(found, grid.frames, strict=True):
        for view, x in zip(views, (0, 11, 21), strict=True):
            assert (view == np.stack([scaled[frame] for frame in row])[:, :, x : x + 64]).all()
