"""From the words of an option to its value: checks that typer has no type for, and completion."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable

import typer

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def auto_or_count(smallest: int) -> Callable[[str], int | None]:
    """A parser of ``auto`` (None) or a whole number of at least ``smallest``."""

    def parse(text: str) -> int | None:
        if text == "auto":
            return None
        if not re.fullmatch(r"[0-9]{1,6}", text) or int(text) < smallest:
            raise typer.BadParameter(f"{text!r} is neither 'auto' nor a whole number of at least {smallest}.")
        return int(text)

    return parse


def views(text: str) -> str:
    """Check ``CLIPSxCROPS`` and write it the one way a run is frozen with."""
    match = re.fullmatch(r"([0-9]{1,5})x([13])", text)
    if match is None or int(match[1]) < 1:
        raise typer.BadParameter(f"{text!r} is not CLIPSxCROPS with 1 or 3 crops, such as 10x3.")
    return f"{int(match[1])}x{match[2]}"


def duration(text: str) -> float:
    """Seconds of ``90``, ``90s``, ``30m``, ``8h`` or ``1d``."""
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)([smhd]?)", text)
    if match is None or float(match[1]) == 0:
        raise typer.BadParameter(f"{text!r} is not a length of time such as 90s, 30m or 8h.")
    return float(match[1]) * _UNITS[match[2]]


def seconds(value: float | None) -> float | None:
    """Check a length of time in seconds."""
    if value is not None and not (value > 0 and math.isfinite(value)):
        raise typer.BadParameter(f"{value:g} is not a number of seconds above 0.")
    return value


def score(value: float | None) -> float | None:
    """Check a score. (Typer's own range lets NaN through.)"""
    if value is not None and not 0 <= value <= 1:
        raise typer.BadParameter(f"{value:g} is not in the range 0 to 1.")
    return value


def between(least: float | None, most: float | None) -> Callable[[float | None], float | None]:
    """Check a number that may be ``least`` to ``most`` (None: no bound)."""

    def check(value: float | None) -> float | None:
        low, high = -math.inf if least is None else least, math.inf if most is None else most
        if value is not None and not low <= value <= high:
            bounds = [f"at least {least:g}"] if least is not None else []
            bounds += [f"at most {most:g}"] if most is not None else []
            raise typer.BadParameter(f"{value:g} is not {' and '.join(bounds)}.")
        return value

    return check


def rate(value: str | None) -> float | str | None:
    """Frames a second: a number above 0, or ``native``."""
    if value is None or value == "native":
        return value
    if not re.fullmatch(r"[0-9]{1,4}(?:\.[0-9]{1,9})?", value) or float(value) == 0:
        raise typer.BadParameter(f"{value!r} is neither 'native' nor a number of frames a second above 0.")
    return float(value)


def machine_wide(name: str, otherwise: str | None) -> Callable[[], str | None]:
    """The default of an option that has a machine-wide variable ``VIDACT_<NAME>``."""
    return lambda: os.environ.get(f"VIDACT_{name}") or otherwise


def complete_model(incomplete: str) -> list[tuple[str, str]]:
    """Names of models that begin like this, with what they are; asked for by the shell."""
    from vidact.models import zoo

    return [(name, entry.family) for name, entry in sorted(zoo.ENTRIES.items()) if name.startswith(incomplete)]


def complete_any(incomplete: str) -> list[tuple[str, str]]:
    """Names of recognisers and localizers that begin like this."""
    return [*complete_model(incomplete), *complete_localizer(incomplete)]


def complete_localizer(incomplete: str) -> list[tuple[str, str]]:
    """Names of localizers that begin like this, with their architecture; asked for by the shell."""
    from vidact.models.zoo import localizers

    return [(name, spec.architecture) for name, spec in sorted(localizers.SPECS.items()) if name.startswith(incomplete)]
