"""Reference records of localizers: what an original implementation gave for weights and features anyone can make again.

A record is a JSON of facts (key names, shapes, how each is filled) and an NPZ of results;
``tests/golden/localization``. Every tensor and every input is drawn from a generator seeded with its own name. Knows
nothing of networks.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from models.golden import GOLDEN, Reference
from torch import Tensor

FOLDER = GOLDEN / "localization"
EVERYTHING = os.environ.get("VIDACT_TEST_ALL") == "1"
"""Long videos and networks of more than 60 million parameters run only when asked for: minutes, not seconds."""


class Record(Reference):
    """A localizer's."""

    folder = "localization"

    @property
    def videos(self) -> list[int]:
        """The numbers of the videos to run: all, or the shortest."""
        lengths = [video["T"] for video in self.facts["videos"]]
        return list(range(len(lengths))) if EVERYTHING else [lengths.index(min(lengths))]

    def labels(self, number: int, kind: str, names: tuple[str, ...]) -> np.ndarray:
        """The expected label ids of a video, where the record gives names too."""
        stored = self.results.get(f"v{number}_{kind}_labels")
        if stored is not None:
            return stored
        found = self.facts["videos"][number][f"{kind}_labels"]
        return np.array([names.index(name) if name in names else int(name.split("_")[1]) for name in found])

    def features(self, video: dict[str, Any]) -> np.ndarray:
        """The contents of a video's feature file (T, C); several features side by side."""
        dimension = self.facts["feature_dim"]
        width = sum(dimension) if isinstance(dimension, list) else dimension
        return self.generator(video["input_key"]).normal(0, 1, (video["T"], width)).astype(np.float32)

    def state(self) -> dict[str, Tensor]:
        """Every tensor of the checkpoint under its published key."""
        filled: dict[str, Tensor] = {}
        for key, shape, dtype, rule in self.facts["state_dict"]:
            if rule == "keep" and isinstance(self.facts["kept_values"][key], str):
                filled[key] = torch.zeros(1).expand(shape)  # a table any network computes for itself
                continue
            filled[key] = torch.from_numpy(self._fill(key, tuple(shape), dtype, rule))
        return filled

    def _fill(self, key: str, shape: tuple[int, ...], dtype: str, rule: str) -> np.ndarray:
        if rule == "keep":
            return np.broadcast_to(np.asarray(self.facts["kept_values"][key]), shape).astype(dtype.split(".")[-1])
        if rule.startswith("alias of "):
            key = rule.removeprefix("alias of ")
            rule = next(row[3] for row in self.facts["state_dict"] if row[0] == key)
        generator = self.generator(key)
        kind, _, factor = rule.partition("*")
        values = {
            "var": lambda: generator.uniform(0.5, 1.5, shape),
            "mean": lambda: generator.normal(0, 0.1, shape),
            "gain": lambda: generator.uniform(0.8, 1.2, shape),
            "offset": lambda: generator.uniform(1, 3, shape),
            "small": lambda: generator.normal(0, 0.05, shape),
            "matrix": lambda: generator.normal(0, 1, shape) / np.sqrt(np.prod(shape[1:])),
        }[kind]()
        return np.asarray(values * float(factor or 1)).astype(np.float32)

    def write_checkpoint(self, folder: Path) -> Path:
        """The file as its publisher wraps it."""
        state = {f"module.{key}": value for key, value in self.state().items()}
        content: dict[str, Any] = {"epoch": 1, "state_dict": {}, "state_dict_ema": state}
        if self.name.startswith("mma2_"):
            content = {"meta": {}, "state_dict": self.state()}
        file = folder / f"{self.name}.pth"
        torch.save(content, file)
        return file
