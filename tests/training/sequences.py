"""Made-up features that say where the action is, and annotations that fit them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

LABELS = ("jump", "run", "wave")


def made(root: Path, *, videos: int = 12, held_out: int = 4, rows: int = 96, seed: int = 0) -> tuple[Path, Path]:
    """A folder of features (25 fps, 16 frames every 4) and an annotation file: one number a label, high inside."""
    rng = np.random.default_rng(seed)
    (root / "features").mkdir(parents=True)
    directions = rng.normal(size=(len(LABELS), 8))
    database = {}
    for number in range(videos + held_out):
        array = rng.normal(0, 0.1, (rows, 8))
        segments, at = [], float(rng.integers(2, 10))
        while at + 6 < rows:
            length = float(rng.integers(5, 16))
            end = min(at + length, rows - 2.0)
            label = int(rng.integers(len(LABELS)))
            array[int(np.ceil(at)) : int(end) + 1] += directions[label]
            segments.append({"segment": [(at * 4 + 8) / 25, (end * 4 + 8) / 25], "label": LABELS[label]})
            at = end + float(rng.integers(6, 14))
        np.save(root / "features" / f"v{number:02d}.npy", array.astype(np.float32))
        database[f"v{number:02d}"] = {
            "duration": ((rows - 1) * 4 + 16) / 25,
            "subset": "training" if number < videos else "validation",
            "annotations": segments,
        }
    (root / "features" / "manifest.json").write_text(json.dumps({"fps": 25, "window": 16, "stride": 4, "offset": 8}))
    (root / "truth.json").write_text(json.dumps({"database": database}))
    return root / "features", root / "truth.json"
