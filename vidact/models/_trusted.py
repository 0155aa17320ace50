"""Run as a program of its own: unpickles a checkpoint in full, running whatever code it holds, and keeps its tensors.

``python -I _trusted.py SOURCE TARGET`` writes the tables and tensors of SOURCE, and nothing else of it, as a file that
torch's restricted loader reads. Classes that are not installed are replaced by stand-ins. Imports nothing of vidact.
"""

from __future__ import annotations

import pickle
import sys
import types
from collections.abc import Mapping
from typing import Any

import torch


class _Absent(dict):  # type: ignore[type-arg]
    """In the place of a class that is not installed."""

    def __init__(self, *arguments: object, **named: object) -> None:
        super().__init__()

    def __setstate__(self, state: object) -> None:
        pass


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return super().find_class(module, name)
        except (ImportError, AttributeError):
            return _Absent


def plain(value: Any) -> Any:
    """Nested tables with the tensors in them; None in the place of anything else."""
    if isinstance(value, torch.nn.Module):
        value = value.state_dict()
    if isinstance(value, Mapping):
        return {str(key): inner for key, entry in value.items() if (inner := plain(entry)) is not None}
    return value.detach().cpu().clone() if isinstance(value, torch.Tensor) else None


def main(source: str, target: str) -> None:
    loader: Any = types.ModuleType("trusting_pickle")
    loader.__dict__.update(pickle.__dict__)
    loader.Unpickler = _Unpickler
    torch.save(plain(torch.load(source, map_location="cpu", weights_only=False, pickle_module=loader)), target)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
