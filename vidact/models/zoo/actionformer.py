"""ActionFormer weights: which features they read and how they are evaluated, by each project that published them."""

from __future__ import annotations

from typing import Any

from vidact.models.localization.settings import Fusion, Settings, Suppression
from vidact.models.zoo import features
from vidact.records import Contract, LocalizerSpec

_CUHK = Fusion(top=2, root=True)
_PRODUCT = Fusion(top=2, root=False)


def _original(
    length: int, sigma: float, most: int, *, top: int = 2000, voting: float = 0.0, resize: Any = "none", **values: Any
) -> Settings:
    """The authors' evaluation: the cap on candidates is for each level, and votes are weighted by IoU too."""
    nms = Suppression(sigma=sigma, max_segments=most, by_class=voting == 0, voting=voting, voting_by_iou=True)
    return Settings(length, resize, top=top, nms=nms, **values)


def _opentad(
    length: int, sigma: float, most: int, *, top: int = 2000, voting: float = 0.0, resize: Any = "none", **values: Any
) -> Settings:
    """OpenTAD's evaluation; votes are only cast where classes are not told apart."""
    nms = Suppression(
        sigma=sigma, max_segments=most, by_class=values.pop("by_class", voting == 0), voting=voting, iou=0.1
    )
    return Settings(length, resize, top=top, nms=nms, **values)


def _set(
    weights: str,
    contract: Contract,
    classes: int,
    *,
    heads: int = 4,
    window: int | tuple[int, ...],
    codes: int = 0,
    published: str,
    labels: tuple[str, ...] = (),
    **settings: Settings,
) -> LocalizerSpec:
    return LocalizerSpec(
        name=f"actionformer.{weights}",
        architecture="actionformer",
        contract=contract,
        classes=classes,
        labels=labels,
        licence="MIT" if "original" in settings else "Apache-2.0",
        published=published,
        network={"heads": heads, "window": window, "codes": codes},
        settings={project: one.to_json() for project, one in settings.items()},
    )


_ANET = (7, 7, 7, 7, 7, -1)
_ANET_160 = (11, 11, 11, 11, -1, -1)
_ANET_ORIGINAL: dict[str, Any] = {"voting": 0.9, "resize": "linear", "min_length": 0.001, "fusion": _CUHK}

SPECS = (
    _set(
        "thumos14-i3d",
        features.THUMOS_I3D,
        20,
        window=19,
        published="mAP 66.83 (mean of IoU 0.3 to 0.7); OpenTAD 68.44",
        labels=features.THUMOS_CLASSES,
        original=_original(2304, 0.5, 200, min_length=0.05),
        opentad=_opentad(2304, 0.5, 2000),
    ),
    _set(
        "anet-tsp",
        features.ANET_TSP,
        1,
        window=_ANET,
        codes=192,
        published="mAP 36.56 with CUHK's classifier; OpenTAD 37.07",
        labels=("action",),
        original=_original(192, 0.75, 100, **_ANET_ORIGINAL),
        opentad=_opentad(192, 0.75, 100, voting=0.9, resize="align", fusion=_PRODUCT),
    ),
    _set(
        "anet-tsp-160",
        features.ANET_TSP,
        1,
        window=_ANET_160,
        codes=160,
        published="",
        labels=("action",),
        original=_original(160, 0.75, 100, **_ANET_ORIGINAL),
    ),
    _set(
        "anet-i3d",
        features.ANET_I3D,
        1,
        window=_ANET,
        codes=192,
        published="mAP 36.03 with CUHK's classifier",
        labels=("action",),
        original=_original(192, 0.75, 100, **_ANET_ORIGINAL),
    ),
    *(
        _set(
            f"epic-{what}",
            features.EPIC_SLOWFAST,
            classes,
            window=9,
            published=published,
            original=_original(2304, 0.4, 2000, top=5000, min_length=0.05),
            opentad=_opentad(2304, 0.4, 2000, top=5000),
        )
        for what, classes, published in (
            ("verb", 97, "mAP 23.51 (mean of IoU 0.1 to 0.5); OpenTAD 24.93"),
            ("noun", 300, "mAP 21.88 (mean of IoU 0.1 to 0.5); OpenTAD 22.33"),
        )
    ),
    _set(
        "ego4d-soe",
        features.EGO4D_SOE,
        110,
        heads=16,
        window=9,
        codes=1024,
        published="mAP 22.09 (mean of IoU 0.1 to 0.5)",
        original=_original(1024, 0.9, 2000, top=5000, min_length=0.05),
    ),
    _set(
        "hacs-slowfast",
        features.HACS_SLOWFAST,
        1,
        window=(13, 13, 13, 13, 13, -1),
        codes=960,
        published="OpenTAD mAP 37.71 with TCANet's classifier",
        labels=("action",),
        opentad=_opentad(960, 0.75, 100, resize="longer", fusion=Fusion(top=3, root=False, softmax_factor=2.0)),
    ),
    _set(
        "multithumos-i3d",
        features.THUMOS_I3D,
        65,
        window=19,
        published="OpenTAD mAP 39.19",
        opentad=_opentad(2304, 0.5, 8000, top=8000),
    ),
    _set(
        "charades-i3d-rgb",
        features.CHARADES_I3D_RGB,
        157,
        window=-1,
        codes=768,
        published="",
        opentad=_opentad(768, 0.3, 1000, resize="longer"),
    ),
)
