"""From the key names a network was published with to ours: literal tables of patterns, applied in one pass."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from torch import Tensor

Table = Sequence[tuple[str, str | None]]
"""(pattern, replacement) pairs; the first pattern that matches from the start of a key decides, None drops the
tensor."""

_NORM = re.compile(r"norm[^.]*\.(\d+\.)?(weight|bias)$")


def rename(state: Mapping[str, Tensor], table: Table) -> dict[str, Tensor]:
    """The tensors under our names. Keys no pattern knows stay as they are, for the strict load to report.

    Norms published as (1, C, 1) become (C,).
    """
    patterns = [(re.compile(pattern), replacement) for pattern, replacement in table]
    renamed: dict[str, Tensor] = {}
    for key, value in state.items():
        name: str | None = key
        for pattern, replacement in patterns:
            if pattern.match(key):
                name = None if replacement is None else pattern.sub(replacement, key, count=1)
                break
        if name is not None:
            renamed[name] = value.reshape(-1) if _NORM.search(name) else value
    return renamed


def count(state: Mapping[str, Tensor], prefix: str) -> int:
    """How many numbered modules stand under ``prefix`` (``stem.`` → 2 for stem.0.…, stem.1.…)."""
    numbers = {key[len(prefix) :].split(".", 1)[0] for key in state if key.startswith(prefix)}
    return len({number for number in numbers if number.isdigit()})
