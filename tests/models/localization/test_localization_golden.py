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
from models.localization.golden import EVERYTHING, FOLDER, Record

from vidact import load_model
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
