"""All localizer weights by name, and what an incomplete name means."""

from __future__ import annotations

from vidact.models.zoo import actionformer, tridet
from vidact.records import LocalizerSpec

SPECS: dict[str, LocalizerSpec] = {spec.name: spec for family in (actionformer, tridet) for spec in family.SPECS}
ARCHITECTURES = tuple(dict.fromkeys(spec.architecture for spec in SPECS.values()))


def means(name: str | None) -> bool:
    """Whether a name is a localizer's: a set of weights or an architecture."""
    return name in SPECS or name in ARCHITECTURES
