"""V-JEPA 2 weights with their probes. The first set of an architecture also says how a file of one's own is fed."""

from __future__ import annotations

from vidact.models.zoo import protocols
from vidact.models.zoo.entry import Entry
from vidact.models.zoo.publishers import CLASSES
from vidact.records import Geometry, Published, Sampling, Spec

# The probes published with these scores also see tokens of earlier layers; those of the hub's files do not.
_EARLIER = "The authors' 48-class probe also sees tokens of three earlier layers, this file's only the last ones."


def _vjepa2(
    name: str,
    repository: str,
    *,
    size: int,
    frames: int,
    stride: int,
    features: int,
    labels: str,
    fps: float = 30.0,
    top1: float | None = None,
    notes: str = "",
) -> Entry:
    protocol = protocols.vjepa2(frames, stride, "4x3" if labels == "diving48" else "2x3", size=size)
    published = None if top1 is None else Published(top1, None, protocols.told(protocol), "V-JEPA 2 README")
    spec = Spec(
        name=name,
        architecture=name.partition(".")[0],
        sampling=Sampling(frames=frames, stride=stride, fps=fps),
        geometry=Geometry(size=(size, size), short_side=size * 256 // 224),
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        labels=(),
        classes=CLASSES[labels],
        feature_dimension=features,
        licence="MIT",
        published=published,
        protocol=protocol,
        notes=notes,
    )
    source = f"hub:facebook/{repository}/model.safetensors"
    return Entry(spec, "V-JEPA 2", source, sha256="", size=0, labels=labels, mark=r"vjepa2\.encoder\.")


ENTRIES = (
    _vjepa2(
        "vjepa2-l16.ssv2",
        "vjepa2-vitl-fpc16-256-ssv2",
        size=256,
        frames=16,
        stride=4,
        features=1024,
        labels="something_v2",
        fps=12.0,
        top1=73.7,
    ),
    _vjepa2(
        "vjepa2-l16.diving48",
        "vjepa2-vitl-fpc32-256-diving48",
        size=256,
        frames=32,
        stride=2,
        features=1024,
        labels="diving48",
        notes=_EARLIER,
    ),
    _vjepa2(
        "vjepa2-g16.ssv2",
        "vjepa2-vitg-fpc64-384-ssv2",
        size=384,
        frames=64,
        stride=2,
        features=1408,
        labels="something_v2",
        fps=12.0,
        top1=77.3,
    ),
    _vjepa2(
        "vjepa2-g16.diving48",
        "vjepa2-vitg-fpc32-384-diving48",
        size=384,
        frames=32,
        stride=2,
        features=1408,
        labels="diving48",
        notes=_EARLIER,
    ),
)
