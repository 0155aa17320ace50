"""What the zoo says about one set of weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Generic

from vidact.models.labels import read_labels
from vidact.models.weights import S, bundled
from vidact.records import LocalizerSpec, Spec


@dataclass(frozen=True)
class Weights(Generic[S]):
    """One published set of weights.

    ``source`` is ``bundled:NAME`` for a file inside the package, ``hub:OWNER/REPOSITORY/FILE``, a URL, or empty where
    no program can get the file: then ``where`` tells a person, or is empty too, if nobody publishes one. ``sha256``
    (empty where nobody published it; its first digits where the file's name holds them) and ``size`` (bytes, 0 if
    unknown) are of that file. ``tested`` says whether anyone has run vidact with the real file. ``labels`` names the
    list of classes among the assets, in the order of the network's outputs, where the spec does not hold the names
    itself. ``mark`` is a regular expression that a key of the file matches and no key of other publishers' files does.
    """

    spec: S
    family: str
    source: str
    sha256: str
    size: int
    tested: bool = False
    labels: str = ""
    mark: str = ""
    where: str = ""

    def described(self) -> S:
        """The spec with its label names, which are read only now."""
        if not self.labels:
            return self.spec
        return replace(self.spec, labels=read_labels(bundled(f"labels/{self.labels}.txt"), self.spec.classes))

    @property
    def bundled(self) -> str | None:
        """The file inside the package, or None when the weights are not part of it."""
        kind, _, file = self.source.partition(":")
        return file if kind == "bundled" else None

    @property
    def non_commercial(self) -> bool:
        """Whether the licence forbids commercial use."""
        return "-NC" in self.spec.licence.upper()


Entry = Weights[Spec]
LocalizerEntry = Weights[LocalizerSpec]
