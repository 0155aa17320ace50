"""A localizer's surface: names, contracts, refusals and the way from rows to seconds, on tiny networks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from models.localization.golden import Record

from vidact import load_model
from vidact.errors import ModelError, UsageError, VideoError
from vidact.models.localization import timing
from vidact.models.localization.actionformer import ActionFormer
from vidact.models.localization.settings import Fusion, Settings, Suppression, Windows, from_json
from vidact.models.localizer import Localizer
from vidact.models.zoo import localizers
from vidact.records import Contract, LocalizerSpec

CONTRACT = Contract(30.0, 16, 4, 8.0, 6, "a backbone")


def tiny(**values: Any) -> Localizer:
    """A network of two levels with made-up weights that finds something everywhere."""
    torch.manual_seed(0)
    network = ActionFormer(
        [6], width=8, classes=values.pop("classes", 3), windows=(3, 3), heads=2, head_width=8, head_layers=1
    )
    with torch.no_grad():
        network.reg.out.bias.fill_(2.0)
    contract = values.pop("contract", CONTRACT)
    spec = LocalizerSpec("tiny.made-up", "actionformer", contract, network.classes, values.pop("labels", ()))
    return Localizer(network, spec, Settings(16, **values))


def features(rows: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, (rows, 6)).astype(np.float32)


def test_segments_are_best_first_and_inside_the_video() -> None:
    found = tiny(labels=("a", "b", "c")).localize(features(40), duration=5.0)
    assert len(found) > 10
    assert (np.diff(found.score) <= 0).all()
    assert found.start.dtype == found.end.dtype == np.float64
    assert found.start.min() >= 0 and found.end.max() <= 5.0 and (found.end >= found.start).all()
    assert set(found.label) <= {"a", "b", "c"}
    assert [("a", "b", "c").index(name) for name in found.label] == found.label_id.tolist()


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("cls.out.weight", np.nan),
        ("reg.out.bias", np.nan),
        ("trunk.stem.0.norm1.weight", np.nan),
        ("reg.out.bias", 3e38),
    ],
)  # the last overflows at the second level of the pyramid
def test_what_is_no_finite_number_fails_the_video(part: str, value: float) -> None:
    model = tiny()
    with torch.no_grad():
        model.network.get_parameter(part).fill_(value)
    with pytest.raises(VideoError, match="not finite") as caught:
        model.localize(features(40))
    assert (caught.value.kind, caught.value.stage) == ("NonFiniteScores", "model")


def test_unnamed_labels_say_their_number() -> None:
    found = tiny().localize(features(10))
    assert set(found.label) == {f"class {label}" for label in found.label_id}


@pytest.mark.parametrize("rows", [1, 2, 15, 16, 17, 100])
def test_padding_beyond_the_first_row_changes_nothing(rows: int) -> None:
    model = tiny()
    source = torch.from_numpy(features(rows)).T
    with torch.inference_mode():
        short = model.network.find(source, Settings(4))
        long = model.network.find(source, Settings(256))
    np.testing.assert_allclose(short.scores, long.scores, atol=1e-6)
    np.testing.assert_array_equal(short.labels, long.labels)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.zeros((5, 7), np.float32), r"\(5, 7\), expected \(rows, 6\) of a backbone"),
        (np.zeros((6, 5), np.float32), "transposed"),
        (np.zeros((0, 6), np.float32), "expected"),
        (np.zeros(6, np.float32), "expected"),
        (np.full((3, 6), np.nan, np.float32), "NaN or infinite values .first in row 0"),
        (np.zeros((3, 6), np.int64), "int64"),
    ],
)
def test_features_that_do_not_fit_are_refused(given: np.ndarray, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        tiny().localize(given)


def test_native_rate_comes_from_fps_or_from_rows_and_duration() -> None:
    model = tiny(contract=Contract("native", 16, 4, 8.0, 6, "a backbone"))
    with pytest.raises(UsageError, match="fps or duration"):
        model.localize(features(10))
    with pytest.raises(UsageError, match="above 0"):
        model.localize(features(10), fps=0.0)
    with pytest.raises(UsageError, match="above 0"):
        model.localize(features(10), duration=0.0)
    slow, fast = (model.localize(features(10), fps=fps, duration=100.0) for fps in (10.0, 20.0))
    np.testing.assert_allclose(slow.end, 2 * fast.end, rtol=1e-6)
    guessed = model.localize(features(10), duration=(9 * 4 + 16) / 10.0)
    np.testing.assert_allclose(guessed.start, slow.start, rtol=1e-5, atol=1e-6)


def test_float32_is_float32_on_a_gpu_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    tiny()
    assert not torch.backends.cudnn.allow_tf32


def test_a_device_there_is_none_of_is_refused() -> None:
    model = tiny()
    with pytest.raises(ModelError, match="cannot be put on 'abacus'"):
        Localizer(model.network, model.spec, model.settings, device="abacus")


def test_a_number_as_rate_ignores_the_videos_own() -> None:
    one, two = (tiny().localize(features(10), fps=fps) for fps in (0.0, 99.0))
    np.testing.assert_array_equal(one.start, two.start)


def test_class_scores_name_class_agnostic_segments() -> None:
    model = tiny(classes=1, labels=("action",), fusion=Fusion(top=2, root=False))
    plain = model.localize(features(10))
    assert set(plain.label) == {"action"}
    named = model.localize(features(10), class_scores=[0.1, 0.9, 0.4])
    assert len(named) == 2 * len(plain) and set(named.label) == {"class 1", "class 2"}
    assert (np.diff(named.score) <= 0).all()
    assert named.score[0] == pytest.approx(0.9 * plain.score[0])
    with pytest.raises(UsageError, match="takes no class scores"):
        tiny().localize(features(10), class_scores=[0.1, 0.9, 0.4])


def test_windows_cover_a_sequence() -> None:
    windows = Windows(128, 64)
    assert timing.pieces(windows, 300) == [(0, 128), (64, 192), (128, 256), (172, 300)]
    assert timing.pieces(windows, 128) == [(0, 128), (0, 128)]
    assert timing.pieces(windows, 50) == [(0, 50)]
    assert timing.pieces(windows, 130)[-1] == (2, 130)


def test_windows_see_the_whole_sequence() -> None:
    nms = Suppression(by_class=False, max_segments=500)
    found = tiny(classes=1, windows=Windows(16, 8), nms=nms).localize(features(80))
    centres = (found.start + found.end) / 2
    assert centres.min() < 2 and centres.max() > 8.5


def test_clocks() -> None:
    rows = np.array([0.0, 10.0], dtype=np.float32)
    plain = timing.clock(CONTRACT, Settings(16), 50, 100.0, 30.0)
    np.testing.assert_allclose(plain.seconds(rows), [8 / 30, 48 / 30], rtol=1e-6)
    linear = timing.clock(CONTRACT, Settings(20, "linear"), 50, 100.0, 30.0)
    step = (49 * 4 + 16) / 20
    np.testing.assert_allclose(linear.seconds(rows), [0.5 * step / 30, 10.5 * step / 30], rtol=1e-6)
    aligned = timing.clock(CONTRACT, Settings(20, "align"), 50, 100.0, 30.0)
    np.testing.assert_allclose(aligned.seconds(rows), [0, 50], rtol=1e-6)
    longer = timing.clock(CONTRACT, Settings(20, "longer"), 50, 100.0, 30.0)
    np.testing.assert_allclose(longer.seconds(rows), [8 * 2.5 / 30, 48 * 2.5 / 30], rtol=1e-6)
    np.testing.assert_array_equal(
        timing.clock(CONTRACT, Settings(50, "longer"), 50, 100.0, 30.0).seconds(rows), plain.seconds(rows)
    )
    snippets = timing.clock(CONTRACT, Settings(100, "linear", snippet=16), 100, 100.4, 3001 / 100.4)
    np.testing.assert_allclose(snippets.seconds(np.array([100.0], np.float32)), 2992 / 3001 * 100.4, rtol=1e-6)


def test_only_longer_sequences_are_shrunk() -> None:
    source = torch.arange(40.0).view(1, 40)
    assert timing.resize(source, Settings(40, "longer")) is source
    assert timing.resize(source, Settings(64, "longer")) is source
    shrunk = timing.resize(source, Settings(20, "longer"))
    torch.testing.assert_close(shrunk, torch.arange(0.5, 40, 2).view(1, 20))


def test_settings_survive_json() -> None:
    for spec in localizers.SPECS.values():
        for one in spec.settings.values():
            assert from_json(dict(one)).to_json() == one


def test_every_record_of_a_known_architecture_has_its_weights_in_the_zoo() -> None:
    for record in ("actionformer_ego4d_soe", "otad_actionformer_epic_verb", "tridet_epic_noun", "mma2_bmn_anet_400"):
        assert Record(record).model in localizers.SPECS


def test_an_architecture_alone_does_not_say_how_its_weights_are_used() -> None:
    with pytest.raises(ModelError, match="alone does not say") as raised:
        load_model("actionformer", checkpoint="x.pth")
    assert "actionformer.thumos14-i3d" in raised.value.hint


def test_weights_without_their_file_are_refused() -> None:
    with pytest.raises(ModelError, match="vidact cannot download them"):
        load_model("tridet.thumos14-i3d")


def test_a_file_of_another_network_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "x.pth"
    torch.save({"state_dict": {"module.something.weight": torch.zeros(2)}}, file)
    with pytest.raises(ModelError, match=r"not those of actionformer .first: something\.weight"):
        load_model("actionformer.thumos14-i3d", checkpoint=file)


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    record = Record("actionformer_anet_tsp_len160")
    state = record.state()
    del state["reg_head.offset_head.conv.bias"]
    state["surplus.weight"] = torch.zeros(3)
    file = tmp_path / "x.pth"
    torch.save({"state_dict_ema": state}, file)
    with pytest.raises(ModelError, match=r"1 missing .first: reg.out.bias.; 1 unexpected .first: surplus.weight."):
        load_model(record.model, checkpoint=file)


@pytest.mark.parametrize("duration", [0.0, -1.0, float("nan"), float("inf")])
def test_a_duration_that_cannot_be(duration: float) -> None:
    with pytest.raises(UsageError, match="must be numbers above 0"):
        tiny().localize(features(40), duration=duration)
