"""The facts that travel between rooms: frozen dataclasses without behaviour worth a test of its own.

Nothing here imports numpy at run time, torch or pyarrow, so that every room, and ``vidact --help``, may import it.
Times are float64 seconds from the first presented frame, ends are exclusive.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np

Status = Literal["ok", "partial", "failed"]
Columns = dict[str, Any]
"""Rows as columns: name → numpy array or list, all of one length. What a task hands to the store."""
VIDEO_SUFFIXES: frozenset[str] = frozenset(
    {
        *(".3g2", ".3gp", ".amv", ".asf", ".avi", ".divx", ".dv", ".f4v", ".flv", ".h264", ".hevc", ".ivf", ".m1v"),
        *(".m2t", ".m2ts", ".m2v", ".m4v", ".mjpeg", ".mjpg", ".mkv", ".mov", ".mp4", ".mpe", ".mpeg", ".mpg", ".mpv"),
        *(".mts", ".mxf", ".nut", ".ogm", ".ogv", ".qt", ".rm", ".rmvb", ".tod", ".tp", ".trp", ".ts", ".vob", ".webm"),
        *(".wmv", ".y4m"),
    }
)
"""Endings (lower case) by which a search through a directory knows a video. Named explicitly, a file may end in
anything."""


@dataclass(frozen=True, slots=True)
class Video:
    """One input file, before it is opened.

    ``video`` is its identity in every table (relative to the root, ``/``-separated, reversible escapes for bytes that
    are not UTF-8); ``path`` is what the operating system opens. ``size`` (bytes) and ``mtime_ns`` are None when the
    file is missing; ``error`` is set when it must not be opened at all (missing, a FIFO, a directory): (kind,
    message).
    """

    video: str
    path: str
    size: int | None
    mtime_ns: int | None
    error: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class VideoFacts:
    """What the packet index says about a video: the columns of the same names in the table ``videos``.

    ``duration`` and ``start_time`` in seconds, ``fps`` the average rate, ``rotation`` in degrees clockwise as shown
    (0, 90, 180, 270); ``width`` and ``height`` as shown, i.e. after rotation; ``frames`` presented frames.
    """

    duration: float
    start_time: float
    fps: float
    width: int
    height: int
    rotation: int
    codec: str
    frames: int


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a clip is sampled: ``frames`` pictures, ``stride`` frames apart, at the training's ``fps``."""

    frames: int
    stride: int
    fps: float

    @property
    def seconds(self) -> float:
        """Length of one clip in seconds."""
        return self.frames * self.stride / self.fps


@dataclass(frozen=True, slots=True)
class Geometry:
    """From a frame as shown to the picture a network sees.

    ``resize="squash"`` scales the whole frame to ``size`` (height, width) and forgets its aspect ratio;
    ``resize="short-side"`` scales the short side to ``short_side`` pixels and cuts crops of ``size`` out of it.
    """

    size: tuple[int, int]
    resize: Literal["squash", "short-side"] = "short-side"
    short_side: int = 256


@dataclass(frozen=True, slots=True)
class Protocol:
    """The test a set of weights was published with: from a video file to the views a network sees.

    ``rule`` names the arithmetic of ``video/protocols.py`` that picks ``clips`` clips (0: as many as there are) of
    ``frames`` frames, ``stride`` apart, at ``fps`` frames a second where the rule converts rates. ``style`` names the
    conventions of ``video/transform.py`` by which frames are scaled to ``short_side`` pixels and ``crops`` pictures of
    ``size`` (height, width) are cut out: 1 (centre), 3 (along the long side) or 10 (corners and centre, and mirrored).
    """

    rule: str
    style: str
    frames: int
    stride: int
    clips: int
    crops: int
    short_side: int
    size: tuple[int, int]
    fps: float | None = None


@dataclass(frozen=True, slots=True)
class Flow:
    """Optical flow as what a network sees: ``fields`` of it, each x then y, behind one another at every sampled frame.

    ``chained``: a field leads from one sampled frame to the next. Otherwise the fields begin at the sampled frame and
    lead through the frames of the video that follow it. ``still`` is the level (of 0 to 255) of no motion before levels
    are rounded; ± 20 pixels are 127.5 levels away from it.
    """

    fields: int = 1
    chained: bool = False
    still: float = 127.5

    def pictures(self, frames: int) -> int:
        """How many pictures make the flow of so many sampled frames."""
        return frames + 1 if self.chained else frames * (self.fields + 1)


@dataclass(frozen=True, slots=True)
class Published:
    """A score from the literature, never without the protocol it was reached with."""

    top1: float | None
    top5: float | None
    protocol: str
    source: str


