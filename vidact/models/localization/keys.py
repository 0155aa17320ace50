"""From the key names a network was published with to ours: literal tables of patterns, applied in one pass."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from torch import Tensor

from vidact.errors import ModelError

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


def published_by(state: Mapping[str, Tensor], marks: Sequence[tuple[str, str]], architecture: str) -> str:
    """Whose key names these are, by the pairs (beginning of a key, form). Raises ModelError when it is nobody's."""
    for beginning, form in marks:
        if any(key.startswith(beginning) for key in state):
            return form
    raise ModelError(
        f"these tensors are not those of {architecture} (first: {next(iter(state), 'none')})",
        hint="check --model against the file (`vidact models list`)",
    )
