"""What a user asks for, and what that means for the models: every ``auto`` and every name that is left out.

Imports neither torch nor Ray and writes nothing: a dry run and an idle rerun come this far and no further.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vidact.errors import ModelError, UsageError
from vidact.models import cache, weights, zoo
from vidact.models.build import Chosen, describe, describe_localizer
from vidact.models.labels import read_labels
from vidact.models.zoo import localizers
from vidact.records import Contract, LocalizerSpec, Spec, VideoFacts
from vidact.store.feature_files import FeatureFolder, open_features
from vidact.store.features import differences, refuse, shown
from vidact.tasks.classify import parse_views, protocol_of
from vidact.tasks.features import contract_of
from vidact.video.transform import STYLES
from vidact.video.transform import plan as plan_crops


@dataclass(frozen=True, slots=True)
class Request:
    """What a user asks for: the options of the command line, by their names. None: decide for me.

    ``inputs`` are files, directories and patterns, ``listed`` the entries of list files; ``out`` is a folder, or ``-``
    for none. ``views`` reads ``10x3``, ``protocol`` ``clips`` or ``paper``; times are in seconds. ``features`` is a
    folder of features that exist; ``fps`` (a number or ``native``) and ``stride`` (frames) are those of features to
    make.
    """

    inputs: tuple[str, ...] = ()
    listed: tuple[str | bytes, ...] = ()
    out: str = "-"
    command: str = "classify"
    model: str | None = None
    checkpoint: str | None = None
    labels: str | None = None
    backbone_checkpoint: tuple[str, ...] = ()
    clip_seconds: float | None = None
    stride_seconds: float | None = None
    views: str | None = None
    protocol: str = "clips"
    top_k: int = 5
    threshold: float = 0.0
    fps: float | str | None = None
    stride: int | None = None
    features: str | None = None
    save_features: bool = False
    nms: str | None = None
    min_score: float | None = None
    max_segments: int | None = None
    format: str = "parquet"
    root: str | None = None
    overwrite: bool = False
    device: str = "auto"
    dtype: str = "auto"
    batch_size: int | None = None
    workers: int | None = None
    decoders: int | None = None
    decoder: str = "auto"
    address: str | None = None
    cache: str | None = None
    retry_failed: bool = False
    limit: int | None = None
    max_runtime: float | None = None
    log_file: str | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """The models of a run. ``recogniser`` sees the videos (None: their features exist), ``localizer`` the features.

    ``folder`` holds features the user named; opened once, since it may list many.
    """

    recogniser: Chosen[Spec] | None
    localizer: Chosen[LocalizerSpec] | None = None
    contract: Contract | None = None
    folder: FeatureFolder | None = None

    @property
    def name(self) -> str:
        """The name of the weights the run is about."""
        chosen = self.localizer or self.recogniser
        assert chosen is not None
        return chosen.spec.name

    @property
    def spec(self) -> Spec | None:
        """The spec of the recogniser."""
        return self.recogniser.spec if self.recogniser else None


def choose(request: Request, frozen: Mapping[str, Any]) -> Choice:
    """The models a request means; ``frozen`` are the settings of the run it goes on with.

    Raises ModelError or UsageError.
    """
    _check_files(request)
    model = request.model
    if model is None and request.checkpoint is None and frozen.get("model"):
        known = localizers.SPECS if request.command == "localize" else zoo.ENTRIES
        if frozen["model"] in known:
            model = str(frozen["model"])  # the default may be another by now; a run keeps its own
    if request.command == "localize":
        return _localizer(request, model)
    if request.command == "features":
        return _extractor(request, model)
    chosen = describe(model, _checkpoint(request), request.labels)
    _check_views(request, chosen.spec)
    return Choice(chosen)


def _check_files(request: Request) -> None:
    """Look at every file the user gives before any weights are asked for: a download is no use if these are no good."""
    for file in ([request.checkpoint] if request.checkpoint is not None else []) + [*_parts(request).values()]:
        weights.check(file)
    if request.labels is not None:
        read_labels(request.labels)


def _extractor(request: Request, model: str | None) -> Choice:
    """Features of a recogniser, or those a localizer reads."""
    if localizers.means(model) or (model is None and _holds_localizer(request.checkpoint)):
        if request.fps is not None or request.stride is not None:
            raise UsageError(
                f"{model or request.checkpoint} says itself at which fps and stride it reads features",
                hint="leave --fps and --stride out",
            )
        # What its features are needs no file of its own, unless it is the user's.
        named = localizers.resolve(model or "") if request.checkpoint is None else None
        wanted = named.spec if named else describe_localizer(model, request.checkpoint).spec
        chosen = _backbone(request, wanted)
        return Choice(chosen, None, _made(wanted.contract, chosen))
    chosen = describe(model, _checkpoint(request), None)
    contract = contract_of(chosen.spec, chosen.weights_hash, fps=request.fps, stride=request.stride)
    return Choice(chosen, None, contract)


def _holds_localizer(checkpoint: str | None) -> bool:
    return checkpoint is not None and weights.read_localizer_spec(checkpoint) is not None


def _localizer(request: Request, model: str | None) -> Choice:
    folder = open_features(request.features) if request.features is not None else None
    chosen = describe_localizer(model, request.checkpoint, request.labels)
    wanted = chosen.spec.contract
    if folder is not None:
        what = f"the features in {request.features!r}"
        refuse(folder.contract, wanted, what, chosen.spec.name, request.checkpoint)
        if not (request.inputs or request.listed):
            return Choice(None, chosen, wanted, folder)
    try:
        backbone = _backbone(request, chosen.spec)
    except ModelError:
        if folder is None or request.backbone_checkpoint:
            raise
        # What has features there needs no backbone; the others fail, each for itself.
        return Choice(None, chosen, wanted, folder)
    return Choice(backbone, chosen, _made(wanted, backbone), folder)


def _backbone(request: Request, localizer: LocalizerSpec) -> Chosen[Spec]:
    """The recogniser whose features a localizer reads. ModelError when vidact cannot make them."""
    contract = localizer.contract
    given = _parts(request)
    name = contract.backbone
    entry = zoo.resolve(name)
    if entry is None:
        raise ModelError(
            f"{localizer.name} reads features vidact does not make: {shown(contract)}",
            hint="give a folder of them with --features DIR; `vidact models list` names localizers that need none",
        )
    wrong = [] if entry.spec.streams else sorted({*given} - {name, entry.spec.name})
    if wrong:
        raise UsageError(
            f"{localizer.name} builds on {name}, not on {wrong[0]!r}", hint=f"write --backbone-checkpoint {name}=FILE"
        )
    return describe(name, given if entry.spec.streams else given.get(name))


def _checkpoint(request: Request) -> str | dict[str, str] | None:
    """The file of a recogniser, or those of a composite's parts."""
    parts = _parts(request)
    if parts and request.checkpoint is not None:
        raise UsageError("both --checkpoint and --backbone-checkpoint were given", hint="leave one of the two out")
    return parts or request.checkpoint


