"""What is left to do: the inputs, less what the run folder already holds.

Pure comparison of identities, sizes and times; reads no file and writes none.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from vidact.records import Video


class Done(Protocol):
    """What a run folder remembers of a video."""

    @property
    def status(self) -> str: ...
    @property
    def error(self) -> str | None: ...
    @property
    def attempts(self) -> int: ...
    def unchanged(self, video: Video) -> bool: ...


@dataclass(frozen=True, slots=True)
class Todo:
    """``videos`` to do now, in order; ``new``, ``changed`` and ``retried`` count them by reason.

    ``attempts`` holds how often a video was tried before. ``failed`` are left alone because they failed before,
    ``done`` because they are done, ``left`` only because of the limit.
    """

    videos: list[Video]
    attempts: dict[str, int]
    new: int
    changed: int
    retried: int
    failed: int
    done: int
    left: int

    @property
    def withdrawn(self) -> list[str]:
        """Videos whose rows must go before they are done again."""
        return list(self.attempts)


def remaining(
    videos: Sequence[Video],
    committed: Mapping[str, Done],
    *,
    retry_failed: bool = False,
    limit: int | None = None,
    lost: Collection[str] = (),
) -> Todo:
    """Sort ``videos`` into what is to do, done and failed; at most ``limit`` of them are to do.

    A file that changed is done again, and so is one that was still changing when it was read, or whose result is
    ``lost``. A file that is gone, or cannot be looked at for now, keeps its rows.
    """
    todo: list[Video] = []
    attempts: dict[str, int] = {}
    counts = dict.fromkeys(("new", "changed", "retried", "failed", "done", "left"), 0)
    for video in videos:
        before = committed.get(video.video)
        reason = "new" if before is None else _reason(video, before, retry_failed, lost)
        if reason in ("failed", "done"):
            counts[reason] += 1
        elif limit is not None and len(todo) >= limit:
            counts["left"] += 1
        else:
            counts[reason] += 1
            todo.append(video)
            if before is not None:
                attempts[video.video] = before.attempts
    return Todo(todo, attempts, **counts)


def _reason(video: Video, before: Done, retry_failed: bool, lost: Collection[str]) -> str:
    if before.status == "failed":
        if before.error == "StillChanging" or retry_failed:
            return "retried"
        return "failed" if before.unchanged(video) else "changed"
    kept = before.unchanged(video) and video.video not in lost
    return "done" if video.error is not None or kept else "changed"
