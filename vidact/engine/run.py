"""One run from inputs to outcomes: what ``vidact classify`` and ``vidact.classify`` have in common.

``prepare`` decides everything and touches nothing; ``execute`` does it. Neither prints, and which sink takes the
outcomes (a run folder, a stream, nothing) is the caller's business.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from vidact.engine import machine
from vidact.engine.driver import drive
from vidact.engine.local import Load, LocalPool
from vidact.engine.plan import Done, Todo, remaining
from vidact.engine.pool import RayPool
from vidact.errors import UsageError
from vidact.models.build import Chosen, describe
from vidact.models.weights import spec_to_json
from vidact.models.zoo import ENTRIES
from vidact.records import Outcome, RunSettings, Spec, VideoFacts
from vidact.store import manifest
from vidact.tasks.classify import Classify, parse_views
from vidact.video.find import Found, find
from vidact.video.transform import plan as plan_crops


class Sink(Protocol):
    """What takes outcomes: ``store.RunDir``, ``store.JsonlStream`` or ``Nowhere``."""

    def committed(self) -> Mapping[str, Done]: ...
    def withdraw(self, videos: Collection[str]) -> None: ...
    def add(self, outcome: Outcome) -> None: ...
    def tick(self) -> None: ...


class Nowhere:
    """A sink that keeps nothing: the caller of ``vidact.classify`` has the outcomes themselves."""

    def committed(self) -> Mapping[str, Done]:
        """Nothing."""
        return {}

    def withdraw(self, videos: Collection[str]) -> None:
        """Nothing is kept, so nothing goes."""

    def add(self, outcome: Outcome) -> None:
        """Nothing is kept."""

    def tick(self) -> None:
        """Nothing waits."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a user asks for: the options of the command line, by their names. None: decide for me.

    ``inputs`` are files, directories and patterns, ``listed`` the entries of list files; ``out`` is a folder, or ``-``
    for none. ``views`` reads ``10x3``; times are in seconds.
    """

    inputs: tuple[str, ...] = ()
    listed: tuple[str | bytes, ...] = ()
    out: str = "-"
    model: str | None = None
    checkpoint: str | None = None
    labels: str | None = None
    clip_seconds: float | None = None
    stride_seconds: float | None = None
    views: str | None = None
    top_k: int = 5
    threshold: float = 0.0
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
    retry_failed: bool = False
    limit: int | None = None
    max_runtime: float | None = None
    log_file: str | None = None


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run before it starts: every ``auto`` is resolved, every setting checked. ``todo`` is as of now."""

    settings: RunSettings
    spec: Spec
    split: machine.Split
    found: Found
    todo: Todo
    resumed: bool


def prepare(request: Request) -> Prepared:
    """Find the inputs, choose the weights, resolve every ``auto`` and compare with the run in ``out``.

    Starts neither Ray nor torch and writes nothing. Raises UsageError, ModelError or, when ``out`` holds a run with
    other frozen settings, RunError.
    """
    _check(request)
    run = None if request.out == "-" else manifest.inspect(request.out, overwrite=request.overwrite)
    begun = run is not None and not request.overwrite and bool(manifest.own_parts(request.out))
    frozen: dict[str, Any] = dict(run["frozen"]) if run and begun else {}
    model = request.model
    if model is None and request.checkpoint is None and frozen.get("model") in ENTRIES:
        model = frozen["model"]  # the default may be another by now; a run keeps its own
    chosen = describe(model, request.checkpoint, request.labels)
    _check_views(request, chosen.spec)
    found = find(request.inputs, root=request.root or frozen.get("root"), listed=request.listed)
    device = machine.device(request.device)
    split = machine.split(device, workers=request.workers, decoders=request.decoders)
    settings = _settings(request, chosen, found.root, split, frozen.get("dtype", "float32"))
    committed: Mapping[str, Done] = {}
    if frozen and run is not None:
        manifest.refuse_differences(request.out, run, settings, new_root=request.root is not None)
        committed = _committed(request.out)
    todo = remaining(found.videos, committed, retry_failed=request.retry_failed, limit=request.limit)
    return Prepared(settings, chosen.spec, split, found, todo, bool(frozen))


def _settings(request: Request, chosen: Chosen, root: str, split: machine.Split, dtype: str) -> RunSettings:
    spec = chosen.spec
    item_bytes = 3 * spec.sampling.frames * spec.geometry.size[0] * spec.geometry.size[1]
    return RunSettings(
        command="classify",
        model=spec.name,
        checkpoint=os.path.abspath(request.checkpoint) if request.checkpoint else "",
        weights_hash=chosen.weights_hash,
        spec_hash=_digest(spec),
        labels_hash=hashlib.sha256("\n".join(spec.labels).encode()).hexdigest() if request.labels else "",
        clip_seconds=request.clip_seconds,
        stride_seconds=request.stride_seconds,
        views=request.views,
        top_k=request.top_k,
        threshold=request.threshold,
        dtype=dtype if request.dtype == "auto" else request.dtype,
        decoder=request.decoder,
        format="jsonl" if request.out == "-" else request.format,
        root=root,
        inputs=request.inputs,
        device=split.device,
        workers=0 if request.workers == 0 else split.scorers,
        decoders=split.decoders,
        batch_size=request.batch_size or machine.batch_size(item_bytes, split.device),
        limit=request.limit,
        max_runtime=request.max_runtime,
        address=request.address,
        retry_failed=request.retry_failed,
        log_file=request.log_file,
    )


