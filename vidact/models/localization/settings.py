"""How a set of localizer weights is used at inference, as plain frozen data: no torch, no numpy.

``Settings`` belong to the weights and stand in the zoo or in the checkpoint; what differs between the projects that
published one network stands in the ``Rules`` beside that network's key map.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Suppression:
    """How one set of weights thins out its candidates.

    ``method``: ``hard`` drops what overlaps a better segment by ``iou`` or more; the others only lower its score:
    ``gaussian`` by exp(-IoU² / ``sigma``), ``linear`` by 1 - IoU from ``iou`` on, ``zero`` to nothing from ``iou`` on,
    ``widening`` by the Gaussian where IoU reaches ``low`` + ``high`` × the winner's length (for lengths in 0..1).
    ``proposals`` is the same as boundary-matching networks were first evaluated (see ``segments.proposals``).
    ``none`` only sorts and caps. Lengths are measured in ``unit`` rows. ``min_score``: a score that falls below it
    while being lowered is discarded (``hard``: candidates not above it are). ``max_segments`` caps each class and the
    whole. ``by_class`` treats every label alone and then does not vote. ``voting`` > 0 moves each kept segment to the
    mean of the candidates it overlaps by that IoU or more, weighted by score, or by score × IoU with
    ``voting_by_iou``.
    """

    method: Literal["hard", "gaussian", "linear", "zero", "widening", "proposals", "none"] = "gaussian"
    iou: float = 0.1
    sigma: float = 0.5
    low: float = 0.0
    high: float = 0.0
    min_score: float = 0.001
    max_segments: int = 200
    by_class: bool = True
    voting: float = 0.0
    voting_by_iou: bool = False
    unit: float = 1.0


@dataclass(frozen=True, slots=True)
class Fusion:
    """How class-agnostic segments take their classes from a video-level classifier: the best ``top`` classes, each with
    the product of the two scores, or its root; ``softmax_factor`` > 0 first turns class scores into softmax × that.
    ``columns`` says where the classes stand among the scores of a classifier that knows more."""

    top: int = 2
    root: bool = True
    softmax_factor: float = 0.0
    columns: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Windows:
    """A long sequence cut into windows of ``length`` rows, ``stride`` rows apart; the last is moved back to the end."""

    length: int
    stride: int


@dataclass(frozen=True, slots=True)
class Instants:
    """A label whose segments mark an instant that the features tell by the frame: columns ``column`` to ``column`` +
    ``frames`` of a row hold a number for each frame of its window, the largest at the first frame behind the instant.
    A segment becomes the instant ± ``half`` seconds, looked for up to ``within`` seconds from its middle."""

    label: int
    column: int
    frames: int
    within: float
    half: float


@dataclass(frozen=True, slots=True)
class Settings:
    """Inference as the weights were evaluated.

    ``length`` is the number of rows the network was trained with: shorter inputs are padded to it, and ``resize``
    brings every input to exactly it (``linear``: interpolation; ``align``: averages of a region pooling, after
    rounding to half precision) or only the longer ones (``longer``: interpolation). Candidates need a score above
    ``threshold``; the best ``top`` of them go on, of each pyramid level or of all as the network's rules say, if they
    are longer than ``min_length`` rows (None: whatever their length). With ``windows`` a long sequence is searched
    piece by piece and thinned out again as a whole. ``snippet`` > 0: the sequence covers only whole snippets of that
    many frames, not the rest of the video. ``instants``: a label whose segments are moved onto a frame.
    """

    length: int
    resize: Literal["none", "linear", "longer", "align"] = "none"
    threshold: float = 0.001
    top: int = 2000
    min_length: float | None = None
    nms: Suppression = Suppression()
    fusion: Fusion | None = None
    windows: Windows | None = None
    snippet: int = 0
    instants: Instants | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; :func:`from_json` is the inverse."""
        return asdict(self)


def from_json(facts: dict[str, Any]) -> Settings:
    """Settings from what ``Settings.to_json`` gave; an unknown entry is a TypeError, because it could change
    results."""
    values = dict(facts)
    values["nms"] = Suppression(**values["nms"])
    if values.get("fusion") is not None:
        values["fusion"] = Fusion(**{**values["fusion"], "columns": tuple(values["fusion"]["columns"])})
    if values.get("windows") is not None:
        values["windows"] = Windows(**values["windows"])
    if values.get("instants") is not None:
        values["instants"] = Instants(**values["instants"])
    return Settings(**values)
