"""TV-L1 against motion that is known, against OpenCV's own, and against fields OpenCV left in a record.

The grey pictures are three consecutive frames of mmaction2's demo video (Apache-2.0).
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import avg_pool2d, grid_sample, interpolate

from vidact.video import flow

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "pipelines"
HEIGHT, WIDTH = 72, 96


def texture(seed: int, height: int = HEIGHT, width: int = WIDTH) -> torch.Tensor:
    """Smooth noise of grey levels 0 to 255, as coarse as flow over several pixels needs."""
    noise = torch.rand((1, 1, height // 8, width // 8), generator=torch.Generator().manual_seed(seed))
    return (
        interpolate(noise, size=(height, width), mode="bicubic", align_corners=True)[0, 0].clamp(0, 1) * 255
    ).round()


def moved(picture: torch.Tensor, right: torch.Tensor, down: torch.Tensor) -> torch.Tensor:
    """What is at (x, y) now is what was at (x - right, y - down)."""
    height, width = picture.shape
    x = torch.arange(width) - right
    y = torch.arange(height)[:, None] - down
    at = torch.stack(torch.broadcast_tensors(2 * x / (width - 1) - 1, 2 * y / (height - 1) - 1), -1)
    return grid_sample(picture[None, None], at[None].float(), mode="bicubic", align_corners=True)[0, 0].round()


def inside(field: torch.Tensor, border: int = 8) -> torch.Tensor:
    return field[..., border:-border, border:-border]


@pytest.mark.parametrize(("right", "down"), [(3.0, 0.0), (0.0, -2.0), (-1.5, 2.5), (6.0, 4.0)])
def test_a_picture_that_moves_moves_everywhere(right: float, down: float) -> None:
    picture = texture(1)
    field = flow.tvl1(picture[None], moved(picture, torch.tensor(right), torch.tensor(down))[None])[0]
    assert field.shape == (2, HEIGHT, WIDTH) and field.dtype == torch.float32
    expected = torch.tensor([right, down])[:, None, None]
    assert (inside(field) - expected).abs().mean() < 0.1


def test_zooming_in_moves_points_away_from_the_middle() -> None:
    picture, zoom = texture(2), 1.06
    x = (torch.arange(WIDTH) - (WIDTH - 1) / 2) * (zoom - 1)
    y = (torch.arange(HEIGHT)[:, None] - (HEIGHT - 1) / 2) * (zoom - 1)
    # A point at x goes to x + right; the second picture shows at x what was at x / zoom.
    found = flow.tvl1(picture[None], moved(picture, x / zoom, y / zoom)[None])[0]
    expected = torch.stack(torch.broadcast_tensors(x, y))
    assert inside(found - expected).abs().mean() < 0.15
    assert expected.abs().mean() > 0.8


def test_a_still_picture_has_no_motion_at_all() -> None:
    picture = texture(3)
    assert flow.tvl1(picture[None], picture[None]).abs().max() == 0
    black = torch.zeros((2, 40, 40), dtype=torch.uint8)
    assert flow.tvl1(black, black).abs().max() == 0
    assert flow.tvl1(black[:0], black[:0]).shape == (0, 2, 40, 40)


@pytest.fixture(scope="module")
def pairs() -> tuple[torch.Tensor, torch.Tensor]:
    """Pairs that come to rest after different numbers of iterations: two that move, a still one, a black one."""
    pictures = torch.stack([texture(4), texture(5)])
    second = torch.stack([moved(pictures[0], torch.tensor(2.0), torch.tensor(1.0)), pictures[1].roll(5, 1)])
    return (
        torch.cat([pictures, pictures[:1], torch.zeros_like(pictures[:1])]),
        torch.cat([second, pictures[:1], torch.zeros_like(pictures[:1])]),
    )


def test_a_pair_does_not_see_its_batch(pairs: tuple[torch.Tensor, torch.Tensor]) -> None:
    together = flow.tvl1(*pairs)
    for n in range(4):
        assert torch.equal(flow.tvl1(pairs[0][n : n + 1], pairs[1][n : n + 1])[0], together[n])


@pytest.fixture()
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
def test_pairs_in_one_piece_as_on_a_gpu_end_one_by_one(pairs: tuple[torch.Tensor, torch.Tensor]) -> None:
    piece = flow._coarse_to_fine(torch.stack(pairs, dim=1), flow.DEFAULT)
    assert torch.allclose(piece, flow.tvl1(*pairs), atol=1e-3)
    assert piece[:2].abs().mean() > 0.5 and piece[2:].abs().max() == 0


@pytest.mark.parametrize("rough", [False, True], ids=["distinct", "with ties"])
def test_the_median_is_the_median(rough: bool) -> None:
    field = torch.randn((2, 2, 13, 17), generator=torch.Generator().manual_seed(6))
    field = (field * 2).round() if rough else field
    wide = torch.nn.functional.pad(field, (2, 2, 2, 2), mode="replicate")
    expected = wide.unfold(2, 5, 1).unfold(3, 5, 1).flatten(-2).median(-1).values
    assert torch.equal(flow.median(field), expected)


def record() -> tuple[torch.Tensor, dict[str, np.ndarray], list[dict[str, float]]]:
    """Grey pictures, OpenCV's fields in the record, and its statistics."""
    name = "tvl1_opencv__mm_demo_mp4"
    with np.load(GOLDEN / f"{name}.npz") as file, np.load(GOLDEN / "tvl1_grey__mm_demo_mp4.npz") as pictures:
        results, grey = dict(file), pictures["grey"]
    return torch.from_numpy(grey), results, json.loads((GOLDEN / f"{name}.json").read_text("utf-8"))["statistics"]


