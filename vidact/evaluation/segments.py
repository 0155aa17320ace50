"""The two sides of an evaluation of segments, brought together: a run or a submission, and the annotations.

Reads what was predicted and what is true, pairs the videos, and leaves out what has no counterpart, counted. Judges
nothing.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vidact.errors import UsageError
from vidact.evaluation.benchmarks import Benchmark
from vidact.evaluation.detection import Events
from vidact.store.annotations import AnnotatedVideo, Annotations, read_annotations
from vidact.store.matching import match
from vidact.store.reader import Reader
from vidact.store.submissions import Submission, read_submission

_UNLABELLED = "The segments have no labels: mAP by class, which needs them, was left out, and so were kinds of errors."
_COLUMNS = ("video", "start", "end", "label", "score")


@dataclass(frozen=True, slots=True)
class Sides:
    """``truth`` and ``found`` of the videos of the truth, which both call by its number in ``videos``.

    ``durations`` by that number, in seconds, where known. ``subset`` is what of the truth is judged (None: all).
    ``absent``: videos of the truth the run does not have; ``failed``: those it has and could not read; ``strangers``:
    videos of the run that are not in this part of the truth, with ``dropped`` segments. Where not ``labelled`` what was
    found are proposals, without labels.
    """

    videos: tuple[str, ...]
    truth: Events
    found: Events
    durations: dict[int, float]
    subset: str | None
    absent: tuple[str, ...]
    failed: tuple[str, ...]
    strangers: tuple[str, ...]
    dropped: int
    notes: tuple[str, ...]
    labelled: bool


def read_sides(run: str, file: str, benchmark: Benchmark, subset: str | None) -> Sides:
    """Read the run folder, or the submission, ``run`` and the annotations ``file``. UsageError or RunError."""
    predicted, failed = (read_submission(run), []) if os.path.isfile(run) else _of_run(run)
    annotations = read_annotations(file)
    chosen, subset = _part(annotations, benchmark, subset)
    names = [video.video for video in chosen]
    if not any(video.labels for video in chosen):
        raise UsageError(
            f"the truth {file!r} has no event in the videos that are judged ({len(names)})",
            details=annotations.notes,
            hint="correct the file" if annotations.notes else "choose another --subset, or another file",
        )
    pairs = match(predicted.videos, names)
    if not pairs.of:
        raise UsageError(
            f"no video of {run!r}, which has {len(predicted.videos)}, is among the {len(names)} of the truth"
            + (f" (subset {subset!r})" if subset else "")
            + (f"; the first are {predicted.videos[0]!r} and {names[0]!r}" if predicted.videos and names else ""),
            hint="their names must agree: as paths, or without folder and ending",
        )
    number = {name: place for place, name in enumerate(names)}
    code = {video: number[name] for video, name in pairs.of.items()}
    lost = {pairs.of[video] for video in failed if video in pairs.of}
    found = _found(predicted, code)
    return Sides(
        tuple(names),
        events_of(chosen),
        found,
        {number[video.video]: video.duration for video in chosen if video.duration is not None},
        subset,
        pairs.absent,
        tuple(sorted(lost)),
        pairs.strangers,
        len(predicted.video) - len(found.start),
        (*annotations.notes, *predicted.notes, *(() if predicted.labelled else (_UNLABELLED,))),
        predicted.labelled,
    )


def _of_run(out: str) -> tuple[Submission, list[str]]:
    """What a run of ``localize`` found, and the videos that failed."""
    reader = Reader(out)
    if reader.folder.table != "segments":
        raise UsageError(
            f"{out!r} is a run of `vidact {reader.settings['command']}`: it has no segments",
            hint="give a folder `vidact localize` wrote, or a JSON file with a table 'results'",
        )
    videos = reader.videos(["video", "status"])
    names, statuses = (videos.column(name).to_pylist() for name in ("video", "status"))
    rows = reader.detail(columns=_COLUMNS)
    video, start, end, label, score = (rows.column(name).to_pylist() for name in _COLUMNS)
    failed = [name for name, status in zip(names, statuses, strict=True) if status == "failed"]
    return Submission(tuple(names), video, start, end, label, score), failed


def _part(
    annotations: Annotations, benchmark: Benchmark, subset: str | None
) -> tuple[tuple[AnnotatedVideo, ...], str | None]:
    """The videos to judge: those of the subset asked for, else of the benchmark's own where there are several."""
    known = annotations.subsets
    if subset is None and len(known) > 1:
        subset = next((name for name in known if name.lower() == benchmark.subset), None)
        if subset is None:
            raise UsageError(
                f"the truth has the subsets {', '.join(known)}, and none is called {benchmark.subset!r}",
                hint=f"say which one is judged, such as --subset {shlex.quote(known[-1])}",
            )
    return (annotations.videos if subset is None else annotations.of([subset]).videos), subset


def events_of(videos: Sequence[AnnotatedVideo]) -> Events:
    """What is true, the videos called by their places."""
    counts = [len(video.labels) for video in videos]
    return Events(
        np.repeat(np.arange(len(videos)), counts),
        np.concatenate([np.empty(0), *(video.start for video in videos)]),
        np.concatenate([np.empty(0), *(video.end for video in videos)]),
        np.array([label for video in videos for label in video.labels], dtype=np.str_),
    )


def _found(predicted: Submission, code: dict[str, int]) -> Events:
    rows = [row for row, video in enumerate(predicted.video) if video in code]
    return Events(
        np.array([code[predicted.video[row]] for row in rows], dtype=np.int64),
        np.array([predicted.start[row] for row in rows], dtype=np.float64),
        np.array([predicted.end[row] for row in rows], dtype=np.float64),
        np.array([predicted.label[row] for row in rows], dtype=np.str_),
        np.array([predicted.score[row] for row in rows], dtype=np.float64),
    )
