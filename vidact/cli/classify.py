"""``vidact classify PATH...``: find, decode, score, write; resumable.

Options in, messages and an exit code out. What a run does is in the engine, shared with Python users; this file starts
it, passes signals and deadlines on to it, and keeps the run folder.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import sys
import time
from collections.abc import Generator, Iterator, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any, cast

import typer

from vidact.cli import _errors, _report
from vidact.cli import _options as options
from vidact.cli._output import Output
from vidact.cli._progress import Progress

if TYPE_CHECKING:
    from vidact.engine.run import Prepared, Request
    from vidact.records import Outcome


def classify(
    paths: options.Inputs,
    model: options.Model = None,
    checkpoint: options.Checkpoint = None,
    labels: options.Labels = None,
    clip_seconds: options.ClipSeconds = None,
    stride_seconds: options.StrideSeconds = None,
    views: options.Views = None,
    top_k: options.TopK = 5,
    threshold: options.Threshold = 0.0,
    output: options.Output = "vidact-out",
    format: options.Format = "parquet",
    root: options.Root = None,
    overwrite: options.Overwrite = False,
    log_file: options.LogFile = None,
    quiet: options.Quiet = False,
    *,
    device: options.Device,
    dtype: options.Dtype = "auto",
    batch_size: options.BatchSize = None,
    workers: options.Workers = None,
    decoders: options.Decoders = None,
    decoder: options.Decoder,
    address: options.Address,
    retry_failed: options.RetryFailed = False,
    dry_run: options.DryRun = False,
    limit: options.MaxVideos = None,
    max_runtime: options.MaxRuntime = None,
    allow_empty: options.AllowEmpty = False,
) -> None:
    """Tell which action every clip of your videos shows, and every video as a whole.

    The same command goes on where it stopped: what is done is not done again, and new or changed files are.
    """
    from vidact.engine.run import Request

    stop = Stop(max_runtime)
    inputs, listed = _inputs(paths)
    request = Request(
        inputs=tuple(inputs),
        listed=tuple(listed),
        out=output,
        model=model,
        checkpoint=checkpoint,
        labels=labels,
        clip_seconds=clip_seconds,
        stride_seconds=stride_seconds,
        views=views,
        top_k=top_k,
        threshold=threshold,
        format=format,
        root=root,
        overwrite=overwrite,
        device=device,
        dtype=dtype,
        batch_size=batch_size,
        workers=workers,
        decoders=decoders,
        decoder=decoder,
        address=address,
        retry_failed=retry_failed,
        limit=limit,
        max_runtime=max_runtime,
        log_file=log_file,
    )
    with Output(quiet=quiet, data=output == "-", log_file=None if dry_run else log_file) as out:
        code = _classify(out, request, stop, paths, dry_run=dry_run, allow_empty=allow_empty)
    if code != _errors.DONE:
        raise typer.Exit(code)


def _classify(
    out: Output, request: Request, stop: Stop, paths: Sequence[str], *, dry_run: bool, allow_empty: bool
) -> int:
    """Find out what there is to do, then say it or do it. Returns the exit code."""
    from vidact.engine.run import prepare

    prepared = prepare(request) if request.inputs or request.listed else None
    if prepared is None or _nothing(prepared, bool(request.listed)):
        if not allow_empty:
            raise _report.nothing_found(paths, prepared)
        out.note("No video was found.")
        return _errors.DONE
    if dry_run:
        _report.plan(out, request, prepared)
        return _errors.DONE
    _report.begin(out, request, prepared)
    try:
        return _run(out, request, prepared, stop)
    except KeyboardInterrupt:
        if stop.signal is None:
            raise
        out.note("Stopped at once." if request.out == "-" else "Stopped at once; what is done is kept.")
        return stop.code()


def _inputs(paths: Sequence[str]) -> tuple[list[str], list[str | bytes]]:
    """Split what was typed into what is searched and what lists name."""
    from vidact.store.lists import is_list, read_list

    inputs: list[str] = []
    listed: list[str | bytes] = []
    for path in paths:
        if path == "-":
            listed += read_list(path, getattr(sys.stdin, "buffer", None))  # None, too, when it was closed
        elif is_list(path) and not os.path.isdir(path):
            listed += read_list(path)
        else:
            inputs.append(path)
    return inputs, listed


def _nothing(prepared: Prepared, listed: bool) -> bool:
    """Whether there is nothing to work on: no video, or nothing of what was typed exists (a disk that is not mounted).

    Entries of a list have rows of their own even if none of them exists.
    """
    found = prepared.found.videos
    return not found or (not listed and all(video.error and video.error[0] == "NotFound" for video in found))


class Stop:
    """Asked again and again by the engine: is it time to end? After SIGINT, SIGTERM or the deadline it is.

    While it is ``listening`` it takes the two signals; a second one does not wait for the engine, but for the last
    commit once ``ending`` is set.
    """

    def __init__(self, max_runtime: float | None) -> None:
        self.signal: int | None = None
        self.ending = False
        self.progress: Progress | None = None
        self._deadline = None if max_runtime is None else time.monotonic() + max_runtime

    def __call__(self) -> bool:
        return self.signal is not None or self.late()

    def late(self) -> bool:
        """Whether --max-runtime is over."""
        return self._deadline is not None and time.monotonic() >= self._deadline

    def code(self) -> int:
        """The exit code the first signal asks for."""
        return _errors.TERMINATED if self.signal == signal.SIGTERM else _errors.INTERRUPTED

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Take SIGINT and SIGTERM for as long as this lasts."""
        before = {number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:
            if not self.ending:
                raise KeyboardInterrupt
            return
        self.signal = number
        if self.progress is not None:
            self.progress.phase = "stopping (once more: at once)"


def _run(out: Output, request: Request, prepared: Prepared, stop: Stop) -> int:
    """Do it and say what came of it. Returns the exit code."""
    from vidact.engine.plan import remaining

    with stop.listening():  # to the end of the last commit: a signal must not cost what is done
        sink = _sink(request, prepared)
        try:
            # Another run may have worked in the folder until this one got hold of it.
            again, limit = request.retry_failed, request.limit
            todo = remaining(prepared.found.videos, sink.committed(), retry_failed=again, limit=limit)
            prepared = dataclasses.replace(prepared, todo=todo)
            with Progress(out, todo.videos) as progress:
                stop.progress = progress
                _work(out, prepared, sink, progress, stop)
        except BaseException as error:
            stop.ending = True
            if request.out != "-":
                _rescue(sink, error)
            raise
        stop.ending = True
        left = len(todo.videos) - progress.videos
        code, reason = _verdict(stop, left, progress.failed)
        sink.close({"exit": reason, "left": left + todo.left})
    _report.end(out, request, prepared, progress, reason, left)
    return code


def _work(out: Output, prepared: Prepared, sink: Any, progress: Progress, stop: Stop) -> None:
    from vidact.engine.run import execute

    outcomes = execute(prepared, sink, stop=stop, progress=progress.clips)
    with contextlib.closing(cast("Generator[Outcome]", outcomes)):
        for outcome in outcomes:
            progress.video(outcome)
            out.log(_report.outcome(outcome))


def _sink(request: Request, prepared: Prepared) -> Any:
    """The run folder, held by this process, or the stream."""
    if request.out == "-":
        from vidact.store.stream import JsonlStream

        return JsonlStream(sys.stdout.buffer)
    from vidact.store.reader import Reader
    from vidact.store.rundir import RunDir

    todo = prepared.todo
    rows = Reader(request.out).videos(["status"]).num_rows if prepared.resumed else 0
    facts = {
        "found": len(prepared.found.videos),
        "todo": len(todo.videos) + todo.left,
        "rows": rows - len(todo.withdrawn),  # with these, ``status`` knows what is left even after a kill
    }
    named = request.root is not None
    return RunDir.open(request.out, prepared.settings, overwrite=request.overwrite, new_root=named, facts=facts)


def _rescue(run: Any, error: BaseException) -> None:
    """After an error: commit what is done and let go of the folder; the first error is the one to tell."""
    try:
        with contextlib.suppress(Exception):
            if isinstance(error, Exception):
                run.close({"exit": "error"})
            else:
                run.commit()
    finally:
        run.release()


def _verdict(stop: Stop, left: int, failed: int) -> tuple[int, str]:
    """Exit code, and the same in words."""
    if left and stop.signal is not None:
        return stop.code(), "interrupted"
    if left and stop.late():
        return _errors.OUT_OF_TIME, "max-runtime"
    return (_errors.SOME_FAILED, "done, some failed") if failed else (_errors.DONE, "done")
