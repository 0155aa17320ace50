"""``localize``: when actions happen in a video, from its frames or from features that exist.

Features come from a folder the user names, from the cache, or from the video itself; ``finish`` runs where the models
are and turns the features of a whole video into segments. Knows nothing of Ray or of files of results.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from vidact.errors import UsageError, VideoError
from vidact.records import Chunk, Columns, Contract, RunSettings, Segments, Video
from vidact.store.feature_files import FeatureFolder, open_features
from vidact.store.features import FeatureCache, Features, refuse
from vidact.tasks.features import ExtractFeatures, Opened, Outline, assembled, kept

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray

    from vidact.models.localizer import Localizer
    from vidact.models.recognizer import Recognizer

_FOLDER = "folder:"
_HARD_IOU = 0.5


@dataclass(frozen=True, slots=True)
class Loaded:
    """The models of a run: the recogniser that makes features (None: they exist), and the localizer."""

    backbone: Recognizer | None
    localizer: Localizer


class Localize:
    """The task of one run. ``extract`` makes features where there are none; None: every video has some already.

    ``labels`` are the user's names of the classes; None: the weights' own.
    """

    views = 1
    finisher = "scorer"

    def __init__(
        self,
        settings: RunSettings,
        contract: Contract,
        extract: ExtractFeatures | None,
        labels: Sequence[str] | None = None,
    ) -> None:
        self.settings, self.contract, self.extract, self.labels = settings, contract, extract, labels
        self.item = extract.item if extract else (1, 1, 1, 3)
        self.cache = FeatureCache(settings.cache, contract)

    @cached_property
    def folder(self) -> FeatureFolder | None:
        """The folder of features the user named, checked against the contract."""
        if not self.settings.features:
            return None
        folder = open_features(self.settings.features)
        settings = self.settings
        what = f"the features in {settings.features!r}"
        refuse(folder.contract, self.contract, what, settings.model, settings.checkpoint)
        return folder

    def open(self, video: Video) -> Opened:
        """Find the features of a video, or lay out its windows. Raises VideoError."""
        name = self._name(video)
        if name is not None:
            return Opened(Outline(video, None, 0, None, _FOLDER + name), ())
        if (found := self.cache.find(video)) is not None:
            return Opened(Outline(video, found.facts, 0, None, "cache", (found.missing, len(found.array))), ())
        if self.extract is None:
            raise VideoError("NoFeatures", f"there are no features of it in {self.settings.features!r}", stage="find")
        return self.extract.open(video)

    def _name(self, video: Video) -> str | None:
        if self.folder is None:
            return None
        try:
            return self.folder.find(video.video)
        except UsageError as error:
            raise VideoError("AmbiguousFeatures", error.message, stage="find") from error

    def read(self, opened: Opened, chunk: Chunk, threads: int) -> AbstractContextManager[Any]:
        """The windows of one chunk, as ``features`` reads them."""
        assert self.extract is not None
        return self.extract.read(opened, chunk, threads)

    def load(self) -> Loaded:
        """Both models, on their device, for one CPU thread. Raises ModelError."""
        import torch

        from vidact.models.build import load_model

        torch.set_num_threads(1)  # for the threads that begin from now on, too
        settings = self.settings
        localizer: Localizer = load_model(
            settings.model,
            checkpoint=settings.checkpoint or None,
            device=settings.device,
            labels=self.labels,
            sha256=settings.weights_hash,
        )
        own = localizer.settings
        methods: dict[str, Any] = {"hard": "hard", "soft": "gaussian", "none": "none"}
        if settings.nms is not None:
            # Weights that were only ever thinned out softly may name no overlap, and 0 would drop all but one segment.
            own = replace(own, nms=replace(own.nms, method=methods[settings.nms], iou=own.nms.iou or _HARD_IOU))
        if settings.max_segments is not None:
            own = replace(own, nms=replace(own.nms, max_segments=settings.max_segments))
        localizer.settings = own
        return Loaded(self.extract.load() if self.extract else None, localizer)

    def score(self, model: Loaded, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 (B, T, h, w, 3) → features float32 (B, D)."""
        assert self.extract is not None and model.backbone is not None
        return self.extract.score(model.backbone, frames)

    def finish(self, outline: Outline, scores: Any, present: Any, model: Any = None) -> Columns:
        """Features (rows, 1, D), or those that exist → rows of ``segments``, best first. VideoError ``BadFeatures``, or
        ``NonFiniteScores`` when the localizer gave NaN or infinity."""
        features = self._features(outline, scores, present)
        if self.settings.save_features and outline.source is None:
            self.cache.write(outline.video, features)
        try:
            found = model.localizer.localize(
                features.array, duration=features.duration, fps=features.fps, centres=features.centres
            )
        except UsageError as error:  # NaN, a wrong dimension: this video's features, not the run's fault
            raise VideoError("BadFeatures", error.message, stage="model") from error
        return self._columns(outline.video.video, found)

    def _features(self, outline: Outline, scores: Any, present: Any) -> Features:
        if outline.source is None:
            return assembled(outline, scores, present)
        try:
            if outline.source == "cache":
                return kept(self.cache, outline.video)
            assert self.folder is not None
            return self.folder.read(outline.source.removeprefix(_FOLDER))
        except UsageError as error:
            raise VideoError("BadFeatures", error.message, stage="find") from error

    def _columns(self, video: str, found: Segments) -> Columns:
        # Behind the end of a video shorter than a window, both ends of a segment are cut to the same time.
        kept = np.flatnonzero((found.score >= np.float32(self.settings.min_score)) & (found.end > found.start))
        return {
            "video": [video] * len(kept),
            "start": found.start[kept],
            "end": found.end[kept],
            "label_id": found.label_id[kept],
            "label": [found.label[row] for row in kept.tolist()],
            "score": found.score[kept],
        }