def _digest(spec: Spec) -> str:
    """What decides about the numbers of a run besides the weights: how clips are sampled, sized and normalised."""
    told = replace(spec, name="", labels=(), licence="", published=None, notes="", feature_dimension=0)
    return hashlib.sha256(json.dumps(spec_to_json(told), sort_keys=True).encode()).hexdigest()


def _committed(out: str) -> Mapping[str, Done]:
    from vidact.store.reader import Reader

    return Reader(out).committed()


def _check(request: Request) -> None:
    """UsageError for a value no run can have, whoever asks."""
    choices = {
        "format": ("parquet", "jsonl"),
        "dtype": ("auto", "float32", "bfloat16", "float16"),
        "decoder": ("auto", "decord", "pyav"),
    }
    for name, allowed in choices.items():
        if getattr(request, name) not in allowed:
            raise UsageError(f"{name} {getattr(request, name)!r}", hint=f"choose one of {', '.join(allowed)}")
    least = {"top_k": 1, "batch_size": 1, "limit": 1, "workers": 0, "decoders": 1}
    for name, lowest in least.items():
        value = getattr(request, name)
        if value is not None and value < lowest:
            raise UsageError(f"{name} is {value}", hint=f"it is at least {lowest}")
    for name in ("clip_seconds", "stride_seconds", "max_runtime"):
        value = getattr(request, name)
        if value is not None and not 0 < value < float("inf"):
            raise UsageError(f"{name} is {value:g}", hint="it is a number of seconds above 0")


def _check_views(request: Request, spec: Spec) -> None:
    """Say now, not once per video, that a model cannot be shown these pictures or crops."""
    if len(spec.mean) != 3:
        raise UsageError(f"{spec.name} sees optical flow, which vidact does not compute yet", hint="vidact models list")
    if request.views is None:
        return
    if request.stride_seconds is not None:
        raise UsageError(
            "--views spreads its clips over each video; --stride-seconds has no meaning there", hint="leave one out"
        )
    _, crops = parse_views(request.views)
    plan_crops(VideoFacts(1.0, 0.0, 25.0, 640, 360, 0, "", 25), spec.geometry, crops)


def execute(
    prepared: Prepared,
    sink: Sink,
    *,
    stop: Callable[[], bool] = lambda: False,
    progress: Callable[[int, float], None] = lambda clips, seconds: None,
) -> Iterator[Outcome]:
    """Do what is left, give every outcome to ``sink`` and yield it. With nothing left, starts nothing.

    ``stop`` and ``progress`` as in ``drive``; the sink is also given the chance to commit while nothing happens.
    """
    settings = prepared.settings
    todo = remaining(prepared.found.videos, sink.committed(), retry_failed=settings.retry_failed, limit=settings.limit)
    sink.withdraw(todo.withdrawn)
    if not todo.videos:
        return

    def asked() -> bool:
        sink.tick()
        return stop()

    load = Load(Classify(settings, prepared.spec), prepared.split, settings.batch_size)
    with LocalPool(load) if settings.workers == 0 else RayPool(load, address=settings.address) as pool:
        for outcome in drive(pool, todo.videos, attempts=todo.attempts, stop=asked, progress=progress):
            sink.add(outcome)
            yield outcome


def classify(
    inputs: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], *, out: str | None = None, **options: Any
) -> Iterator[Outcome]:
    """Classify videos and yield an Outcome for each as it is done: its row, and its predictions as columns.

    ``inputs``: files, directories or patterns. With ``out`` the results are kept in that run folder as well, and what
    it already holds is not done again. ``options`` are the other fields of ``Request``: model, checkpoint,
    clip_seconds, views, top_k, device, workers (0: everything in this process), … Raises UsageError, ModelError or
    RunError.
    """
    given = [inputs] if isinstance(inputs, str | os.PathLike) else list(inputs)
    request = Request(tuple(os.fspath(path) for path in given), out=out or "-", **options)
    prepared = prepare(request)
    ends = float("inf") if request.max_runtime is None else time.monotonic() + request.max_runtime

    def late() -> bool:
        return time.monotonic() >= ends

    if out is None:
        yield from execute(prepared, Nowhere(), stop=late)
        return
    from vidact.store.rundir import RunDir

    run = RunDir.open(out, prepared.settings, overwrite=request.overwrite, new_root=request.root is not None)
    try:
        yield from execute(prepared, run, stop=late)
    except BaseException:  # also when nobody wants to hear the rest: what is done is kept
        try:
            run.commit()
        finally:
            run.release()
        raise
    run.close({"exit": "done"})
