"""``classify``: the labels of every clip of a video, and of the video as a whole.

Says what to do with one video, in pieces that may run in different processes: ``open`` and ``read`` where videos are
decoded, ``load`` and ``score`` where the model is, ``finish`` wherever there is time. Knows nothing of Ray, of batches
across videos or of files of results.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from vidact.errors import ModelError, UsageError, VideoError
from vidact.records import Chunk, Columns, Protocol, RunSettings, Spec, Video, VideoFacts
from vidact.tasks.pictures import Pictures

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vidact.models.recognizer import Recognizer
    from vidact.video.decode import ClipReader
    from vidact.video.index import Index
    from vidact.video.sampling import ClipGrid
    from vidact.video.transform import Plan

CHUNK_SECONDS = 600.0
"""Length of the stretches a long video is cut into."""


@dataclass(frozen=True, slots=True)
class Outline:
    """An open video without its frames: the clip grid in seconds. All that ``finish`` needs besides the scores."""

    video: str
    facts: VideoFacts
    starts: NDArray[np.float64]
    ends: NDArray[np.float64]
    padded: NDArray[np.bool_]

    @property
    def rows(self) -> int:
        """Clips."""
        return len(self.starts)


@dataclass(frozen=True, slots=True)
class Opened:
    """A video in the process that decodes it."""

    index: Index
    grid: ClipGrid
    plan: Plan
    outline: Outline
    chunks: tuple[Chunk, ...]


class Classify:
    """The task of one run: cheap to make and to send. ``item`` is the shape (T, h, w, 3) of one model input."""

    finisher = "decoder"

    def __init__(self, settings: RunSettings, spec: Spec) -> None:
        self.settings, self.spec = settings, spec
        self.clips, self.views = parse_views(settings.views)
        self.protocol = protocol_of(settings.protocol, spec)
        self.pictures = pictures_of(settings.protocol, settings.views, spec)
        self.item = self.pictures.item
        if self.protocol is not None:
            self.views = self.protocol.crops
        # Views are one reading of the video, averaged as the original does; clips in a row are one each.
        self.together = self.clips is not None or self.protocol is not None

    def open(self, video: Video) -> Opened:
        """Index a video and lay out its clips. Raises VideoError."""
        from vidact.video.index import read_index
        from vidact.video.sampling import chunks

        index = read_index(video.path)
        grid, plan = self._laid_out(index)
        outline = Outline(video.video, index.facts, grid.starts, grid.ends, grid.padded)
        return Opened(index, grid, plan, outline, tuple(chunks(index, grid, CHUNK_SECONDS)))

    def _laid_out(self, index: Index) -> tuple[ClipGrid, Plan]:
        from vidact.video import protocols, sampling, transform

        settings, spec = self.settings, self.spec
        if self.protocol is not None:
            grid = protocols.published(index, self.protocol)
            test = replace(self.protocol, size=self.pictures.geometry.size)
            return self.pictures.follow(index, grid), transform.published(index.facts, test)
        if self.clips is None:
            grid = sampling.sliding(index, spec.sampling, settings.clip_seconds, settings.stride_seconds)
        else:
            grid = sampling.spread(index, spec.sampling, self.clips, settings.clip_seconds)
        grid = self.pictures.follow(index, grid)
        return grid, transform.plan(index.facts, self.pictures.geometry, self.views)

    def read(self, opened: Opened, chunk: Chunk, threads: int) -> ClipReader:
        """The clips of one chunk, uint8 (crops, T, h, w, 3) each; None now and then while nothing is ready."""
        from vidact.video.decode import ClipReader

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
        settings = self.settings
        model: Recognizer = load_model(
            settings.model,
            checkpoint=dict(settings.streams) or settings.checkpoint or None,
            device=settings.device,
            dtype=settings.dtype,
            labels=self.spec.labels or None,
            sha256=settings.weights_hash,
            fold=True,
        )
        return model

    def score(self, model: Recognizer, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 (B, T, h, w, 3) → float32 (B, classes): scores, or logits if the original averages those."""
        clips = self.pictures.clips(model, frames)
        found = model(clips) if self.spec.average == "logits" else model.scores(clips)
        scores: NDArray[np.float32] = found.cpu().numpy()
        return scores

    def finish(self, outline: Outline, scores: Any, present: Any, model: Any = None) -> Columns:
        """Scores (clips, crops, classes) of the clips that are ``present`` (clips,) → rows of ``predictions``.

        The video's own rows come first, with clip None. VideoError ``NonFiniteScores`` when the model gave NaN or
        infinity.
        """
        rows = np.flatnonzero(present)
        found = np.asarray(scores[rows], np.float64)
        if not np.isfinite(found).all():
            wrong = int(rows[int(np.argmin(np.isfinite(found).all(axis=(1, 2))))])
            raise VideoError("NonFiniteScores", f"the model gave no finite scores for clip {wrong}", stage="model")
        by_clip = self._activate(found.mean(axis=1))
        whole = self._activate(found.mean(axis=(0, 1))) if self.together else by_clip.mean(axis=0)
        ranked = _ranked(by_clip.astype(np.float32), self.settings.top_k, self.settings.threshold)
        best = _ranked(whole[None].astype(np.float32), self.settings.top_k, self.settings.threshold, always=True)
        return self._columns(outline, rows, ranked, best)

    def _activate(self, averaged: NDArray[np.float64]) -> NDArray[np.float64]:
        """Logits → scores when logits were averaged; scores stay as they are."""
        if self.spec.average == "scores":
            return averaged
        if self.spec.activation == "sigmoid":
            return np.asarray(1 / (1 + np.exp(-np.clip(averaged, -700, 700))))
        raised = np.exp(averaged - averaged.max(axis=-1, keepdims=True))
        return np.asarray(raised / raised.sum(axis=-1, keepdims=True))

    def _columns(self, outline: Outline, rows: NDArray[np.int64], clips: Ranked, whole: Ranked) -> Columns:
        at = rows[clips.row]
        own = len(whole.row)
        label_ids = np.concatenate([whole.label_id, clips.label_id])
        names = self.spec.labels
        return {
            "video": [outline.video] * len(label_ids),
            "clip": np.ma.MaskedArray(
                np.concatenate([np.zeros(own, np.int32), at.astype(np.int32)]), np.arange(len(label_ids)) < own
            ),
            "start": np.concatenate([np.zeros(own), outline.starts[at]]),
            "end": np.concatenate([np.full(own, outline.facts.duration), outline.ends[at]]),
            "rank": np.concatenate([whole.rank, clips.rank]),
            "label_id": label_ids,
            "label": [names[label] if names else f"class {label}" for label in label_ids.tolist()],
            "score": np.concatenate([whole.score, clips.score]),
            "padded": np.concatenate([np.full(own, bool(outline.padded.all())), outline.padded[at]]),
        }


