"""What happens when in which video, as data sets publish it: ActivityNet's JSON, in its variants, and CSV.

JSON is ``{"database": {video: {"duration", "subset", "annotations": [{"segment": [start, end], "label"}]}}}``
(THUMOS-14, ActivityNet, HACS, FineAction, MultiTHUMOS and EPIC are published or converted so), or that inner table
alone with ``duration_second`` (ActivityNet as prepared for BMN). CSV has the columns ``video,start,end,label`` and, if
one likes, ``subset``, ``duration`` and ``fps``. What cannot be meant is an error that names the place; what published
files are known to hold (times past the end, reversed ones) is put right or left out, and counted. Opens no video.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from vidact.errors import UsageError
from vidact.store.tables import read_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

COLUMNS = ("video", "start", "end", "label")
_SUBSETS = ("subset", "split")
_SHAPE = '{"database": {"video_1": {"duration": 60.5, "annotations": [{"segment": [1.5, 4.0], "label": "jump"}]}}}'
_HEADER = "video,start,end,label"


@dataclass(frozen=True, slots=True)
class AnnotatedVideo:
    """One video: segment i lasts from ``start[i]`` to ``end[i]`` (float64 seconds) and is called ``labels[i]``.

    ``duration`` (seconds), ``fps`` and ``subset`` are None where the file does not tell.
    """

    video: str
    duration: float | None
    fps: float | None
    subset: str | None
    start: NDArray[np.float64]
    end: NDArray[np.float64]
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Annotations:
    """The videos of a file, in its order; ``labels`` in the order of the file's label numbers, else sorted.

    ``notes`` say what was put right or left out, one line for each reason.
    """

    videos: tuple[AnnotatedVideo, ...]
    labels: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def subsets(self) -> tuple[str, ...]:
        """The names of the subsets, sorted."""
        return tuple(sorted({video.subset for video in self.videos if video.subset is not None}))

    def of(self, subsets: Collection[str]) -> Annotations:
        """The videos of these subsets (compared without regard to case). UsageError when a name is not there."""
        wanted = {name.lower() for name in subsets}
        if strange := sorted(wanted - {name.lower() for name in self.subsets}):
            known = ", ".join(self.subsets) or "none"
            raise UsageError(f"the annotations have no subset {strange[0]!r}", hint=f"they have: {known}")
        chosen = tuple(video for video in self.videos if video.subset and video.subset.lower() in wanted)
        return replace(self, videos=chosen)


@dataclass(slots=True)
class _Counter:
    """How often what had to be put right, with the first place of each."""

    found: dict[str, list[str]] = field(default_factory=dict)

    def add(self, reason: str, where: str) -> None:
        self.found.setdefault(reason, []).append(where)

    def notes(self) -> tuple[str, ...]:
        return tuple(f"{reason}: {len(places)} (first: {places[0]})" for reason, places in self.found.items())


@dataclass(frozen=True, slots=True)
class _Row:
    """One segment as it stands in a file; ``where`` names its place."""

    start: float
    end: float
    label: str
    where: str


def read_annotations(path: str | os.PathLike[str], *, labels: Sequence[str] | None = None) -> Annotations:
    """Read a JSON or CSV file.

    Segments with a label that is not among ``labels`` are left out and counted, as are reversed and empty ones and
    those wholly outside their video; those partly outside are cut. UsageError for a file that cannot be read, that
    names a video twice, or that holds something that is no time.
    """
    name = os.fspath(path)
    counter = _Counter()
    if name.lower().endswith(".csv"):
        videos, numbers = _of_csv(name, counter, labels), dict[str, set[int]]()
    else:
        videos, numbers = _of_json(name, counter, labels)
    if not videos:
        raise UsageError(f"{name!r} holds no videos", hint=f"write JSON like {_SHAPE} or CSV like {_HEADER}")
    return Annotations(tuple(videos), tuple(labels) if labels is not None else _order(videos, numbers), counter.notes())


def _order(videos: Sequence[AnnotatedVideo], numbers: Mapping[str, set[int]]) -> tuple[str, ...]:
    """By the file's own numbers where each label has one, 0 to n - 1; else by name."""
    names = sorted({label for video in videos for label in video.labels})
    own = {next(iter(numbers[name])): name for name in names if len(numbers.get(name, ())) == 1}
    return tuple(own[i] for i in range(len(names))) if sorted(own) == list(range(len(names))) else tuple(names)


# JSON


def _of_json(
    name: str, counter: _Counter, known: Sequence[str] | None
) -> tuple[list[AnnotatedVideo], dict[str, set[int]]]:
    table = database(load_json(name), name)
    videos, numbers = [], dict[str, set[int]]()
    for video, facts in table.items():
        where = f"{name}: {video!r}"
        listed = (facts.get("annotations") or []) if isinstance(facts, dict) else None
        if not isinstance(listed, list):
            raise UsageError(f"{where} is no table with a list of annotations", hint=f"write it like {_SHAPE}")
        duration = _positive(facts.get("duration", facts.get("duration_second")), f"{where}: duration")
        rows = []
        for index, one in enumerate(listed):
            row = _json_row(one, f"{where}, segment {index}")
            rows.append(row)
            if isinstance(one.get("label_id"), int):
                numbers.setdefault(row.label, set()).add(one["label_id"])
        fps, subset = _positive(facts.get("fps"), f"{where}: fps"), facts.get("subset")
        videos.append(_video(video, duration, fps, None if subset is None else str(subset), rows, counter, known))
    return videos, numbers


