"""From the key names a checkpoint was published with to a network's own.

A format is a literal table of rows ``(regular expression, replacement)`` beside the network. Knows nothing of layers;
what does not fit after renaming is reported by the strict loading in ``models/build.py``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

from vidact.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor

Rows = tuple[tuple[str, str], ...]


class Format(Protocol):
    """The rules of one publisher: ``mark`` is a regular expression for a key that only this format has."""

    @property
    def mark(self) -> str: ...


F = TypeVar("F", bound=Format)


def choose(formats: Sequence[F], state: Mapping[str, Tensor], architecture: str) -> F:
    """The first format whose mark is among the keys. Raises ModelError, with some of the keys, when none is."""
    for candidate in formats:
        mark = re.compile(candidate.mark)
        if any(mark.match(key) for key in state):
            return candidate
    raise ModelError(
        f"the keys of this checkpoint are in no format {architecture} was published in (first: {sorted(state)[:3]})",
        hint="check --model against the file (`vidact models list`)",
    )


def rename(state: Mapping[str, Tensor], rows: Rows) -> dict[str, Tensor]:
    """The same tensors under a network's own keys: every row in turn rewrites the part of a key it matches.

    Raises ModelError when two keys end up with one name.
    """
    compiled = [(re.compile(pattern), replacement) for pattern, replacement in rows]
    renamed: dict[str, Tensor] = {}
    for key, value in state.items():
        name = key
        for pattern, replacement in compiled:
            name = pattern.sub(replacement, name)
        if name in renamed:
            raise ModelError(f"two keys of this checkpoint mean the same tensor, {name} (one is {key})")
        renamed[name] = value
    return renamed


def count(keys: Iterable[str], prefix: str) -> int:
    """How many numbers follow ``prefix`` (``stages.0.`` → the blocks of the first stage)."""
    return len({key[len(prefix) :].split(".", 1)[0] for key in keys if key.startswith(prefix)})


def shape(state: Mapping[str, Tensor], key: str, architecture: str) -> tuple[int, ...]:
    """The shape of a tensor the network's size is read from. Raises ModelError when it is not there."""
    if key not in state:
        raise ModelError(
            f"this checkpoint has no tensor for {key} of {architecture}",
            hint="check --model against the file (`vidact models list`)",
        )
    return tuple(state[key].shape)
