"""All entries by name, and what an incomplete name means."""

from __future__ import annotations

from vidact.models.zoo import camera_motion
from vidact.models.zoo.entry import Entry

DEFAULT = "attention-r3d-10.camera-motion-1"

ENTRIES: dict[str, Entry] = {entry.spec.name: entry for entry in (*camera_motion.ENTRIES,)}


def resolve(name: str) -> Entry | None:
    """The entry of that name; without its version the newest one, an architecture alone its bundled weights."""
    if name in ENTRIES:
        return ENTRIES[name]
    versions = [entry for known, entry in ENTRIES.items() if _without_version(known) == name]
    if not versions and "." not in name:
        versions = [entry for entry in ENTRIES.values() if entry.spec.architecture == name and entry.bundled]
    return max(versions, key=lambda entry: _version(entry.spec.name), default=None)


def _without_version(name: str) -> str:
    stem, _, last = name.rpartition("-")
    return stem if last.isdigit() else name


def _version(name: str) -> int:
    last = name.rpartition("-")[2]
    return int(last) if last.isdigit() else 0
