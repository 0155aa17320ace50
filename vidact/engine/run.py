"""One run from inputs to outcomes: what every command that makes a run has in common with its Python function.

``prepare`` decides everything and touches nothing; ``execute`` does it. Neither prints, and which sink takes the
outcomes (a run folder, a stream, nothing) is the caller's business.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

from vidact.engine import machine
from vidact.engine.driver import drive
from vidact.engine.local import Load, LocalPool
from vidact.engine.plan import Done, Todo, remaining
from vidact.engine.pool import RayPool
from vidact.engine.request import Choice, Request, cache_folder, check, choose
from vidact.engine.worker import Task
from vidact.models.weights import spec_to_json
from vidact.records import Outcome, RunSettings, Spec, Video
from vidact.store import manifest
from vidact.store.features import check_writable, tidy
from vidact.tasks.classify import Classify, pictures_of, protocol_of
from vidact.tasks.features import ExtractFeatures
from vidact.tasks.localize import Localize
from vidact.video.find import Found, find


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
class Prepared:
    """A run before it starts: every ``auto`` is resolved, every setting checked. ``todo`` is as of now.

    ``lost`` are videos that were done before, but whose features have been deleted since.
    """

    settings: RunSettings
    choice: Choice
    split: machine.Split
    found: Found
    todo: Todo
    resumed: bool
    lost: frozenset[str] = frozenset()


def prepare(request: Request) -> Prepared:
    """Find the inputs, choose the weights, resolve every ``auto`` and compare with the run in ``out``.

    Starts neither Ray nor torch and writes nothing. Raises UsageError, ModelError or, when ``out`` holds a run with
    other frozen settings, RunError.
    """
    check(request)
    device = machine.device(request.device)  # before weights are missed, and perhaps downloaded for nothing
    run = None if request.out == "-" else manifest.inspect(request.out, overwrite=request.overwrite)
    begun = run is not None and not request.overwrite and bool(manifest.own_parts(request.out))
    frozen: dict[str, Any] = dict(run["frozen"]) if run and begun else {}
    choice = choose(request, frozen)
    found = _find(request, choice, frozen.get("root"))
    split = machine.split(device, workers=request.workers, decoders=request.decoders)
    usual = frozen.get("dtype") or _usual_dtype(request.command, split.device)
    settings = _settings(request, choice, found.root, split, usual)
    committed: Mapping[str, Done] = {}
    lost: frozenset[str] = frozenset()
    if frozen and run is not None:
        manifest.refuse_differences(request.out, run, settings, new_root=request.root is not None)
        committed = _committed(request.out)
        lost = _lost(request)
    todo = remaining(found.videos, committed, retry_failed=request.retry_failed, limit=request.limit, lost=lost)
    return Prepared(settings, choice, split, found, todo, bool(frozen), lost)


def _find(request: Request, choice: Choice, root: str | None) -> Found:
    """The videos asked for; where only features are named, the videos these are of, under their own names."""
    folder = choice.folder
    if folder is None or request.inputs or request.listed:
        return find(request.inputs, root=request.root or root, listed=request.listed)
    videos = []
    for name in folder.names():
        path = str(folder.paths[name])
        stat = os.stat(path) if os.path.exists(path) else None
        error = None if stat else ("NotFound", f"its features {path!r} are gone")
        videos.append(Video(name, path, stat and stat.st_size, stat and stat.st_mtime_ns, error))
    return Found(os.path.abspath(folder.folder), videos, [])


def _usual_dtype(command: str, device: str) -> str:
    """What ``--dtype auto`` means for a new run: bfloat16 on a GPU, else float32.

    Features are float32 everywhere: other runs, on other machines, read them out of the cache.
    """
    return "bfloat16" if command == "classify" and device == "cuda" else "float32"


def _settings(request: Request, choice: Choice, root: str, split: machine.Split, dtype: str) -> RunSettings:
    spec, recogniser, localizer = choice.spec, choice.recogniser, choice.localizer
    batch_size = request.batch_size
    if batch_size is None:
        item = pictures_of(request.protocol, request.views, spec).item if spec else (1, 1, 1, 3)
        batch_size = machine.batch_size(math.prod(item), split.device)
    about = localizer or recogniser
    assert about is not None
    return RunSettings(
        command=request.command,
        model=choice.name,
        checkpoint=os.path.abspath(request.checkpoint) if request.checkpoint else "",
        streams=tuple(recogniser.file.items()) if recogniser and isinstance(recogniser.file, Mapping) else (),
        weights_hash=about.weights_hash,
        spec_hash=_digest(spec, request.protocol) if spec else "",
        labels_hash=hashlib.sha256("\n".join(about.spec.labels).encode()).hexdigest() if request.labels else "",
        clip_seconds=request.clip_seconds,
        stride_seconds=request.stride_seconds,
        views=request.views,
        protocol=request.protocol,
        top_k=request.top_k,
        threshold=request.threshold,
        dtype=dtype if request.dtype == "auto" else request.dtype,
        decoder=request.decoder,
        format="jsonl" if request.out == "-" else request.format,
        root=root,
        contract=json.dumps(asdict(choice.contract), sort_keys=True) if choice.contract else "",
        backbone=recogniser.spec.name if localizer and recogniser else "",
        backbone_hash=recogniser.weights_hash if localizer and recogniser else "",
        nms=request.nms,
        min_score=_min_score(request, choice),
        max_segments=request.max_segments,
        licence=", ".join(
            dict.fromkeys(one.spec.licence for one in (recogniser, localizer) if one and one.spec.licence)
        ),
        features=os.path.abspath(request.features) if request.features else "",
        save_features=request.save_features,
        cache=os.path.abspath(request.cache) if request.cache else cache_folder(),
        inputs=request.inputs,
        device=split.device,
        workers=0 if request.workers == 0 else split.scorers,
        decoders=split.decoders,
        batch_size=batch_size,
        limit=request.limit,
        max_runtime=request.max_runtime,
        address=request.address,
        retry_failed=request.retry_failed,
        log_file=request.log_file,
    )


def _min_score(request: Request, choice: Choice) -> float:
    own = choice.localizer.spec.min_score if choice.localizer else 0.0
    return own if request.min_score is None else request.min_score


def _task(prepared: Prepared) -> Task:
    """The task of a run: what to do with one video."""
    settings, choice = prepared.settings, prepared.choice
    if settings.command == "classify":
        assert choice.spec is not None
        return Classify(settings, choice.spec)
    assert choice.contract is not None
    extract = None
    if choice.recogniser is not None:
        chosen = choice.recogniser
        weights = chosen.spec.name, chosen.file, chosen.weights_hash
        extract = ExtractFeatures(settings, chosen.spec, choice.contract, weights)
    if settings.command == "features":
        assert extract is not None
        return extract
    names = choice.localizer.spec.labels if choice.localizer and settings.labels_hash else None
    return Localize(settings, choice.contract, extract, names)


def _digest(spec: Spec, protocol: str) -> str:
    """What decides about the numbers of a run besides the weights: how clips are sampled, sized and normalised."""
    told = replace(spec, name="", labels=(), licence="", published=None, notes="", feature_dimension=0)
    told = replace(told, protocol=protocol_of(protocol, spec))
    return hashlib.sha256(json.dumps(spec_to_json(told), sort_keys=True).encode()).hexdigest()


def _committed(out: str) -> Mapping[str, Done]:
    from vidact.store.reader import Reader

    return Reader(out).committed()


def _lost(request: Request) -> frozenset[str]:
    """Videos whose features a run lists, and nobody finds any more."""
    from vidact.store.reader import Reader

    if request.command != "features":
        return frozenset()
    rows = Reader(request.out).detail(columns=["video", "file"]).to_pydict()
    return frozenset(video for video, file in zip(rows["video"], rows["file"], strict=True) if not os.path.exists(file))


def execute(
    prepared: Prepared,
    sink: Sink,
    *,
    stop: Callable[[], bool] = lambda: False,
    progress: Callable[[int, float], None] = lambda clips, seconds: None,
    stage: Callable[[str], None] = lambda waiting: None,
) -> Iterator[Outcome]:
    """Do what is left, give every outcome to ``sink`` and yield it. With nothing left, starts nothing.

    ``stop``, ``progress`` and ``stage`` as in ``drive``; the sink also gets to commit while nothing happens.
    """
    settings = prepared.settings
    again, limit = settings.retry_failed, settings.limit
    todo = remaining(prepared.found.videos, sink.committed(), retry_failed=again, limit=limit, lost=prepared.lost)
    if todo.videos and (settings.command == "features" or settings.save_features):
        check_writable(settings.cache)
        tidy(settings.cache)
    sink.withdraw(todo.withdrawn)
    if not todo.videos:
        return

    def asked() -> bool:
        sink.tick()
        return stop()

    if settings.workers != 0:
        stage(f"joining the Ray cluster {settings.address}" if settings.address else "starting Ray")
    load = Load(_task(prepared), prepared.split, settings.batch_size)
    with LocalPool(load) if settings.workers == 0 else RayPool(load, address=settings.address) as pool:
        for outcome in drive(pool, todo.videos, attempts=todo.attempts, stop=asked, progress=progress, stage=stage):
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
    yield from _stream("classify", inputs, out, options)


def localize(
    inputs: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = (), *, out: str | None = None, **options: Any
) -> Iterator[Outcome]:
    """Localize actions in videos and yield an Outcome for each as it is done: its row, and its segments as columns.

    As ``classify``; further ``options`` are features (a folder of features that exist; then ``inputs`` may be left
    out), save_features, nms, min_score, max_segments.
    """
    yield from _stream("localize", inputs, out, options)


def _stream(command: str, inputs: Any, out: str | None, options: Mapping[str, Any]) -> Iterator[Outcome]:
    given = [inputs] if isinstance(inputs, str | os.PathLike) else list(inputs)
    request = Request(tuple(os.fspath(path) for path in given), out=out or "-", command=command, **options)
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
