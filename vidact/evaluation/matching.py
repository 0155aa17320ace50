"""Which video of a run is which video of the truth, though one side writes paths and the other bare names.

The same path is the same video; else the same name without folder and ending, where only one video on each side is
called so or the folders decide. ActivityNet's ``v_`` and Kinetics' ``_000010_000020`` may be missing on one side.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from vidact.errors import UsageError
from vidact.video.find import SUFFIXES

_ENDINGS = SUFFIXES | {".npy", ".npz", ".pt", ".safetensors"}
_PREFIX = re.compile(r"^v_")
_TIMES = re.compile(r"_\d{6}_\d{6}$")


@dataclass(frozen=True, slots=True)
class Matching:
    """``of``: video of the run → video of the truth; ``strangers`` are in the run only, ``absent`` in the truth."""

    of: dict[str, str]
    strangers: tuple[str, ...]
    absent: tuple[str, ...]


def match(found: Iterable[str], truth: Iterable[str]) -> Matching:
    """Pair the videos of a run with those of the truth. UsageError when a name could mean several, naming them."""
    found, truth = list(dict.fromkeys(found)), list(dict.fromkeys(truth))
    pairs = {video: video for video in set(found).intersection(truth)}
    for key in (_stem, _bare):
        taken = set(pairs.values())
        mine = [video for video in found if video not in pairs]
        _pair(pairs, mine, [video for video in truth if video not in taken], key)
    taken = set(pairs.values())
    return Matching(
        pairs,
        tuple(video for video in found if video not in pairs),
        tuple(video for video in truth if video not in taken),
    )


def _pair(pairs: dict[str, str], found: list[str], truth: list[str], key: Callable[[str], str]) -> None:
    here, there = _grouped(found, key), _grouped(truth, key)
    for name in here.keys() & there.keys():
        mine, theirs = here[name], there[name]
        if len(mine) == len(theirs) == 1:
            pairs[mine[0]] = theirs[0]
            continue
        for video in theirs:
            fitting = [one for one in mine if _ends_alike(one, video)]
            rivals = [one for one in theirs if fitting and _ends_alike(fitting[0], one)]
            if len(fitting) != 1 or len(rivals) != 1:
                shown = ", ".join(repr(one) for one in (fitting or mine)[:3])
                raise UsageError(
                    f"{video!r} of the truth could be any of {len(fitting or mine)} videos: {shown}"
                    if len(fitting or mine) > 1
                    else f"{shown} could be any of {len(theirs)} videos of the truth: "
                    + ", ".join(repr(one) for one in theirs[:3]),
                    hint="write the truth's videos as paths, the way `vidact show` names them",
                )
            pairs[fitting[0]] = video


def _grouped(videos: list[str], key: Callable[[str], str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for video in videos:
        groups.setdefault(key(video), []).append(video)
    return groups


def _stem(video: str) -> str:
    """The name without folders and, where it is that of a video or of features, without its ending."""
    path = PurePosixPath(video)
    return path.stem if path.suffix.lower() in _ENDINGS else path.name


def _bare(video: str) -> str:
    return _TIMES.sub("", _PREFIX.sub("", _stem(video)))


def _ends_alike(one: str, other: str) -> bool:
    """Whether one path is the other one's end, endings of files aside."""
    paths = [(*PurePosixPath(video).parts[:-1], _stem(video)) for video in (one, other)]
    short, long = sorted(paths, key=len)
    return long[len(long) - len(short) :] == short
