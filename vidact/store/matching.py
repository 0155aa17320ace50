"""Which names mean the same video, though one side writes paths and the other bare names.

The same path, whatever its ending, is the same video; else the same name without folder and ending, where only one
video is called so or the folders decide; what could mean several is an error. Where one name is looked up, folders that
contradict each other (``cam1/0001``, ``cam2/0001``) are those of two videos, even if there is no other; where two lists
are paired, a name that is there once on both sides is one video, whatever the folders. ActivityNet's ``v_`` and
Kinetics' ``_000010_000020`` may be missing on one side.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from vidact.errors import UsageError
from vidact.records import VIDEO_SUFFIXES

_ENDINGS = VIDEO_SUFFIXES | {".npy", ".npz", ".pt", ".safetensors"}
_PREFIX = re.compile(r"^v_")
_TIMES = re.compile(r"_\d{6}_\d{6}$")


class Names:
    """Names of videos, to be found by other spellings of them; ``hint`` tells how to write what is ambiguous."""

    def __init__(self, names: Iterable[str], hint: str) -> None:
        self._names, self._hint = dict.fromkeys(names), hint
        self._paths, self._stems, self._bare = (_grouped(self._names, key) for key in (_path, _stem, _without_marks))

    def at(self, video: str, *, file: bool = True) -> str | None:
        """The name that is the same path, whatever the endings; None where there is none, or several.

        ``file``: ``video`` is the name of a file, so that an ending nobody knows is one too; an annotation's
        ``S01.E02`` has none.
        """
        for name in (video, os.path.splitext(video)[0].lstrip("/") if file else _path(video)):
            if name in self._names:
                return name
        same = self._paths.get(_path(video), [])
        return same[0] if len(same) == 1 else None

    def find(self, video: str, taken: Collection[str] = (), *, file: bool = True, folders: bool = True) -> str | None:
        """The name that means ``video``, unless it is one of those ``taken``; None where there is none.

        ``file`` as in ``at``; ``folders``: those that contradict each other tell two videos apart.
        UsageError when it could be any of several, naming them.
        """
        if (name := self.at(video, file=file)) is not None:
            return None if name in taken else name
        same = self._stems.get(_stem(video)) or self._bare.get(_without_marks(video), [])
        same = [name for name in same if not _other_times(name, video)]
        if len(same) > 1:
            alike = [name for name in same if _ends_alike(name, video)]
            told = [name for name in alike if "/" in _path(name) and "/" in _path(video)]
            if len(told) != 1 and not set(alike) <= set(taken):
                shown = ", ".join(repr(name) for name in sorted(same)[:3])
                raise UsageError(
                    f"{video!r} could be any of {len(same)} videos: {shown}" + (", …" if len(same) > 3 else ""),
                    hint=self._hint,
                )
            same = told
        same = [name for name in same if not folders or _ends_alike(name, video)]
        return same[0] if same and same[0] not in taken else None


@dataclass(frozen=True, slots=True)
class Matching:
    """``of``: video of the run → video of the truth; ``strangers`` are in the run only, ``absent`` in the truth."""

    of: dict[str, str]
    strangers: tuple[str, ...]
    absent: tuple[str, ...]


def match(found: Iterable[str], truth: Iterable[str]) -> Matching:
    """Pair the videos of a run with those of the truth. UsageError when a name could mean several, naming them."""
    found, truth = list(dict.fromkeys(found)), list(dict.fromkeys(truth))
    hint = "write the truth's videos as paths, the way `vidact show` names them"
    mine, theirs = Names(found, hint), Names(truth, hint)
    pairs = {
        video: name for video in found if (name := theirs.at(video)) is not None and mine.at(name, file=False) == video
    }
    # The same paths first: they leave the others to their names.
    mine_taken, theirs_taken = set(pairs), set(pairs.values())
    for video in found:
        if video in pairs or (name := theirs.find(video, theirs_taken, folders=False)) is None:
            continue
        if mine.find(name, mine_taken, file=False, folders=False) == video:
            pairs[video] = name
    taken = set(pairs.values())
    return Matching(
        pairs,
        tuple(video for video in found if video not in pairs),
        tuple(video for video in truth if video not in taken),
    )


def _grouped(videos: Iterable[str], key: Callable[[str], str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for video in videos:
        groups.setdefault(key(video), []).append(video)
    return groups


def _path(video: str) -> str:
    """The name without the ending of a video or of features; a path from the root like one from elsewhere."""
    stem, ending = os.path.splitext(video)
    return (stem if ending.lower() in _ENDINGS else video).lstrip("/")


def _stem(video: str) -> str:
    return _path(video).rpartition("/")[2]


def _without_marks(video: str) -> str:
    return _TIMES.sub("", _PREFIX.sub("", _stem(video)))


def _other_times(one: str, other: str) -> bool:
    """Whether these are two clips of one video."""
    times = [found[0] for video in (one, other) if (found := _TIMES.search(_stem(video)))]
    return len(set(times)) > 1


def _ends_alike(one: str, other: str) -> bool:
    """Whether the folders of one path are the last ones of the other."""
    short, long = sorted((PurePosixPath(_path(video)).parts[:-1] for video in (one, other)), key=len)
    return long[len(long) - len(short) :] == short