@dataclass(frozen=True, slots=True)
class Spec:
    """Everything a set of weights needs to be used as it was trained.

    ``name`` is ``architecture.weights``. ``mean`` and ``std`` are per channel for pixels scaled to 0..1. ``labels``
    may be empty (then rows say ``class 17``). ``activation`` turns logits into the scores of the output. ``average``
    says whether views are averaged as scores or as logits. ``network`` holds the constructor's arguments (depth,
    width, …). ``flow`` is set where the network sees optical flow, whose ``mean`` and ``std`` are of levels scaled to
    0..1. ``streams`` are the names of the two sets of weights, pictures and flow, that make up a composite; its
    ``mean`` and ``std`` are theirs, one behind the other. ``protocol`` is the test the weights were published with,
    None where it is not known.
    """

    name: str
    architecture: str
    sampling: Sampling
    geometry: Geometry
    mean: tuple[float, ...]
    std: tuple[float, ...]
    labels: tuple[str, ...]
    classes: int
    activation: Literal["softmax", "sigmoid"] = "softmax"
    average: Literal["scores", "logits"] = "scores"
    feature_dimension: int = 0
    licence: str = ""
    published: Published | None = None
    network: Mapping[str, Any] = field(default_factory=dict)
    notes: str = ""
    protocol: Protocol | None = None
    flow: Flow | None = None
    streams: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Contract:
    """The features a localizer was trained on, and therefore the only ones it can read.

    Row i sees ``window`` frames and is centred at frame i × ``stride`` + ``offset`` of a video played at ``fps``
    frames a second (``"native"``: the video's own rate). ``dimension`` is the length of a row (0: not known);
    ``backbone`` and ``weights`` name what made it (``weights`` as ``sha256:…`` where vidact did), ``flow`` says whether
    optical flow is part of it, ``normalisation`` what was done to the pictures, ``crop`` which part of them was seen.
    An empty text means that nobody said.
    """

    fps: float | Literal["native"]
    window: int
    stride: int
    offset: float
    dimension: int
    backbone: str
    weights: str = ""
    flow: bool = False
    normalisation: str = ""
    crop: str = ""


@dataclass(frozen=True, slots=True)
class LocalizerSpec:
    """Everything a set of localizer weights needs to be used as it was trained.

    ``network`` holds what its tensors do not tell; ``settings`` the inference settings by the project that published
    the checkpoint (``original``, ``opentad``, ``mmaction2``, ``vidact``), as ``models/localization/settings.py``
    reads them. ``min_score`` is the score below which a segment is more often wrong than right; a run leaves those out
    unless it is told another one. 0 where nobody measured it: everything stays, as published scores need it.
    """

    name: str
    architecture: str
    contract: Contract
    classes: int
    labels: tuple[str, ...] = ()
    licence: str = ""
    published: str = ""
    network: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    notes: str = ""
    min_score: float = 0.0


@dataclass(frozen=True, slots=True)
class Chunk:
    """A stretch of one video decoded and scored together: its rows (clips, or feature rows) ``first`` to ``last``.

    ``last`` is exclusive. ``seek`` is the seconds of the key frame decoding starts from.
    """

    number: int
    first: int
    last: int
    seek: float


@dataclass(frozen=True, slots=True)
class Segments:
    """What a localizer found in one video, best first, as numpy arrays of one length.

    ``start`` and ``end`` in float64 seconds, ``score`` float32, ``label_id`` int32; ``label`` holds the names.
    """

    start: np.ndarray[Any, Any]
    end: np.ndarray[Any, Any]
    score: np.ndarray[Any, Any]
    label_id: np.ndarray[Any, Any]
    label: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.score)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one video: its row in ``videos`` and its rows in the detail table, as columns.

    ``row`` holds every column of the table ``videos`` by name; ``details`` is empty for a failed video.
    """

    video: Video
    row: Mapping[str, Any]
    details: Columns

    @property
    def status(self) -> Status:
        status: Status = self.row["status"]
        return status


def frozen(default: Any = None, *, only: tuple[str, ...] = ()) -> Any:
    """A RunSettings field that may not change during the life of a run folder; ``only`` these commands know it."""
    return field(default=default, metadata={"frozen": True, "only": only})


@dataclass(frozen=True, slots=True)
class RunSettings:
    """All settings of one run, built once from the command line. Which are frozen is an attribute of the field.

    ``auto`` values (dtype, …) are resolved before this is built and their result is what is frozen. ``contract`` is
    that of the features a run makes or reads, as JSON; ``backbone`` the recogniser that makes them for a localizer;
    ``streams`` the files of a composite model by the names of its parts; ``licence`` that of the weights.
    """

    command: str = frozen("classify")
    model: str = frozen("")
    checkpoint: str = ""
    streams: tuple[tuple[str, str], ...] = ()
    weights_hash: str = frozen("")
    spec_hash: str = frozen("")
    labels_hash: str = frozen("")
    clip_seconds: float | None = frozen(only=("classify",))
    stride_seconds: float | None = frozen(only=("classify",))
    views: str | None = frozen(only=("classify",))
    protocol: str = frozen("clips", only=("classify",))
    top_k: int = frozen(5, only=("classify",))
    threshold: float = frozen(0.0, only=("classify",))
    dtype: str = frozen("float32")
    decoder: str = frozen("auto")
    format: str = frozen("parquet")
    schema: int = frozen(1)
    root: str = frozen("")
    contract: str = frozen("", only=("localize", "features"))
    backbone: str = frozen("", only=("localize",))
    backbone_hash: str = frozen("", only=("localize",))
    nms: str | None = frozen(only=("localize",))
    min_score: float = frozen(0.0, only=("localize",))
    max_segments: int | None = frozen(only=("localize",))
    licence: str = ""
    features: str = ""
    save_features: bool = False
    cache: str = ""
    inputs: tuple[str, ...] = ()
    device: str = "cpu"
    workers: int = 1
    decoders: int = 1
    batch_size: int = 8
    limit: int | None = None
    max_runtime: float | None = None
    address: str | None = None
    retry_failed: bool = False
    log_file: str | None = None

    def frozen_values(self) -> dict[str, Any]:
        """The settings a rerun on the same folder must repeat, by name."""
        return {
            f.name: getattr(self, f.name)
            for f in fields(self)
            if f.metadata.get("frozen") and self.command in (f.metadata["only"] or (self.command,))
        }
