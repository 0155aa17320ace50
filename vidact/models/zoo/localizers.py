"""All localizer weights by name, and what an incomplete name means."""

from __future__ import annotations

from vidact.models.zoo import actionformer, bmn, camera_motion, tridet
from vidact.models.zoo.entry import LocalizerEntry
from vidact.models.zoo.lookup import newest
from vidact.records import LocalizerSpec

DEFAULT = "actionformer.camera-motion-1"

_FAMILIES = {"ActionFormer": actionformer.SPECS, "BMN": bmn.SPECS, "TriDet": tridet.SPECS}
_REPOSITORIES = {
    "actionformer": "github.com/happyharrycn/actionformer_release",
    "tridet": "github.com/dingfengshi/TriDet",
    "opentad": "github.com/sming256/OpenTAD",
    "mmaction2": "github.com/open-mmlab/mmaction2",
}


def _entry(spec: LocalizerSpec, family: str) -> LocalizerEntry:
    # No address of a file was verified; the projects link theirs from their README.
    projects = (spec.architecture if project == "original" else project for project in spec.settings)
    where = "linked from " + " or ".join(_REPOSITORIES[project] for project in projects)
    return LocalizerEntry(spec, family, source="", sha256="", size=0, where=where)


ENTRIES: dict[str, LocalizerEntry] = {entry.spec.name: entry for entry in camera_motion.LOCALIZERS} | {
    spec.name: _entry(spec, family) for family, specs in _FAMILIES.items() for spec in specs
}
SPECS: dict[str, LocalizerSpec] = {name: entry.spec for name, entry in ENTRIES.items()}
ARCHITECTURES = (*dict.fromkeys(spec.architecture for spec in SPECS.values()), "tcn")  # nobody published a TCN's


def resolve(name: str) -> LocalizerEntry | None:
    """The entry of that name; without its version the newest one, an architecture alone its bundled weights."""
    return newest(ENTRIES, name)


def means(name: str | None) -> bool:
    """Whether a name is a localizer's: a set of weights or an architecture."""
    return name is not None and (name in ARCHITECTURES or resolve(name) is not None)
