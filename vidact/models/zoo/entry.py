"""What the zoo says about one set of weights."""

from __future__ import annotations

from dataclasses import dataclass

from vidact.records import Spec


@dataclass(frozen=True, slots=True)
class Entry:
    """One published set of weights.

    ``source`` is ``bundled:NAME`` for a file inside the package, ``hub:OWNER/REPOSITORY/FILE``, a URL, or empty where
    the file can only be had by hand. ``sha256`` (empty where nobody published it) and ``size`` (bytes, 0 if unknown)
    are of that file. ``tested`` says whether anyone has run vidact with the real file.
    """

    spec: Spec
    family: str
    source: str
    sha256: str
    size: int
    tested: bool

    @property
    def bundled(self) -> str | None:
        """The file inside the package, or None when the weights are not part of it."""
        kind, _, file = self.source.partition(":")
        return file if kind == "bundled" else None
