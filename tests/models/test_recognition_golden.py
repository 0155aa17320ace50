"""Published checkpoints give the numbers of the original implementations.

Every record in ``tests/golden/recognition`` is written to a file as its publisher wraps it, loaded by name like a
user's file, and compared on both its inputs: logits, scores and features. Run one with ``pytest -k RECORD``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from models.golden import FOLDER, Record, compute_once, error

from vidact import load_model

TOLERANCE = 1e-3
RECORDS = sorted(path.stem for path in FOLDER.glob("*.json"))


def test_there_are_records() -> None:
    assert len(RECORDS) >= 2


@pytest.mark.parametrize("name", RECORDS)
def test_record(name: str, tmp_path: Path, record_property: pytest.RecordProperty) -> None:
    record = Record(name)
    file = record.write_checkpoint(tmp_path)
    model = load_model(record.architecture, checkpoint=file)
    file.unlink()
    compute_once(model.network)
    clips, results = record.clips(), record.results
    logits = _per_class(results["logits"]), _per_class(results["logits_input2"])
    assert model.spec.classes == logits[0].shape[-1]

    errors = {"logits": error(model(clips), np.stack(logits))}
    if "probs" in results:
        errors["scores"] = error(model.scores(clips), np.stack([results["probs"], results["probs_input2"]]))
    if results["logits"].ndim == 2:
        each = np.stack([results["logits"].T, results["logits_input2"].T])
        errors["positions"] = error(model.network.positions(clips), each)
    if "features" in results:
        found = model.features(clips)
        assert found.shape == (2, found.shape[1])
        errors["features"] = error(found[0], _pooled(results["features"], found.shape[1]))
    record_property("errors", errors)
    print(name, *(f"{what} {value:.1e}" for what, value in errors.items()))
    assert max(errors.values()) < TOLERANCE, errors


def _per_class(logits: np.ndarray) -> np.ndarray:
    """Some originals keep the time axis behind the classes; it is averaged."""
    return logits if logits.ndim == 1 else logits.mean(axis=1)


def _pooled(features: np.ndarray, dimension: int) -> np.ndarray:
    """Features of every segment or position, averaged to (D,)."""
    if features.ndim == 1:
        return features
    return features.mean(axis=0) if features.shape[-1] == dimension else features.reshape(dimension, -1).mean(axis=1)
