"""Run folders for the tests of the command line, written by the store itself without any video."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from vidact.records import Outcome, RunSettings, Video
from vidact.store.rundir import RunDir

LABELS = ("static", "pan-left", "pan-right")
COLUMNS = ("clip", "start", "end", "rank", "label_id", "label", "score", "padded")


def outcome(name: str | Video, *, label: int = 0, clips: int = 2, status: str = "ok") -> Outcome:
    """A video of ``clips`` clips of two seconds, each and the whole with label 0.75 and the next one 0.25."""
    video = name if isinstance(name, Video) else Video(name, f"/videos/{name}", 1000, 1)
    row = {"video": video.video, "size": video.size, "mtime_ns": video.mtime_ns, "status": status, "attempts": 1}
    if status == "failed":
        row |= {"error": "NoVideoStream", "error_message": "there is no picture in it", "stage": "index"}
        return Outcome(video, row, {})
    row |= {"duration": 2.0 * clips, "fps": 25.0, "frames": 50 * clips, "clips": clips, "decoder": "pyav"}
    details: dict[str, list[Any]] = {key: [] for key in COLUMNS}
    for clip in [*range(clips), None]:
        for rank, score in ((1, 0.75), (2, 0.25)):
            number = (label + rank - 1) % len(LABELS)
            start, end = (0.0, 2.0 * clips) if clip is None else (2.0 * clip, 2.0 * clip + 2)
            for key, value in zip(details, (clip, start, end, rank, number, LABELS[number], score, False), strict=True):
                details[key].append(value)
    return Outcome(video, row, details)


def make_run(out: Path, outcomes: Iterable[Outcome], *, found: int | None = None) -> Path:
    """A finished run of these outcomes."""
    outcomes = list(outcomes)
    settings = RunSettings(model="attention-r3d-10.camera-motion-1", weights_hash="0" * 64, root="/videos")
    found = len(outcomes) if found is None else found
    facts = {"found": found, "todo": found, "rows": 0}
    run = RunDir.open(str(out), settings, facts=facts)
    for each in outcomes:
        run.add(each)
    run.close({"exit": "done"})
    return out
