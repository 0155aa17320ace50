"""Times to rows as inference maps them back, cutting, batches that follow from the seed, features that are wrong."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from training.sequences import made

from vidact.errors import UsageError
from vidact.models.localization import timing
from vidact.models.localization.settings import Settings
from vidact.records import Contract
from vidact.store.annotations import AnnotatedVideo, read_annotations
from vidact.store.feature_files import open_features
from vidact.store.features import Features
from vidact.training.sequences import Cutting, FeatureSet, SequenceData, cut, in_rows, opened
from vidact.training.truth import Example, Truth, choose

CONTRACT = Contract(25.0, 16, 4, 8.0, 2, "made up")


def example(*segments: tuple[float, float], **facts: float) -> Example:
    times = np.array(segments, dtype=np.float64).reshape(-1, 2)
    video = AnnotatedVideo(
        "v", facts.get("duration"), facts.get("fps"), None, times[:, 0], times[:, 1], ("jump",) * len(times)
    )
    return Example(video, "v")


def features(rows: int, **facts: object) -> Features:
    return Features(np.zeros((rows, 2), np.float32), **facts)  # type: ignore[arg-type]


def test_rows_are_counted_from_their_centres() -> None:
    found = in_rows(CONTRACT, Settings(64), features(50), example((8 / 25, 48 / 25)))
    np.testing.assert_allclose(found, [[0.0, 10.0]])
    native = dataclasses.replace(CONTRACT, fps="native")
    found = in_rows(native, Settings(64), features(50), example((8 / 30, 48 / 30), fps=30))
    np.testing.assert_allclose(found, [[0.0, 10.0]])
    found = in_rows(native, Settings(64), features(51), example((0.0, 4.0), duration=8.0))  # 216 frames: 27 fps
    np.testing.assert_allclose(found, [[-2.0, (4 * 27 - 8) / 4]])
    with pytest.raises(UsageError, match=r"'v': .* fps or duration"):
        in_rows(native, Settings(64), features(50), example((0, 1)))


@pytest.mark.parametrize("resize", ["none", "linear", "longer"])
@pytest.mark.parametrize("varying", [False, True])
def test_rows_are_mapped_back_to_the_same_seconds(resize: str, varying: bool) -> None:
    rng = np.random.default_rng(0)
    contract = dataclasses.replace(CONTRACT, fps="native") if varying else CONTRACT
    centres = 0.3 + np.cumsum(rng.uniform(0.1, 0.3, 90)) if varying else None
    settings = Settings(32, resize)  # type: ignore[arg-type]
    clock = timing.clock(contract, settings, 90, 30.0, 25.0, centres)
    seconds = rng.uniform(0, 14, (20, 2))
    np.testing.assert_allclose(clock.seconds(clock.rows(seconds).astype(np.float32)), seconds, atol=1e-5)


def test_pieces_keep_what_is_mostly_inside() -> None:
    segments = np.array([[2.0, 6.0], [10.0, 30.0], [38.0, 42.0]])
    whole = Cutting(64, crop=None)
    first, last, kept, inside = cut(40, segments, whole, 2.0, np.random.default_rng(0))
    assert (first, last, kept.tolist()) == (0, 40, [0, 1, 2])
    assert inside[2].tolist() == [38, 42]  # it may reach half a window beyond
    _, _, kept, inside = cut(37, segments, whole, 2.0, None)
    assert kept.tolist() == [0, 1]
    for seed in range(40):
        first, last, kept, inside = cut(40, segments, Cutting(16, crop=None), 2.0, np.random.default_rng(seed))
        assert last - first == 16 and 0 <= first <= 24
        assert len(kept) or (first, last) == (0, 0)
        lengths = segments[kept, 1] - segments[kept, 0]
        assert ((inside[:, 1] - inside[:, 0]) >= 0.5 * lengths - 1e-9).all()
        assert inside.min(initial=0) >= -2 and inside.max(initial=0) <= 18


def test_short_sequences_are_cropped_to_the_share_asked_for() -> None:
    sizes = set()
    for seed in range(50):
        first, last, _, _ = cut(40, np.empty((0, 2)), Cutting(64, crop=(0.5, 1.0)), 2.0, np.random.default_rng(seed))
        sizes.add(last - first)
    assert min(sizes) >= 20 and max(sizes) <= 40 and len(sizes) > 5
    assert cut(40, np.empty((0, 2)), Cutting(64), 2.0, None)[:2] == (0, 40)  # never in validation


def data_of(tmp_path: Path, **changes: object) -> SequenceData:
    folder, annotations = made(tmp_path, videos=7, held_out=3, rows=48)
    source = open_features(str(folder))
    truth = choose(read_annotations(annotations), source)
    settings: dict[str, object] = {"batch_size": 3, "seed": 5, "multiple": 8, "whole": False, **changes}
    return SequenceData(opened(source, truth.train), truth, Settings(64), Cutting(64), **settings)  # type: ignore[arg-type]


def test_batches_follow_from_seed_round_and_number(tmp_path: Path) -> None:
    data = data_of(tmp_path)
    assert data.steps() == 2
    first, again, other = list(data.batches(0, 0)), list(data.batches(0, 0)), list(data.batches(1, 0))
    assert len(first) == 2
    (second,) = data.batches(0, 1)
    assert torch.equal(second.features, first[1].features)
    assert all(torch.equal(one.features, two.features) for one, two in zip(first, again, strict=True))
    assert first[0].features.shape != other[0].features.shape or not torch.equal(first[0].features, other[0].features)


def test_batches_are_padded_and_masked(tmp_path: Path) -> None:
    for whole in (False, True):
        (tmp_path / str(whole)).mkdir()
        data = data_of(tmp_path / str(whole), whole=whole)
        for batch in (*data.batches(0, 0), *data.held_out()):
            length = batch.features.shape[2]
            assert length == 64 if whole else length % 8 == 0
            assert batch.mask.shape == (len(batch), 1, length)
            assert not (batch.features * (1 - batch.mask)).any()
            assert 43 <= int(batch.mask.sum(2).min()) <= 48
    assert sum(len(batch) for batch in data.held_out()) == 3


def test_the_segments_of_a_batch_lie_where_the_features_say(tmp_path: Path) -> None:
    for batch in data_of(tmp_path).batches(3, 0):
        for one, segments in zip(batch.features, batch.segments, strict=True):
            inside = torch.zeros(one.shape[1], dtype=torch.bool)
            for start, end in segments.tolist():
                inside[max(int(np.ceil(start - 1e-4)), 0) : int(np.floor(end + 1e-4)) + 1] = True
            loud = one.norm(dim=0)
            assert float(loud[inside].mean()) > 3 * float(loud[~inside].mean())


class Given:
    """Features from memory."""

    def __init__(self, array: np.ndarray, dimension: int = 2) -> None:
        self.array, self.contract = array, dataclasses.replace(CONTRACT, dimension=dimension)

    def read(self, name: str) -> Features:
        return Features(self.array)


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.array([[0.0, np.nan]] * 4, np.float32), "'v': the features hold NaN or infinite values"),
        (np.zeros((2, 40), np.float32), "'v': .*transposed"),
        (np.zeros((40, 3), np.float32), r"'v': the features have shape \(40, 3\)"),
        (np.zeros((0, 2), np.float32), r"'v': the features have shape \(0, 2\)"),
    ],
)
def test_features_that_are_wrong_are_named(array: np.ndarray, said: str) -> None:
    source = Given(array)
    with pytest.raises(UsageError, match=said):
        FeatureSet(source, source.contract).read(example((0, 1)))


def test_one_row_is_a_sequence() -> None:
    source = Given(np.ones((1, 2), np.float32))
    one = example((0.2, 0.5), duration=0.64)
    feature_set = FeatureSet(source, source.contract)
    sizes = {"batch_size": 4, "seed": 0, "multiple": 4}
    data = SequenceData(feature_set, Truth((one,), (one,), ("jump",), ()), Settings(8), Cutting(8), **sizes)  # type: ignore[arg-type]
    (batch,) = data.batches(0, 0)
    assert batch.features.shape == (1, 2, 4) and int(batch.mask.sum()) == 1


@pytest.mark.parametrize("mapped", [False, True])
def test_memory_is_bounded(mapped: bool, tmp_path: Path) -> None:
    array = np.ones((4, 2), np.float32)
    array.tofile(tmp_path / "x")
    source = Given(np.memmap(tmp_path / "x", np.float32, "r", shape=(4, 2)) if mapped else array)
    feature_set = FeatureSet(source, source.contract, limit=40)
    for name in ("a", "b"):  # 32 bytes each
        feature_set.read(Example(example().video, name))
    assert feature_set.read(Example(example().video, "a")) is feature_set.read(Example(example().video, "a"))
    assert feature_set.read(Example(example().video, "b")) is not feature_set.read(Example(example().video, "b"))
