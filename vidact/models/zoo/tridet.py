"""TriDet weights: which features they read and how they are evaluated, by each project that published them."""

from __future__ import annotations

from typing import Any

from vidact.models.localization.settings import Fusion, Settings, Suppression
from vidact.models.zoo import features
from vidact.records import Contract, LocalizerSpec


def _settings(
    length: int, sigma: float, most: int, *, top: int = 2000, voting: float = 0.0, resize: Any = "none", **values: Any
) -> Settings:
    """Both projects weigh votes by score alone, and cast them only where classes are not told apart."""
    nms = Suppression(sigma=sigma, max_segments=most, by_class=voting == 0, voting=voting)
    return Settings(length, resize, top=top, nms=nms, **values)


def _set(
    weights: str,
    contract: Contract,
    classes: int,
    published: str,
    *,
    codes: int = 0,
    labels: tuple[str, ...] = (),
    **settings: Settings,
) -> LocalizerSpec:
    return LocalizerSpec(
        name=f"tridet.{weights}",
        architecture="tridet",
        contract=contract,
        classes=classes,
        labels=labels,
        licence="MIT" if "original" in settings else "Apache-2.0",
        published=published,
        network={"codes": codes},
        settings={project: one.to_json() for project, one in settings.items()},
    )


SPECS = (
    _set(
        "thumos14-i3d",
        features.THUMOS_I3D,
        20,
        "mAP 69.27 (mean of IoU 0.3 to 0.7); OpenTAD 69.60",
        labels=features.THUMOS_CLASSES,
        original=_settings(2304, 0.5, 2000, min_length=0.05),
        opentad=_settings(2304, 0.5, 2000),
    ),
    _set(
        "anet-tsp",
        features.ANET_TSP,
        1,
        "mAP 36.77 with CUHK's classifier; OpenTAD 36.96",
        codes=768,
        labels=("action",),
        original=_settings(768, 0.7, 200, voting=0.95, min_length=0.1, fusion=Fusion(top=2, root=True)),
        opentad=_settings(768, 0.7, 200, voting=0.95, resize="longer", fusion=Fusion(top=2, root=False)),
    ),
    *(
        _set(
            f"epic-{what}",
            features.EPIC_SLOWFAST,
            classes,
            published,
            original=_settings(2304, 0.4, 2000, top=5000, min_length=0.05),
            # OpenTAD's TriDet takes 2,000 candidates whatever its configuration asks for.
            opentad=_settings(2304, 0.4, 2000),
        )
        for what, classes, published in (
            ("verb", 97, "mAP 25.51 (mean of IoU 0.1 to 0.5); OpenTAD 24.97"),
            ("noun", 300, "mAP 23.76 (mean of IoU 0.1 to 0.5); OpenTAD 21.51"),
        )
    ),
    _set(
        "hacs-slowfast",
        features.HACS_SLOWFAST,
        200,
        "mAP 38.69; OpenTAD 38.47",
        codes=960,
        original=_settings(960, 0.75, 250, min_length=0.05),
        opentad=_settings(960, 0.75, 250, resize="longer"),
    ),
)
