"""Outcomes whose rows can be recognised: each says which video and which attempt it came from.

``label_id`` is the attempt, ``start`` tells the clip, and the label names the video: rows of another video or of an
earlier attempt cannot pass for these.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from vidact.records import Outcome, RunSettings, Video
from vidact.store.reader import Reader
from vidact.store.rundir import RunDir

SETTINGS = RunSettings(model="tiny.test", weights_hash="0123", root="/videos")
TOP = 2


def outcome(name: str, *, attempt: int = 1, clips: int = 3, status: str = "ok") -> Outcome:
    """What became of the video ``name``; ``clips`` × 2 rows, and 2 for the whole video; none when it failed."""
    video = Video(name, f"/videos/{name}", size=1000 + attempt, mtime_ns=10**18 + attempt)
    failed = status == "failed"
    row: dict[str, Any] = {
        "video": name,
        "size": video.size,
        "mtime_ns": video.mtime_ns,
        "status": status,
        "error": "NoVideoStream" if failed else None,
        "error_message": f"nothing to see in {name}" if failed else None,
        "stage": "index" if failed else None,
        "attempts": attempt,
        "duration": None if failed else 2.0 * clips,
        "start_time": None if failed else 0.04,
        "fps": None if failed else 25.0,
        "width": 320,
        "height": 240,
        "rotation": 0,
        "codec": "h264",
        "frames": None if failed else 50 * clips,
        "clips": None if failed else clips,
        "decoder": "pyav",
        "seconds_decode": 0.5,
        "seconds_model": 0.25,
    }
    return Outcome(video, row, {} if failed else details(name, attempt, clips))


def details(name: str, attempt: int, clips: int) -> dict[str, Any]:
    """Rows as a task gives them: the clips in order, then the whole video; best label first."""
    rows = (clips + 1) * TOP
    numbers = np.repeat(np.arange(clips + 1), TOP)
    whole = numbers == clips
    return {
        "clip": np.ma.masked_array(numbers, mask=whole),
        "start": np.where(whole, 0.0, numbers * 2.0),
        "end": np.where(whole, 2.0 * clips, numbers * 2.0 + 2.0),
        "rank": np.tile(np.arange(1, TOP + 1), clips + 1),
        "label_id": np.full(rows, attempt),
        "label": [f"{name} {rank}" for _ in range(clips + 1) for rank in range(1, TOP + 1)],
        "score": np.linspace(0.9, 0.1, rows).astype(np.float32),
        "padded": np.zeros(rows, bool),
    }


def rows_of(clips: int = 3) -> int:
    """Detail rows of one video."""
    return (clips + 1) * TOP


def check_rows(rows: list[dict[str, Any]], expected: dict[str, int], *, clips: int = 3) -> None:
    """Fail unless ``rows`` are exactly those of the videos ``expected`` (name → attempt), each whole and once."""
    assert Counter(row["video"] for row in rows) == {name: rows_of(clips) for name in expected}
    assert all(row["label"].startswith(f"{row['video']} ") for row in rows)
    assert {(row["video"], row["label_id"]) for row in rows} == set(expected.items())
    assert len({(row["video"], row["clip"], row["rank"]) for row in rows}) == len(rows)


def files(folder: Path) -> set[str]:
    """Paths of all files below ``folder``, relative to it."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}


def fill(out: Path, *outcomes: Outcome, settings: RunSettings = SETTINGS, exit: str = "done") -> None:
    run = RunDir.open(str(out), settings)
    for one in outcomes:
        run.add(one)
    run.close({"exit": exit})


def whole(out: Path, expected: dict[str, int]) -> None:
    """The folder holds exactly these videos and attempts, for our reader and for one that reads the plain files."""
    reader = Reader(str(out))
    assert sorted(reader.videos().column("video").to_pylist()) == sorted(expected)
    check_rows(reader.detail().to_pylist(), expected)
