"""Which label each video has, in the list formats recognition data sets are published in.

Kinetics: CSV with ``label,youtube_id,time_start,time_end,split``, its JSON, and lists of ``path label``; Something-
Something: a JSON list with ``id`` and ``template`` or ``label``; UCF-101 and HMDB-51: their split files; and CSV with
``path,label``. The format is told by the content, never by an option. Opens no video.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from vidact.errors import UsageError
from vidact.store.annotations import load_json
from vidact.store.splits import HMDB, UCF, hmdb_videos, lines, ucf_videos
from vidact.store.tables import column_names, read_rows, refuse_separator

_PATHS = ("path", "video", "file", "filename", "filepath", "id")
_PARTS = ("split", "subset")
_SEPARATORS = (",", ";", "\t")
_FORMATS = "write lines like path/video.mp4 17 or CSV with path,label; or give the data set's own file"


class _Row(NamedTuple):
    video: str
    label: str
    part: str | None
    where: str


@dataclass(frozen=True, slots=True)
class Labelled:
    """Video → label, in the list's order. ``numbers``: every label is the number of a class, from 0."""

    labels: dict[str, str]
    numbers: bool
    notes: tuple[str, ...] = ()


def read_labelled(path: str, subset: str | None = None) -> Labelled:
    """Read a list; of HMDB-51 any file of a split stands for the whole split.

    ``subset`` keeps the rows whose column ``split`` says so (HMDB-51 without it: its test part). UsageError, naming the
    place, for a file that cannot be read, has no such part, or gives a video two labels.
    """
    rows = list(_rows(Path(path)))
    parts = sorted({row.part for row in rows if row.part is not None})
    if subset is None and HMDB.fullmatch(Path(path).name):
        subset = "test"
    if subset is not None:
        if subset.lower() not in (part.lower() for part in parts):
            raise UsageError(
                f"{path!r} has no part {subset!r}", hint=f"its parts are {', '.join(parts) or 'not told apart'}"
            )
        rows = [row for row in rows if row.part is not None and row.part.lower() == subset.lower()]
    labels: dict[str, str] = {}
    for row in rows:
        if not row.video or not row.label:
            raise UsageError(f"{row.where}: the video or the label is empty", hint=_FORMATS)
        if labels.setdefault(row.video, row.label) != row.label:
            raise UsageError(
                f"{row.where}: {row.video!r} is {row.label!r} here and {labels[row.video]!r} before",
                hint="a video has one label",
            )
    if not labels:
        raise UsageError(f"{path!r} holds no videos", hint=_FORMATS)
    repeated = len(rows) - len(labels)
    notes = (f"lines of {path!r} that repeat a video and count once: {repeated}",) if repeated else ()
    return Labelled(labels, all(re.fullmatch(r"\d{1,6}", label) for label in labels.values()), notes)


def _rows(path: Path) -> Iterator[_Row]:
    if match := HMDB.fullmatch(path.name):
        for video, label, part in hmdb_videos(path.parent, match[2]):
            yield _Row(video, label, {"1": "train", "2": "test"}.get(part), str(path))
    elif UCF.fullmatch(path.name):
        yield from (_Row(video, label, None, str(path)) for video, label in ucf_videos(path))
    elif path.suffix.lower() == ".json":
        yield from _of_json(path)
    else:
        yield from _of_text(path)


# JSON


def _of_json(path: Path) -> Iterator[_Row]:
    content = load_json(str(path))
    if isinstance(content, dict) and all(isinstance(facts, dict) for facts in content.values()):
        yield from (_kinetics(video, facts, f"{path}: {video!r}") for video, facts in content.items())
    elif isinstance(content, list):
        yield from (_something(one, f"{path}, entry {place}") for place, one in enumerate(content))
    else:
        raise UsageError(
            f"{str(path)!r} is neither Something-Something's list nor Kinetics' table",
            hint='write it like [{"id": "74225", "template": "Moving [something] up"}]',
        )


def _something(one: Any, where: str) -> _Row:
    label = one.get("template", one.get("label")) if isinstance(one, dict) else None
    if label is None or "id" not in one:
        raise UsageError(
            f"{where} is {one!r:.80}, without id or label", hint="the test list has no labels; give the validation list"
        )
    return _Row(str(one["id"]), str(label).replace("[", "").replace("]", ""), None, where)


def _kinetics(video: str, facts: dict[str, Any], where: str) -> _Row:
    own = facts.get("annotations")
    if not isinstance(own, dict) or "label" not in own:
        raise UsageError(
            f"{where} has no label", hint='Kinetics writes "annotations": {"label": …, "segment": [0, 10]}'
        )
    times = own.get("segment")
    if isinstance(times, list) and len(times) == 2:
        video = _clip(video, times[0], times[1], where)
    part = facts.get("subset")
    return _Row(video, str(own["label"]), None if part is None else str(part), where)


def _clip(video: str, start: Any, end: Any, where: str) -> str:
    """The name Kinetics' downloaders give a clip."""
    try:
        first, last = int(float(start)), int(float(end))
    except (TypeError, ValueError):
        first, last = 0, 0
    if last <= first:
        raise UsageError(f"{where}: {start!r} to {end!r} is no stretch of time", hint="write seconds, the end last")
    return f"{video}_{first:06d}_{last:06d}"


# Text


def _of_text(path: Path) -> Iterator[_Row]:
    found = list(lines(path))
    if not found:
        return
    columns = column_names(found[0][1])
    named = next((name for name in ("youtube_id", *_PATHS) if name in columns), None)
    if "label" in columns and named:
        yield from _of_csv(path, named)
    else:
        refuse_separator(path, *found[0], ("label",))
        yield from _plain(path, found)


def _of_csv(path: Path, named: str) -> Iterator[_Row]:
    for line, row in read_rows(path, (named, "label"), "path,label"):
        video, where = row[named], f"{path}, line {line}"
        if named == "youtube_id" and "time_start" in row and "time_end" in row:
            video = _clip(video, row["time_start"], row["time_end"], where)
        yield _Row(video, row["label"], next((row[name] for name in _PARTS if name in row), None), where)


def _plain(path: Path, found: list[tuple[int, str]]) -> Iterator[_Row]:
    """Lines of path and label without a header; three columns with two numbers are folders of frames."""
    separator = next((one for one in _SEPARATORS if all(one in text for _, text in found)), None)
    pairs = [(line, *_halves(text, separator)) for line, text in found]
    counted = [video.rsplit(separator, 1) for _, video, _ in pairs]
    if all(len(one) == 2 and one[1].strip().isdecimal() for one in counted):
        pairs = [(line, one[0], label) for (line, _, label), one in zip(pairs, counted, strict=True)]
    for line, video, label in pairs:
        if not label:
            raise UsageError(f"{path}, line {line}: {video!r:.80} is not a path and a label", hint=_FORMATS)
        yield _Row(video.strip(), label.strip(), None, f"{path}, line {line}")


def _halves(text: str, separator: str | None) -> tuple[str, str]:
    if separator == ";":  # Something-Something's answers: the label may hold what it likes
        video, _, label = text.partition(separator)
        return video, label
    halves = text.rsplit(separator, 1)
    return (halves[0], halves[1]) if len(halves) == 2 else (text, "")
