"""A localization network together with how its features are fed and its candidates become segments in seconds.

Knows nothing of videos or where it runs; ``models/build.py`` makes it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vidact.errors import ModelError, UsageError
from vidact.models import declared
from vidact.models.build import load_strictly, unwrap
from vidact.models.localization import instants, keys, segments, timing
from vidact.models.localization.segments import Detections
from vidact.models.localization.settings import Settings, from_json
from vidact.models.recognizer import placed
from vidact.models.weights import State, read_tensors
from vidact.records import Contract, LocalizerSpec, Segments

# architecture → the module that builds it. A module offers MARKS, by which formats are told apart, and
# from_state(format, state, options) → (network, state under its own keys); its network offers
# find(features (C, T), settings) → candidates, times in rows.
NETWORKS = {
    "actionformer": "vidact.models.localization.actionformer",
    "bmn": "vidact.models.localization.bmn",
    "tcn": "vidact.models.localization.tcn",
    "tridet": "vidact.models.localization.tridet",
}


class Localizer:
    """Finds segments in the features of one video. ``contract`` says which features; ``settings`` how they are used."""

    def __init__(
        self,
        network: nn.Module,
        spec: LocalizerSpec,
        settings: Settings,
        *,
        device: str = "cpu",
        dtype: str = "float32",
    ) -> None:
        self.spec, self.settings = spec, settings
        self.network, self.device, self.dtype = placed(network, device, dtype)

    @property
    def contract(self) -> Contract:
        """The features this localizer reads."""
        return self.spec.contract

    @torch.inference_mode()
    def localize(
        self,
        features: np.ndarray[Any, Any] | Tensor,
        *,
        duration: float | None = None,
        fps: float | None = None,
        centres: np.ndarray[Any, Any] | None = None,
        class_scores: np.ndarray[Any, Any] | Sequence[float] | None = None,
    ) -> Segments:
        """Features (T, C) of one video → its segments in seconds, best first.

        ``duration`` in seconds (default: what the rows cover); ``fps`` of the video, used where the contract says
        ``native`` (default there: what rows and duration imply). ``centres`` (T,) are the seconds rows are centred at:
        with them times are right for a frame rate that varies. ``class_scores`` (classes,) from a video-level
        classifier give class-agnostic segments their labels; weights evaluated as bare proposals keep none. Raises
        UsageError for features that do not fit the contract, VideoError where the network gives no finite numbers.
        """
        rows = check(features, self.contract)
        rate, seconds = timing.rate_and_duration(self.contract, len(rows), duration, fps)
        source = torch.from_numpy(rows).T.to(self.device, self.dtype)
        if class_scores is not None and self.settings.fusion is None and self.spec.classes > 1:
            raise UsageError(
                f"{self.spec.name} names its segments itself and takes no class scores", hint="leave class_scores out"
            )
        scores = None if class_scores is None else np.asarray(class_scores)
        clock = timing.clock(self.contract, self.settings, len(rows), seconds, rate, centres)
        # The originals lay windows over every step of the video, though the last rows of features are missing.
        known = fps is not None or self.contract.fps != "native"
        steps = max(1, -(-round(rate * seconds) // self.contract.stride)) if known else len(rows)
        found = self._search(source, clock, scores, steps)
        if self.settings.instants is not None:
            found = instants.placed(found, rows, self.contract, self.settings.instants, seconds)
        return self._named(found, fused=class_scores is not None and self.settings.fusion is not None)

    def _search(
        self, features: Tensor, clock: timing.Clock, class_scores: np.ndarray[Any, Any] | None, steps: int
    ) -> Detections:
        """Features (C, T) → detections in seconds, thinned out and named by the classifier's scores if there are any.

        ``steps`` is how many rows windows are laid over.
        """
        if self.settings.windows is None:
            return self._search_piece(features, clock, class_scores)
        found = []
        for first, last in timing.pieces(self.settings.windows, steps):
            later = dataclasses.replace(clock, offset=clock.offset + first * clock.step)
            found.append(self._search_piece(features[:, first:last], later, class_scores))
        joined = Detections(*(np.concatenate(parts) for parts in zip(*found, strict=True)))
        return segments.suppress(joined, self.settings.nms)

    def _search_piece(
        self, features: Tensor, clock: timing.Clock, class_scores: np.ndarray[Any, Any] | None
    ) -> Detections:
        candidates = self.network.find(timing.resize(features, self.settings), self.settings)  # type: ignore[operator]
        kept = segments.suppress(candidates, self.settings.nms)
        kept = kept._replace(segments=clock.seconds(kept.segments))
        if class_scores is None or self.settings.fusion is None:
            return kept
        return segments.fuse(kept, class_scores, self.settings.fusion)

    def _named(self, found: Detections, *, fused: bool) -> Segments:
        order = np.argsort(-found.scores, kind="stable") if fused else np.arange(len(found.scores))
        found = found.take(order)
        names = self.spec.labels
        if self.settings.fusion is not None and not fused:
            names = ("action",)  # its labels are the classifier's
        labels = tuple(names[label] if label < len(names) else f"class {label}" for label in found.labels.tolist())
        return Segments(
            start=found.segments[:, 0].astype(np.float64),
            end=found.segments[:, 1].astype(np.float64),
            score=found.scores.astype(np.float32),
            label_id=found.labels.astype(np.int32),
            label=labels,
        )


def check(features: np.ndarray[Any, Any] | Tensor, contract: Contract) -> np.ndarray[Any, Any]:
    """Features as contiguous float32 (T, C); UsageError when they cannot be what the contract describes."""
    array = features.detach().cpu().numpy() if isinstance(features, Tensor) else np.asarray(features)
    wanted = f"(rows, {contract.dimension}) of {contract.backbone}"
    if array.ndim != 2 or array.shape[0] == 0:
        raise UsageError(f"the features have shape {array.shape}, expected {wanted}", hint="give one row a window")
    if array.shape[1] != contract.dimension:
        turned = " They seem to be transposed." if array.shape[0] == contract.dimension else ""
        raise UsageError(
            f"the features have shape {array.shape}, expected {wanted}.{turned}",
            hint=f"make them with {contract.backbone} {contract.weights}".rstrip(),
        )
    if not np.issubdtype(array.dtype, np.floating):
        raise UsageError(f"the features are {array.dtype}, expected float32", hint="convert them first")
    rows = np.require(array, np.float32, ["C", "W"])  # torch wants memory it may write to
    if not np.isfinite(rows).all():
        bad = int(np.flatnonzero(~np.isfinite(rows).all(axis=1))[0])
        raise UsageError(f"the features hold NaN or infinite values (first in row {bad})", hint="extract them again")
    return rows


def load(spec: LocalizerSpec, file: str, *, device: str, dtype: str, labels: Sequence[str] | None) -> Localizer:
    """A localizer with the weights in ``file``, loaded strictly.

    The file's key names tell which project published it, and with that whose settings and rules hold. ``labels`` are
    the names of its classes, or for class-agnostic weights those of the video-level classifier. Raises ModelError.
    """
    state = unwrap(read_tensors(file), file)
    return of_state(spec, state, file, device=device, dtype=dtype, labels=labels)


def of_state(
    spec: LocalizerSpec,
    state: State,
    file: str,
    *,
    device: str = "cpu",
    dtype: str = "float32",
    labels: Sequence[str] | None = None,
) -> Localizer:
    """The localizer these published tensors of ``file`` make."""
    module = import_module(NETWORKS[spec.architecture])
    form = keys.published_by(state, module.MARKS, spec.architecture)
    network, tensors = module.from_state(form, state, spec.network)
    load_strictly(network, tensors, file)
    settings = _settings(spec, form, file)
    spec = dataclasses.replace(spec, classes=getattr(network, "classes", spec.classes))
    names = tuple(labels) if labels is not None else spec.labels
    if settings.fusion is None and len(names) != spec.classes:
        if labels is not None:
            raise ModelError(
                f"{len(names)} labels were given, the model has {spec.classes} classes", hint="give one for each class"
            )
        names = ()
    return Localizer(network, dataclasses.replace(spec, labels=names), settings, device=device, dtype=dtype)


def _settings(spec: LocalizerSpec, form: str, file: str) -> Settings:
    """How weights of this format are used. ModelError for settings that cannot be."""
    try:
        settings = from_json(dict(spec.settings.get(form) or next(iter(spec.settings.values()))))
        declared.check(settings)
        windows, instants = settings.windows, settings.instants
        if settings.nms.max_segments < 1:
            raise ValueError(f"max_segments cannot be {settings.nms.max_segments}")
        if windows is not None and min(windows.length, windows.stride) < 1:
            raise ValueError(f"windows cannot be {windows}")
        if instants is not None and not 0 <= instants.column < instants.column + instants.frames <= (
            spec.contract.dimension or math.inf
        ):
            raise ValueError(f"instants cannot be {instants}")
    except (KeyError, TypeError, ValueError, AttributeError, StopIteration) as error:
        raise ModelError(
            f"the settings inside {file!r} cannot be read: {error!r}",
            hint="the file was written by another version of vidact or is damaged; train or convert it again",
        ) from error
    return settings
