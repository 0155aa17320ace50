"""A set of weights by name, its licence said and its download shown: for ``vidact models pull`` and for runs."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from vidact.cli._output import Output
from vidact.errors import MissingWeights

if TYPE_CHECKING:
    from vidact.models.zoo import Weights

T = TypeVar("T")
MINUTE = 60.0
BAR = "{percentage:3.0f}% |{bar:20}| {n_fmt}/{total_fmt} {rate_fmt}, {remaining} left"
COUNT = "{n_fmt} {rate_fmt}"  # where the server does not say how long the file is


def find(name: str) -> Weights[Any]:
    """The entry of a recogniser or a localizer. Raises ModelError for a name nobody knows."""
    from vidact.models import zoo
    from vidact.models.unknown import unknown
    from vidact.models.zoo import localizers

    entry = zoo.resolve(name) or localizers.resolve(name)
    if entry is None:
        raise unknown(name)
    return entry


def fetch(out: Output, name: str) -> list[Path]:
    """The files of these weights (a composite has two), downloaded now if they are not here. Raises ModelError."""
    from vidact.models import cache

    entry = find(name)
    return [_fetch(out, one) for one in cache.streams(entry) or [entry]]


def with_weights(out: Output, act: Callable[[], T]) -> T:
    """What ``act`` returns, with the weights it asks for downloaded: a model's, and perhaps those its features need."""
    while True:
        try:
            return act()
        except MissingWeights as missing:
            fetch(out, missing.name)  # they are in the cache then, or it raises


def _fetch(out: Output, entry: Weights[Any]) -> Path:
    from vidact.models import cache
    from vidact.models.download import download

    here = cache.cached(entry)
    if here:
        return here
    try:
        return Path(cache.file_of(entry))
    except MissingWeights:
        pass
    licence = entry.spec.licence or "unknown"
    terms = f"{licence}, which forbids commercial use" if entry.non_commercial else licence
    out.note(f"Downloading {entry.spec.name} from {cache.address(entry)}. Its licence: {terms}.")
    with _progress(out) as progress:
        file = download(cache.wanted(entry), progress)
    out.note(f"{file.stat().st_size / 1e6:.1f} MB in {str(file)!r}. {_checked(entry, file)}")
    return file


def _checked(entry: Weights[Any], file: Path) -> str:
    from vidact.models import cache

    if len(entry.sha256) == 64:
        return "It is the published file (SHA-256)."
    if entry.sha256:
        return f"Its SHA-256 begins with {entry.sha256}, as its name says."
    return f"Its SHA-256 is {cache.note(file).get('sha256')}; none is published to compare it with."


@contextlib.contextmanager
def _progress(out: Output) -> Iterator[Any]:
    """A live bar on a terminal, a line a minute elsewhere."""
    if not out.live:
        yield _Lines(out)
        return
    from tqdm import tqdm

    with tqdm(file=sys.stderr, unit="B", unit_scale=True, dynamic_ncols=True, leave=False, bar_format=COUNT) as bar:

        def show(here: int, total: int) -> None:
            bar.total, bar.bar_format = total or None, BAR if total else COUNT
            bar.update(here - bar.n)

        yield show


class _Lines:
    def __init__(self, out: Output) -> None:
        self._out = out
        self._spoke = time.monotonic()

    def __call__(self, here: int, total: int) -> None:
        if time.monotonic() - self._spoke >= MINUTE:
            self._spoke = time.monotonic()
            of = f" of {total / 1e6:.0f}" if total else ""
            self._out.note(f"{here / 1e6:.0f}{of} MB")
