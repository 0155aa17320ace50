"""Reading a run folder, also while a run writes to it: only rows that count, never half of a change.

A detail row counts only if the videos part of the same number lists its video. Knows nothing of writing or locking.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterator, Sequence
from itertools import repeat
from typing import Any, NamedTuple

import pyarrow as pa

from vidact.errors import RunError
from vidact.records import Video
from vidact.store.manifest import load_run
from vidact.store.parts import Stamp, part_name, part_numbers, read_part
from vidact.store.schemas import DETAIL, TABLES, VIDEOS, within_int64

_LOOKUP = ("video", "size", "mtime_ns", "status", "error", "attempts")
_TRIES = 50
_PAUSE = 0.02


class Done(NamedTuple):
    """What is known of a video that has a row: the columns of those names, and the number of its part."""

    size: int | None
    mtime_ns: int | None
    status: str
    error: str | None
    attempts: int
    part: int

    def unchanged(self, video: Video) -> bool:
        """Whether the file is still the one the row speaks of, by size and modification time."""
        if self.size == video.size and self.mtime_ns == video.mtime_ns:
            return True
        return self.size == within_int64(video.size) and self.mtime_ns == within_int64(video.mtime_ns)


Committed = dict[str, Done]
"""Identity of a video → its row in short; every video with a committed row."""


class Part(NamedTuple):
    """The two tables of one part; ``detail`` holds rows of the videos in ``videos`` only."""

    number: int
    videos: pa.Table
    detail: pa.Table


class Folder(NamedTuple):
    """Where the parts of a run lie: the folder, the detail table's name and the format."""

    out: str
    table: str
    format: str

    def path(self, table: str, number: int) -> str:
        """Path of part ``number`` of ``table``."""
        return os.path.join(self.out, table, part_name(number, self.format))

    def numbers(self, table: str) -> list[int]:
        """Numbers of the parts of ``table``, ascending."""
        return part_numbers(os.path.join(self.out, table), self.format)


class Reader:
    """A run folder to read from. ``run`` is the content of its run.json.

    RunError when there is no run in ``out``, when it is damaged or newer than this vidact.
    """

    def __init__(self, out: str) -> None:
        run = load_run(out)
        if run is None:
            raise RunError(f"no run in {out!r}", hint="name the folder that -o named when vidact ran")
        self.run: dict[str, Any] = run
        self.folder = folder_of(out, run["frozen"])

    @property
    def settings(self) -> dict[str, Any]:
        """The frozen settings of the run, by name."""
        frozen: dict[str, Any] = self.run["frozen"]
        return frozen

    def committed(self) -> Committed:
        """Every video with a row, in short."""
        return lookup(self.folder)

    def videos(self, columns: Sequence[str] | None = None) -> pa.Table:
        """The table ``videos``, one row a video, sorted within each part. ``columns`` limits what is read."""
        wanted = list(columns) if columns is not None else VIDEOS.names
        needed = wanted if "video" in wanted else ["video", *wanted]
        tables = [table for _, table in video_parts(self.folder, needed)]
        table = pa.concat_tables(tables) if tables else VIDEOS.empty_table().select(needed)
        return table.select(wanted)

    def parts(
        self,
        *,
        videos: Collection[str] | None = None,
        columns: Sequence[str] | None = None,
    ) -> Iterator[Part]:
        """The run part by part, so that an archive of any size fits in memory; parts without a match are left out.

        ``videos`` limits both tables to these identities, and parts that hold none of them are not read; ``columns``
        limits the detail. A video that moves to a later part meanwhile comes once.
        """
        seen: set[str] = set()
        for number in self.folder.numbers("videos"):
            part = _pair(self.folder, number, videos, columns)
            if part is None:
                continue
            names = part.videos.column("video").to_pylist()
            repeated = seen.intersection(names)
            seen.update(names)
            if repeated:
                part = _limit(part, set(names) - repeated)
            yield part if columns is None else part._replace(detail=part.detail.select(list(columns)))

    def detail(self, columns: Sequence[str] | None = None) -> pa.Table:
        """All rows of predictions, segments or features in one table. ``columns`` limits what is read."""
        tables = [part.detail for part in self.parts(columns=columns)]
        empty = TABLES[self.folder.table].empty_table()
        return pa.concat_tables(tables or [empty if columns is None else empty.select(list(columns))])


