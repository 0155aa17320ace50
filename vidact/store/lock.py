"""One writer per run folder: an advisory lock on ``OUT/.lock`` that the kernel drops when its holder dies.

The file is never deleted, since deleting a lock file lets two processes hold two files of one name. Its content says
who holds it; content that outlives its holder says that the holder was killed.
"""

from __future__ import annotations

import errno
import json
import os
import socket
from datetime import datetime, timezone
from typing import Any

from vidact.errors import RunError
from vidact.store.atomic import disk_errors

NAME = ".lock"


class Lock:
    """The lock of a run folder, taken when made. RunError with ``busy`` when another process holds it.

    ``unclean``: the last holder did not let go of it properly (or there never was one).
    """

    def __init__(self, folder: str) -> None:
        self._path = os.path.join(folder, NAME)
        existed = os.path.exists(self._path)
        with disk_errors(self._path):
            self._handle = os.open(self._path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)
        try:
            self._take(folder)
            self.unclean = not existed or bool(os.pread(self._handle, 1, 0))
            self._write(json.dumps(_me()).encode("ascii"))
        except BaseException:
            os.close(self._handle)
            raise

    def release(self, *, clean: bool = True) -> None:
        """Let go of the lock; ``clean`` says that the folder needs no repair. Twice is fine."""
        if self._handle < 0:
            return
        try:
            if clean:
                self._write(b"")
        finally:
            os.close(self._handle)
            self._handle = -1

    def _take(self, folder: str) -> None:
        try:
            import fcntl
        except ImportError:
            raise RunError(f"this system cannot lock {folder!r}", hint="write to a folder on Linux or macOS") from None
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise RunError(
                    f"another run holds {folder!r}{_said(os.pread(self._handle, 4096, 0))}",
                    hint="wait for it to end, or choose another folder with -o",
                    busy=True,
                ) from error
            raise RunError(
                f"the file system of {folder!r} has no locks ({error.strerror}), "
                "and without them two runs could destroy each other's results",
                hint="choose a folder on another disk with -o, and copy it when the run is done",
            ) from error

    def _write(self, content: bytes) -> None:
        with disk_errors(self._path):
            # In this order the file is never empty in between, which would say that nothing needs repair.
            os.pwrite(self._handle, content, 0)
            os.ftruncate(self._handle, len(content))
            os.fsync(self._handle)


def holder(folder: str) -> dict[str, Any] | None:
    """Who writes to ``folder`` now (pid, host, since), as far as can be told without touching the lock; else None."""
    try:
        with open(os.path.join(folder, NAME), "rb") as file:
            who: dict[str, Any] = json.loads(file.read(4096))
        if who["host"] == socket.gethostname():
            os.kill(int(who["pid"]), 0)
    except PermissionError:
        return who
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return who


def _me() -> dict[str, Any]:
    since = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return {"pid": os.getpid(), "host": socket.gethostname(), "since": since}


def _said(content: bytes) -> str:
    try:
        who = json.loads(content)
        return f": process {who['pid']} on {who['host']}, since {who['since']}"
    except (ValueError, KeyError, TypeError):
        return ""