@dataclass(frozen=True, slots=True)
class Ranked:
    """Labels that made it, row by row and best first: four arrays of one length. ``rank`` starts at 1."""

    row: NDArray[np.int64]
    rank: NDArray[np.int32]
    label_id: NDArray[np.int32]
    score: NDArray[np.float32]


def _ranked(scores: NDArray[np.float32], top_k: int, threshold: float, *, always: bool = False) -> Ranked:
    """The ``top_k`` labels of each row of (rows, classes) that reach ``threshold``; ``always``: the best in any case.

    Of equal scores the label with the lower number comes first.
    """
    order = np.argsort(-scores, axis=1, kind="stable")[:, :top_k]
    best = np.take_along_axis(scores, order, axis=1)
    kept = best >= threshold
    if always:
        kept[:, 0] = True
    row, place = np.nonzero(kept)
    return Ranked(row, (place + 1).astype(np.int32), order[kept].astype(np.int32), best[kept])


def protocol_of(name: str, spec: Spec) -> Protocol | None:
    """What ``--protocol`` means for these weights: None for ``clips``. Raises UsageError, or ModelError where the
    published test is not known."""
    if name == "clips":
        return None
    if name != "paper":
        raise UsageError(f"there is no protocol {name!r}", hint="choose clips or paper")
    if spec.protocol is None:
        raise ModelError(
            f"no published test of {spec.name} is known, so there is no --protocol paper for it",
            hint="leave --protocol out, or say --views CLIPSxCROPS",
        )
    return spec.protocol


def pictures_of(name: str, views: str | None, spec: Spec) -> Pictures:
    """The pictures one model input is made of under ``--protocol`` and ``--views``."""
    protocol = protocol_of(name, spec)
    if protocol is None:
        return Pictures(spec, crops=parse_views(views)[1])
    size = replace(spec.geometry, size=protocol.size, short_side=protocol.short_side)
    return Pictures(replace(spec, geometry=size), protocol.frames, crops=protocol.crops)


def parse_views(views: str | None) -> tuple[int | None, int]:
    """``10x3`` → 10 clips of 3 crops; None → clips side by side, one crop. Raises UsageError."""
    if views is None:
        return None, 1
    clips, _, crops = views.partition("x")
    if not (clips.isdecimal() and crops.isdecimal() and int(clips) and int(crops)):
        raise UsageError(f"{views!r} are not views", hint="write CLIPSxCROPS, such as 10x3")
    return int(clips), int(crops)
