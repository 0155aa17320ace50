"""All localizer weights by name, and what an incomplete name means."""

from __future__ import annotations

from vidact.models.zoo import actionformer, bmn, tridet
from vidact.models.zoo.lookup import version, without_version
from vidact.records import LocalizerSpec

BUNDLED: dict[str, tuple[str, str]] = {}
"""Weights inside the package: name → file among the assets, and its SHA-256."""
DEFAULT = "actionformer"

SPECS: dict[str, LocalizerSpec] = {spec.name: spec for family in (actionformer, bmn, tridet) for spec in family.SPECS}
ARCHITECTURES = (*dict.fromkeys(spec.architecture for spec in SPECS.values()), "tcn")  # nobody published a TCN's


def resolve(name: str) -> LocalizerSpec | None:
    """The spec of that name; without its version the newest one, an architecture alone its bundled weights."""
    if name in SPECS:
        return SPECS[name]
    versions = [spec for known, spec in SPECS.items() if without_version(known) == name]
    if not versions:
        versions = [SPECS[known] for known in BUNDLED if SPECS[known].architecture == name]
    return max(versions, key=lambda spec: version(spec.name), default=None)


def means(name: str | None) -> bool:
    """Whether a name is a localizer's: a set of weights or an architecture."""
    return name is not None and (name in ARCHITECTURES or resolve(name) is not None)
