"""Label names from a user's ``--labels`` file. Names are never guessed from the number of classes."""

from __future__ import annotations

import os

from vidact.errors import ModelError


def read_labels(path: str | os.PathLike[str], classes: int | None = None) -> tuple[str, ...]:
    """The names in a text file, one a line, in the order of the network's outputs.

    A line may begin with its number (``17 archery``) when every line does and the numbers run from 0, as in published
    class lists. Raises ModelError when the file cannot be read, holds a name twice or does not have ``classes`` names.
    """
    name = os.fspath(path)
    try:
        with open(path, encoding="utf-8-sig") as file:
            lines = [line.strip() for line in file if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(
            f"cannot read the labels {name!r}: {error}", hint="give one label a line, as UTF-8 text"
        ) from error
    labels = _without_numbers(lines)
    seen: set[str] = set()
    for number, label in enumerate(labels, 1):
        if label in seen:
            raise ModelError(
                f"the labels {name!r} name {label!r} twice (line {number})", hint="give one label a line, each once"
            )
        seen.add(label)
    if classes is not None and len(labels) != classes:
        raise ModelError(
            f"the labels {name!r} hold {len(labels)} names, the model has {classes} classes",
            hint="give the list the weights were trained with, in its order",
        )
    return tuple(labels)


def _without_numbers(lines: list[str]) -> list[str]:
    pairs = [line.split(None, 1) for line in lines]
    numbered = all(len(pair) == 2 and pair[0] == str(row) for row, pair in enumerate(pairs))
    return [pair[1] for pair in pairs] if numbered else lines
