"""What every command that makes a run has in common: find out what there is to do, then say it or do it.

Passes signals and deadlines on to the engine and keeps the run folder. Which models a run is about, and what it makes
of a video, is the engine's business.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import sys
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any, cast

import typer

from vidact.cli import _errors, _report
from vidact.cli._download import with_weights
from vidact.cli._output import Output
from vidact.cli._progress import Progress
from vidact.errors import MissingWeights

if TYPE_CHECKING:
    from vidact.engine.request import Request
    from vidact.engine.run import Prepared
    from vidact.records import Outcome
    from vidact.video.find import Found


def work(command: str, given: Mapping[str, Any], then: Callable[[], None] = lambda: None) -> None:
    """Make a run of the options ``given``, by their names; ``then`` runs once the folder is closed.

    An option is called like the field of ``Request`` it fills; ``listed`` are paths a list named already. Leaves with
    the exit code unless all is done.
    """
    from vidact.engine.request import Request

    stop = Stop(given["max_runtime"])
    paths = given["paths"] or ()
    inputs, listed = _inputs(paths)
    listed += given.get("listed", ())
    named = {field.name: given[field.name] for field in dataclasses.fields(Request) if field.name in given}
    named.pop("listed", None)
    named["backbone_checkpoint"] = tuple(named["backbone_checkpoint"] or ())
    request = Request(tuple(inputs), tuple(listed), given["output"], command, **named)
    dry_run = given["dry_run"]
    with Output(quiet=given["quiet"], data=request.out == "-", log_file=None if dry_run else request.log_file) as out:
        code = _work(out, request, stop, paths, dry_run=dry_run, allow_empty=given["allow_empty"])
    if not dry_run and code in (_errors.DONE, _errors.SOME_FAILED):
        then()
    if code != _errors.DONE:
        raise typer.Exit(code)


def _work(out: Output, request: Request, stop: Stop, paths: Sequence[str], *, dry_run: bool, allow_empty: bool) -> int:
    """Find out what there is to do, then say it or do it. Returns the exit code."""
    asked = request.inputs or request.listed or request.features
    prepared = _prepare(out, request, paths, dry_run=dry_run, allow_empty=allow_empty) if asked else None
    if prepared is None or _nothing(prepared.found, bool(request.listed)):
        if not allow_empty:
            raise _report.nothing_found(paths, prepared.found if prepared else None, request.features)
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
        _report.stopped_at_once(out, request)
        return stop.code()


def _prepare(out: Output, request: Request, paths: Sequence[str], *, dry_run: bool, allow_empty: bool) -> Prepared:
    from vidact.engine.run import prepare

    try:
        return prepare(request)
    except MissingWeights:
        if dry_run:
            raise
    if (request.inputs or request.listed) and not allow_empty:  # no download for nothing
        from vidact.video.find import find

        found = find(request.inputs, root=request.root or None, listed=request.listed)
        if _nothing(found, bool(request.listed)):
            raise _report.nothing_found(paths, found, request.features)
    return with_weights(out, lambda: prepare(request))


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


def _nothing(found: Found, listed: bool) -> bool:
    """Whether there is nothing to work on: no video, or nothing of what was typed exists (a disk that is not mounted).

    Entries of a list have rows of their own even if none of them exists.
    """
    videos = found.videos
    return not videos or (not listed and all(video.error and video.error[0] == "NotFound" for video in videos))


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
            self.progress.stopping = True


def _run(out: Output, request: Request, prepared: Prepared, stop: Stop) -> int:
    """Do it and say what came of it. Returns the exit code."""
    from vidact.engine.plan import remaining

    with stop.listening():  # to the end of the last commit: a signal must not cost what is done
        sink = _sink(request, prepared)
        try:
            # Another run may have worked in the folder until this one got hold of it.
            again, limit = request.retry_failed, request.limit
            done, lost = sink.committed(), prepared.lost
            todo = remaining(prepared.found.videos, done, retry_failed=again, limit=limit, lost=lost)
            prepared = dataclasses.replace(prepared, todo=todo)
            noun = "rows" if request.command == "features" else "clips"
            progress = stop.progress = Progress(out, todo.videos, noun)
            with progress:
                _execute(out, prepared, sink, progress, stop)
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


def _execute(out: Output, prepared: Prepared, sink: Any, progress: Progress, stop: Stop) -> None:
    from vidact.engine.run import execute

    outcomes = execute(prepared, sink, stop=stop, progress=progress.clips, stage=progress.stage)
    with contextlib.closing(cast("Generator[Outcome]", outcomes)):
        for outcome in outcomes:
            progress.video(outcome)
            out.log(_report.outcome(outcome))


def _sink(request: Request, prepared: Prepared) -> Any:
    """The run folder, held by this process, or the stream."""
    if request.out == "-":
        from vidact.store.stream import JsonlStream

        return JsonlStream(sys.stdout.buffer, request.command)
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
