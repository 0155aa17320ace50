"""BMN weights: which features they read and how they are evaluated, by the project that published them."""

from __future__ import annotations

from typing import Any

from vidact.models.localization.settings import Fusion, Settings, Suppression, Windows
from vidact.models.zoo import features
from vidact.records import Contract, LocalizerSpec


def _set(
    weights: str,
    contract: Contract,
    project: str,
    settings: Settings,
    *,
    durations: int,
    boundary_scores: bool = False,
    published: str = "",
    labels: tuple[str, ...] = ("action",),
) -> LocalizerSpec:
    return LocalizerSpec(
        name=f"bmn.{weights}",
        architecture="bmn",
        contract=contract,
        classes=1,
        labels=labels,
        licence="Apache-2.0",
        published=published,
        network={"length": settings.length, "durations": durations, "boundary_scores": boundary_scores},
        settings={project: settings.to_json()},
    )


def _agnostic(sigma: float, most: int, min_score: float, **values: Any) -> Suppression:
    return Suppression(
        sigma=sigma, max_segments=most, min_score=min_score, by_class=False, voting=0.95, **{"iou": 0.0, **values}
    )


SPECS = (
    _set(
        "anet-tsp",
        features.ANET_TSP,
        "opentad",
        Settings(128, "align", nms=_agnostic(0.5, 100, 0.01), fusion=Fusion(top=2, root=False)),
        durations=128,
        published="OpenTAD mAP 36.40 with CUHK's classifier",
    ),
    _set(
        "anet-tsp-proposals",
        features.ANET_TSP,
        "opentad",
        Settings(128, "align", nms=_agnostic(0.4, 100, 0.0, method="widening", low=0.5, high=0.4, unit=128.0)),
        durations=128,
        boundary_scores=True,
    ),
    _set(
        "thumos14-i3d",
        features.THUMOS_I3D,
        "opentad",
        Settings(
            128,
            nms=_agnostic(0.3, 200, 0.0001),
            fusion=Fusion(top=2, root=False, columns=features.THUMOS_IN_UCF101),
            windows=Windows(128, 64),
        ),
        durations=64,
        published="OpenTAD mAP 51.70 with UntrimmedNet's classifier",
        labels=features.THUMOS_CLASSES,
    ),
    _set(
        "anet-400",
        features.ANET_400,
        "mmaction2",
        Settings(
            100,
            "linear",
            snippet=16,
            nms=Suppression("proposals", sigma=0.4, low=0.5, high=0.9, max_segments=100, by_class=False, unit=100.0),
        ),
        durations=100,
        boundary_scores=True,
        published="AUC 67.25",
    ),
)
