"""Published checkpoints give the numbers of the original implementations.

Every record in ``tests/golden/recognition`` is written to a file as its publisher wraps it, loaded by name like a
user's file, and compared on both its inputs: logits, scores and features. Run one with ``pytest -k RECORD``. Records
that take seconds a clip run on their second input alone (it tells frames, rows and columns apart) unless
VIDACT_TEST_GOLDEN=all.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from models.golden import FOLDER, Record, compute_once, error

from vidact import load_model

TOLERANCE = 1e-3
HEAVY = 40.0
"""Multiply-adds a clip, in 10⁹."""
ALL = os.environ.get("VIDACT_TEST_GOLDEN") == "all"
UNFOLDED = ("kh_r3d_18_k700", "mma_tsm_mobilenetv2", "ptv_x3d_xs")
"""Records of networks as training sees them; all others have their batch norms folded, as ``vidact classify`` does."""
RECORDS = sorted(path.stem for path in FOLDER.glob("*.json"))


def test_there_are_records() -> None:
    assert len(RECORDS) >= 44


@pytest.mark.parametrize("name", RECORDS)
def test_record(name: str, tmp_path: Path, record_property: pytest.RecordProperty) -> None:
    record = Record(name)
    file = record.write_checkpoint(tmp_path)
    model = load_model(record.model, checkpoint=file, fold=name not in UNFOLDED)
    file.unlink()
    compute_once(model.network)
    inputs = (0, 1) if ALL or record.facts["gmacs_counted"] <= HEAVY else (1,)
    clips, results = record.clips()[list(inputs)], record.results

    def expected(what: str) -> np.ndarray:
        return np.stack([results[what + ("", "_input2")[number]] for number in inputs])

    # Some originals keep the time axis, behind the classes.
    logits = expected("logits")
    errors = {"logits": error(model(clips), logits if logits.ndim == 2 else logits.mean(axis=2))}
    assert model.spec.classes == logits.shape[1]
    if logits.ndim == 3:
        errors["positions"] = error(model.network.positions(clips), logits.swapaxes(1, 2))
    if "probs" in results:
        errors["scores"] = error(model.scores(clips), expected("probs"))
    features = model.features(clips)
    assert features.shape == (len(inputs), features.shape[1])
    if 0 in inputs:
        errors["features"] = error(features[0], _pooled(results["features"], features.shape[1]))
    record_property("errors", errors)
    print(name, *(f"{what} {value:.1e}" for what, value in errors.items()))
    assert max(errors.values()) < TOLERANCE, errors


def _pooled(features: np.ndarray, dimension: int) -> np.ndarray:
    """Features of every segment or position, averaged to (D,)."""
    if features.ndim == 1:
        return features
    return features.mean(axis=0) if features.shape[-1] == dimension else features.reshape(dimension, -1).mean(axis=1)
