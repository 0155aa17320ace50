"""Which files are the videos of a run, and what each of them is called.

Walks directories, expands patterns the shell left alone and gives every file its identity: the path relative to the
run's root. It stats files and never opens one, so a FIFO or a half-dead mount cannot hang it, and it knows nothing of
what is inside them: text named ``.mp4`` is a video here and fails later, as a row.
"""

from __future__ import annotations

import errno
import glob
import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vidact.errors import UsageError
from vidact.records import VIDEO_SUFFIXES, Video

_KINDS = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a directory",
}
_REFUSALS = {
    errno.ENOENT: "NotFound",
    errno.ENOTDIR: "NotFound",
    errno.ENAMETOOLONG: "NotFound",
    errno.ELOOP: "SymlinkLoop",
}
"""What an error of ``stat`` says of a file; any other (a mount half dead, a server gone) does not say it is gone."""
_MAGIC = re.compile(r"[*?\[]")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


@dataclass(frozen=True, slots=True)
class Found:
    """The videos of a run, sorted by identity, and what was passed over.

    ``root`` is the absolute directory identities are relative to; empty where the inputs share none but ``/``, and
    identities are absolute paths. ``skipped`` holds (path, reason) for things met in a search that look like videos or
    directories but cannot be used: unreadable directories, dangling links, FIFOs, patterns that match nothing. They
    are no rows; they are worth a word to the user.
    """

    root: str
    videos: list[Video]
    skipped: list[tuple[str, str]]


def find(inputs: Sequence[str], *, root: str | None = None, listed: Sequence[str | bytes] = ()) -> Found:
    """Find the videos of ``inputs`` (files, directories, patterns) and of ``listed`` (entries of list files).

    Whatever is named explicitly or listed gets a row, with ``error`` set if it is missing or no regular file; a
    directory is searched when it is an input and is an error when it is listed. ``root`` "" makes every name an
    absolute path; None: the single directory given, or the common parent of everything given. One path is one row,
    however often it is named. Raises UsageError when there is nothing to look at, or an input is a URL.
    """
    if not inputs and not listed:
        raise UsageError("No input was given.", hint="vidact classify DIRECTORY")
    skipped: list[tuple[str, str]] = []
    named = [_absolute(path) for given in inputs for path in _expand(given, skipped)]
    entries = [_absolute(os.fsdecode(entry)) for entry in listed]
    directories = {path for path in named if os.path.isdir(path)}
    base = _root(named, entries, directories) if root is None else root and _absolute(root)

    files: dict[str, os.stat_result | tuple[str, str]] = {}
    for path in named:
        if path in directories:
            files.update(_search(path, skipped))
        else:
            files[path] = _look(path)
    for path in entries:
        files.setdefault(path, _look(path))
    prefix = os.path.join(base, "") if base else None
    videos = [_video(path, prefix, known) for path, known in files.items()]
    videos.sort(key=lambda video: video.video)
    return Found(base, videos, skipped)


def escape(path: str | bytes) -> str:
    r"""Name a path in plain Unicode, reversibly: a backslash becomes ``\\``, a byte that is not UTF-8 ``\xNN``."""
    if isinstance(path, str):
        if path.isascii() and "\\" not in path:
            return path
        try:
            raw = os.fsencode(path)
        except UnicodeEncodeError:
            # A lone surrogate, perhaps from a JSON list: no file is called that, but its row must be called something.
            raw = path.encode("utf-8", "surrogatepass")
    else:
        raw = path
    return raw.replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")


def _expand(given: str, skipped: list[tuple[str, str]]) -> Iterator[str]:
    """One input as the paths it stands for. A file that is really called ``a[1].mp4`` wins over the pattern."""
    if not given:
        raise UsageError("An input is an empty string.", hint="vidact classify DIRECTORY")
    if os.path.lexists(given) or "\0" in given:
        yield given
    elif _URL.match(given):
        raise UsageError(f"{given!r} is a URL; vidact reads local files.", hint="download it first, or mount it")
    elif _MAGIC.search(given):
        matches = sorted(glob.iglob(given, recursive=True))
        if not matches:
            skipped.append((given, "the pattern matches nothing"))
        yield from matches
    else:
        yield given


def _absolute(path: str) -> str:
    """An absolute path without ``.``, ``//`` or ``..``; links keep their names except in front of a ``..``."""
    path = os.path.join(os.getcwd(), path)
    parts = path.split(os.sep)
    if ".." in parts:
        # Behind a link, `link/..` is not the folder the link lies in: only the file system knows what it is.
        cut = len(parts) - parts[::-1].index("..")
        path = os.path.join(os.path.realpath(os.sep.join(parts[:cut]) or os.sep), *parts[cut:])
    return os.path.normpath(path)


def _root(named: Sequence[str], listed: Sequence[str], directories: set[str]) -> str:
    """The single directory given, or the common parent of everything given; empty where that is ``/`` alone."""
    parents = {path if path in directories else os.path.dirname(path) for path in (*named, *listed)}
    if not parents:
        return os.getcwd()
    common = os.path.commonpath(parents)
    return "" if common == os.path.dirname(common) and common not in parents else common


def _search(top: str, skipped: list[tuple[str, str]]) -> Iterator[tuple[str, os.stat_result | tuple[str, str]]]:
    """Regular files with a video's suffix below ``top``, each stat'ed once. Links to directories are not followed."""
    stack = [top]
    while stack:
        folder = stack.pop()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    known = _met(entry, stack, skipped)
                    if known is not None:
                        yield entry.path, known
        except OSError as error:
            reason = f"the directory cannot be listed: {error.strerror}"
            if folder == top:
                yield folder, ("NotReadable", reason)
            else:
                skipped.append((folder, reason))


def _met(entry: os.DirEntry[str], stack: list[str], skipped: list[tuple[str, str]]) -> os.stat_result | None:
    """The stat of an entry that is a video; a directory goes onto the stack. Its errors do not hide its neighbours."""
    try:
        if entry.is_dir(follow_symlinks=False):
            stack.append(entry.path)
        elif os.path.splitext(entry.name)[1].lower() in VIDEO_SUFFIXES:
            known = _look(entry.path)
            if isinstance(known, os.stat_result):
                return known
            if not entry.is_symlink() or not os.path.isdir(entry.path):
                skipped.append((entry.path, known[1]))
    except OSError as error:
        skipped.append((entry.path, error.strerror or str(error)))
    return None


def _look(path: str) -> os.stat_result | tuple[str, str]:
    """The stat of a regular file (links followed), or why it must not be opened: (kind, message)."""
    try:
        found = os.stat(path)
    except ValueError as error:  # a NUL byte, or a lone surrogate
        return "NotFound", f"no file can have this name: {error}"
    except OSError as error:
        return _REFUSALS.get(error.errno or 0, "NotReadable"), error.strerror or str(error)
    if stat.S_ISREG(found.st_mode):
        return found
    return "NotAFile", f"it is {_KINDS.get(stat.S_IFMT(found.st_mode), 'no regular file')}"


def _video(path: str, prefix: str | None, known: os.stat_result | tuple[str, str]) -> Video:
    name = path[len(prefix) :] if prefix and path.startswith(prefix) else path
    if os.sep != "/":
        name = name.replace(os.sep, "/")
    if isinstance(known, os.stat_result):
        return Video(escape(name), path, known.st_size, known.st_mtime_ns)
    return Video(escape(name), path, None, None, known)
