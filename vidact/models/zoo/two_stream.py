"""Two-stream composites: names for two sets of weights that are used together. They have no file of their own."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from vidact.models.zoo import i3d, tsn
from vidact.models.zoo.entry import Entry
from vidact.records import Published, Spec

_KNOWN = {entry.spec.name: entry for family in (i3d, tsn) for entry in family.ENTRIES}


def joined(spec: Spec, rgb: Spec, flow: Spec) -> Spec:
    """The spec of a composite, filled in from its streams: frames, pictures and flow are those of the flow stream."""
    return replace(
        spec,
        sampling=flow.sampling,
        geometry=flow.geometry,
        mean=rgb.mean + flow.mean,
        std=rgb.std + flow.std,
        labels=rgb.labels,
        classes=rgb.classes,
        activation=rgb.activation,
        feature_dimension=rgb.feature_dimension + flow.feature_dimension,
        licence=rgb.licence if rgb.licence == flow.licence else f"{rgb.licence}, {flow.licence}",
        protocol=flow.protocol,
        flow=flow.flow,
    )


def _two_stream(
    name: str, rgb: str, flow: str, published: Published | None, average: Literal["scores", "logits"]
) -> Entry:
    first, second = _KNOWN[rgb], _KNOWN[flow]
    bare = replace(
        first.spec,
        name=name,
        architecture=name.partition(".")[0],
        published=published,
        average=average,
        streams=(rgb, flow),
        notes=f"{rgb} and {flow} on the same clips; each takes its own file.",
    )
    return Entry(joined(bare, first.spec, second.spec), f"Two-stream {first.family}", "", "", 0, labels=first.labels)


ENTRIES = (
    _two_stream(
        "two-stream-i3d.k400",
        "i3d.k400",
        "i3d-flow.k400",
        Published(74.2, 91.3, "whole test videos at 25 fps, centre crop", "kinetics-i3d"),
        "logits",
    ),
    _two_stream(
        "two-stream-tsn-r50.k400-mmaction2",
        "tsn-r50.k400-mmaction2",
        "tsn-r50-flow.k400-mmaction2",
        None,
        "scores",  # mmaction2 fuses the scores each stream wrote
    ),
)