def folder_of(out: str, frozen: dict[str, Any]) -> Folder:
    """Where a run with these frozen settings keeps its parts."""
    return Folder(out, DETAIL[frozen["command"]], frozen["format"])


def lookup(folder: Folder) -> Committed:
    """Every video with a row, in short, read from the videos parts alone."""
    found: Committed = {}
    for number, table in video_parts(folder, _LOOKUP):
        found |= rows_in_short(table, number)
    return found


def rows_in_short(videos: pa.Table, number: int) -> Committed:
    """The rows of ``videos``, which stand or will stand in part ``number``, in short."""
    names, *facts, attempts = (videos.column(name).to_pylist() for name in _LOOKUP)
    tried = [times or 0 for times in attempts]
    return dict(zip(names, map(Done._make, zip(*facts, tried, repeat(number))), strict=True))


def video_parts(folder: Folder, columns: Sequence[str]) -> list[tuple[int, pa.Table]]:
    """All videos parts with ``columns``, as they stood at one moment even when a run rewrites them meanwhile."""
    for _ in range(_TRIES):
        parts, stamps = _read_all(folder, columns)
        if _stamps(folder, folder.numbers("videos")) == stamps:
            break
        time.sleep(_PAUSE)
    return parts


def live(detail: pa.Table, videos: pa.Table | Collection[str]) -> pa.Table:
    """The rows of ``detail`` whose video is among ``videos`` (a table, or names)."""
    import pyarrow.compute as pc

    names = videos.column("video").to_pylist() if isinstance(videos, pa.Table) else list(videos)
    counts = pc.is_in(detail.column("video"), value_set=pa.array(names, pa.string()))
    return detail if pc.all(counts, min_count=0).as_py() else detail.filter(counts)


def _read_all(folder: Folder, columns: Sequence[str]) -> tuple[list[tuple[int, pa.Table]], dict[int, Stamp]]:
    parts, stamps = [], {}
    for number in folder.numbers("videos"):
        try:
            table, stamp = read_part(folder.path("videos", number), VIDEOS, columns)
        except FileNotFoundError:
            continue
        parts.append((number, table))
        stamps[number] = stamp
    return parts, stamps


def _stamps(folder: Folder, numbers: list[int]) -> dict[int, Stamp]:
    found = {}
    for number in numbers:
        stamp = _stamp(folder.path("videos", number))
        if stamp is not None:
            found[number] = stamp
    return found


def _stamp(path: str) -> Stamp | None:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return Stamp(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def _pair(folder: Folder, number: int, names: Collection[str] | None, columns: Sequence[str] | None) -> Part | None:
    schema = TABLES[folder.table]
    needed = [name for name in schema.names if columns is None or name in {*columns, "video"}]
    path = folder.path("videos", number)
    for _ in range(_TRIES):
        try:
            videos, stamp = read_part(path, VIDEOS)
            videos = videos if names is None else live(videos, names)
            if not videos.num_rows:
                return None
            detail, _ = read_part(folder.path(folder.table, number), schema, needed)
        except FileNotFoundError:
            if _stamp(path) is None:
                return None
        else:
            # A writer replaces the detail part before or after its videos part, never alone: the same videos part
            # on both sides of the reading means that the rows of its videos were all there.
            if _stamp(path) == stamp:
                return Part(number, videos, live(detail, videos))
        time.sleep(_PAUSE)
    raise RunError(
        f"{folder.path(folder.table, number)!r} is missing or keeps changing, but {path!r} counts on it",
        hint=f"restore it, or delete {path!r} to have its videos done again",
    )


def _limit(part: Part, names: set[str]) -> Part:
    return part._replace(videos=live(part.videos, names), detail=live(part.detail, names))
