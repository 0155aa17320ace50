"""The private temporary folder of a run: short, owned by one user, gone when its process is.

Ray puts its sockets here, whose paths may not exceed 107 bytes, so it is never below a long TMPDIR.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import time

SETTLE = 60.0
"""Seconds before a folder without a living owner counts as left behind; its maker may not hold it yet."""


class Scratch:
    """A new folder ``/tmp/va-<uid>-<random>`` (mode 0700), held by a lock for as long as this process lives."""

    def __init__(self, parent: str = "/tmp") -> None:
        if not os.access(parent, os.W_OK | os.X_OK):
            parent = tempfile.gettempdir()
        prefix = f"va-{os.getuid()}-"
        remove_stale(parent, prefix)
        self.path = tempfile.mkdtemp(prefix=prefix, dir=parent)
        self._lock = _lock(self.path)

    def close(self) -> None:
        """Remove the folder with everything in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _lock(path: str) -> int | None:
    """Lock a folder; None when another process holds it."""
    import fcntl

    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return None
    return handle


def remove_stale(parent: str, prefix: str) -> None:
    """Remove the folders of processes that were killed: ours, real folders, and held by nobody."""
    for entry in os.scandir(parent):
        if not entry.name.startswith(prefix):
            continue
        try:
            found = entry.stat(follow_symlinks=False)
            ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
            handle = _lock(entry.path) if ours and time.time() - found.st_mtime > SETTLE else None
        except OSError:  # it went away meanwhile
            continue
        if handle is not None:
            shutil.rmtree(entry.path, ignore_errors=True)
            os.close(handle)
