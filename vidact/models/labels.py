"""Label names from a user's ``--labels`` file. Names are never guessed from the number of classes."""

from __future__ import annotations

import json
import os
from typing import Any

from vidact.errors import ModelError


def read_labels(path: str | os.PathLike[str], classes: int | None = None) -> tuple[str, ...]:
    """The names in a text file, one a line, or in a JSON file, in the order of the network's outputs.

    A line may begin with its number (``17 archery``) when every line does and the numbers run from 0 or from 1, as in
    published class lists. JSON is a list, or gives each name its number from 0, as Something-Something's does.
    Raises ModelError when the file cannot be read, holds a name twice or does not have ``classes`` names.
    """
    name = os.fspath(path)
    try:
        with open(path, encoding="utf-8-sig") as file:
            text = file.read()
        if name.lower().endswith(".json"):
            labels = _ordered(json.loads(text))
        else:
            labels = _without_numbers([line.strip() for line in text.split("\n") if line.strip()])
    except (OSError, ValueError, RecursionError) as error:  # no UTF-8 and no JSON are ValueErrors
        raise ModelError(
            f"cannot read the labels {name!r}: {getattr(error, 'strerror', None) or error}",
            hint="give one label a line, as UTF-8 text",
        ) from error
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
    for first in (0, 1):
        if all(len(pair) == 2 and pair[0] == str(row) for row, pair in enumerate(pairs, first)):
            return [pair[1] for pair in pairs]
    return lines


def _ordered(content: Any) -> list[str]:
    """The names of a JSON list, or of a table name → number. ValueError when it is neither."""
    if isinstance(content, list) and all(isinstance(one, str) for one in content):
        return content
    if isinstance(content, dict):
        numbers = {int(number): str(label) for label, number in content.items() if isinstance(number, (int, str))}
        if sorted(numbers) == list(range(len(content))):
            return [numbers[row] for row in range(len(content))]
    raise ValueError("it is neither a list of names nor a table of names and numbers from 0")