def photometric(first: torch.Tensor, second: torch.Tensor, field: torch.Tensor) -> float:
    """Mean difference in grey levels after the second picture was moved back."""
    height, width = first.shape
    at = torch.stack((torch.arange(width) + field[0], torch.arange(height)[:, None] + field[1]), -1)
    at = 2 * at / torch.tensor([width - 1, height - 1]) - 1
    back = grid_sample(second[None, None].float(), at[None], padding_mode="border", align_corners=True)[0, 0]
    return float((back.round() - first).abs().mean())


def test_the_field_of_the_record() -> None:
    grey, results, statistics = record()
    assert np.array_equal(grey[:, 120:136, 162:178], results["gray_patch"][:3])
    fields = flow.tvl1(grey[:-1], grey[1:])
    blocks = avg_pool2d(fields, 8).numpy()
    for n in range(2):
        found, expected = blocks[n], results["flow_avg8"][n]
        assert np.abs(found - expected).mean() < 0.01
        assert np.abs(found - expected).max() < 0.3
        patch = fields[n, :, 120:136, 162:178].permute(1, 2, 0).numpy()
        assert np.abs(patch - results["flow_patch"][n]).mean() < 0.01
        left = photometric(grey[n], grey[n + 1], fields[n])
        assert left < 1.01 * statistics[n]["photometric_error_after"] + 0.005


def test_opencv_gives_the_same_field() -> None:
    cv2 = pytest.importorskip("cv2")
    if not hasattr(cv2, "optflow"):
        pytest.skip("this OpenCV comes without its optflow module (opencv-contrib-python-headless has it)")
    first, second = record()[0][:2, 60:188, 80:240].contiguous()
    expected = cv2.optflow.DualTVL1OpticalFlow_create().calc(first.numpy(), second.numpy(), None)
    found = flow.tvl1(first[None], second[None])[0].permute(1, 2, 0).numpy()
    assert np.abs(found - expected).mean() < 0.01
    assert np.abs(expected).mean() > 0.5


def test_levels_are_those_of_the_record() -> None:
    with np.load(GOLDEN / "i3d_flow_quantisation.npz") as file:
        found = flow.levels(torch.from_numpy(file["flow"]), 128.0)
        assert torch.equal(found, torch.from_numpy(file["quantised"]))
        assert np.allclose(2 * found / 255 - 1, file["network_input"], atol=1e-6)
    motion = torch.tensor([-30.0, -20.0, 0.0, 0.1, 20.0, 30.0])
    assert flow.levels(motion, 127.5).tolist() == [0, 0, 128, 128, 255, 255]


def test_grey_levels_are_weighted_and_rounded() -> None:
    frames = torch.tensor([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [10, 20, 30]], dtype=torch.uint8)
    assert flow.grey(frames[None]).tolist() == [[76, 150, 29, 255, 18]]


def test_importing_it_does_not_load_torch() -> None:
    code = "import sys, vidact.video.flow; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
