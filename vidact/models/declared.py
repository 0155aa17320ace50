"""Values that came out of a file, compared with what a dataclass declares: the annotations are the rules.

Knows no dataclass in particular.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints


def check(record: Any) -> None:
    """TypeError that names the first field of a dataclass, or of one inside it, whose value is not as declared.

    Whole numbers are numbers, truth values are not; NaN and infinity are none.
    """
    hints = get_type_hints(type(record))
    for field in dataclasses.fields(record):
        value = getattr(record, field.name)
        if not _fits(value, hints[field.name]):
            raise TypeError(f"{field.name} cannot be {value!r:.80}")


def _fits(value: Any, hint: Any) -> bool:
    origin, inside = get_origin(hint), get_args(hint)
    if origin is Literal:
        return value in inside
    if origin in (Union, UnionType):
        return any(_fits(value, one) for one in inside)
    if origin is tuple:
        if not isinstance(value, tuple) or (inside[-1] is not ... and len(value) != len(inside)):
            return False
        return all(_fits(one, inside[0] if inside[-1] is ... else inside[at]) for at, one in enumerate(value))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return isinstance(value, Mapping) and all(_fits(one, inside[1]) for one in value.values())
    if hint is Any or hint is None or hint is NoneType:
        return hint is Any or value is None
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if dataclasses.is_dataclass(value) and isinstance(value, hint):
        check(value)
        return True
    return isinstance(value, hint)
