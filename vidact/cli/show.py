"""``vidact show OUT``: what a run found, a line a video, or a line a clip or segment.

Reads committed rows only, part by part, also while a run writes them; changes nothing.
"""

from __future__ import annotations

import itertools
import os
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from vidact.cli import _options as options
from vidact.cli._output import Output, plain
from vidact.errors import UsageError

if TYPE_CHECKING:
    from vidact.store.reader import Reader

Top = Annotated[int, options.option("--top", metavar="N", min=1, help="The N best labels of each.")]
Row = dict[str, Any]

NAMED = 10
"""Labels named at most when none is like the one asked for."""

_VIDEO = ("video", "status", "error", "error_message", "stage", "duration", "clips")


class Wanted(NamedTuple):
    """The filters: videos by name and status, labels by name, score and rank. None: any."""

    videos: set[str] | None
    status: str | None
    labels: Sequence[str] | None
    min_score: float | None
    top: int


def show(
    out: options.Out,
    video: options.OnlyVideos = None,
    clips: options.Clips = False,
    label: options.OnlyLabels = None,
    min_score: options.MinScore = None,
    top: Top = 1,
    status: options.OnlyStatus = None,
    limit: options.MaxLines = None,
    json: options.Json = False,
) -> None:
    """Print what a run found: a line for every video, or for every clip or segment.

    Into a pipe the lines are tab-separated, without a header, and times are seconds.
    """
    from vidact.store.reader import Reader

    sink = Output()
    reader = Reader(out)
    names = _named(reader, video, out) if video else None
    wanted = Wanted(names, status, label or None, min_score, top)
    detailed = clips or names is not None
    kind = reader.folder.table
    if kind == "features":
        detailed = False
    rows = _clips(reader, wanted) if detailed else _videos(reader, wanted)
    first = next(rows, None)
    if first is None and names is not None and wanted.labels is None and min_score is None:
        status, detailed = "failed", False  # these have no clips; why is what there is to say of them
        rows = _videos(reader, wanted._replace(status=status))
        first = next(rows, None)
    if first is None:
        whole = not detailed and kind == "predictions"
        by_clip = " That is about videos as a whole; --clips looks at every clip." if whole else ""
        nothing = wanted == Wanted(None, None, None, None, top)
        unknown = _unknown(reader, label or ())
        sink.note("This run has no videos yet." if nothing else f"Nothing matches.{unknown or by_clip}")
        return
    rows = itertools.chain([first], rows)
    _print(sink, itertools.islice(rows, limit), kind, json=json, detailed=detailed, failed=status == "failed")
    if limit is not None and next(rows, None) is not None:
        sink.note(f"These are the first {limit}; without --limit there are more.")


def _named(reader: Reader, names: Sequence[str], out: str) -> set[str]:
    """The videos called so: as in the tables, as on the screen, as the path is typed, or by a pattern."""
    from vidact.video.find import escape

    known: list[str] = reader.videos(["video"]).column("video").to_pylist()
    present = set(known)
    on_screen = {plain(video): video for video in known}
    found: set[str] = set()
    for name in names:
        matches = {name, escape(os.fsencode(name)), on_screen.get(name, name)} & present
        matches = matches or {video for video in known if fnmatchcase(video, name)} or _shortened(known, name)
        if not matches:
            raise UsageError(f"no video is called {name!r} in {out!r}", hint=f"vidact show {shlex.quote(out)}")
        found |= matches
    return found


def _shortened(known: Sequence[str], name: str) -> set[str]:
    """The videos a name on a narrow screen may mean."""
    start, cut, end = name.partition("…")
    return {video for video in known if cut and plain(video).startswith(start) and plain(video).endswith(end)}


def _unknown(reader: Reader, labels: Sequence[str]) -> str:
    """That nothing in the run has such a label, and what comes near it; empty when something has."""
    if not labels or reader.folder.table == "features":
        return ""
    known = sorted({str(label) for label in reader.detail(columns=["label"]).column("label").unique().to_pylist()})
    strange = [label for label in labels if label not in known]
    if not known or not strange:
        return ""
    close = get_close_matches(strange[0], known, n=3)
    named = ", ".join(known[:NAMED]) + (", …" if len(known) > NAMED else ".")
    near = f"did you mean {' or '.join(map(repr, close))}?" if close else f"there are {named}"
    return f" No label that was found is called {strange[0]!r}; {near}"


def _clips(reader: Reader, wanted: Wanted) -> Iterator[Row]:
    """The rows of clips or segments."""
    for part in reader.parts(videos=wanted.videos):
        statuses = dict(zip(*(part.videos.column(name).to_pylist() for name in ("video", "status")), strict=True))
        for row in _matching(part.detail, wanted, whole=False):
            if wanted.status is None or statuses[row["video"]] == wanted.status:
                yield row


