"""``features``: dense features of a video by any recogniser, as a contract says, into the feature cache.

Rows are windows of frames, decoded and scored like clips; what ``finish`` leaves is one cache entry and a row that says
where it lies. Knows nothing of Ray or of localizers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vidact.errors import UsageError, VideoError
from vidact.records import Chunk, Columns, Contract, RunSettings, Spec, Video, VideoFacts
from vidact.store.features import FeatureCache, Features
from vidact.tasks.classify import CHUNK_SECONDS
from vidact.tasks.pictures import Pictures

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vidact.models.recognizer import Recognizer
    from vidact.video.decode import ClipReader
    from vidact.video.index import Index
    from vidact.video.sampling import ClipGrid
    from vidact.video.transform import Plan

_ROWS = 65_536  # looked at together for values that are not finite


@dataclass(frozen=True, slots=True)
class Outline:
    """An open video without its frames. ``rows`` is 0 where the features exist: ``source`` then says where.

    ``source`` is ``cache``, or the name of the video in a folder of features; ``centres`` (rows,) are seconds.
    ``missing`` says how many of how many rows of features in the cache could not be decoded.
    """

    video: Video
    facts: VideoFacts | None
    rows: int
    centres: NDArray[np.float64] | None
    source: str | None = None
    missing: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class Opened:
    """A video in the process that decodes it; ``index``, ``grid`` and ``plan`` only where frames are needed."""

    outline: Outline
    chunks: tuple[Chunk, ...]
    index: Index | None = None
    grid: ClipGrid | None = None
    plan: Plan | None = None


def contract_of(spec: Spec, weights_hash: str, *, fps: float | str | None, stride: int | None) -> Contract:
    """The contract under which a recogniser makes dense features: windows as long as its clips.

    ``fps`` (default: the training's) may be ``native``; ``stride`` is in frames (default: a quarter of the window).
    """
    window = spec.sampling.frames * spec.sampling.stride
    if stride is not None and stride < 1:
        raise UsageError(f"a stride of {stride} frames", hint="it is at least 1")
    rate: Any = spec.sampling.fps if fps is None else fps
    height, width = spec.geometry.size
    crop = f"{height}x{width}, " + (
        "squashed" if spec.geometry.resize == "squash" else f"centre of short side {spec.geometry.short_side}"
    )
    return Contract(
        fps=rate,
        window=window,
        stride=stride or max(1, window // 4),
        offset=window / 2,
        dimension=spec.feature_dimension,
        backbone=spec.name,
        weights=f"sha256:{weights_hash}",
        normalisation=f"mean {_numbers(spec.mean)} std {_numbers(spec.std)}",
        crop=crop,
        flow=spec.flow is not None,
    )


def _numbers(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:g}" for value in values)


def frames_of(spec: Spec, contract: Contract) -> int:
    """How many pictures of each window a recogniser is shown. UsageError when its stride does not divide the window."""
    if contract.window == spec.sampling.frames * spec.sampling.stride:
        return spec.sampling.frames
    if contract.window % spec.sampling.stride:
        raise UsageError(
            f"windows of {contract.window} frames cannot be sampled every {spec.sampling.stride} frames",
            hint=f"choose features of {spec.name} with another window",
        )
    return contract.window // spec.sampling.stride


class ExtractFeatures:
    """The task of one run: cheap to make and to send. ``item`` is the shape (T, h, w, 3) of one model input."""

    views = 1
    finisher = "decoder"

    def __init__(self, settings: RunSettings, spec: Spec, contract: Contract, weights: tuple[str, Any, str]):
        self.settings, self.spec, self.contract = settings, spec, contract
        self.weights = weights
        self.cache = FeatureCache(settings.cache, contract)
        self.frames = frames_of(spec, contract)
        self.pictures = Pictures(spec, self.frames)
        self.item = self.pictures.item

    def open(self, video: Video) -> Opened:
        """Index a video and lay out its windows; nothing of it is read when its features exist. Raises VideoError."""
        from vidact.video.index import read_index
        from vidact.video.sampling import chunks
        from vidact.video.transform import plan
        from vidact.video.windows import windows

        if (found := self.cache.find(video)) is not None:
            return Opened(Outline(video, found.facts, 0, None, "cache", (found.missing, len(found.array))), ())
        index = read_index(video.path)
        grid, centres = windows(index, self.contract, self.frames)
        grid = self.pictures.follow(index, grid, ahead=0.0)
        outline = Outline(video, index.facts, len(grid), centres)
        cut = tuple(chunks(index, grid, CHUNK_SECONDS))
        return Opened(outline, cut, index, grid, plan(index.facts, self.pictures.geometry, 1))

    def read(self, opened: Opened, chunk: Chunk, threads: int) -> ClipReader:
        """The windows of one chunk, uint8 (1, T, h, w, 3) each; None now and then while nothing is ready."""
        from vidact.video.decode import ClipReader

        assert opened.index is not None and opened.grid is not None and opened.plan is not None
        return ClipReader(
            opened.index,
            opened.grid,
            opened.plan,
            decoder=self.settings.decoder,
            chunk=chunk if len(opened.chunks) > 1 else None,
            threads=threads,
        )

    def load(self) -> Recognizer:
        """The model, on its device, for one CPU thread. Raises ModelError."""
        import torch

        from vidact.models.build import load_model

        torch.set_num_threads(1)  # for the threads that begin from now on, too
        name, checkpoint, sha256 = self.weights
        settings = self.settings
        model: Recognizer = load_model(
            name, checkpoint=checkpoint, device=settings.device, dtype=settings.dtype, sha256=sha256, fold=True
        )
        return model

    def score(self, model: Recognizer, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 (B, T, h, w, 3) → float32 (B, D)."""
        found: NDArray[np.float32] = model.features(self.pictures.clips(model, frames)).cpu().numpy()
        return found

    def finish(self, outline: Outline, scores: Any, present: Any, model: Any = None) -> Columns:
        """Features (rows, 1, D) of the rows that are ``present`` (rows,) → a cache entry, and the row that names it."""
        if outline.source is not None:
            found, path = kept(self.cache, outline.video), self.cache.path(outline.video)
        else:
            found = assembled(outline, scores, present)
            path = self.cache.write(outline.video, found)
        return {
            "video": [outline.video.video],
            "rows": [found.array.shape[0]],
            "dimension": [found.array.shape[1]],
            "missing": [found.missing],
            "file": [path],
        }


def kept(cache: FeatureCache, video: Video) -> Features:
    """Features that were in the cache when the video was opened. VideoError (``StillChanging``: the next run makes
    them) when they are there no longer."""
    try:
        return cache.read(video)
    except UsageError as error:
        told = f"the cache was changed meanwhile: {error.message}"
        raise VideoError("StillChanging", told, stage="finish") from error


def assembled(outline: Outline, scores: NDArray[np.float32], present: NDArray[np.bool_]) -> Features:
    """The features of a whole video. A row that could not be decoded repeats the nearest one that could.

    VideoError (``NonFiniteFeatures``) when the model gave NaN or infinity.
    """
    array = scores[:, 0]
    rows = np.flatnonzero(present)
    missing = len(array) - len(rows)
    if missing:
        wanted = np.arange(len(array))
        right = np.minimum(np.searchsorted(rows, wanted), len(rows) - 1)
        left = np.maximum(right - 1, 0)
        nearer = np.abs(rows[right] - wanted) < np.abs(rows[left] - wanted)
        array = array[np.where(nearer, rows[right], rows[left])]
    for first in range(0, len(array), _ROWS):
        good = np.isfinite(array[first : first + _ROWS]).all(axis=1)
        if not good.all():
            wrong = first + int(np.argmin(good))
            raise VideoError("NonFiniteFeatures", f"the model gave no finite features for row {wrong}", stage="model")
    facts = outline.facts
    return Features(
        array, outline.centres, facts.duration if facts else None, facts.fps if facts else None, missing, facts
    )
