"""All localizer weights by name, and what an incomplete name means."""

from __future__ import annotations

from vidact.models.zoo import actionformer, bmn, tridet
from vidact.records import LocalizerSpec

SPECS: dict[str, LocalizerSpec] = {spec.name: spec for family in (actionformer, bmn, tridet) for spec in family.SPECS}
ARCHITECTURES = (*dict.fromkeys(spec.architecture for spec in SPECS.values()), "tcn")  # nobody published a TCN's


def means(name: str | None) -> bool:
    """Whether a name is a localizer's: a set of weights or an architecture."""
    return name in SPECS or name in ARCHITECTURES