def _videos(reader: Reader, wanted: Wanted) -> Iterator[Row]:
    """A row for every video and label; a video without a label has one too, unless labels are filtered by."""
    anyhow = [] if wanted.labels or wanted.min_score else [{"label": None, "score": None}]
    for part in reader.parts(videos=wanted.videos):
        found: dict[str, list[Row]] = {}
        for row in _matching(part.detail, wanted, whole=True):
            found.setdefault(row.pop("video"), []).append(row)
        for facts in part.videos.select(list(_VIDEO)).to_pylist():
            if wanted.status is None or facts["status"] == wanted.status:
                for row in _of_video(reader.folder.table, found.get(facts["video"], []), wanted) or anyhow:
                    yield {"video": facts["video"], **row, **facts}


def _of_video(table: str, rows: list[Row], wanted: Wanted) -> list[Row]:
    """What is told of one video: its own labels; or its segments in all, how many have each label, and how surely at
    best."""
    if table == "features":
        return rows
    if table == "predictions":
        return [{"label": row["label"], "score": row["score"]} for row in rows]
    counts = Counter(row["label"] for row in rows)
    best: dict[str, float] = {}
    for row in rows:
        best[row["label"]] = max(row["score"], best.get(row["label"], 0.0))
    ranked = sorted(best, key=lambda label: -best[label])[: wanted.top]
    return [
        {"label": label, "score": best[label], "segments": len(rows), "of_label": counts[label]} for label in ranked
    ]


def _matching(detail: Any, wanted: Wanted, *, whole: bool) -> list[Row]:
    """Rows of a detail table that pass the filters on labels; of predictions those of whole videos, or of clips."""
    import numpy as np

    mask = np.ones(detail.num_rows, bool)
    if "rank" in detail.column_names:
        mask &= np.asarray(detail.column("rank").to_numpy() <= wanted.top)
        mask &= np.asarray(detail.column("clip").is_null().to_numpy()) == whole
    if wanted.min_score is not None and "score" in detail.column_names:
        # In float32, as they are stored: a score shown as 0.300 must pass --min-score 0.3.
        mask &= np.asarray(detail.column("score").to_numpy() >= np.float32(wanted.min_score))
    rows: list[Row] = detail.take(np.flatnonzero(mask)).to_pylist()
    return rows if wanted.labels is None else [row for row in rows if row.get("label") in wanted.labels]


def _print(sink: Output, rows: Iterable[Row], kind: str, *, json: bool, detailed: bool, failed: bool) -> None:
    if json:
        sink.json(rows)
    elif failed:
        _print_failures(sink, rows)
    elif detailed:
        _print_clips(sink, rows)
    elif kind == "features":
        _print_features(sink, rows)
    else:
        _print_videos(sink, rows, "clips" if kind == "predictions" else "segments")


def _print_videos(out: Output, rows: Iterable[Row], counted: str) -> None:
    numbers = (counted,) if counted == "clips" else (counted, "of label")
    out.table(
        ("video", "label" if counted == "clips" else "best label", "score", "duration", *numbers, "status"),
        (
            (
                row["video"],
                row["label"],
                _score(row["score"]),
                _time(out, row["duration"]),
                *(row.get(name.replace(" ", "_"), "") for name in numbers),
                _status(row),
            )
            for row in rows
        ),
        right=("score", "duration", *numbers),
        shorten=("video",),
    )


def _print_features(out: Output, rows: Iterable[Row]) -> None:
    out.table(
        ("video", "rows", "dimension", "duration", "status", "file"),
        (
            (
                row["video"],
                row.get("rows"),
                row.get("dimension"),
                _time(out, row["duration"]),
                _status(row),
                row.get("file"),
            )
            for row in rows
        ),
        right=("rows", "dimension", "duration"),
        shorten=("video",),
        drop=("file",),
    )


def _status(row: Row) -> str:
    return str(row["status"]) if row["error"] is None else f"{row['status']}: {row['error']}"


def _print_clips(out: Output, rows: Iterable[Row]) -> None:
    noted = ("",) if out.human else ()  # programs get it by --json
    out.table(
        ("video", "start", "end", "label", "score", *noted),
        (
            (
                row["video"],
                _time(out, row["start"]),
                _time(out, row["end"]),
                row["label"],
                _score(row["score"]),
                *("padded" if row.get("padded") else "" for _ in noted),
            )
            for row in rows
        ),
        right=("start", "end", "score"),
        shorten=("video",),
    )


def _print_failures(out: Output, rows: Iterable[Row]) -> None:
    out.table(
        ("video", "error", "stage", "message"),
        ((row["video"], row["error"], row["stage"], row["error_message"]) for row in rows),
        fold=("message",),
        shorten=("video",),
    )


def _score(score: float | None) -> str:
    return "" if score is None else f"{score:.3f}"


def _time(out: Output, seconds: float | None) -> str:
    """Hours, minutes and seconds for people, seconds for programs."""
    if seconds is None:
        return ""
    if not out.human:
        return f"{seconds:.3f}"
    minutes, rest = divmod(round(seconds * 100), 6000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest / 100:05.2f}" if hours else f"{minutes}:{rest / 100:05.2f}"
