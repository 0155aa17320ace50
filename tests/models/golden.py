"""Reference records: the numbers an original implementation gave for weights and inputs that anyone can make again.

A record is a JSON of facts (key names, shapes, how to fill them) and an NPZ of results. Every tensor and every input is
drawn from a generator seeded with its own name, so that nothing large is stored. Knows nothing of networks.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
FOLDER = GOLDEN / "recognition"


@dataclass(frozen=True)
class Reference:
    """What an original gave: ``facts`` as published, ``results`` by name. ``folder`` is the task of its network."""

    name: str
    folder: ClassVar[str]

    @cached_property
    def facts(self) -> dict[str, Any]:
        path = GOLDEN / self.folder / f"{self.name}.json"
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found

    @cached_property
    def results(self) -> dict[str, np.ndarray]:
        with np.load(GOLDEN / self.folder / f"{self.name}.npz") as file:
            return dict(file)

    @property
    def model(self) -> str:
        """The name the record's network, or its set of weights, goes by."""
        names = json.loads((GOLDEN / "names.json").read_text(encoding="utf-8"))
        return str(names[self.folder][self.name])

    def generator(self, key: str) -> np.random.Generator:
        digest = hashlib.sha256(f"{self.facts['salt']}:{key}".encode()).digest()
        return np.random.default_rng(int.from_bytes(digest[:8], "little"))


class Record(Reference):
    """A recogniser's."""

    folder = "recognition"

    def state(self) -> dict[str, Tensor]:
        """Every tensor of the checkpoint; counters are zero."""
        return {key: self._tensor(key, shape, dtype) for key, shape, dtype in self.facts["state"]}

    def _tensor(self, key: str, shape: list[int], dtype: str) -> Tensor:
        if not dtype.startswith("float"):
            return torch.zeros(shape, dtype=getattr(torch, dtype))
        generator, fill = self.generator(key), self.facts["fill"]
        values = _values(generator, key, tuple(shape))
        values = values * fill.get("scale", {}).get(key, 1.0) + fill.get("offset", {}).get(key, 0.0)
        return torch.from_numpy(np.asarray(values, dtype=np.float32))

    def clips(self) -> Tensor:
        """Both inputs as one batch (2·N, C, T, H, W): plain noise, and noise that differs by frame, row and column."""
        layout, shape = self.facts["input"]["layout"], tuple(self.facts["input"]["shape"])
        first = self.generator("input").standard_normal(shape).astype(np.float32)
        time_first = layout.split(",")[2] == "C"
        if time_first:
            first = first.swapaxes(1, 2)
        count, channels, frames, height, width = first.shape
        second = self.generator("input2")
        axes = ((frames, 1, 1), (1, height, 1), (1, 1, width))
        parts = [second.standard_normal((count, channels, *axis)) for axis in axes]
        both = np.concatenate([first, (parts[0] + parts[1] + parts[2]).astype(np.float32)])
        return torch.from_numpy(both)

    def write_checkpoint(self, folder: Path) -> Path:
        """The file as its publisher wraps it."""
        wrapper = self.facts["wrapper"] or ""
        state = self.state()
        if "keys start with module." in wrapper:
            state = {f"module.{key}": value for key, value in state.items()}
        content: dict[str, Any] = {"epoch": 1, wrapper.split()[0]: state} if wrapper[:1] in "ms" and wrapper else state
        file = folder / f"{self.name}.pth"
        torch.save(content, file)
        return file


def _values(generator: np.random.Generator, key: str, shape: tuple[int, ...]) -> np.ndarray:
    if key.endswith("running_var"):
        return generator.uniform(0.5, 1.5, shape)
    if key.endswith("running_mean"):
        return generator.normal(0, 0.1, shape)
    if len(shape) == 1 and key.endswith("weight"):
        return generator.uniform(0.8, 1.2, shape)
    if len(shape) < 2:
        return generator.normal(0, 0.05, shape)
    return generator.normal(0, 1, shape) / np.sqrt(np.prod(shape[1:]))


def compute_once(network: nn.Module) -> None:
    """Let a network compute its maps once a batch: logits, scores and features of one batch share them."""
    compute, kept = network.maps, {}

    def maps(clips: Tensor) -> Any:
        if clips.data_ptr() not in kept:
            kept[clips.data_ptr()] = compute(clips)
        return kept[clips.data_ptr()]

    network.maps = maps  # type: ignore[assignment]


def error(found: Tensor | np.ndarray, expected: np.ndarray) -> float:
    """The largest difference as a fraction of the expected values' standard deviation."""
    values = np.asarray(found, dtype=np.float64)
    assert values.shape == expected.shape, f"{values.shape} instead of {expected.shape}"
    return float(np.abs(values - expected).max() / expected.std())
