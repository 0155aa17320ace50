"""All entries by name, and what an incomplete name means."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

from vidact.models.weights import S
from vidact.models.zoo import (
    camera_motion,
    classic,
    i3d,
    mvit,
    resnet3d,
    separated,
    slowfast,
    swin,
    timesformer,
    tsm,
    tsn,
    two_stream,
    videomae,
    vivit,
    vjepa2,
    x3d,
)
from vidact.models.zoo.entry import Entry, Weights
from vidact.records import Spec

DEFAULT = "attention-r3d-10.camera-motion-1"

_FAMILIES = (
    camera_motion,
    i3d,
    slowfast,
    resnet3d,
    separated,
    x3d,
    mvit,
    videomae,
    swin,
    timesformer,
    vivit,
    vjepa2,
    tsn,
    tsm,
    two_stream,
    classic,
)

ENTRIES: dict[str, Entry] = {entry.spec.name: entry for family in _FAMILIES for entry in family.ENTRIES}


def resolve(name: str) -> Entry | None:
    """The entry of that name; without its version the newest one, an architecture alone its bundled weights."""
    return newest(ENTRIES, name)


def newest(entries: Mapping[str, Weights[S]], name: str) -> Weights[S] | None:
    """What a name means among ``entries``, of recognisers or of localizers."""
    if name in entries:
        return entries[name]
    versions = [entry for known, entry in entries.items() if without_version(known) == name]
    if not versions and "." not in name:
        versions = [entry for entry in entries.values() if entry.spec.architecture == name and entry.bundled]
    return max(versions, key=lambda entry: version(entry.spec.name), default=None)


def spec_of(architecture: str, keys: Iterable[str]) -> Spec | None:
    """How a file of the user's own wants its clips: as the architecture's first published weights in that key format.

    Where no format fits, as its first weights at all. Labels are not known, classes (0) only once the file is open.
    """
    known = [entry for entry in ENTRIES.values() if entry.spec.architecture == architecture]
    names = list(keys)
    same = (entry for entry in known if entry.mark and any(re.search(entry.mark, name) for name in names))
    entry = next(same, known[0] if known else None)
    if entry is None:
        return None
    return replace(entry.spec, name=architecture, labels=(), classes=0, licence="", published=None, notes="")


def without_version(name: str) -> str:
    """The name of a set of weights without the version it may end in."""
    stem, _, last = name.rpartition("-")
    return stem if last.isdigit() else name


def version(name: str) -> int:
    """The version a name ends in; 0 where there is none."""
    last = name.rpartition("-")[2]
    return int(last) if last.isdigit() else 0