def load_json(name: str) -> Any:
    """The content of a JSON file in which no table has a key twice. UsageError when it cannot be read so."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        table = dict(pairs)
        if len(table) < len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in table if keys.count(key) > 1)
            raise UsageError(f"{name!r} holds {twice!r} twice", hint="keep one of them, or give each its own name")
        return table

    try:
        with open(name, encoding="utf-8-sig") as file:
            return json.load(file, object_pairs_hook=unique)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{name!r} cannot be read: {getattr(error, 'strerror', None) or error}",
            hint="give a JSON file in UTF-8, or a .csv",
        ) from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{name!r} is no whole JSON file: {error}", hint="is it complete? Copy it again") from error


def database(content: Any, name: str) -> dict[str, Any]:
    """The table of videos in a JSON file, bare or under ``database``. UsageError when there is none."""
    table = content.get("database", content) if isinstance(content, dict) else None
    if not isinstance(table, dict) or (
        table is content and not all(isinstance(one, dict) and "annotations" in one for one in table.values())
    ):
        raise UsageError(f"{name!r} holds no table of annotated videos", hint=f"write it like {_SHAPE}")
    return table


def _json_row(one: Any, where: str) -> _Row:
    segment = one.get("segment") if isinstance(one, dict) else None
    if not isinstance(segment, list) or len(segment) != 2 or one.get("label") in (None, ""):
        raise UsageError(f"{where} is {one!r:.80}, not a segment with a label", hint=f"write it like {_SHAPE}")
    start, end = (_seconds(value, where) for value in segment)
    return _Row(start, end, str(one["label"]), where)


# CSV


def _of_csv(name: str, counter: _Counter, known: Sequence[str] | None) -> list[AnnotatedVideo]:
    rows: dict[str, list[_Row]] = {}
    facts: dict[str, dict[str, tuple[str, str]]] = {}
    for line, row in read_rows(name, COLUMNS, _HEADER):
        where = f"{name}, line {line}"
        if not row["video"]:
            raise UsageError(f"{where}: the video is empty", hint=f"write lines like {_HEADER}")
        own = facts.setdefault(row["video"], {})
        subset = next((row[column] for column in _SUBSETS if row.get(column)), "")
        for key, value in (("duration", row.get("duration")), ("fps", row.get("fps")), ("subset", subset)):
            if value and own.setdefault(key, (value, where))[0] != value:
                before = own[key]
                raise UsageError(
                    f"{where}: {row['video']!r} has {key} {value!r}, but {before[0]!r} in {before[1]}",
                    hint="a video is in one subset, of one length",
                )
        segments = rows.setdefault(row["video"], [])
        if row["start"] or row["end"] or row["label"]:  # a video in which nothing happens has a line with none of them
            if not row["label"]:
                raise UsageError(f"{where}: the label is empty", hint=f"write lines like {_HEADER}")
            segments.append(_Row(_seconds(row["start"], where), _seconds(row["end"], where), row["label"], where))
    return [
        _video(
            video,
            _positive(*facts[video].get("duration", (None, ""))),
            _positive(*facts[video].get("fps", (None, ""))),
            facts[video].get("subset", (None, ""))[0],
            segments,
            counter,
            known,
        )
        for video, segments in rows.items()
    ]


# Both


def _video(
    video: str,
    duration: float | None,
    fps: float | None,
    subset: str | None,
    rows: Sequence[_Row],
    counter: _Counter,
    known: Sequence[str] | None,
) -> AnnotatedVideo:
    kept: list[tuple[float, float, str]] = []
    limit = math.inf if duration is None else duration
    names = None if known is None else frozenset(known)
    for row in rows:
        times = f"{row.where}: {row.start:g} to {row.end:g} s"
        if names is not None and row.label not in names:
            counter.add("segments left out, their label is not in the list", f"{row.where}: {row.label}")
        elif row.end <= row.start:
            counter.add("segments left out, they do not end after they start", times)
        elif row.end <= 0 or row.start >= limit:
            counter.add("segments left out, they lie outside their video", f"{times} of {limit:g} s")
        else:
            if row.start < 0 or row.end > limit:
                counter.add("segments cut, they reach beyond their video", f"{times} of {limit:g} s")
            kept.append((max(row.start, 0.0), min(row.end, limit), row.label))
    times_ = np.array([one[:2] for one in kept], dtype=np.float64).reshape(-1, 2)
    return AnnotatedVideo(
        video, duration, fps, subset, times_[:, 0].copy(), times_[:, 1].copy(), tuple(one[2] for one in kept)
    )


def _seconds(value: Any, where: str) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise UsageError(f"{where}: {value!r:.80} is not a time", hint="write seconds from the first frame: 12.5")
    return number


def _positive(value: Any, where: str) -> float | None:
    """A duration or a rate; None where the file has none. Zero, which some files write for it, counts as none."""
    if value in (None, ""):
        return None
    number = _seconds(value, where)
    if number < 0:
        raise UsageError(f"{where} is {number:g}", hint="leave it out where it is not known")
    return number or None
