"""Files that appear whole or not at all, and disk trouble said in words.

Write to a unique temporary name in the same folder → fsync → rename → fsync of the folder. The temporary name is never
shared, because two writers of one name corrupt each other on network file systems. Knows nothing of what is written.
"""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO

from vidact.errors import RunError

TEMPORARY = re.compile(r"\.(?:part-\d{6,}\.(?:parquet|jsonl)|run\.json|summary\.json)\.[0-9a-f]{16}\.tmp")
"""The temporary names this module makes in a run folder, and no other file's."""

_ADVICE = {
    errno.ENOSPC: "free some space there",
    errno.EDQUOT: "free some of your quota there",
    errno.EROFS: "make it writable or choose another folder with -o",
    errno.EACCES: "make it writable or choose another folder with -o",
    errno.EPERM: "make it writable or choose another folder with -o",
}


@contextmanager
def replacing(path: str) -> Iterator[BinaryIO]:
    """A file to write that becomes ``path`` when the block ends, durably; after an error nothing has changed.

    RunError when the disk refuses.
    """
    folder, name = os.path.split(path)
    # A name may be as long as the file system allows; those of a run folder, which are looked for, are short.
    temporary = os.path.join(folder, f".{name[:40]}.{secrets.token_hex(8)}.tmp")
    try:
        with disk_errors(path):
            # Not mkstemp: its mode 0600 would hide the results from everybody else in the group.
            with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
            sync_folder(folder)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def write_json(path: str, value: Mapping[str, Any]) -> None:
    """Replace ``path`` by ``value`` as indented JSON. ASCII only, so that any path survives; ValueError for NaN."""
    text = json.dumps(value, indent=2, allow_nan=False)
    with replacing(path) as file:
        file.write(text.encode("ascii") + b"\n")


def remove(path: str) -> None:
    """Delete ``path`` durably; one that is gone already is fine. RunError when the disk refuses."""
    with disk_errors(path):
        with suppress(FileNotFoundError):
            os.unlink(path)
        sync_folder(os.path.dirname(path))


def remove_temporary(folder: str) -> None:
    """Delete what a killed writer left half done in ``folder``, if the folder is there."""
    with suppress(FileNotFoundError):
        for name in os.listdir(folder):
            if TEMPORARY.fullmatch(name):
                remove(os.path.join(folder, name))


def remove_stale(folder: str, name: re.Pattern[str], seconds: float) -> int:
    """Delete temporary files called like ``name`` in ``folder`` that nobody has written to for so long; how many.

    Other writers may be at work there, also on other machines: only age tells what a killed one left. Files that
    cannot be deleted stay.
    """
    gone, now = 0, time.time()
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with suppress(OSError):
                if name.fullmatch(entry.name) and now - entry.stat(follow_symlinks=False).st_mtime > seconds:
                    os.unlink(entry.path)
                    gone += 1
    return gone


def make_folder(path: str) -> None:
    """Create ``path`` and what leads to it, durably. RunError when it cannot be."""
    if os.path.isdir(path):
        return
    with disk_errors(path):
        parent = os.path.dirname(path) or "."
        make_folder(parent)
        with suppress(FileExistsError):
            os.mkdir(path)
        sync_folder(parent)


def sync_folder(folder: str) -> None:
    """Make the names in ``folder`` durable, where the file system can do this and we may read the folder."""
    try:
        handle = os.open(folder or ".", os.O_RDONLY)
    except PermissionError:
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(handle)


@contextmanager
def disk_errors(path: str) -> Iterator[None]:
    """Turn an OSError while writing ``path`` into a RunError that says where, how much room is left and what to do."""
    try:
        yield
    except OSError as error:
        folder = os.path.dirname(path) or "."
        reason = error.strerror or str(error)
        step = _ADVICE.get(error.errno or 0, "check that disk")
        raise RunError(
            f"cannot write {path!r}: {reason} ({_room(folder)} in {folder!r})",
            hint=f"{step}, then run the same command again: what is committed is kept",
        ) from error


def _room(folder: str) -> str:
    try:
        return f"{shutil.disk_usage(folder).free:,} bytes free"
    except OSError:
        return "free space unknown"
