"""The run folder as its one writer sees it: open or resume, withdraw, add, commit, close.

A detail part and its videos part carry the same number; the detail part is replaced first, then the videos part, and a
detail row counts only if the videos part lists its video. Every change is made of such atomic steps, so that a kill
between any two of them loses at most what was not committed and doubles nothing. A small last part grows by the same
two steps instead of gaining a neighbour: a folder that is fed every night stays a few files.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any

import pyarrow as pa

from vidact import __version__
from vidact.errors import RunError
from vidact.records import Outcome, RunSettings
from vidact.store import manifest
from vidact.store.atomic import make_folder, remove, remove_temporary, write_json
from vidact.store.lock import Lock
from vidact.store.parts import read_part, write_part
from vidact.store.reader import Committed, Folder, Part, Reader, folder_of, live, lookup, rows_in_short
from vidact.store.schemas import ORDER, SCHEMA, TABLES, VIDEOS, tables
from vidact.store.summary import Tally

COMMIT_VIDEOS = 1000
COMMIT_SECONDS = 30.0
COMMIT_BYTES = 64 << 20
PART_VIDEOS = 2000
PART_ROWS = 50_000
"""A last part with fewer videos and fewer detail rows than these grows at the next commit."""


class RunDir:
    """A run folder held by this process. Made by ``RunDir.open``; ``close`` or ``release`` lets go of it."""

    def __init__(self, folder: Folder, lock: Lock, run: dict[str, Any], committed: Committed) -> None:
        self.folder = folder
        self._lock = lock
        self._run = run
        self._committed = committed
        self._metadata = _metadata(run["frozen"])
        self._next = max([0, *folder.numbers("videos"), *folder.numbers(folder.table)]) + 1
        self._tail: Part | None = None
        self._tail_loaded = False
        self._buffer: dict[str, Outcome] = {}
        self._bytes = 0
        self._tally = Tally(folder.table)
        self._at_first = len(committed)
        self._recount = lock.unclean  # whether the counts in summary.json are more than what this run adds out of date
        self._started = self._committed_at = time.monotonic()

    @classmethod
    def open(
        cls,
        out: str,
        settings: RunSettings,
        *,
        overwrite: bool = False,
        new_root: bool = False,
        facts: Mapping[str, Any] | None = None,
    ) -> RunDir:
        """Create the run folder ``out``, or take up the run in it, and hold its lock.

        ``overwrite`` deletes an earlier run in it, and only files that vidact made. ``new_root``: the user named the
        root, so it may differ from the first run's. ``facts`` (JSON values) are kept with this invocation in run.json.
        RunError for a folder of another program, a newer schema, other frozen settings (each is named), a disk that
        refuses; with ``busy`` when another run holds it.
        """
        manifest.inspect(out, overwrite=overwrite)  # before the first touch: a stranger's folder stays as it is
        make_folder(out)
        lock = Lock(out)
        try:
            run = manifest.inspect(out, overwrite=overwrite)
            unclean = lock.unclean and run is not None
            if overwrite:
                manifest.delete_run(out)
                run = None
            if run is not None:
                manifest.refuse_differences(out, run, settings, new_root=new_root)
            run = manifest.begin(run, settings, facts or {})
            folder = folder_of(out, run["frozen"])
            for path in (out, os.path.join(out, "videos"), os.path.join(out, folder.table)):
                make_folder(path)
                remove_temporary(path)
            manifest.save(out, run)
            committed = lookup(folder)
            _repair(folder, committed, _metadata(run["frozen"]), thoroughly=unclean)
            return cls(folder, lock, run, committed)
        except BaseException:
            lock.release(clean=not lock.unclean)
            raise

    def committed(self) -> Committed:
        """Every video with a committed row → its row in short. Not a copy: it follows what this run commits."""
        return self._committed

    def withdraw(self, videos: Collection[str]) -> None:
        """Take back the rows of these videos, changed or to be tried again; names without rows are ignored."""
        for video in videos:
            self._buffer.pop(video, None)
        self._withdraw(videos)

    def add(self, outcome: Outcome) -> None:
        """Take what became of one video; commits when enough has gathered. A video added twice keeps the later row."""
        self._buffer[outcome.video.video] = outcome
        self._bytes += _weight(outcome)
        if len(self._buffer) >= COMMIT_VIDEOS or self._bytes >= COMMIT_BYTES:
            self.commit()
        else:
            self.tick()

    def tick(self) -> None:
        """Commit what waits if the last commit is ``COMMIT_SECONDS`` ago; cheap enough for an idle loop."""
        if time.monotonic() - self._committed_at >= COMMIT_SECONDS:
            self.commit()

    def commit(self) -> None:
        """Write everything added so far. After a RunError nothing is lost: the same call may be made again.

        ValueError when rows do not fit the schema, a mistake in the program; all other videos are written nevertheless.
        """
        self._committed_at = time.monotonic()
        if not self._buffer:
            return
        try:
            new = Part(self._next, *tables(list(self._buffer.values()), self.folder.table))
        except (ValueError, TypeError):
            self._refuse_misfits()
            raise
        self._withdraw(self._buffer)  # one row a video, even if the caller forgot to
        part = self._grown(new)
        write_part(self.folder.path(self.folder.table, part.number), part.detail, self._metadata)
        write_part(self.folder.path("videos", part.number), part.videos, self._metadata)
        # Nothing was remembered before this line, so that a commit that failed half way is simply made again.
        self._tail, self._tail_loaded = part if _small(part) else None, True
        self._next = max(self._next, part.number + 1)
        self._committed |= rows_in_short(new.videos, part.number)
        self._tally.add(new.videos, new.detail)
        self._buffer, self._bytes = {}, 0

    def close(self, summary: Mapping[str, Any]) -> None:
        """Commit, write summary.json and let go of the folder.

        ``summary`` (JSON values, e.g. ``exit``) stands at its top. Its ``invocation`` counts what this process
        committed, its ``run`` the whole folder.
        """
        try:
            self.commit()
            wall = time.monotonic() - self._started
            done = self._tally.facts()
            done |= {"wall": round(wall, 3), "realtime": round(done["seconds_video"] / wall, 3) if wall > 0 else None}
            manifest.end(self._run, {"videos": done["videos"], "wall": done["wall"], "exit": summary.get("exit")})
            path = os.path.join(self.folder.out, manifest.SUMMARY)
            last = self._run["invocations"][-1]
            facts = {
                "schema": SCHEMA,
                "vidact": __version__,
                "started": last["started"],
                "finished": last["finished"],
                "versions": last["versions"],
                **summary,
            }
            write_json(path, {**facts, "invocation": done, "run": self._whole(manifest.load_summary(path))})
            manifest.save(self.folder.out, self._run)
        except BaseException:
            self._lock.release(clean=False)
            raise
        self._lock.release()

    def release(self) -> None:
        """Let go of the folder without committing, after an error; nothing after ``close``."""
        self._lock.release(clean=False)

    def _refuse_misfits(self) -> None:
        misfits = {video for video, outcome in self._buffer.items() if not _fits(outcome, self.folder.table)}
        self._buffer = {video: outcome for video, outcome in self._buffer.items() if video not in misfits}
        if misfits:
            self.commit()

    def _grown(self, new: Part) -> Part:
        if not self._tail_loaded:
            self._tail, self._tail_loaded = self._load_tail(), True
        tail = self._tail
        if tail is not None and _small(tail):
            videos = pa.concat_tables([tail.videos, new.videos])
            new = Part(tail.number, videos, pa.concat_tables([tail.detail, new.detail]))
        return Part(new.number, _sorted(new.videos, "videos"), _sorted(new.detail, self.folder.table))

    def _load_tail(self) -> Part | None:
        number = self._next - 1
        try:
            videos, _ = read_part(self.folder.path("videos", number), VIDEOS)
            path = self.folder.path(self.folder.table, number)
            if videos.num_rows >= PART_VIDEOS or os.path.getsize(path) > COMMIT_BYTES:
                return None
            detail, _ = read_part(path, TABLES[self.folder.table])
        except FileNotFoundError:
            return None
        return Part(number, videos, live(detail, videos))

    def _withdraw(self, videos: Collection[str]) -> None:
        numbers = {self._committed[video].part for video in videos if video in self._committed}
        gone = {video for video in videos if video in self._committed}
        for number in sorted(numbers):
            self._tail_loaded = False
            self._recount = True
            _rewrite(self.folder, number, gone, self._metadata)
            for video in [video for video in gone if self._committed[video].part == number]:
                del self._committed[video]
                gone.remove(video)

    def _whole(self, earlier: dict[str, Any] | None) -> dict[str, Any]:
        """Counts of the whole folder: those of ``earlier`` and of this run, or counted anew where that will not do."""
        tally = Tally(self.folder.table)
        if earlier is not None and not self._recount:
            with suppress(KeyError, TypeError):
                if earlier["videos"]["total"] == self._at_first:
                    tally.include(earlier)
                    tally.include(self._tally.facts())
                    return tally.facts()
        tally = Tally(self.folder.table)
        counted = ("video", "clip", "rank", "label")
        columns = [name for name in TABLES[self.folder.table].names if name in counted]
        for part in Reader(self.folder.out).parts(columns=columns):
            tally.add(part.videos, part.detail)
        return tally.facts()


def _repair(folder: Folder, committed: Committed, metadata: Mapping[str, str], *, thoroughly: bool) -> None:
    """Remove what a killed run left: details without a videos part and, ``thoroughly``, dead rows in the others."""
    listed = folder.numbers("videos")
    details = folder.numbers(folder.table)
    for number in sorted(set(details) - set(listed)):
        remove(folder.path(folder.table, number))
    missing = sorted(set(listed) - set(details))
    if missing:
        path = folder.path("videos", missing[0])
        raise RunError(
            f"{folder.path(folder.table, missing[0])!r} is missing, but {path!r} counts on it",
            hint=f"restore it, or delete {path!r} to have its videos done again",
        )
    if not thoroughly:
        return
    alive: dict[int, list[str]] = {number: [] for number in listed}
    for video, done in committed.items():
        alive[done.part].append(video)
    for number, names in alive.items():
        path = folder.path(folder.table, number)
        mentioned, _ = read_part(path, TABLES[folder.table], ["video"])
        if live(mentioned, names).num_rows != mentioned.num_rows:
            detail, _ = read_part(path, TABLES[folder.table])
            write_part(path, live(detail, names), metadata)


def _rewrite(folder: Folder, number: int, gone: Collection[str], metadata: Mapping[str, str]) -> None:
    """Take the videos ``gone`` out of part ``number``: first out of the videos part, then out of the detail part."""
    paths = folder.path("videos", number), folder.path(folder.table, number)
    try:
        videos, _ = read_part(paths[0], VIDEOS)
    except FileNotFoundError:  # an earlier attempt was interrupted between the two
        videos = VIDEOS.empty_table()
    kept = [name for name in videos.column("video").to_pylist() if name not in gone]
    if not kept:
        for path in paths:
            remove(path)
        return
    detail, _ = read_part(paths[1], TABLES[folder.table])
    write_part(paths[0], live(videos, kept), metadata)
    write_part(paths[1], live(detail, kept), metadata)


def _sorted(table: pa.Table, name: str) -> pa.Table:
    import pyarrow.compute as pc

    keys = [(column, "ascending") for column in ORDER[name]]
    return table.take(pc.sort_indices(table, sort_keys=keys))


def _small(part: Part) -> bool:
    return bool(part.videos.num_rows < PART_VIDEOS and part.detail.num_rows < PART_ROWS)


def _fits(outcome: Outcome, detail: str) -> bool:
    try:
        tables([outcome], detail)
    except (ValueError, TypeError):
        return False
    return True


def _weight(outcome: Outcome) -> int:
    """Bytes the rows of one video take, roughly: numpy says, a value in a list is taken as 48."""
    return 500 + sum(getattr(values, "nbytes", 48 * len(values)) for values in outcome.details.values())


def _metadata(frozen: Mapping[str, Any]) -> dict[str, str]:
    return {
        "schema": str(SCHEMA),
        "model": str(frozen["model"]),
        "weights_hash": str(frozen["weights_hash"]),
        "protocol": str(frozen.get("protocol", "")),
    }
