"""Published sampling rules against the numbers the originals gave: tables of lengths and rates, and real files."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from media import make, number

from vidact.errors import ModelError, VideoError
from vidact.models.zoo import ENTRIES
from vidact.models.zoo import protocols as known
from vidact.records import Protocol, VideoFacts
from vidact.video.decode import ClipReader
from vidact.video.index import Header, read_index
from vidact.video.protocols import RULES, Timing, _steps, clips, published
from vidact.video.transform import STYLES
from vidact.video.transform import published as plan_of

FOLDER = Path(__file__).resolve().parents[1] / "golden" / "pipelines"
TABLES: dict[str, dict[str, Any]] = json.loads((FOLDER / "index_tables.json").read_text("utf-8"))["tables"]
FILES: dict[str, Any] = json.loads((FOLDER / "records.json").read_text("utf-8"))

_256 = {"short_side": 256, "size": 256}
_224 = {"short_side": 224, "size": 224}
SLOWFAST = known.pyslowfast(32, 2, "10x3", size=256)
PROTOCOLS: dict[str, Protocol] = {
    "hf_videomae_pipeline_rate4": known.hub_pipeline(4),
    "hf_videomae_pipeline_rate1": known.hub_pipeline(1),
    "hf_timesformer_8f": known.hub_ends(8),
    "hf_xclip_b32_8f": known.hub_ends(8),
    "hf_clip_vit_8f": known.hub_ends(8),
    "hf_vivit_32f": known.hub_ends(32, short_side=256),
    "videomae_k400_test": known.videomae(4, "5x3"),
    "psf_slowfast_8x8_r50_torchvision": SLOWFAST,
    "psf_i3d_8x8_r50_torchvision": known.pyslowfast(8, 8, "10x3", size=256),
    "psf_x3d_m_torchvision": known.pyslowfast(16, 5, "10x3", size=256),
    "psf_x3d_s_torchvision": known.pyslowfast(13, 6, "10x3", size=182),
    "psf_mvitv2_s_16x4_torchvision": known.pyslowfast(16, 4, "5x1", size=224, offset=True),
    "psf_mvit_b_32x3_conv_torchvision": known.pyslowfast(32, 3, "10x1", size=224, offset=True),
    "ptv_slowfast_r50_hub": known.pytorchvideo(32, 2, "1x1", size=256),
    "ptv_slow_r50_hub": known.pytorchvideo(8, 8, "1x1", size=256),
    "ptv_x3d_m_hub": known.pytorchvideo(16, 5, "1x1", size=256),
    "ptv_x3d_s_hub": known.pytorchvideo(13, 6, "1x1", size=182),
    "mma_slowfast_r50_8x8_test": known.mmaction(32, 2, "10x3", **_256),
    "mma_i3d_r50_test": known.mmaction(32, 2, "10x3", **_256),
    "mma_tsn_r50_test": known.mmaction(25, 1, "1x10", short_side=256, size=224, segments=True),
    "mma_tsm_r50_test": known.mmaction(8, 1, "1x10", short_side=256, size=224, segments=True),
    "mma_swin_tiny_test": known.mmaction(32, 2, "4x3", **_224),
    "mma_timesformer_divst_test": known.mmaction(8, 32, "1x3", **_224),
    "mma_c3d_ucf101_test": known.mmaction(16, 1, "10x1", short_side=128, size=112),
    "mma_x3d_m_test": known.mmaction(16, 5, "10x3", **_256, convert=True),
    "mma_videomae_base_test": known.mmaction(16, 4, "5x3", **_224),
    "mma_mvit_small_test": known.mmaction(16, 4, "5x1", **_224),
    "xclip_k400_test": known.mmaction(8, 1, "1x1", short_side=256, size=224, segments=True),
    "i3d_video_features_stack64_step64": known.stacks(64, 64),
    "i3d_video_features_stack16_step16": known.stacks(16, 16),
    "i3d_video_features_stack16_step8": known.stacks(16, 8),
}


def steady(frames: int, rate: Fraction, base: Fraction) -> Timing:
    """A video of constant rate whose header tells the truth."""
    per = 1 / (rate * base)
    pts = np.array([round(n * per) for n in range(frames)], np.int64)
    return Timing(frames, pts, base, Header(float(rate), float(rate), frames, round(frames * per)))


def cases() -> list[Any]:
    return [
        pytest.param(name, int(length), id=f"{name}-{length}")
        for name, table in TABLES.items()
        for length in table.get("by_n", {"1000": None})
    ]


def of_table(name: str) -> tuple[Protocol, Fraction, Fraction]:
    """The protocol, rate and time base a table was made with."""
    settings = TABLES[name].get("settings", {})
    rate, base = Fraction(30), Fraction(1, 30)
    if name.startswith("hf_"):
        return PROTOCOLS[name], rate, base
    if name.startswith("uniform"):
        return known.hub_ends(8), rate, base
    if name.startswith("videomae"):
        return known.videomae(4, f"{settings['clips']}x3"), rate, base
    if name.startswith("mma_1x1"):
        views = "2x3" if "twice_sample" in settings else "1x3"
        return known.mmaction(settings["num_clips"], 1, views, **_256, segments=True), rate, base
    fps = name.partition("fps")[2].removesuffix("__fine").rpartition("fps")[2]
    rate = Fraction(30_000, 1001) if fps == "29.97" else Fraction(fps or 30)
    if name.startswith("psf"):
        base = Fraction(settings["stream"].partition("time base ")[2].partition(",")[0])
        views, offset = f"{settings['views']}x3", settings["use_offset"]
        frames, stride = settings["num_frames"], settings["sampling_rate"]
        return known.pyslowfast(frames, stride, views, size=256, offset=offset), rate, base
    clip, stride, views = settings["clip_len"], settings["frame_interval"], f"{settings['num_clips']}x3"
    return known.mmaction(clip, stride, views, **_256, convert="target_fps" in settings), rate, base


@pytest.mark.parametrize(("name", "length"), cases())
def test_tables(name: str, length: int) -> None:
    protocol, rate, base = of_table(name)
    found = clips(steady(length, rate, base), protocol)
    expected = TABLES[name]["asked"] if "asked" in TABLES[name] else TABLES[name]["by_n"][str(length)]
    assert found.tolist() == np.reshape(expected, found.shape).tolist()
    assert found.size == np.size(expected)


@pytest.mark.parametrize("video", FILES["videos"])
@pytest.mark.parametrize("name", PROTOCOLS)
def test_records_of_real_files(name: str, video: str) -> None:
    facts, record, protocol = FILES["videos"][video], FILES["records"][name][video], PROTOCOLS[name]
    frames, base = facts["frames"], Fraction(facts["time_base"])
    numbers = np.arange(frames)
    pts = numbers * facts["ticks_a_frame"] if facts["ticks_a_frame"] else np.round(numbers * 1000 / facts["fps"])
    header = Header(facts["fps"], facts["fps"], facts["header_frames"], facts["header_duration"])
    assert clips(Timing(frames, pts.astype(np.int64), base, header), protocol).tolist() == record["frames"]

    height, width = record["source_h_w"]
    plan = plan_of(VideoFacts(1.0, 0.0, 30.0, width, height, 0, "h264", frames), protocol)
    assert [plan.height, plan.width] == record["to_h_w"]
    assert [list(crop) for crop in plan.crops] == record["crops_y_x"]
    temporal = len(record["frames"]) * (2 if name.startswith("ptv") else 1)
    assert temporal * protocol.crops == record["views"]


def test_every_record_has_a_protocol() -> None:
    assert set(PROTOCOLS) == set(FILES["records"])


def test_steps_are_torchs() -> None:
    generator = np.random.default_rng(0)
    for _ in range(500):
        start, length, count = generator.uniform(0, 300), generator.uniform(1, 400), int(generator.integers(1, 65))
        expected = torch.linspace(start, start + length, count).numpy()
        np.testing.assert_allclose(_steps(start, start + length, count), expected, rtol=2e-7)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("frames", [1, 2, 7, 16, 17, 65, 200])
def test_no_rule_leaves_the_video(rule: str, frames: int) -> None:
    protocol = Protocol(rule, "mmaction2", 16, 4, 2, 1, 64, (64, 64), 30.0)
    for header in (None, Header(), Header(10.0, 10.0, 3 * frames, 999_999)):
        timing = steady(frames, Fraction(24), Fraction(1, 24_000))
        timing = timing if header is None else replace(timing, header=header)
        try:
            found = clips(timing, protocol)
        except VideoError as error:
            assert error.kind == "TooShort" and rule in ("stacks", "torchvision")
            continue
        assert found.ndim == 2 and 1 <= found.shape[1] <= 16 and len(found) >= 1
        assert found.min() >= 0 and found.max() < frames


@pytest.mark.parametrize(
    ("protocol", "frames", "expected"),
    [
        (known.timesformer(), 300, [[0, 36, 72, 109, 145, 182, 218, 255]]),
        (known.timesformer(), 100, [[0, 36, 72, 99, 99, 99, 99, 99]]),
        (known.mmaction_spread(8, "1x3"), 100, [[6, 18, 31, 43, 56, 68, 80, 93]]),
        (known.vjepa2(4, 2, "2x3", size=64), 100, [[0, 2, 5, 7], [50, 52, 55, 57]]),
        (known.vjepa2(4, 2, "2x3", size=64), 12, [[0, 3, 6, 6], [4, 7, 10, 10]]),
        (replace(known.torchvision(4, 3), fps=15.0), 20, [[0, 2, 4, 6], [6, 8, 10, 12], [12, 14, 16, 18]]),
        (known.windows(4, 64), 10, [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 8, 9]]),
        (replace(known.videomae(1, "2x3", segments=True), frames=4), 20, [[0, 5, 10, 15], [2, 7, 12, 17]]),
        (known.pytorchvideo(4, 4, "3x1", size=64), 40, [[0, 5, 10, 15], [12, 17, 22, 27], [24, 29, 34, 39]]),
    ],
)
def test_rules_without_a_record(protocol: Protocol, frames: int, expected: list[list[int]]) -> None:
    assert clips(steady(frames, Fraction(30), Fraction(1, 15_360)), protocol).tolist() == expected


def test_what_is_not_known_is_said() -> None:
    timing = steady(100, Fraction(24), Fraction(1, 24))
    with pytest.raises(ModelError, match="'dice'"):
        clips(timing, replace(SLOWFAST, rule="dice"))
    with pytest.raises(ModelError, match="'crayon'"):
        plan_of(VideoFacts(1.0, 0.0, 30.0, 64, 48, 0, "h264", 9), replace(SLOWFAST, style="crayon"))
    assert {protocol.style for protocol in PROTOCOLS.values()} <= set(STYLES)


def test_the_index_keeps_what_the_header_claims(tmp_path: Path) -> None:
    index = read_index(str(make(tmp_path / "a.mp4", frames=50, fps=25)))
    assert (index.header.rate, index.header.guessed, index.header.frames) == (25.0, 25.0, 50)
    assert index.header.duration is not None
    assert float(index.header.duration * index.time_base) == 2.0
    assert read_index(str(make(tmp_path / "a.mkv", frames=50, fps=25))).header.duration is None


@pytest.mark.parametrize(
    ("protocol", "decoder"),
    [
        (known.mmaction(4, 3, "3x3", short_side=60, size=60), "decord"),
        (known.hub_ends(6), "decord"),
        (replace(known.pyslowfast(4, 3, "3x3", size=60), fps=25.0), "pyav"),
    ],
    ids=["mmaction2", "hub", "pyslowfast"],
)
def test_the_pictures_are_those_frames(tmp_path: Path, protocol: Protocol, decoder: str) -> None:
    index = read_index(str(make(tmp_path / "a.mp4", frames=50, fps=25, size=(160, 120), options={"bf": "2"})))
    grid = published(index, protocol)
    protocol = replace(protocol, crops=1, size=(60, 80), short_side=60)  # the whole board, so that it can be read
    with ClipReader(index, grid, plan_of(index.facts, protocol), heartbeat=None) as reader:
        found = {item.row: [number(picture) for picture in item.frames[0]] for item in reader if item is not None}
    assert reader.decoder == decoder
    assert [found[row] for row in range(len(grid))] == grid.frames.tolist()
    assert grid.starts.tolist() == [index.seconds[row.min()] for row in grid.frames]
    assert grid.ends.tolist() == [index.ends[row.max()] for row in grid.frames]


def test_short_videos_are_padded_and_say_so(tmp_path: Path) -> None:
    index = read_index(str(make(tmp_path / "a.mp4", frames=20, fps=25)))
    grid = published(index, known.hub_pipeline(4))  # asks for frames up to the 63rd; five are there
    assert grid.frames.tolist() == [[0, 4, 8, 12, 16, *[16] * 11]]
    assert grid.padded.tolist() == [True]
    with pytest.raises(VideoError, match="20 frames, the published protocol needs 65") as caught:
        published(index, known.stacks(64, 64))
    assert caught.value.hint == "--protocol clips"
    assert not published(index, known.mmaction(4, 5, "2x1", short_side=60, size=60)).padded.any()


def test_ten_crops_are_corners_and_centre_each_with_its_mirror(tmp_path: Path) -> None:
    index = read_index(str(make(tmp_path / "a.mp4", frames=10, fps=25, size=(160, 120))))
    protocol = known.mmaction(2, 1, "1x10", short_side=120, size=100, segments=True)
    plan = plan_of(index.facts, protocol)
    assert plan.crops == ((0, 0), (0, 60), (20, 0), (20, 60), (10, 30))
    with ClipReader(index, published(index, protocol), plan, heartbeat=None) as reader:
        (views,) = [item.frames for item in reader if item is not None]
    assert views.shape == (10, 2, 100, 100, 3)
    assert (views[1::2] == views[::2, :, :, ::-1]).all()
    assert (views[0, :, 20:, 60:] == views[6, :, :80, :40]).all()


def test_stacks_of_flow_reach_from_the_first_frame_to_the_last() -> None:
    protocol = ENTRIES["tsn-r50-flow.k400-mmaction2"].spec.protocol
    assert protocol is not None and protocol.frames == 25
    timing = Timing(300, np.arange(300), Fraction(1, 30), Header())
    found = clips(timing, protocol)[0].tolist()
    assert found[:4] == [0, 12, 24, 37] and found[-1] == 294  # the last field leads from frame 298 to 299
    assert clips(replace(timing, frames=4), protocol)[0].tolist() == [0] * 25
