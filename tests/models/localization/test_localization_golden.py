"""Published localizer checkpoints give the numbers of the original implementations.

Every record in ``tests/golden/localization`` is written to a file as its publisher wraps it, loaded by name like a
user's file and run on its features: raw outputs, detections in order, fused detections. By default each record runs
its shortest video; ``VIDACT_TEST_ALL=1`` runs all of them and the largest network. Run one with ``pytest -k RECORD``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from models.localization.golden import EVERYTHING, FOLDER, Record

from vidact import load_model
from vidact.models.localization import timing
from vidact.models.localization.bmn import sampling
from vidact.models.localization.pyramid import Level
from vidact.models.localizer import Localizer
from vidact.models.zoo.features import THUMOS_CLASSES
from vidact.records import Segments

OUTPUTS, SCORES, SECONDS = 1e-4, 1e-4, 1e-2
LARGE = 60_000_000
RECORDS = sorted(
    path.stem
    for path in FOLDER.glob("*.json")
    if path.stem.startswith(("actionformer_", "tridet_", "otad_actionformer_", "otad_tridet_"))
)


def test_there_are_records() -> None:
    assert len(RECORDS) >= 20


@pytest.mark.parametrize("name", RECORDS)
def test_pyramid_record(name: str, tmp_path: Path) -> None:
    record = Record(name)
    if record.facts["num_parameters"] > LARGE and not EVERYTHING:
        pytest.skip("a large network: VIDACT_TEST_ALL=1 runs it")
    file = record.write_checkpoint(tmp_path)
    model = load_model(record.model, checkpoint=file)
    file.unlink()
    for number in record.videos:
        video = record.facts["videos"][number]
        levels, found = _localize(record, model, number, fused=name.startswith("otad_"))
        errors = _outputs(record, number, levels)
        assert errors and max(errors.values()) <= OUTPUTS, errors
        assert len(found) == video["num_detections"]
        _compare(record, number, "det", found)
        if f"v{number}_fused_scores" in record.results:
            _, found = _localize(record, model, number, fused=True)
            _compare(record, number, "fused", found)


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*_bmn_*.json") if "nms" not in path.stem))
def test_boundary_matching_record(name: str, tmp_path: Path) -> None:
    record = Record(name)
    model = load_model(record.model, checkpoint=record.write_checkpoint(tmp_path))
    video, results = record.facts["videos"][0], record.results
    features = record.features(video)
    source = timing.resize(torch.from_numpy(features).T, model.settings)
    with torch.inference_mode():
        maps = model.network.maps(source[:, : model.settings.length])
    pairs = maps.pairs.numpy()
    if name.startswith("mma2_"):
        info = video["video_info"]
        duration, fps = info["duration_second"], info["duration_frame"] / info["duration_second"]
        pairs = maps.pairs.sigmoid().numpy()
        raw = {"start": maps.starts[0].sigmoid(), "end": maps.ends[0].sigmoid()}
        expected, sub = {key: results[f"v0_{key}"] for key in raw}, results["v0_confidence_map_sub"][None]
        means = results["v0_confidence_rowmean"][None]
    else:
        duration, fps = video["duration"], video["annotation_fps"]
        raw = {"boundaries": torch.stack([maps.starts, maps.ends], dim=1)}
        expected, sub, means = {"boundaries": results["v0_raw0"]}, results["v0_raw1_sub"], results["v0_raw1_rowmean"]
    for key, values in raw.items():
        np.testing.assert_allclose(values, expected[key], rtol=0, atol=OUTPUTS)
    step = pairs.shape[2] // sub.shape[2], pairs.shape[3] // sub.shape[3]
    np.testing.assert_allclose(pairs[:, :, :: step[0], :: step[1]], sub, rtol=0, atol=OUTPUTS)
    np.testing.assert_allclose(pairs.mean(axis=-1), means, rtol=0, atol=OUTPUTS)
    fused = "Pseudo" not in str(video.get("external_classifier"))
    found = model.localize(
        features, duration=duration, fps=fps, class_scores=results.get("ext_cls_scores") if fused else None
    )
    assert len(found) == video["num_detections"]
    if "det_labels" not in video or not fused:
        record.results["v0_det_labels"] = np.zeros(len(results["v0_det_scores"]), dtype=np.int64)
    _compare(record, 0, "det", found)


def test_samples_lie_where_mmaction2_has_them() -> None:
    rows = Record("mma2_bmn_anet_400").results["sample_mask_first_rows"]
    places = sampling(100, 100, 32).to_dense()
    for row, expected in enumerate(rows):
        found = places[:, row::100].T.reshape(-1)[::997]  # the record keeps every 997th
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def _localize(record: Record, model: Localizer, number: int, *, fused: bool) -> tuple[list[Level], Segments]:
    """Segments, and the raw outputs they came from."""
    kept: list[list[Level]] = []
    network: Any = model.network
    plain = type(network).levels

    def levels(features: Any, settings: Any) -> list[Level]:
        kept.append(plain(network, features, settings))
        return kept[-1]

    network.levels = levels
    video = record.facts["videos"][number]
    scores = record.results.get("ext_cls_scores") if fused else None
    found = model.localize(
        record.features(video),
        duration=video["duration"],
        fps=video.get("fps_used", video.get("annotation_fps")),
        class_scores=scores,
    )
    return kept[0], found


def _outputs(record: Record, number: int, levels: list[Level]) -> dict[str, float]:
    """The largest difference of each raw output; positions of padding that vidact leaves out are not compared."""
    errors: dict[str, float] = {}
    for row, level in enumerate(levels):
        for kind in ("cls", "reg", "start", "end"):
            expected = record.results.get(f"v{number}_{kind}_L{row}")
            values = {"cls": level.logits, "reg": level.offsets, "start": level.starts, "end": level.ends}[kind]
            if expected is None or values is None:
                continue
            shared = min(len(expected), values.shape[1])
            difference = np.abs(values[0, :shared].numpy() - expected[:shared]).max()
            errors[kind] = max(errors.get(kind, 0.0), float(difference))
    return errors


def _compare(record: Record, number: int, kind: str, found: Segments) -> None:
    """The best hundred: same order, same labels, scores and times within tolerance."""
    scores, times = record.results[f"v{number}_{kind}_scores"], record.results[f"v{number}_{kind}_segments"]
    labels = record.labels(number, kind, THUMOS_CLASSES)
    order = np.argsort(-scores, kind="stable")  # fused records stand class by class
    scores, times, labels = scores[order], times[order], labels[order]
    first = slice(0, len(scores))
    np.testing.assert_array_equal(found.label_id[first], labels)
    np.testing.assert_allclose(found.score[first], scores, rtol=0, atol=SCORES)
    np.testing.assert_allclose(np.stack([found.start, found.end], axis=1)[first], times, rtol=0, atol=SECONDS)
