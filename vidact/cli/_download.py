"""A set of weights by name, its licence said and its download shown: for ``vidact models pull`` and for runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from vidact.cli._live import Live, clock
from vidact.cli._output import Output, amount
from vidact.errors import MissingWeights

if TYPE_CHECKING:
    from vidact.models.zoo import Weights

T = TypeVar("T")


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
    arrival = Arrival(out)
    with arrival:
        file = download(cache.wanted(entry), arrival, arrival.wait)
    out.note(f"{amount(file.stat().st_size)} in {str(file)!r}. {_checked(entry, file)}")
    return file


def _checked(entry: Weights[Any], file: Path) -> str:
    from vidact.models import cache

    if len(entry.sha256) == 64:
        return "It is the published file (SHA-256)."
    if entry.sha256:
        return f"Its SHA-256 begins with {entry.sha256}, as its name says."
    return f"Its SHA-256 is {cache.note(file).get('sha256')}; none is published to compare it with."


class Arrival(Live):
    """How much of a file is here, or what is waited for; without a terminal the latter is said at once."""

    def __init__(self, out: Output) -> None:
        super().__init__(out)
        self._waiting = "connecting"
        self._since = self._began = time.monotonic()
        self._here = self._first = self._total = 0
        self._arriving = False

    def wait(self, what: str) -> None:
        """What is waited for from now on."""
        with self._lock:
            self._waiting, self._since, self._arriving = what, time.monotonic(), False
            self._draw()
        (self._out.log if self._out.live else self._out.note)(f"{what[:1].upper()}{what[1:]}.")

    def __call__(self, here: int, total: int) -> None:
        if not self._arriving:  # what an earlier connection got says nothing about the speed of this one
            self._began, self._first, self._arriving = time.monotonic(), here, True
        self._here, self._total = here, total

    def parts(self) -> tuple[str, float | None, list[str]]:
        if not self._arriving:
            return self._waiting, None, [f"{time.monotonic() - self._since:.0f} s"]
        rate = (self._here - self._first) / max(time.monotonic() - self._began, 1e-3)
        speed = f"{amount(round(rate))}/s"
        if not self._total:  # the server does not say how long the file is
            return amount(self._here), None, [speed]
        share = self._here / self._total
        left = [f"{clock((self._total - self._here) / rate)} left"] if rate else []
        return f"{share:.0%}", share, [f"{amount(self._here)} of {amount(self._total)}", speed, *left]