def _parts(request: Request) -> dict[str, str]:
    """The files of ``--backbone-checkpoint`` by name."""
    return {name: os.path.abspath(file) for name, file in map(_named, request.backbone_checkpoint)}


def _named(text: str) -> tuple[str, str]:
    name, equals, file = text.partition("=")
    if not (name and equals and file):
        raise UsageError(f"--backbone-checkpoint {text}", hint="write it NAME=FILE, such as i3d.k400=rgb_imagenet.pt")
    return name, file


def _made(wanted: Contract, backbone: Chosen[Spec]) -> Contract:
    """The contract of the features this backbone makes for a localizer. ModelError when they are not those wanted."""
    own = contract_of(backbone.spec, backbone.weights_hash, fps=wanted.fps, stride=wanted.stride)
    made = dataclasses.replace(own, window=wanted.window, offset=wanted.offset, flow=wanted.flow)
    told = differences(made, wanted)
    if told:
        raise ModelError(
            f"{backbone.spec.name} does not make the features wanted: {'; '.join(told)}",
            hint="give the file the localizer was trained with (--backbone-checkpoint NAME=FILE)",
        )
    return made


def check(request: Request) -> None:
    """UsageError for a value no run can have, whoever asks."""
    choices = {
        "format": ("parquet", "jsonl"),
        "dtype": ("auto", "float32", "bfloat16", "float16"),
        "decoder": ("auto", "decord", "pyav"),
        "protocol": ("clips", "paper"),
        "nms": (None, "soft", "hard", "none"),
    }
    for name, allowed in choices.items():
        if getattr(request, name) not in allowed:
            told = ", ".join(text for text in allowed if text)
            raise UsageError(f"{name} {getattr(request, name)!r}", hint=f"choose one of {told}")
    least = {"top_k": 1, "batch_size": 1, "limit": 1, "workers": 0, "decoders": 1, "max_segments": 1, "stride": 1}
    for name, lowest in least.items():
        value = getattr(request, name)
        if value is not None and value < lowest:
            raise UsageError(f"{name} is {value}", hint=f"it is at least {lowest}")
    for name in ("threshold", "min_score"):
        value = getattr(request, name)
        if value is not None and not 0 <= value <= 1:  # NaN is neither, and would leave out everything
            raise UsageError(f"{name} is {value:g}", hint="it is a score from 0 to 1")
    for name in ("clip_seconds", "stride_seconds", "max_runtime"):
        value = getattr(request, name)
        if value is not None and not 0 < value < float("inf"):
            raise UsageError(f"{name} is {value:g}", hint="it is a number of seconds above 0")
    if request.fps not in (None, "native") and not (isinstance(request.fps, int | float) and request.fps > 0):
        raise UsageError(f"fps is {request.fps!r}", hint="it is a number above 0, or native")


def _check_views(request: Request, spec: Spec) -> None:
    """Say now, not once per video, that a model cannot be shown these pictures or crops."""
    _check_protocol(request, spec)
    if request.views is None:
        return
    if request.stride_seconds is not None:
        raise UsageError(
            "--views spreads its clips over each video; --stride-seconds has no meaning there", hint="leave one out"
        )
    _, crops = parse_views(request.views)
    plan_crops(VideoFacts(1.0, 0.0, 25.0, 640, 360, 0, "", 25), spec.geometry, crops)


def _check_protocol(request: Request, spec: Spec) -> None:
    """A published protocol says everything about clips and crops, and sometimes what decodes."""
    protocol = protocol_of(request.protocol, spec)
    if protocol is None:
        return
    for name in ("views", "clip_seconds", "stride_seconds"):
        if getattr(request, name) is not None:
            option = "--" + name.replace("_", "-")
            raise UsageError(
                f"--protocol paper brings its own clips and crops; {option} has no meaning there",
                hint="leave one of the two out",
            )
    if request.decoder == "decord" and STYLES[protocol.style].kernel == "area":
        raise UsageError(
            f"--protocol paper of {spec.name} scales by area while decoding, which decord cannot",
            hint="--decoder auto",
        )


def cache_folder() -> str:
    """Where features are cached, unless a run says otherwise."""
    return str(cache.root() / "features")
